"""The evidence package: request, answer, both bodies and the keys to check them by. Verified offline, years later."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from creditshare.client.core import SignedAnswer, parse_jwks
from creditshare.client.receipt import Receipt
from creditshare.crypto.digests import content_digest
from creditshare.crypto.jws import VerifyingKey, split
from creditshare.errors import Malformed, VerificationFailed
from creditshare.tlog.note import Verifier
from creditshare.tlog.proof import InclusionProof
from creditshare.wire.leaf import LogEntry
from creditshare.wire.strict_json import decode, decode_object


@dataclass(frozen=True, slots=True)
class Evidence:
    """One exchange as both sides signed it, with the public keys and, once fetched, the inclusion proof."""

    issuer: str
    request_token: str
    request_body: bytes
    status: int
    answer_token: str
    answer_body: bytes
    member_jwk: Mapping[str, Any]
    service_jwks: Mapping[str, Any]
    log_vkey: str
    proof: Mapping[str, Any] | None = None

    @classmethod
    def of(
        cls,
        answer: SignedAnswer,
        *,
        issuer: str,
        member_jwk: Mapping[str, Any],
        service_jwks: Mapping[str, Any],
        log_vkey: str,
        proof: Mapping[str, Any] | None = None,
    ) -> "Evidence":
        """Pack a checked answer."""
        return cls(
            issuer,
            answer.request.token,
            answer.request.body,
            answer.status,
            answer.headers["cs-signature"],
            answer.body,
            member_jwk,
            service_jwks,
            log_vkey,
            proof,
        )

    def save(self, path: Path) -> None:
        """Write the package as JSON; bodies in base64, because they are kept byte for byte."""
        document = {
            "kind": "creditshare-evidence/v1",
            "issuer": self.issuer,
            "request": {"jws": self.request_token, "body": base64.b64encode(self.request_body).decode()},
            "answer": {
                "status": self.status,
                "jws": self.answer_token,
                "body": base64.b64encode(self.answer_body).decode(),
            },
            "member_jwk": dict(self.member_jwk),
            "service_jwks": dict(self.service_jwks),
            "log_vkey": self.log_vkey,
            "proof": None if self.proof is None else dict(self.proof),
        }
        path.write_text(json.dumps(document, indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Evidence":
        """Read a package; anything but its exact form is ``Malformed``."""
        try:
            d = json.loads(path.read_text())
            return cls(
                d["issuer"],
                d["request"]["jws"],
                base64.b64decode(d["request"]["body"], validate=True),
                int(d["answer"]["status"]),
                d["answer"]["jws"],
                base64.b64decode(d["answer"]["body"], validate=True),
                d["member_jwk"],
                d["service_jwks"],
                d["log_vkey"],
                d["proof"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Malformed("this file is not a creditshare evidence package") from error

    def receipt(self) -> Receipt:
        """Return the service's part of the package."""
        return bare_receipt(
            self.answer_token,
            request_token=self.request_token,
            request_body=self.request_body,
            answer_body=self.answer_body,
            status=self.status,
            jwks=self.service_jwks,
        )

    def verify(self) -> list[str]:
        """Check everything; return one line for each thing shown. Raises where one does not hold."""
        compact = split(self.request_token)
        member = VerifyingKey.from_jwk(self.member_jwk)
        if not member.verify(compact.signing_input, compact.signature):
            raise VerificationFailed("the request's signature does not hold")
        claims = decode(compact.payload)
        if not isinstance(claims, dict) or claims.get("aud") != self.issuer:
            raise VerificationFailed("the request was meant for another service")
        if self.request_body and claims.get("cdg") != content_digest(self.request_body):
            raise VerificationFailed("the request's body is not the one that was signed")
        shown = [f"request: signed by key {member.kid} of {claims.get('iss')}, body unchanged"]
        receipt = self.receipt()
        shown += receipt.verify()
        log = receipt.check().log
        if log is None:
            return shown
        entry = LogEntry.from_mapping(log)
        if self.proof is None:
            return [*shown, "log: no inclusion proof in this package"]
        proof = InclusionProof.from_dict(self.proof)
        if proof.leaf_hash != entry.leaf_hash:
            raise VerificationFailed("the proof is of another leaf")
        checkpoint = proof.verify([Verifier.parse(self.log_vkey)])
        return [*shown, f"log: leaf {proof.index} of {checkpoint.size}, checkpoint signed by {checkpoint.origin}"]


def bare_receipt(
    token: str,
    *,
    request_token: str,
    request_body: bytes,
    answer_body: bytes,
    status: int,
    jwks: Mapping[str, Any],
) -> Receipt:
    """Put a receipt together from its parts. Who asked and whom is what the request's token says. ``Malformed``."""
    claims = decode_object(split(request_token).payload)
    try:
        keys = parse_jwks(jwks)
    except (KeyError, TypeError) as error:
        raise Malformed("the service's keys are a JSON Web Key Set") from error
    return Receipt(
        issuer=str(claims.get("aud")),
        member_id=str(claims.get("iss")),
        token=token,
        status=status,
        answer_body=answer_body,
        request_token=request_token,
        request_body=request_body,
        keys=keys,
    )
