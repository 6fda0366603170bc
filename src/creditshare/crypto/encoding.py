"""Base64url as JOSE uses it: one spelling per value, everything else refused.

RFC 7515 section 2 (no padding) and RFC 4648 section 3.5 (canonical encoding: unused trailing bits are zero). Lenient
decoders let one signature have several spellings, which breaks every rule that compares or hashes a token.
Left out: ordinary base64 of RFC 9530, which is in ``digests``.
"""

import binascii
from typing import Final

from creditshare.errors import Malformed

_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
# RFC 4648 section 5 has "-" and "_" in place of "+" and "/", which would be a second spelling here.
_FROM_URL: Final = bytes.maketrans(b"-_+/", b"+/!!")


def b64url_encode(data: bytes) -> str:
    """Return ``data`` in base64url without padding (RFC 7515 section 2): ``ceil(4n/3)`` ASCII characters."""
    return _spelled(data).decode("ascii")


def b64url_decode(text: str | bytes) -> bytes:
    """Return the bytes whose only spelling is ``text``.

    Raises ``Malformed`` on padding, whitespace, characters outside the alphabet of RFC 4648 section 5, an impossible
    length, or unused trailing bits that are not zero. The empty text is the spelling of zero bytes.
    """
    try:
        spelled = text.encode("ascii") if isinstance(text, str) else text
        data = binascii.a2b_base64(spelled.translate(_FROM_URL) + b"=" * (-len(spelled) % 4))
    except (UnicodeEncodeError, binascii.Error) as error:
        raise Malformed("not base64url") from error
    # The library skips foreign characters and ignores trailing bits. Encoding again and comparing refuses both, and
    # whatever other leniency it may grow, without a second list of rules here.
    if _spelled(data) != spelled:
        raise Malformed("not canonical base64url without padding")
    return data


def _spelled(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=")
