"""The file that is handed back: nothing is left out, added, moved or taken from another file unnoticed."""

from collections.abc import Callable

import pytest

from creditshare.crypto.jwe import OpeningKey, RecipientKey
from creditshare.crypto.jws import SigningKey
from creditshare.errors import CreditshareError, VerificationFailed
from creditshare.wire.handback import Reading, Writing

KEY = OpeningKey.generate()
SERVICE = SigningKey.generate()
ROWS = [[{"row": "record", "n": f"{part}.{number}"} for number in range(2)] for part in range(3)]


def written(fid: str = "f1", *, by: SigningKey = SERVICE) -> list[bytes]:
    writing = Writing(RecipientKey.from_jwk(KEY.public_jwk), issuer="https://s", member_id="mem_1", fid=fid)
    return [*(writing.part(rows) for rows in ROWS), writing.end(by, iat=1)[0]]


def read(lines: list[bytes]) -> list[object]:
    return list(Reading(KEY, service_keys={SERVICE.kid: SERVICE.verifying_key}).rows(line + b"\n" for line in lines))


def test_what_was_written_is_read() -> None:
    assert read(written()) == [row for rows in ROWS for row in rows]
    reading = Reading(KEY)
    list(reading.rows(written(by=SigningKey.generate())))
    assert reading.end is not None
    assert (reading.end.aud, reading.end.parts) == ("mem_1", 3)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[:-1],
        lambda lines: [*lines[:2], lines[3]],
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [*lines, lines[0]],
        lambda lines: [*lines[:2], written("f2")[2], lines[3]],
        lambda lines: [*lines[:3], written("f2")[3]],
        lambda lines: [*lines[:3], written(by=SigningKey.generate())[3]],
        lambda lines: [lines[3]],
    ],
    ids=["no end", "last gone", "second gone", "swapped", "more", "another's part", "another's end", "signer", "empty"],
)
def test_a_changed_file_is_noticed(change: Callable[[list[bytes]], list[bytes]]) -> None:
    with pytest.raises(VerificationFailed):
        read(change(written()))


def test_what_is_no_such_file_is_refused() -> None:
    with pytest.raises(CreditshareError):
        read([b"hello"])
