"""The gate's parts of a statement that does a whole action: who calls, is it new, was it answered already.

Used by the actions whose transaction is one reading and one writing statement (decision 13). Parameters by name:
``kid``, ``route``, ``key_hash``, ``jti_hash`` to read; those of ``claim_parameters`` to write.
"""

import hmac
from collections.abc import Mapping
from typing import Any, Final

from creditshare.access.service import IDEMPOTENCY_LIFE, Caller, Claim, jti_hash, replay_expiry
from creditshare.errors import Refused

SEEN: Final = """
       creditshare_now() AS now, k.state AS key_state, k.expires_at > clock_timestamp() AS key_lives,
       m.status AS member_status, i.fingerprint, i.query_id AS told_query_id,
       EXISTS (SELECT FROM replay_guard g WHERE g.iss = m.member_id AND g.jti_hash = %(jti_hash)s) AS used_before"""
"""Columns: the time, and what the database knows of key, member, idempotency key and request."""

ASKER: Final = """
member_key k JOIN member m ON m.member_id = k.member_id
LEFT JOIN idempotency i ON i.member_id = m.member_id AND i.route = %(route)s AND i.key_hash = %(key_hash)s"""
"""The tables of ``SEEN``; the statement says ``WHERE k.kid = %(kid)s``."""

CLAIM: Final = """
same_caller AS (
    SELECT k.member_id FROM member_key k JOIN member m ON m.member_id = k.member_id
    WHERE k.kid = %(kid)s AND k.state <> 'revoked' AND k.expires_at > clock_timestamp() AND m.status = 'active'),
first_time AS (
    INSERT INTO replay_guard (iss, jti_hash, expires_at)
    SELECT member_id, %(jti_hash)s, %(replay_until)s FROM same_caller
    ON CONFLICT DO NOTHING RETURNING iss),
first_try AS (
    INSERT INTO idempotency
        (member_id, route, key_hash, fingerprint, status, subject_id, query_id, answer, expires_at)
    SELECT iss, %(route)s, %(key_hash)s, %(fingerprint)s, %(status)s, %(subject_id)s, %(query_id)s, %(answer)s,
           now() + %(idempotent_for)s
    FROM first_time ON CONFLICT DO NOTHING RETURNING member_id)"""
"""The request's single use and its idempotency key. All else of the statement depends on ``first_try``."""


def read_parameters(caller: Caller, claim: Claim) -> dict[str, Any]:
    """Return the parameters of ``SEEN`` and ``ASKER``."""
    return {"kid": caller.kid, "route": claim.route, "key_hash": claim.key_hash, "jti_hash": jti_hash(caller.jti)}


def claim_parameters(caller: Caller, claim: Claim, *, status: int, skew_s: int) -> dict[str, Any]:
    """Return the parameters of ``CLAIM``; the action adds ``subject_id``, ``query_id`` and ``answer``."""
    return {
        **read_parameters(caller, claim),
        "member_id": caller.member_id,
        "replay_until": replay_expiry(caller, skew_s),
        "fingerprint": claim.fingerprint,
        "status": status,
        "idempotent_for": IDEMPOTENCY_LIFE,
    }


def answered_before(seen: Mapping[str, Any], claim: Claim) -> bool:
    """Say whether this request was answered under its idempotency key already; refuse where it may not be done.

    ``seen`` is the row of ``SEEN``. A request that was used but not answered under this key is a replay.
    """
    if seen["key_state"] == "revoked":
        raise Refused("key_revoked")
    if not seen["key_lives"]:
        raise Refused("key_expired")
    if seen["fingerprint"] is not None:
        if not hmac.compare_digest(seen["fingerprint"], claim.fingerprint):
            raise Refused("idempotency_mismatch")
        return True
    if seen["used_before"]:
        raise Refused("replay_detected")
    return False
