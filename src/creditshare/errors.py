"""The one tree of errors. No HTTP here: ``api/problems.py`` alone gives a refusal its status.

::

    CreditshareError
    ├── Malformed            bytes from outside do not have the form that the standard prescribes
    ├── VerificationFailed   the form is right, but a signature, proof, MAC or digest does not hold
    ├── Refused              the answer is no, for a reason of the published table (``wire/reasons.py``)
    ├── Unavailable          the service cannot answer now; nothing happened; trying again is right
    ├── IntegrityError       stored data was changed behind the service's back; a human must look
    ├── Unprotectable        numbers cannot be published so that what is withheld of them stays unknown
    └── ConfigurationError   the operator's settings or files do not allow starting; says what to do

Messages of the first two may travel to the sender's log, so they never hold a submitted value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class CreditshareError(Exception):
    """Root of all errors that creditshare raises on purpose."""


class Malformed(CreditshareError):
    """Input is not in the prescribed form. The message names the rule, never the value."""


class VerificationFailed(CreditshareError):
    """Input is well formed, but what it claims does not hold."""


class Unavailable(CreditshareError):
    """The service cannot answer now. Nothing was committed, so a retry is safe."""


class IntegrityError(CreditshareError):
    """Stored data fails its own seal: it was moved, edited, cut or rolled back."""


class Unprotectable(CreditshareError):
    """What is known already gives away what would be withheld. Nothing new is told."""


class ConfigurationError(CreditshareError):
    """Starting is not possible with these settings. The message says what to do."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field: an RFC 6901 pointer into the body, a stable code and what is expected there."""

    pointer: str
    code: str
    detail: str


class Refused(CreditshareError):
    """The answer is no. ``code`` is a row of the published table in ``wire/reasons.py``.

    ``fields`` names wrong fields (for ``validation_failed``), ``retry_after`` is in seconds,
    ``extra`` adds members to the problem document; none of them ever holds a submitted value.
    """

    def __init__(
        self,
        code: str,
        *,
        fields: Sequence[FieldError] = (),
        retry_after: int | None = None,
        extra: Mapping[str, str | int] | None = None,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.fields = tuple(fields)
        self.retry_after = retry_after
        self.extra = dict(extra or {})
