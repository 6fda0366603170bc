"""The file in which a member gets its data back: lines of JWE that it alone opens, and the service's signature at last.

Each line but the last is a compact JWE (``crypto/jwe.py``) of rows, one JSON object a line; its protected header says
which file it belongs to (``fid``) and which part it is (``n``, from 0). The last line is a compact JWS of the service
over the SHA-256 of all bytes before it, so that nothing can be left out, added or put in another order, and so that the
member can show whose file it is. Members of rows may be added; a reader ignores what it does not know.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from creditshare.crypto.encoding import b64url_encode
from creditshare.crypto.jwe import OpeningKey, RecipientKey
from creditshare.crypto.jws import ES256, SigningKey, VerifyingKey, split
from creditshare.errors import Malformed, VerificationFailed
from creditshare.wire.strict_json import canonical, decode_object

PART_TYP: Final = "cs-handback+jwe"
END_TYP: Final = "cs-handback+jwt"
JWS_DOTS: Final = 2


@dataclass(frozen=True, slots=True)
class End:
    """What the service signed: who handed back to whom, when (seconds), which file, how many parts, their digest."""

    iss: str
    aud: str
    iat: int
    fid: str
    parts: int
    digest: str


class Writing:
    """A file being written. Each call returns one line, without its end."""

    def __init__(self, recipient: RecipientKey, *, issuer: str, member_id: str, fid: str) -> None:
        self._recipient = recipient
        self._issuer = issuer
        self._member_id = member_id
        self._fid = fid
        self._parts = 0
        self._digest = hashlib.sha256()

    def part(self, rows: Sequence[Mapping[str, Any]]) -> bytes:
        """Return the next line: some rows, readable by the recipient alone."""
        text = "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)
        header = {"typ": PART_TYP, "fid": self._fid, "n": self._parts}
        line = self._recipient.encrypt(text.encode(), header).encode("ascii")
        self._parts += 1
        self._digest.update(line + b"\n")
        return line

    def end(self, key: SigningKey, *, iat: int) -> tuple[bytes, str]:
        """Return the last line, and the digest that it signs."""
        digest = b64url_encode(self._digest.digest())
        claims = {
            "iss": self._issuer,
            "aud": self._member_id,
            "iat": iat,
            "fid": self._fid,
            "parts": self._parts,
            "digest": digest,
        }
        return key.sign({"typ": END_TYP, "kid": key.kid}, canonical(claims)).encode("ascii"), digest


class Reading:
    """A file being read. ``end`` is known, and all that was read is good, only once ``rows`` has come to its end."""

    def __init__(self, key: OpeningKey, *, service_keys: Mapping[str, VerifyingKey] | None = None) -> None:
        self._key = key
        self._service_keys = service_keys
        self.end: End | None = None

    def rows(self, lines: Iterable[bytes]) -> Iterator[dict[str, object]]:
        """Yield the rows of all parts; ``VerificationFailed`` where anything is missing, moved or changed."""
        digest, parts, fid = hashlib.sha256(), 0, None
        for ended in lines:
            line = ended.removesuffix(b"\n")
            if self.end is not None:
                raise VerificationFailed("there is more behind the end of the file")
            if line.count(b".") == JWS_DOTS:
                self.end = self._read_end(line)
                continue
            opened = self._key.open(line)
            if opened.header.get("typ") != PART_TYP or opened.header.get("n") != parts:
                raise VerificationFailed(f"line {parts + 1} is not part {parts} of a file handed back")
            fid = opened.header.get("fid") if fid is None else fid
            if opened.header.get("fid") != fid:
                raise VerificationFailed("parts of two files")
            parts += 1
            digest.update(line + b"\n")
            for row in opened.plaintext.splitlines():
                yield decode_object(row)
        if self.end is None:
            raise VerificationFailed("the file is cut off: its last line is missing")
        if (self.end.parts, self.end.digest) != (parts, b64url_encode(digest.digest())):
            raise VerificationFailed("the file is not the one that the service signed")

    def _read_end(self, line: bytes) -> End:
        compact = split(line)
        header, claims = decode_object(compact.header), decode_object(compact.payload)
        if header.get("typ") != END_TYP or header.get("alg") != ES256.name:
            raise Malformed("the last line is not the end of a file handed back")
        if self._service_keys is not None:
            key = self._service_keys.get(str(header.get("kid")))
            if key is None or not key.verify(compact.signing_input, compact.signature):
                raise VerificationFailed("the file is not signed by the service whose keys were given")
        try:
            texts = [str(claims[name]) for name in ("iss", "aud", "fid", "digest")]
            numbers = [int(str(claims[name])) for name in ("iat", "parts")]
        except (KeyError, ValueError) as error:
            raise Malformed("the last line lacks a claim") from error
        return End(texts[0], texts[1], numbers[0], texts[2], numbers[1], texts[3])
