"""The one spelling of numbers and bytes in the log's text formats.

Lenient decoders let two different texts mean one value, and then a digest or a comparison of the text says nothing.
So each reader here accepts exactly what the matching writer produces and raises ``Malformed`` for everything else.
"""

import base64
import re

from creditshare.errors import Malformed

MAX_SIZE = 2**63 - 1
"""Largest tree size and index accepted, in leaves: the range of a signed 64-bit integer, as in other log software."""

# Not str.isdigit: that also accepts digits of other scripts. 19 digits are enough for MAX_SIZE and keep int() cheap.
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


def decode_text(data: bytes | str, *, what: str, limit: int) -> str:
    """Return ``data`` as text that UTF-8 can carry.

    ``limit`` is in bytes for bytes and in characters for text. Raises ``Malformed`` when it is exceeded, for bytes
    that are not UTF-8 and for text with lone surrogates, which no UTF-8 spells.
    """
    if len(data) > limit:
        raise Malformed(f"{what} is larger than {limit} bytes")
    try:
        if isinstance(data, bytes):
            return data.decode()
        data.encode()
    except UnicodeError as error:
        raise Malformed(f"{what} is not valid UTF-8") from error
    return data


def has_control(text: str) -> bool:
    """Whether ``text`` holds an ASCII control character other than newline (C2SP signed-note, "Format")."""
    return any(char < " " and char != "\n" for char in text)


def decode_decimal(text: str, *, what: str) -> int:
    """Return the number of leaves or index that ``text`` spells: ASCII decimal, no sign, no leading zero.

    Raises ``Malformed`` for any other spelling and above ``MAX_SIZE``.
    """
    if not _DECIMAL.fullmatch(text):
        raise Malformed(f"{what} is not an ASCII decimal without leading zeros")
    value = int(text)
    if value > MAX_SIZE:
        raise Malformed(f"{what} is larger than 2^63 - 1")
    return value


def encode_std(data: bytes) -> str:
    """Return ``data`` in standard base64 with padding (RFC 4648 section 4)."""
    return base64.b64encode(data).decode("ascii")


def decode_std(text: str, *, what: str, size: int | None = None) -> bytes:
    """Return the bytes that ``text`` spells in standard base64 with padding; exactly ``size`` bytes where given.

    Raises ``Malformed`` for any other alphabet, missing padding and non-zero unused bits (RFC 4648 section 3.5).
    """
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Malformed(f"{what} is not standard base64") from error
    if encode_std(data) != text:
        raise Malformed(f"{what} is not canonical base64")
    return _sized(data, what=what, size=size)


def encode_url(data: bytes) -> str:
    """Return ``data`` in base64url without padding (RFC 4648 section 5), the spelling of bytes in our JSON."""
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def decode_url(text: str, *, what: str, size: int | None = None) -> bytes:
    """Return the bytes that ``text`` spells in base64url without padding; exactly ``size`` bytes where given.

    Raises ``Malformed`` for any other alphabet, for padding and for non-zero unused bits.
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise Malformed(f"{what} is not base64url") from error
    # The comparison also catches "+" and "/", which the decoder may let through beside its own two characters.
    if encode_url(data) != text:
        raise Malformed(f"{what} is not canonical base64url without padding")
    return _sized(data, what=what, size=size)


def _sized(data: bytes, *, what: str, size: int | None) -> bytes:
    if size is not None and len(data) != size:
        raise Malformed(f"{what} is not {size} bytes")
    return data
