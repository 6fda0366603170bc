"""The receipt: the service's signature over exactly one answer to exactly one request, checked offline by anyone."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from creditshare.crypto.digests import sha256_b64url
from creditshare.crypto.jws import VerifyingKey
from creditshare.errors import Malformed, VerificationFailed
from creditshare.wire.answers import AnswerClaims, verify_answer
from creditshare.wire.leaf import LogEntry


@dataclass(frozen=True, slots=True)
class Receipt:
    """Signature, both sides' bytes and the keys to check them by.

    ``request_token`` is what the member signed (for a first key: the proof), ``keys`` the service's by thumbprint.
    """

    issuer: str
    member_id: str
    token: str
    status: int
    answer_body: bytes = field(repr=False)
    request_token: str = field(repr=False)
    request_body: bytes = field(repr=False)
    keys: Mapping[str, VerifyingKey] = field(repr=False)

    def check(self) -> AnswerClaims:
        """Return the signed claims; ``VerificationFailed`` unless signature, exchange and leaf all fit."""
        rqh = sha256_b64url(self.request_token.encode())
        try:
            claims = verify_answer(
                self.token,
                keys=self.keys,
                issuer=self.issuer,
                audience=self.member_id,
                rqh=rqh,
                status=self.status,
                body=self.answer_body,
            )
            entry = None if claims.log is None else LogEntry.from_mapping(claims.log)
        except Malformed as error:
            raise VerificationFailed(f"the answer's signature has not the agreed form: {error}") from error
        if entry is not None:
            entry.check(rqh=rqh, request_body=self.request_body, answer_body=self.answer_body)
        return claims

    def verify(self) -> list[str]:
        """Check everything; return one line for each thing shown. Raises ``VerificationFailed`` where one fails."""
        claims = self.check()
        shown = [f"answer: status {self.status}, signed by {self.issuer} for exactly this request, body unchanged"]
        if claims.log is None:
            return [*shown, "log: this exchange is no event"]
        entry = LogEntry.from_mapping(claims.log)
        return [
            *shown,
            f"leaf: event {entry.event_id} commits to exactly this exchange",
            f"log: the service promised inclusion within {entry.mmd} s of {claims.iat}",
        ]
