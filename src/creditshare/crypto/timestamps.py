"""Time-stamps of RFC 3161: what an authority is asked, and whether its signed token says that a message was there.

Tokens are kept bare (``TimeStampToken``, DER), without the answer's envelope around them. The library that reads them
is strict: BER, sets out of order and a second signer are refused. Needs the extra ``anchors`` (rfc3161-client).
Left out: revocation of an authority's certificate, which a token cannot show.
"""

import hashlib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from cryptography import x509

from creditshare.errors import ConfigurationError, Malformed, VerificationFailed

MISSING: Final = "time-stamps need rfc3161-client: pip install 'creditshare[anchors]'"
REQUEST_TYPE: Final = "application/timestamp-query"
"""Media type of a request over HTTP (RFC 3161 section 3.4)."""
MAX_REPLY: Final = 65_536
"""Longest answer that is read, in bytes; usual ones are of 1,000 to 6,000."""

_SHA256: Final = "2.16.840.1.101.3.4.2.1"
_GRANTED: Final = 0
_GRANTED_INFO: Final = bytes.fromhex("3003020100")
"""``PKIStatusInfo`` of nothing but the status granted, in DER."""


@dataclass(frozen=True, slots=True)
class StampRequest:
    """A request for one stamp: its DER bytes, and the random number that the answer to it must bear."""

    body: bytes
    nonce: int


@dataclass(frozen=True, slots=True)
class Stamp:
    """A token that was verified, and the time that it states, in UTC."""

    token: bytes
    at: datetime


def stamp_request(message: bytes) -> StampRequest:
    """Return a fresh request for a stamp over SHA-256 of a message, with the signer's certificate in the answer.

    Raises ``ConfigurationError`` where the extra is not installed.
    """
    library = _library()
    builder = library.TimestampRequestBuilder().data(message).hash_algorithm(library.HashAlgorithm.SHA256)
    request = builder.build()
    return StampRequest(bytes(request.as_bytes()), int(request.nonce))


class StampRoots:
    """The certificates that tokens must lead to. Only self-signed ones are roots; others fill gaps in between.

    Raises ``ConfigurationError`` where the extra is not installed.
    """

    def __init__(self, certificates: Sequence[x509.Certificate]) -> None:
        self._library = _library()
        self._verifier = self._library.VerifierBuilder(roots=list(certificates)).build()

    @classmethod
    def parse(cls, pem: bytes) -> Self:
        """Read certificates in PEM. Raises ``Malformed`` where there is none, or one is broken."""
        try:
            return cls(x509.load_pem_x509_certificates(pem))
        except ValueError as error:
            raise Malformed("not certificates in PEM") from error

    def accept(self, reply: bytes, request: StampRequest, message: bytes) -> Stamp:
        """Return the stamp in an authority's answer (``TimeStampResp``, DER) to a request over this message.

        The number that only the request knew makes the answer a fresh one (RFC 3161 section 2.2). Raises ``Malformed``
        for what is no such answer, ``VerificationFailed`` for a refusal and for all that does not hold.
        """
        response = self._decode(reply)
        if response.status != _GRANTED:
            raise VerificationFailed(f"the authority refuses, with status {int(response.status)}")
        try:
            token, nonce = bytes(response.time_stamp_token()), response.tst_info.nonce
        except ValueError as error:
            raise Malformed("no time-stamp token in DER") from error
        if nonce != request.nonce:
            raise VerificationFailed("the stamp answers another request")
        return self.verify(token, message)

    def verify(self, token: bytes, message: bytes) -> Stamp:
        """Check a token over a message, up to the roots, as of the time that it states.

        Raises ``Malformed`` for what is no token of one signer, ``VerificationFailed`` for a token over something else,
        by another authority, or by a certificate that may not stamp.
        """
        response = self._decode(_granted(token))
        try:
            info = response.tst_info
            imprint = info.message_imprint
            algorithm, digest, at = imprint.hash_algorithm.dotted_string, bytes(imprint.message), info.gen_time
        except ValueError as error:
            raise Malformed("no time-stamp token in DER") from error
        if algorithm != _SHA256 or digest != hashlib.sha256(message).digest():
            raise VerificationFailed("the stamp is over something else")
        try:
            self._verifier.verify(response, digest)
        except (self._library.VerificationError, ValueError) as error:
            raise VerificationFailed("the stamp's signature does not lead to a trusted root") from error
        return Stamp(token, at)

    def _decode(self, reply: bytes) -> Any:
        try:
            return self._library.decode_timestamp_response(reply)
        except ValueError as error:
            raise Malformed(f"no time-stamp answer in DER: {error}") from error


def _granted(token: bytes) -> bytes:
    """Return the answer that a bare token came in: only whole answers are read by the library."""
    inside = _GRANTED_INFO + token
    length = len(inside)
    if length < 0x80:  # noqa: PLR2004  X.690 section 8.1.3.4: the short form
        return bytes([0x30, length]) + inside
    spelled = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([0x30, 0x80 | len(spelled)]) + spelled + inside


def _library() -> Any:
    """Load the library here and not with the module: only who asks for stamps or checks them needs it."""
    try:
        return importlib.import_module("rfc3161_client")
    except ImportError:
        raise ConfigurationError(MISSING) from None
