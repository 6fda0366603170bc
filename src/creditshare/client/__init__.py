"""The client: tokenise, sign, send, verify.

Knows only what two parties must agree on (``wire``, ``crypto``, ``tlog``); nothing of the service. A bank in another
language does the same with a stock JOSE library. From the bottom up:

``flow``       a conversation as a generator: what to send, what to wait for, without I/O
``core``       signed requests and checked answers; ``receipt`` and ``evidence`` are what remains of them
``problems``   refusals as exceptions, by their stable codes
``pins``       the service's keys as first seen; ``profile`` keeps them in the user's configuration
``session``    the flows: every decision about order, checks and retries, once for both transports
``resources``  the same by resource: consents, records, queries, keys
``bank``       the blocking transport; ``aio`` the async one
``explain``    says what was signed and checked, and why

::

    bank = Client.from_profile("bank-a")
    consent = bank.consents.grant(uscc=…, kind="query", purposes=["pre_loan"], scopes=["defaults"], evidence=Path(…))
    answer = bank.queries.run(uscc=…, purpose="pre_loan", consent=consent)
    answer.receipt.verify()
"""

from creditshare.client.aio import AsyncClient
from creditshare.client.bank import Client
from creditshare.client.core import Identity, SignedAnswer
from creditshare.client.evidence import Evidence
from creditshare.client.pins import PinChanged, Pins
from creditshare.client.problems import ConsentRefused, InvalidRequest, NotAuthenticated, Problem, Throttled
from creditshare.client.profile import Profile
from creditshare.client.receipt import Receipt

__all__ = [
    "AsyncClient",
    "Client",
    "ConsentRefused",
    "Evidence",
    "Identity",
    "InvalidRequest",
    "NotAuthenticated",
    "PinChanged",
    "Pins",
    "Problem",
    "Profile",
    "Receipt",
    "SignedAnswer",
    "Throttled",
]
