"""The gate's parts of statements that do whole actions: who calls, is it new, was it answered already.

Used by the actions whose transaction is one reading and one writing statement (decision 13), over a row set ``q`` with
one row for each request (decision 17). The columns of ``q`` that these parts need are ``SEEN_BY`` to read and
``CLAIMED_BY`` to write; ``read_parameters`` and ``claim_parameters`` give their values.
"""

import hmac
from collections.abc import Hashable, Mapping
from typing import Any, Final

from creditshare.access.service import IDEMPOTENCY_LIFE, Caller, Claim, jti_hash, replay_expiry
from creditshare.errors import Refused
from creditshare.storage.rowsets import Columns

SEEN_BY: Final[Columns] = {
    "kid": "text",
    "member_id": "uuid",
    "route": "text",
    "key_hash": "bytea",
    "jti_hash": "bytea",
}

SEEN: Final = """
       clock.now, k.state AS key_state, k.expires_at > clock_timestamp() AS key_lives,
       m.status AS member_status, k.seal AS key_seal, m.seal AS member_seal, i.fingerprint, i.query_id AS told_query_id,
       g.iss IS NOT NULL AS used_before"""
"""Columns: the time, and what the database knows of key, member, idempotency key and request."""

ASKER: Final = """
CROSS JOIN (SELECT creditshare_now() AS now) clock
JOIN member_key k ON k.kid = q.kid AND k.member_id = q.member_id
JOIN member m ON m.member_id = q.member_id
LEFT JOIN idempotency i ON i.member_id = q.member_id AND i.route = q.route AND i.key_hash = q.key_hash
LEFT JOIN replay_guard g ON g.iss = q.member_id AND g.jti_hash = q.jti_hash"""
"""The tables of ``SEEN``, after ``FROM q``."""

CLAIMED_BY: Final[Columns] = {
    **SEEN_BY,
    "key_seal": "bytea",
    "member_seal": "bytea",
    "member_status": "text",
    "replay_until": "timestamptz",
    "fingerprint": "bytea",
    "status": "smallint",
    "subject_id": "uuid",
    "query_id": "uuid",
    "answer": "bytea",
}

CLAIM: Final = """
same_caller AS (
    SELECT FROM q JOIN member_key k ON k.kid = q.kid JOIN member m ON m.member_id = k.member_id
    WHERE k.member_id = q.member_id AND k.state IN ('active', 'retiring') AND k.expires_at > clock_timestamp()
        AND m.status = q.member_status AND k.seal = q.key_seal AND m.seal = q.member_seal),
first_time AS (
    INSERT INTO replay_guard (iss, jti_hash, expires_at) SELECT member_id, jti_hash, replay_until FROM q
    ON CONFLICT DO NOTHING RETURNING 1),
first_try AS (
    INSERT INTO idempotency
        (member_id, route, key_hash, fingerprint, status, subject_id, query_id, answer, expires_at)
    SELECT member_id, route, key_hash, fingerprint, status, subject_id, query_id, answer, now() + %(idempotent_for)s
    FROM q ON CONFLICT DO NOTHING RETURNING 1)"""
"""Each request's single use and its idempotency key. ``CLAIMS`` says whether all of it was so.

The member's state is the one that was decided on, whichever that is (``members/standing.py``)."""

CLAIMS: Final = ("same_caller", "first_time", "first_try")
"""Parts of ``CLAIM`` with one row for each request, or nothing of the statement may stay."""

CLAIM_ONCE: Final[Mapping[str, Any]] = {"idempotent_for": IDEMPOTENCY_LIFE}
"""Parameters of ``CLAIM`` that are the same for all requests."""


def read_parameters(caller: Caller, claim: Claim) -> dict[str, Any]:
    """Return the values of ``SEEN_BY``."""
    return {
        "kid": caller.kid,
        "member_id": caller.member_id,
        "route": claim.route,
        "key_hash": claim.key_hash,
        "jti_hash": jti_hash(caller.jti),
    }


def claim_parameters(caller: Caller, claim: Claim, *, status: int, skew_s: int) -> dict[str, Any]:
    """Return the values of ``CLAIMED_BY``; the action adds ``subject_id``, ``query_id`` and ``answer``."""
    return {
        **read_parameters(caller, claim),
        "key_seal": caller.seals[0],
        "member_seal": caller.seals[1],
        "member_status": caller.member.status,
        "replay_until": replay_expiry(caller, skew_s),
        "fingerprint": claim.fingerprint,
        "status": status,
    }


def in_each_others_way(row: Mapping[str, Any]) -> tuple[Hashable, ...]:
    """Return what two rows of one statement may not have in common: a single use, an idempotency key."""
    return (row["member_id"], row["jti_hash"]), (row["member_id"], row["route"], row["key_hash"])


def require_key(seen: Mapping[str, Any]) -> None:
    """Refuse a key that was revoked or has ended. What the row says can only refuse; ``Access.confirmed`` believes."""
    if seen["key_state"] == "revoked":
        raise Refused("key_revoked")
    if not seen["key_lives"]:
        raise Refused("key_expired")


def answered_before(seen: Mapping[str, Any], claim: Claim) -> bool:
    """Say whether this request was answered under its idempotency key already; refuse where it may not be done.

    ``seen`` is the row of ``SEEN``. A request that was used but not answered under this key is a replay.
    """
    if seen["fingerprint"] is not None:
        if not hmac.compare_digest(seen["fingerprint"], claim.fingerprint):
            raise Refused("idempotency_mismatch")
        return True
    if seen["used_before"]:
        raise Refused("replay_detected")
    return False
