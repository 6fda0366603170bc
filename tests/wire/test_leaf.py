"""The leaf's exact bytes, what it commits to, and how a caller opens its own part."""

import base64
import dataclasses
import hashlib
import hmac
import json
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from creditshare.crypto.digests import content_digest, sha256_b64url
from creditshare.errors import Malformed, VerificationFailed
from creditshare.tlog import merkle
from creditshare.wire.leaf import (
    Group,
    Leaf,
    LogEntry,
    body_payload,
    build_leaf,
    commit,
    leaf_hash,
    parse_leaf,
)
from creditshare.wire.strict_json import canonical

BARE: Final = "6f1c2a4e-9d3b-4c5f-8a7e-0123456789ab"
EVENT: Final = f"evt_{BARE}"
RQH: Final = sha256_b64url(b"the request's token")
REQUEST: Final = b'{"purpose":"pre_loan"}'
ANSWER: Final = b'{"match":"none"}'
SALTS: Final = {"meta": b"\x01" * 32, "subj": b"\x02" * 32, "body": b"\x03" * 32}
META: Final = canonical({"action": "query", "actor": "mem_a", "outcome": "ok"})
BODY: Final = body_payload(rqh=RQH, request_body_digest=content_digest(REQUEST), answer_digest=content_digest(ANSWER))
FIELDS: Final[dict[str, Any]] = {
    "event_id": EVENT,
    "at": 1_800_000_000,
    "c_meta": commit("meta", SALTS["meta"], META),
    "c_subj": commit("subj", SALTS["subj"], b""),
    "c_body": commit("body", SALTS["body"], BODY),
}
LEAF: Final = build_leaf(**FIELDS)
ENTRY: Final = LogEntry(
    event_id=EVENT,
    leaf=LEAF,
    leaf_hash=leaf_hash(LEAF),
    s_meta=SALTS["meta"],
    meta=META,
    s_body=SALTS["body"],
    mmd=60,
)
EXCHANGE: Final[dict[str, Any]] = {"rqh": RQH, "request_body": REQUEST, "answer_body": ANSWER}


@pytest.mark.parametrize("group", ["meta", "subj", "body"])
def test_a_commitment_is_the_hmac_of_the_design(group: Group) -> None:
    message = b"creditshare/audit/v1/" + group.encode() + bytes(1) + b"payload"
    assert commit(group, SALTS[group], b"payload") == hmac.new(SALTS[group], message, hashlib.sha256).digest()


def test_groups_are_told_apart() -> None:
    groups: tuple[Group, ...] = ("meta", "subj", "body")
    assert len({commit(group, bytes(32), b"x") for group in groups}) == 3


@pytest.mark.parametrize(
    ("group", "salt"),
    [("meta", b""), ("meta", bytes(31)), ("meta", bytes(33)), ("other", bytes(32)), ("", bytes(32))],
)
def test_commitments_that_are_refused(group: Any, salt: bytes) -> None:
    with pytest.raises(Malformed):
        commit(group, salt, b"")


def test_the_exact_bytes() -> None:
    leaf = build_leaf(event_id=EVENT, at=7, c_meta=b"\0" * 32, c_subj=b"", c_body=b"\xff" * 32)
    zeros, ones = "A" * 43, "_" * 42 + "8"
    assert leaf.decode() == f'{{"at":7,"c_body":"{ones}","c_meta":"{zeros}","c_subj":"","id":"{BARE}","v":1}}'
    assert parse_leaf(leaf) == Leaf(event_id=EVENT, at=7, c_meta=bytes(32), c_subj=b"", c_body=b"\xff" * 32)


def test_the_hash_is_the_trees() -> None:
    assert leaf_hash(LEAF) == hashlib.sha256(b"\0" + LEAF).digest() == merkle.leaf_hash(LEAF)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"event_id": BARE}, id="id-without-prefix"),
        pytest.param({"event_id": f"rec_{BARE}"}, id="id-of-another-kind"),
        pytest.param({"event_id": EVENT.upper()}, id="id-upper-case"),
        pytest.param({"event_id": EVENT.replace("-4c5f", "-7c5f")}, id="uuid-version-7"),
        pytest.param({"event_id": EVENT.replace("-8a7e", "-ca7e")}, id="uuid-other-variant"),
        pytest.param({"event_id": EVENT + "\n"}, id="id-newline"),
        pytest.param({"event_id": "evt_" + EVENT}, id="prefix-twice"),
        pytest.param({"at": -1}, id="at-negative"),
        pytest.param({"at": 2**53}, id="at-too-large"),
        pytest.param({"c_meta": b""}, id="c-meta-empty"),
        pytest.param({"c_meta": bytes(31)}, id="c-meta-short"),
        pytest.param({"c_body": b""}, id="c-body-empty"),
        pytest.param({"c_body": bytes(33)}, id="c-body-long"),
        pytest.param({"c_subj": bytes(1)}, id="c-subj-short"),
    ],
)
def test_leaves_that_are_not_built(change: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        build_leaf(**{**FIELDS, **change})


def _respell(**changes: object) -> bytes:
    members = {**json.loads(LEAF), **changes}
    return json.dumps(members, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"[]", id="list"),
        pytest.param(LEAF + b"\n", id="newline"),
        pytest.param(b" " + LEAF, id="space"),
        pytest.param(b"\xef\xbb\xbf" + LEAF, id="byte-order-mark"),
        pytest.param(LEAF.replace(b":", b": "), id="spaces"),
        pytest.param(LEAF.replace(b'"at"', b'"\\u0061t"'), id="escaped-name"),
        pytest.param(LEAF[:-1] + b',"v":1}', id="name-twice"),
        pytest.param(json.dumps(dict(reversed(json.loads(LEAF).items())), separators=(",", ":")).encode(), id="order"),
        pytest.param(_respell(x=1), id="unknown-member"),
        pytest.param(_respell(v=2), id="version-2"),
        pytest.param(_respell(v=True), id="version-true"),
        pytest.param(_respell(v="1"), id="version-string"),
        pytest.param(_respell(at=1.0), id="at-float"),
        pytest.param(_respell(at="1"), id="at-string"),
        pytest.param(_respell(at=True), id="at-bool"),
        pytest.param(_respell(id=EVENT), id="id-with-prefix"),
        pytest.param(_respell(id=None), id="id-null"),
        pytest.param(_respell(c_meta=""), id="c-meta-empty"),
        pytest.param(_respell(c_meta=json.loads(LEAF)["c_meta"] + "="), id="c-meta-padded"),
        pytest.param(_respell(c_body=[]), id="c-body-list"),
        pytest.param(LEAF.replace(b'"v":1', b'"v":1' + b" " * 5000), id="over-4-kib"),
        pytest.param(LEAF[:-1], id="unfinished"),
    ],
)
def test_a_leaf_has_one_spelling(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse_leaf(data)


@given(
    st.uuids(version=4),
    st.integers(0, 2**53 - 1),
    st.binary(min_size=32, max_size=32),
    st.one_of(st.just(b""), st.binary(min_size=32, max_size=32)),
)
def test_round_trip(event_id: object, at: int, commitment: bytes, subject: bytes) -> None:
    leaf = Leaf(event_id=f"evt_{event_id}", at=at, c_meta=commitment, c_subj=subject, c_body=commitment)
    data = build_leaf(**dataclasses.asdict(leaf))
    assert parse_leaf(data) == leaf
    assert data.isascii()
    assert len(data) <= 4096


@given(st.binary(max_size=300))
def test_any_bytes_yield_only_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse_leaf(data)


def test_the_body_payload_is_canonical() -> None:
    expected = {"answer_digest": content_digest(ANSWER), "request_body_digest": content_digest(REQUEST), "rqh": RQH}
    assert json.dumps(expected, separators=(",", ":")).encode() == BODY


def test_an_act_without_a_request_has_empty_digests() -> None:
    empty = body_payload(rqh="", request_body_digest="", answer_digest="")
    assert empty == b'{"answer_digest":"","request_body_digest":"","rqh":""}'


@pytest.mark.parametrize(
    "change",
    [
        {"rqh": ""},
        {"rqh": RQH + "="},
        {"rqh": "AA"},
        {"request_body_digest": ""},
        {"answer_digest": "sha-512=:AAAA:"},
    ],
)
def test_body_payloads_that_are_refused(change: dict[str, str]) -> None:
    digests = {"request_body_digest": content_digest(b""), "answer_digest": content_digest(b"")}
    with pytest.raises(Malformed):
        body_payload(**{"rqh": RQH, **digests, **change})


def test_an_entry_travels_and_opens() -> None:
    members = json.loads(json.dumps(ENTRY.to_mapping()))
    assert list(members) == ["event_id", "leaf", "leaf_hash", "s_meta", "meta", "s_body", "mmd"]
    # The leaf is its own text, so that it can be hashed without spelling it again.
    assert members["leaf"].encode() == LEAF
    assert members["meta"].encode() == META
    assert base64.urlsafe_b64decode(members["leaf_hash"] + "=") == leaf_hash(LEAF)
    entry = LogEntry.from_mapping(members)
    assert entry == ENTRY
    entry.check(**EXCHANGE)


def test_unknown_members_are_ignored_because_wire_forms_grow() -> None:
    assert LogEntry.from_mapping({**ENTRY.to_mapping(), "later": 1}) == ENTRY


def test_salts_hide_in_repr() -> None:
    assert "s_meta" not in repr(ENTRY)
    assert "pre_loan" not in repr(ENTRY)
    assert "mem_a" not in repr(ENTRY)


@pytest.mark.parametrize("name", ["event_id", "leaf", "leaf_hash", "s_meta", "meta", "s_body", "mmd"])
@pytest.mark.parametrize("value", [..., None, 0, True, "", "=", "\u00e9", [], {}, 1.5], ids=repr)
def test_members_of_another_form(name: str, value: object) -> None:
    members = {**ENTRY.to_mapping(), name: value}
    if value is ...:
        del members[name]
    with pytest.raises(Malformed):
        LogEntry.from_mapping(members)


def test_meta_has_one_spelling() -> None:
    with pytest.raises(Malformed):
        LogEntry.from_mapping({**ENTRY.to_mapping(), "meta": META.decode().replace(":", ": ")})


OTHER_LEAF: Final = build_leaf(**{**FIELDS, "event_id": EVENT.replace("6f1c", "7f1c")})


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"event_id": EVENT.replace("6f1c", "7f1c")}, id="another-event"),
        pytest.param({"leaf": OTHER_LEAF}, id="another-leaf"),
        pytest.param({"leaf": OTHER_LEAF, "leaf_hash": leaf_hash(OTHER_LEAF)}, id="another-leaf-with-its-hash"),
        pytest.param({"leaf": LEAF + b" "}, id="leaf-respelled"),
        pytest.param({"leaf_hash": hashlib.sha256(LEAF).digest()}, id="hash-without-the-prefix"),
        pytest.param({"leaf_hash": b""}, id="hash-empty"),
        pytest.param({"s_meta": SALTS["body"]}, id="salt-of-meta"),
        pytest.param({"s_meta": b""}, id="salt-of-meta-empty"),
        pytest.param({"meta": META.replace(b"ok", b"no")}, id="meta"),
        pytest.param({"s_body": SALTS["meta"]}, id="salt-of-body"),
    ],
)
def test_another_entry_is_noticed(change: dict[str, Any]) -> None:
    with pytest.raises(VerificationFailed):
        dataclasses.replace(ENTRY, **change).check(**EXCHANGE)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"rqh": sha256_b64url(b"other")}, id="another-request-token"),
        pytest.param({"rqh": ""}, id="no-request-token"),
        pytest.param({"rqh": "="}, id="not-a-hash"),
        pytest.param({"request_body": REQUEST + b" "}, id="another-request-body"),
        pytest.param({"answer_body": ANSWER + b" "}, id="another-answer-body"),
        pytest.param({"request_body": ANSWER, "answer_body": REQUEST}, id="swapped"),
    ],
)
def test_another_exchange_is_noticed(change: dict[str, Any]) -> None:
    with pytest.raises(VerificationFailed):
        ENTRY.check(**{**EXCHANGE, **change})


def test_an_act_of_the_service_opens_for_nobody() -> None:
    """An entry whose body commitment names no request cannot be passed off as somebody's receipt."""
    empty = body_payload(rqh="", request_body_digest="", answer_digest="")
    leaf = build_leaf(**{**FIELDS, "c_body": commit("body", SALTS["body"], empty)})
    entry = dataclasses.replace(ENTRY, leaf=leaf, leaf_hash=leaf_hash(leaf))
    for rqh in ("", RQH):
        with pytest.raises(VerificationFailed):
            entry.check(rqh=rqh, request_body=b"", answer_body=b"")


@settings(max_examples=200)
@given(
    st.dictionaries(
        st.sampled_from(list(ENTRY.to_mapping())),
        st.one_of(st.none(), st.integers(), st.text(max_size=60), st.binary(max_size=5), st.floats()),
        min_size=1,
    )
)
def test_any_mapping_yields_an_entry_or_malformed(change: dict[str, object]) -> None:
    try:
        entry = LogEntry.from_mapping({**ENTRY.to_mapping(), **change})
    except Malformed:
        return
    assert entry.mmd > 0
