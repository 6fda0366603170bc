"""The leaf of the audit log, what it commits to, and the part of an answer that opens it for the caller.

A leaf says when, and three commitments; it holds no value of a borrower, so it can be mirrored by anyone and never has
to be erased. A commitment is opened by its salt and payload, and forgetting the salt closes it for ever.

Two spellings of an event's id exist: ``evt_<uuid>`` in everything an API says, which is also what these functions take
and return, and the bare UUIDv4 inside the leaf. May grow: members of ``log`` (unknown ones are ignored). May not: the
leaf's bytes, the payload of ``c_body``; a change of either is a new ``v``.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Self

from creditshare.crypto.digests import content_digest, parse_content_digest
from creditshare.crypto.encoding import b64url_decode, b64url_encode
from creditshare.errors import Malformed, VerificationFailed
from creditshare.wire.strict_json import canonical, decode, decode_object

MAX_LEAF: Final = 4096
SALT_BYTES: Final = 32
COMMITMENT_BYTES: Final = 32
VERSION: Final = 1
Group = Literal["meta", "subj", "body"]

_DOMAIN: Final = "creditshare/audit/v1/"
_BEFORE: Final = {group: f"{_DOMAIN}{group}\0".encode("ascii") for group in ("meta", "subj", "body")}
_LEAF_MEMBERS: Final = frozenset({"at", "c_body", "c_meta", "c_subj", "id", "v"})
_UUID4: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_EVENT_PREFIX: Final = "evt_"
_MAX_AT: Final = 2**53 - 1
_LEAF_PREFIX: Final = b"\x00"  # RFC 6962 section 2.1: leaves and nodes are hashed differently


@dataclass(frozen=True, slots=True)
class Leaf:
    """A parsed leaf: event id (``evt_<uuid4>``), whole seconds since 1970, commitments of 32 bytes.

    ``c_subj`` may also be empty: the event concerns no known borrower.
    """

    event_id: str
    at: int
    c_meta: bytes
    c_subj: bytes
    c_body: bytes


def leaf_hash(leaf: bytes) -> bytes:
    """Return the 32 bytes that the Merkle tree holds for ``leaf``: SHA-256(0x00 ‖ leaf), RFC 6962 section 2.1."""
    return hashlib.sha256(_LEAF_PREFIX + leaf).digest()


def commit(group: Group, salt: bytes, payload: bytes) -> bytes:
    """Return HMAC-SHA-256(salt, "creditshare/audit/v1/<group>" ‖ 0 ‖ payload), 32 bytes.

    ``salt`` is 32 fresh random bytes, ``payload`` canonical JSON or empty. Raises ``Malformed`` for another group or
    length of salt.
    """
    if group not in _BEFORE or len(salt) != SALT_BYTES:
        raise Malformed("a commitment has a known group and a salt of 32 bytes")
    return hmac.digest(salt, _BEFORE[group] + payload, "sha256")


def build_leaf(*, event_id: str, at: int, c_meta: bytes, c_subj: bytes, c_body: bytes) -> bytes:
    """Return the leaf's exact bytes: canonical JSON, at most 4 KiB.

    ``event_id`` is ``evt_`` and a UUIDv4 in lower case, ``at`` whole seconds since 1970. Raises ``Malformed``.
    """
    return _spell(Leaf(event_id=event_id, at=at, c_meta=c_meta, c_subj=c_subj, c_body=c_body))


def parse_leaf(data: bytes) -> Leaf:
    """Read a leaf; ``Malformed`` unless ``data`` is exactly what ``build_leaf`` writes."""
    if len(data) > MAX_LEAF:
        raise Malformed("a leaf has at most 4096 bytes")
    members = decode_object(data, max_depth=1, allow_floats=False)
    if members.keys() != _LEAF_MEMBERS:
        raise Malformed("a leaf has the members at, c_body, c_meta, c_subj, id and v")
    at = members["at"]
    if type(at) is not int:
        raise Malformed("at is whole seconds")
    leaf = Leaf(
        event_id=_EVENT_PREFIX + _text(members, "id"),
        at=at,
        c_meta=b64url_decode(_text(members, "c_meta")),
        c_subj=b64url_decode(_text(members, "c_subj")),
        c_body=b64url_decode(_text(members, "c_body")),
    )
    # Writing it again refuses every other spelling of the same values, and another version.
    if _spell(leaf) != data:
        raise Malformed("a leaf has one spelling")
    return leaf


def body_payload(*, rqh: str, request_body_digest: str, answer_digest: str) -> bytes:
    """Return the canonical payload of ``c_body``: ``{"answer_digest":…,"request_body_digest":…,"rqh":…}``.

    ``rqh`` is base64url(SHA-256) of the request's JWS, the digests are RFC 9530 strings (of zero bytes where a body is
    empty). All three are empty strings for an act of the service itself, which no request caused. Raises ``Malformed``.
    """
    if rqh or request_body_digest or answer_digest:
        _sized(rqh)
        parse_content_digest(request_body_digest)
        parse_content_digest(answer_digest)
    return canonical({"answer_digest": answer_digest, "request_body_digest": request_body_digest, "rqh": rqh})


@dataclass(frozen=True, slots=True)
class LogEntry:
    """The member ``log`` of a signed answer: the leaf and what its caller needs to open ``c_meta`` and ``c_body``.

    ``leaf`` and ``meta`` are exact bytes, in ASCII; on the wire they are the JSON text itself, as strings, so that
    nothing has to be spelled again to check a hash. ``mmd`` is the maximum merge delay in seconds.
    """

    event_id: str
    leaf: bytes
    leaf_hash: bytes
    s_meta: bytes = field(repr=False)
    meta: bytes = field(repr=False)
    s_body: bytes = field(repr=False)
    mmd: int

    def to_mapping(self) -> dict[str, object]:
        """Return the JSON object: texts as they are, hash and salts in base64url."""
        return {
            "event_id": self.event_id,
            "leaf": self.leaf.decode("ascii"),
            "leaf_hash": b64url_encode(self.leaf_hash),
            "s_meta": b64url_encode(self.s_meta),
            "meta": self.meta.decode("ascii"),
            "s_body": b64url_encode(self.s_body),
            "mmd": self.mmd,
        }

    @classmethod
    def from_mapping(cls, members: Mapping[str, object]) -> Self:
        """Read what ``to_mapping`` wrote; ``Malformed`` for anything else. Nothing is compared yet: see ``check``."""
        mmd = members.get("mmd")
        if type(mmd) is not int or mmd < 1:
            raise Malformed("mmd is a positive number of seconds")
        leaf, meta = _ascii(members, "leaf"), _ascii(members, "meta")
        parse_leaf(leaf)
        if canonical(decode(meta)) != meta:
            raise Malformed("meta is canonical JSON")
        event_id = _text(members, "event_id")
        _bare_id(event_id)
        return cls(
            event_id=event_id,
            leaf=leaf,
            leaf_hash=_sized(_text(members, "leaf_hash")),
            s_meta=_sized(_text(members, "s_meta")),
            meta=meta,
            s_body=_sized(_text(members, "s_body")),
            mmd=mmd,
        )

    def check(self, *, rqh: str, request_body: bytes, answer_body: bytes) -> None:
        """Check that the leaf is of this event and commits to this very exchange and to ``meta``.

        Raises ``VerificationFailed`` otherwise. That the leaf is in the tree is shown later, by an inclusion proof.
        """
        try:
            leaf = parse_leaf(self.leaf)
            body = body_payload(
                rqh=rqh,
                request_body_digest=content_digest(request_body),
                answer_digest=content_digest(answer_body),
            )
            c_meta, c_body = commit("meta", self.s_meta, self.meta), commit("body", self.s_body, body)
        except Malformed as error:
            raise VerificationFailed("the log entry cannot be opened") from error
        if leaf.event_id != self.event_id:
            raise VerificationFailed("the leaf is of another event")
        if leaf_hash(self.leaf) != self.leaf_hash:
            raise VerificationFailed("leaf_hash is not the leaf's hash")
        if c_meta != leaf.c_meta:
            raise VerificationFailed("the leaf does not commit to meta")
        if c_body != leaf.c_body:
            raise VerificationFailed("the leaf does not commit to this request and answer")


def _spell(leaf: Leaf) -> bytes:
    if not 0 <= leaf.at <= _MAX_AT:
        raise Malformed("at is whole seconds since 1970")
    if len(leaf.c_meta) != COMMITMENT_BYTES or len(leaf.c_body) != COMMITMENT_BYTES:
        raise Malformed("c_meta and c_body are 32 bytes")
    if leaf.c_subj and len(leaf.c_subj) != COMMITMENT_BYTES:
        raise Malformed("c_subj is 32 bytes or empty")
    # Canonical JSON as it stands: the names are in order, and no value has anything to escape.
    return (
        f'{{"at":{leaf.at},"c_body":"{b64url_encode(leaf.c_body)}","c_meta":"{b64url_encode(leaf.c_meta)}",'
        f'"c_subj":"{b64url_encode(leaf.c_subj)}","id":"{_bare_id(leaf.event_id)}","v":{VERSION}}}'
    ).encode("ascii")


def _bare_id(event_id: str) -> str:
    bare = event_id.removeprefix(_EVENT_PREFIX)
    if event_id == bare or _UUID4.fullmatch(bare) is None:
        raise Malformed("an event id is evt_ and a UUIDv4 in lower case")
    return bare


def _text(members: Mapping[str, object], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str):
        raise Malformed(f"{name} is a string")
    return value


def _ascii(members: Mapping[str, object], name: str) -> bytes:
    text = _text(members, name)
    if not text.isascii():
        raise Malformed(f"{name} is ASCII")
    return text.encode("ascii")


def _sized(text: str) -> bytes:
    data = b64url_decode(text)
    if len(data) != hashlib.sha256().digest_size:
        raise Malformed("hashes and salts are 32 bytes")
    return data
