"""What the service refuses, as exceptions. The stable ``code`` says why; the classes group what callers treat alike.

::

    Problem                 any refusal
    ├── NotAuthenticated    401: the request, its time or its key was not accepted; nothing happened
    ├── ConsentRefused      403 consent_…: no live consent of this member covers the question
    ├── InvalidRequest      400, 422: ``fields`` names what is wrong
    └── Throttled           429: too much; ``retry_after`` says when to come back
"""

import json
from typing import Any, Final

from creditshare.client.core import SignedAnswer
from creditshare.errors import CreditshareError

RETRY_STATUSES: Final = frozenset({409, 429, 503})
GATEWAY_STATUSES: Final = frozenset({502, 504})
INVALID_STATUSES: Final = frozenset({400, 422})
UNAUTHORIZED: Final = 401
THROTTLED: Final = 429


class Problem(CreditshareError):
    """The service said no. ``code`` is stable; ``document`` is the RFC 9457 problem.

    ``signed`` says whether the refusal is proved to come from the service.
    """

    def __init__(self, answer: SignedAnswer) -> None:
        self.answer = answer
        self.signed = answer.claims is not None
        self.document: dict[str, Any] = problem_document(answer.body)
        self.code = str(self.document.get("code", answer.status))
        self.fields: list[dict[str, str]] = self.document.get("errors", [])
        wrong = ", ".join(f"{field['pointer']}: {field['detail']}" for field in self.fields)
        hint = str(self.document.get("hint", ""))
        more = "; ".join(part for part in (wrong, hint) if part)
        super().__init__(f"{self.code}: {self.document.get('detail', '')}" + (f" ({more})" if more else ""))

    @property
    def retry_after(self) -> float | None:
        """Seconds after which the service asks to be tried again, if it says so."""
        text = self.answer.headers.get("retry-after", "")
        return float(text) if text.isdecimal() else None

    @property
    def retryable(self) -> bool:
        """Whether the same action may succeed soon, in a newly signed token with the same idempotency key."""
        if self.answer.status in GATEWAY_STATUSES:
            return True
        if self.code == "replay_detected":  # a machine between sent it twice; the first copy's answer is kept
            return True
        return self.answer.status in RETRY_STATUSES and bool(self.document.get("retryable", not self.document))


class NotAuthenticated(Problem):
    """The request was not accepted as this member's, or not now."""

    @property
    def server_time(self) -> int | None:
        """The service's clock in seconds since 1970, where the refusal is about time."""
        value = self.document.get("server_time")
        return value if isinstance(value, int) else None


class ConsentRefused(Problem):
    """No live consent of this member covers the question."""


class InvalidRequest(Problem):
    """The body breaks a rule; ``fields`` names each."""


class Throttled(Problem):
    """A limit or budget is used up."""


def problem_of(answer: SignedAnswer) -> Problem:
    """Return the exception for a refusal."""
    problem = Problem(answer)
    if problem.code.startswith("consent_"):
        return ConsentRefused(answer)
    kinds = {UNAUTHORIZED: NotAuthenticated, THROTTLED: Throttled, **dict.fromkeys(INVALID_STATUSES, InvalidRequest)}
    return kinds.get(answer.status, Problem)(answer)


def problem_document(body: bytes) -> dict[str, Any]:
    """Return the problem document in an answer's body; empty where it is none of ours."""
    try:
        document = json.loads(body)
    except ValueError:
        return {}  # not ours: a proxy's page
    return document if isinstance(document, dict) else {}
