"""SHA-256 in the two spellings that travel: the RFC 9530 digest string and base64url.

One algorithm and one member, on purpose: a dictionary with a second algorithm would let two readers check two
different digests of the same message.
"""

import base64
import hashlib
import re

from creditshare.crypto.encoding import b64url_encode
from creditshare.errors import Malformed

_SHA256_MEMBER = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")


def content_digest(body: bytes) -> str:
    """Return the RFC 9530 section 2 string ``sha-256=:<base64>:`` over ``body`` as sent (54 characters)."""
    return encode_content_digest(hashlib.sha256(body).digest())


def encode_content_digest(digest: bytes) -> str:
    """Return the RFC 9530 string of a SHA-256 that was taken part by part."""
    return f"sha-256=:{base64.b64encode(digest).decode('ascii')}:"


def parse_content_digest(text: str) -> bytes:
    """Return the 32 bytes of a digest string that has exactly one member, ``sha-256``.

    Raises ``Malformed`` for any other member, parameter, whitespace or non-canonical base64, although the dictionary
    syntax of RFC 8941 section 3.2 would allow some of them.
    """
    match = _SHA256_MEMBER.fullmatch(text)
    if match is None:
        raise Malformed("a digest is exactly one RFC 9530 member sha-256=:<base64>:")
    digest = base64.b64decode(match[1])
    if base64.b64encode(digest).decode("ascii") != match[1]:
        raise Malformed("the digest is not canonical base64")
    return digest


def sha256_b64url(data: bytes) -> str:
    """Return SHA-256 of ``data`` as 43 characters of base64url."""
    return b64url_encode(hashlib.sha256(data).digest())
