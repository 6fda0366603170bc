"""Borrower identifiers, which never leave the member: normalised, their check digits checked, then blinded."""

import re
import unicodedata
import warnings
from typing import Final, Literal

from stdnum import lei
from stdnum.cn import ric, uscc

from creditshare.errors import Malformed

IdType = Literal["uscc", "cnid", "lei"]
LEI_LENGTH: Final = 20  # ISO 17442-1; the library checks the check digits only


def _is_lei(text: str) -> bool:
    return len(text) == LEI_LENGTH and bool(lei.is_valid(text))


_CHECKS: Final = {
    "uscc": uscc.is_valid,
    "cnid": ric.is_valid,
    "lei": _is_lei,
}
_LEGACY_USCC: Final = re.compile(r"[0-9A-Z]{8}M000[0-9A-Z]{6}")


def borrower_input(id_type: IdType, identifier: str) -> bytes:
    """Return the oblivious function's input: ``creditshare/v1|<type>|<normalised identifier>`` in UTF-8.

    NFKC, no spaces, upper case. A wrong check digit is refused, because a mistyped identifier would be
    another borrower; pilot-region codes (GB 32100, ``…M000x…``) are legal though they fail, so they warn.
    """
    plain = "".join(unicodedata.normalize("NFKC", identifier).split()).upper()
    if id_type not in _CHECKS:
        raise Malformed("the identifier's type is one of uscc, cnid, lei")
    if not _CHECKS[id_type](plain):
        if id_type != "uscc" or not _LEGACY_USCC.fullmatch(plain):
            raise Malformed(f"the check digit of this {id_type} does not fit")
        warnings.warn("a pilot-region code whose check digit does not fit; compare it with the licence", stacklevel=2)
    return f"creditshare/v1|{id_type}|{plain}".encode()
