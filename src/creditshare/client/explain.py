"""Says what was signed and why, and what of an answer holds: one line each, for the person who has to find the fault.

``core.check_answer`` decides; this module looks at every part on its own, so that the one that fails can be seen among
those that hold. A test compares the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from creditshare.client.core import ERROR_STATUS, UNSIGNED, SignedRequest
from creditshare.client.flow import Received
from creditshare.client.problems import problem_document
from creditshare.crypto.digests import content_digest
from creditshare.crypto.jws import ES256, Compact, VerifyingKey, split
from creditshare.errors import Malformed
from creditshare.wire.answers import MAX_PAYLOAD, MAX_TOKEN, TYP
from creditshare.wire.instants import spell_instant
from creditshare.wire.leaf import LogEntry, body_payload, commit, leaf_hash, parse_leaf
from creditshare.wire.reasons import REASONS
from creditshare.wire.strict_json import decode_object

Mark = Literal["signed", "holds", "FAILS", "note"]

WHY: Final[Mapping[str, str]] = {
    "alg": "the one allowed algorithm",
    "typ": "this token is a request and serves as nothing else",
    "kid": "thumbprint of your registered public key",
    "iss": "you; must own the key",
    "sub": "the person or system that acts for you",
    "aud": "the service's public address; no other service takes the token",
    "iat": "signed at, by your clock",
    "exp": "good until; at most 120 s",
    "nbf": "not good before",
    "jti": "serves once; a copy is refused as replay_detected",
    "htm": "the method, which nobody between can change",
    "htu": "the address, which nobody between can change",
    "htq": "digest of the query string",
    "cdg": "digest of the body; another body is refused as digest_mismatch",
    "idk": "equals the header Idempotency-Key: a retry keeps it and gets the same answer",
    "ifm": "equals the header If-Match",
    "ver": "version of the signing profile",
}
TIMES: Final = frozenset({"iat", "exp", "nbf"})


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was signed, or one check with its outcome."""

    mark: Mark
    what: str
    text: str

    def __str__(self) -> str:
        """Return the line as printed."""
        return f"{self.mark:7} {self.what:12} {self.text}"

    def to_dict(self) -> dict[str, str]:
        """Return the line for scripts."""
        return {"mark": self.mark, "what": self.what, "text": self.text}


def explain_request(request: SignedRequest) -> list[Line]:
    """Say what the token claims, and why."""
    compact = split(request.token)
    claims = {**decode_object(compact.header), **decode_object(compact.payload)}
    lines = [
        Line("signed", name, f"{_shown(name, claims[name])}: {why}") for name, why in WHY.items() if name in claims
    ]
    if "cdg" not in claims:
        lines.append(Line("note", "cdg", "absent, because there is no body"))
    return lines


def explain_answer(
    request: SignedRequest,
    got: Received,
    *,
    issuer: str,
    member_id: str,
    keys: Mapping[str, VerifyingKey],
    pinned: bool,
    now: int,
) -> list[Line]:
    """Say of each part of an answer whether it holds; ``now`` is this machine's clock in seconds."""
    token = got.headers.get("cs-signature")
    if token is None:
        lines = [_unsigned(got.status)]
    else:
        lines = _signature(token, keys, pinned=pinned)
        claims = _claims(token)
        if claims is not None:
            lines += _exchange(claims, request, got, issuer=issuer, member_id=member_id)
            lines += _log(claims.get("log"), request, got)
    if got.status >= ERROR_STATUS:
        lines += _refusal(got, now=now)
    return lines


def _unsigned(status: int) -> Line:
    if status in UNSIGNED:
        return Line("note", "CS-Signature", "absent: refused before the service knew who asks, or by a machine between")
    return Line("FAILS", "CS-Signature", f"absent, but an answer with status {status} is always signed")


def _signature(token: str, keys: Mapping[str, VerifyingKey], *, pinned: bool) -> list[Line]:
    compact = _split(token)
    if compact is None:
        return [Line("FAILS", "CS-Signature", "is not a compact JWS")]
    try:
        header = decode_object(compact.header)
    except Malformed:
        return [Line("FAILS", "CS-Signature", "has no readable header")]
    right = header.keys() == {"alg", "kid", "typ"} and header["alg"] == ES256.name and header["typ"] == TYP
    key = keys.get(str(header.get("kid")))
    source = "pinned" if pinned else "published by the service, not pinned: use a profile to pin it"
    return [
        _check("header", f"exactly alg ES256, kid and typ {TYP}", holds=right),
        _check("kid", f"{header.get('kid')}, a key of the service ({source})", holds=key is not None),
        _check(
            "signature",
            "by that key over exactly this header and payload",
            holds=key is not None and key.verify(compact.signing_input, compact.signature),
        ),
    ]


def _exchange(
    claims: Mapping[str, Any], request: SignedRequest, got: Received, *, issuer: str, member_id: str
) -> list[Line]:
    return [
        _check("iss", f"{claims.get('iss')}: this service", holds=claims.get("iss") == issuer),
        _check("aud", f"{claims.get('aud')}: you", holds=claims.get("aud") == member_id),
        _check("rqh", "hash of the request: it answers exactly this one", holds=claims.get("rqh") == request.rqh),
        _check("sts", f"{claims.get('sts')}: the status that came", holds=claims.get("sts") == got.status),
        _check("cdg", "digest of the body that came", holds=claims.get("cdg") == content_digest(got.body)),
    ]


def _log(log: object, request: SignedRequest, got: Received) -> list[Line]:
    if log is None:
        acted = got.status < ERROR_STATUS and request.method != "GET"
        return [Line("FAILS" if acted else "note", "log", "absent" + (", though the service acted" if acted else ""))]
    try:
        entry = LogEntry.from_mapping(log if isinstance(log, Mapping) else {})
        leaf = parse_leaf(entry.leaf)
        payload = body_payload(
            rqh=request.rqh,
            request_body_digest=content_digest(request.body),
            answer_digest=content_digest(got.body),
        )
    except Malformed as error:
        return [Line("FAILS", "log", f"cannot be read: {error}")]
    return [
        _check("event", f"{entry.event_id}: the leaf is of this event", holds=leaf.event_id == entry.event_id),
        _check("leaf_hash", "is the leaf's hash, as the tree holds it", holds=leaf_hash(entry.leaf) == entry.leaf_hash),
        _check(
            "c_meta",
            "the leaf commits to who, what and outcome as told here",
            holds=commit("meta", entry.s_meta, entry.meta) == leaf.c_meta,
        ),
        _check(
            "c_body",
            "the leaf commits to exactly this request and this answer",
            holds=commit("body", entry.s_body, payload) == leaf.c_body,
        ),
        Line("note", "mmd", f"the leaf is promised to be in the log within {entry.mmd} s"),
    ]


def _refusal(got: Received, *, now: int) -> list[Line]:
    document = problem_document(got.body)
    code = document.get("code")
    reason = REASONS.get(code) if isinstance(code, str) else None
    if reason is None:
        return [Line("note", "refused", f"status {got.status} without a known code: perhaps by a machine between")]
    again = "a newly signed request may succeed" if reason.retry else "the same request will be refused again"
    lines = [
        Line("note", "refused", f"{reason.code} ({got.status}): {reason.when.en}"),
        Line("note", "what to do", reason.detail.en),
        Line("note", "retry", again),
    ]
    lines += [
        Line("note", "field", f"{error.get('pointer')}: {error.get('detail')}") for error in document.get("errors", [])
    ]
    if isinstance(document.get("server_time"), int):
        lines.append(_clock(document["server_time"], now))
    return lines


def _clock(server: int, now: int) -> Line:
    apart = now - server
    side = "the same" if not apart else f"{abs(apart)} s {'ahead' if apart > 0 else 'behind'}"
    return Line("note", "clock", f"the service's clock says {_instant(server)}, yours {_instant(now)}: {side}")


def _check(what: str, text: str, *, holds: bool) -> Line:
    return Line("holds" if holds else "FAILS", what, text)


def _split(token: str) -> Compact | None:
    try:
        return split(token, max_token=MAX_TOKEN, max_payload=MAX_PAYLOAD)
    except Malformed:
        return None


def _claims(token: str) -> dict[str, Any] | None:
    compact = _split(token)
    try:
        return None if compact is None else decode_object(compact.payload)
    except Malformed:
        return None


def _shown(name: str, value: object) -> str:
    return f"{value} ({_instant(value)})" if name in TIMES and isinstance(value, int) else str(value)


def _instant(seconds: int) -> str:
    return spell_instant(datetime.fromtimestamp(seconds, UTC))
