"""The client: tokenise, sign, send, verify. Sans-I/O at its core, with a thin transport over httpx.

Knows only what two parties must agree on (``wire``, ``crypto``, ``tlog``); nothing of the service. A bank in
another language does the same with a stock JOSE library.
"""

from creditshare.client.bank import Client
from creditshare.client.core import Identity, SignedAnswer
from creditshare.client.evidence import Evidence

__all__ = ["Client", "Evidence", "Identity", "SignedAnswer"]
