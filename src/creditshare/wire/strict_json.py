"""JSON with one reading: what two parsers could understand differently is refused.

RFC 8259 within the limits of I-JSON (RFC 7493): UTF-8 without byte order mark, no name twice in one object, no lone
surrogates, integers that a double holds exactly, no NaN or infinity. Nesting is bounded before the recursive parser
sees the bytes. ``canonical`` is the one spelling that is hashed and signed; it is not RFC 8785, because it knows no
floats and writes printable ASCII only, so that a few lines in any language reproduce it.
"""

import json
import math
import re
from collections.abc import Mapping
from json.encoder import c_make_encoder, encode_basestring_ascii  # type: ignore[attr-defined]  # CPython's own, untyped
from typing import Final, NoReturn

from creditshare.errors import Malformed

MAX_DEPTH: Final = 32
_MAX_INTEGER: Final = 2**53 - 1  # RFC 7493 section 2.2
_BOM: Final = b"\xef\xbb\xbf"

# A string, to be skipped whole, or one bracket. Possessive, and the closing quote is optional, so that an unfinished
# string is one match to the end of the input and hostile input costs linear time.
_STRING_OR_BRACKET: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
_SURROGATE_ESCAPE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def decode(data: bytes, *, max_depth: int = MAX_DEPTH, allow_floats: bool = True) -> object:
    """Return the value that ``data`` spells: dict, list, str, int, float, bool or None.

    ``max_depth`` counts nested arrays and objects. Without ``allow_floats`` a number with a fraction or an exponent is
    refused. Raises ``Malformed``, and nothing else, for every byte string that is not such a value.
    """
    if data.startswith(_BOM):
        raise Malformed("JSON must not begin with a byte order mark")
    _check_depth(data, max_depth)
    try:
        value: object = (_WITH_FLOATS if allow_floats else _WITHOUT_FLOATS).decode(data.decode("utf-8"))
    except ValueError:
        # Not chained: the parser's error keeps the whole document.
        raise Malformed("not JSON in UTF-8") from None
    if _SURROGATE_ESCAPE.search(data):
        _check_surrogates(value)
    return value


def decode_object(data: bytes, *, max_depth: int = MAX_DEPTH, allow_floats: bool = True) -> dict[str, object]:
    """Return the JSON object in ``data``; ``Malformed`` if it is any other value or ``decode`` refuses it."""
    value = decode(data, max_depth=max_depth, allow_floats=allow_floats)
    if not isinstance(value, dict):
        raise Malformed("not a JSON object")
    return value


def canonical(value: object) -> bytes:
    r"""Return the one spelling of ``value``: names sorted by code point, no spaces, printable ASCII only.

    Strings escape ``"`` and ``\`` with a backslash, five controls as ``\b \t \n \f \r``, and whatever else is not
    between U+0020 and U+007E as UTF-16 units in ``\u`` and four lower-case hexadecimal digits; ``/`` stays as it is.
    Takes mappings with string names, lists, tuples, str, bool, None and integers within ±(2**53 - 1); raises
    ``Malformed`` for floats, whose spelling differs between languages, and for everything else.
    """
    return "".join(_spell(value if _is_plain(value, MAX_DEPTH) else _plain(value, MAX_DEPTH), 0)).encode("ascii")


def _is_plain(value: object, depth: int) -> bool:
    """Whether ``value`` is made of ASCII texts and what else the encoder spells canonically as it is.

    Nearly all that a request spells is: nothing is copied then, and nothing called for a text.
    """
    if type(value) is dict and depth > 0:
        for name, item in value.items():
            if type(name) is not str or not name.isascii():
                return False
            if not (item.isascii() if type(item) is str else _is_plain(item, depth - 1)):
                return False
        return True
    if type(value) is list and depth > 0:
        return all([_is_plain(item, depth - 1) for item in value])  # noqa: C419  quicker than one by one
    if type(value) is int:
        return -_MAX_INTEGER <= value <= _MAX_INTEGER
    return value is None or type(value) is bool or (type(value) is str and value.isascii())


def _plain(value: object, depth: int) -> object:
    """Return ``value`` with mappings as dicts and sequences as lists, refusing what has no canonical spelling."""
    match value:
        case None | bool():
            return value
        case str():
            _check_text(value)
            return value
        case int() if abs(value) <= _MAX_INTEGER:
            return value
        case list() | tuple() if depth > 0:
            return [_plain(item, depth - 1) for item in value]
        case Mapping() if depth > 0:
            return {_name(name): _plain(item, depth - 1) for name, item in value.items()}
        case _:
            raise Malformed("no canonical JSON for a value of this type, size or depth")


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise Malformed("names in JSON are strings")
    if not name.isascii():
        _check_text(name)
    return name


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise Malformed("a lone surrogate is not text") from None


def _check_depth(data: bytes, max_depth: int) -> None:
    # Most documents have fewer brackets in all than may be nested; they need no walk.
    if data.count(b"{") + data.count(b"[") <= max_depth:
        return
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(data):
        token = data[match.start()]
        if token in b"{[":
            depth += 1
            if depth > max_depth:
                raise Malformed("too deeply nested")
        elif token in b"}]":
            depth -= 1


def _check_surrogates(value: object) -> None:
    """Refuse half a pair of UTF-16 escapes: it cannot be written back as UTF-8 (RFC 7493 section 2.1)."""
    _check_text(json.dumps(value, ensure_ascii=False))


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Malformed("a name occurs twice in one object")
    return members


def _integer(digits: str) -> int:
    # Longer spellings never fit; not converting them also avoids quadratic time.
    number = int(digits) if len(digits) <= len(str(-_MAX_INTEGER)) else _MAX_INTEGER + 1
    if abs(number) > _MAX_INTEGER:
        raise Malformed("an integer is too large to be exact everywhere")
    return number


def _float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise Malformed("a number is too large")
    return number


def _no_float(_digits: str) -> NoReturn:
    raise Malformed("numbers here are integers")


def _no_constant(_name: str) -> NoReturn:
    raise Malformed("NaN and Infinity are not JSON")


_WITH_FLOATS: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_no_constant
)
_WITHOUT_FLOATS: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_no_float, parse_constant=_no_constant
)


def _refuse(value: object) -> NoReturn:
    raise Malformed(f"no canonical JSON for a {type(value).__name__}")


_spell: Final = c_make_encoder(None, _refuse, encode_basestring_ascii, None, ":", ",", True, False, False)  # noqa: FBT003
"""The standard library's encoder: names sorted, no spaces, ASCII. Made once; ``json.dumps`` makes one for each call."""
