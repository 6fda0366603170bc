"""The evidence package: request, answer, both bodies and the keys to check them by. Verified offline, years later."""

import base64
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from creditshare.client.core import SignedAnswer, parse_jwks
from creditshare.client.receipt import Receipt
from creditshare.crypto.digests import content_digest
from creditshare.crypto.jws import VerifyingKey, split
from creditshare.errors import Malformed, VerificationFailed
from creditshare.tlog.note import Verifier
from creditshare.tlog.proof import InclusionProof
from creditshare.wire.answers import MAX_PAYLOAD, MAX_TOKEN
from creditshare.wire.leaf import LogEntry
from creditshare.wire.strict_json import decode_object

KIND: Final = "creditshare-evidence/v1"


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
        """Write the package as JSON, for its owner's eyes: bodies tell of a borrower. They are kept byte for byte."""
        document = {
            "kind": KIND,
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
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(json.dumps(document, indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Evidence":
        """Read a package; anything but its exact form is ``Malformed``."""
        try:
            d: Any = decode_object(path.read_bytes())
            if d["kind"] != KIND or type(d["answer"]["status"]) is not int:
                raise Malformed("this file is an evidence package of another kind")
            return cls(
                d["issuer"],
                d["request"]["jws"],
                base64.b64decode(d["request"]["body"], validate=True),
                d["answer"]["status"],
                d["answer"]["jws"],
                base64.b64decode(d["answer"]["body"], validate=True),
                d["member_jwk"],
                d["service_jwks"],
                d["log_vkey"],
                d["proof"],
            )
        except (OSError, KeyError, TypeError, ValueError) as error:
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

    def verify(self, *, service_kids: Collection[str] | None = None, log_vkey: str | None = None) -> list[str]:
        """Check everything; return one line for each thing shown. Raises where one does not hold.

        ``service_kids`` and ``log_vkey`` are the service's keys as the reader knows them from elsewhere. Without them
        the package is checked by the keys that it brings along, and whoever made it may have made those too.
        """
        compact = split(self.request_token)
        member = VerifyingKey.from_jwk(self.member_jwk)
        if not member.verify(compact.signing_input, compact.signature):
            raise VerificationFailed("the request's signature does not hold")
        claims = decode_object(compact.payload)
        if claims.get("aud") != self.issuer:
            raise VerificationFailed("the request was meant for another service")
        # Without a body there is no digest either: one that was taken out of the package is missed.
        if claims.get("cdg") != (content_digest(self.request_body) if self.request_body else None):
            raise VerificationFailed("the request's body is not the one that was signed")
        shown = [f"request: signed by key {member.kid} of {claims.get('iss')}, body unchanged"]
        receipt = self.receipt()
        shown += receipt.verify()
        shown.append(self._trust(service_kids, log_vkey))
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
        if checkpoint.origin != self.issuer.partition("://")[2] + "/log":
            raise VerificationFailed("the proof is of another service's log")
        return [*shown, f"log: leaf {proof.index} of {checkpoint.size}, checkpoint signed by {checkpoint.origin}"]

    def _trust(self, service_kids: Collection[str] | None, log_vkey: str | None) -> str:
        kid = decode_object(split(self.answer_token, max_token=MAX_TOKEN, max_payload=MAX_PAYLOAD).header)["kid"]
        if service_kids is not None and kid not in service_kids:
            raise VerificationFailed(
                f"the answer is signed by {kid}, which is none of the service's keys as you know them"
            )
        if log_vkey is not None and log_vkey != self.log_vkey:
            raise VerificationFailed("the log's key in this package is not the one that you know")
        if service_kids is not None and log_vkey is not None:
            return f"trust: the service's key {kid} and the log's key are those that you know"
        return (
            f"trust: by the keys in this package. Compare with what the operator published: service {kid}, log"
            f" {self.log_vkey}"
        )


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
