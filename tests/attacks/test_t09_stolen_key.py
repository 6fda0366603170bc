"""T9, a thief of a member's key: signs as the member until somebody notices.

It must not get: a foothold that outlives the revocation; more keys than the limit; the member's last key; a recovery
code; anything of another member.

Elsewhere: ``promises/test_signed.py`` (nothing signed two seconds after a revocation, under load),
``members/test_rules.py`` (chains of keys), ``stories/test_keys.py`` (review, overlap), ``test_t08_replay.py``.
A thief who holds a member's *only* key can lock the member out; two operators then issue a new code.
"""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from tests.fixtures.attack import BORROWER, at_once, attempt
from tests.fixtures.service import RunningService, record_body, wait_for

from creditshare.client.bank import Client
from creditshare.client.core import Identity
from creditshare.crypto.jwe import OpeningKey
from creditshare.crypto.jws import SigningKey
from creditshare.ids import parse


def register(client: Client, key: SigningKey) -> str:
    body = {"jwk": dict(key.public_jwk), "proof": client.session.proof_for(key)}
    return attempt(client, "POST", f"/v1/members/{client.session.signer.member_id}/keys", body)


def revoke(client: Client, kid: str, **body: str) -> str:
    path = f"/v1/members/{client.session.signer.member_id}/keys/{kid}/revocation"
    return attempt(client, "POST", path, {"reason": "compromise", **body})


def live(client: Client) -> list[str]:
    return [key["kid"] for key in client.keys.list() if key["status"] in {"active", "retiring"}]


def as_key(service: RunningService, client: Client, key: SigningKey) -> Client:
    return service.client(Identity(client.session.signer.member_id, key))


def test_keys_registered_at_once_do_not_exceed_the_limit(shared_service: RunningService) -> None:
    owner = shared_service.admit("Crowded", region="US")
    keys = [SigningKey.generate() for _ in range(10)]
    assert Counter(at_once(10, lambda n: register(owner, keys[n]))) == {"done": 3, "key_limit": 7}
    assert len(live(owner)) == 4


def test_a_revocation_reaches_all_that_the_thief_registered(shared_service: RunningService) -> None:
    owner = shared_service.admit("Robbed", region="US")
    spare = SigningKey.generate()
    assert register(owner, spare) == "done"
    since = (datetime.now(UTC) - timedelta(seconds=1)).isoformat(timespec="seconds").replace("+00:00", "Z")
    stolen = owner.session.signer.key
    first, second = SigningKey.generate(), SigningKey.generate()
    assert register(owner, first) == "done"
    assert register(as_key(shared_service, owner, first), second) == "done"
    # The spare key is older than the theft.
    shared_service.rewrite(
        "UPDATE member_key SET registered_at = registered_at - interval '1 day' WHERE kid = %s", spare.kid
    )
    rescuer, fresh = as_key(shared_service, owner, spare), SigningKey.generate()
    # No key makes itself the only one, so the owner first takes a place from the thief and fills it.
    assert revoke(rescuer, stolen.kid, since=since) == "state_conflict"
    assert register(rescuer, fresh) == "key_limit"
    assert revoke(rescuer, first.kid) == "done"
    assert register(rescuer, fresh) == "done"
    assert revoke(rescuer, stolen.kid, since=since) == "done"
    assert set(live(rescuer)) == {spare.kid, fresh.kid}
    for key in (stolen, first, second):
        thief = as_key(shared_service, owner, key)
        assert attempt(thief, "GET", "/v1/me") == "key_revoked"
        assert register(thief, SigningKey.generate()) == "key_revoked"
        assert register(rescuer, key) == "key_exists", "a revoked key is never registered again"


def test_a_thief_cannot_leave_its_own_key_as_the_only_one(shared_service: RunningService) -> None:
    owner = shared_service.admit("Locked", region="US")
    thief_key = SigningKey.generate()
    assert register(owner, thief_key) == "done"
    thief = as_key(shared_service, owner, thief_key)
    assert revoke(thief, owner.session.signer.key.kid) == "state_conflict"
    assert attempt(owner, "GET", "/v1/me") == "done"


def test_two_keys_that_revoke_each_other_at_once_leave_one(shared_service: RunningService) -> None:
    owner = shared_service.admit("Duel", region="US")
    second, third = SigningKey.generate(), SigningKey.generate()
    assert [register(owner, key) for key in (second, third)] == ["done", "done"]
    keys = [owner.session.signer.key, second]
    duel = [as_key(shared_service, owner, key) for key in keys]
    outcomes = Counter(at_once(2, lambda n: revoke(duel[n], keys[1 - n].kid)))
    assert outcomes["done"] >= 1
    assert third.kid in live(as_key(shared_service, owner, third))


def name_hand_back(client: Client, _: SigningKey) -> str:
    return attempt(client, "POST", "/v1/me/hand-back-key", {"jwk": dict(OpeningKey.generate().public_jwk)})


@pytest.mark.parametrize("foothold", [register, name_hand_back])
def test_what_waits_for_the_revocation_makes_no_foothold(
    shared_service: RunningService, foothold: Callable[[Client, SigningKey], str]
) -> None:
    """The thief's request was good when it came; the revocation, before it in the queue, is carried out first."""
    owner, key = shared_service.admit("Raced", region="US"), SigningKey.generate()
    stolen, member = owner.session.signer.key.kid, owner.session.signer.member_id
    revocation = f"/v1/members/{member}/keys/{stolen}/revocation"
    with ThreadPoolExecutor(2) as pool:
        with shared_service.superuser() as held, held.transaction():
            held.execute("SELECT FROM member WHERE member_id = %s FOR UPDATE", [parse("mem", member)])
            since = {"reason": "compromise", "since": "2020-01-01T00:00:00Z"}
            revoked = pool.submit(attempt, shared_service.desk[0], "POST", revocation, since)
            await_waiting(shared_service, 1)
            made = pool.submit(foothold, owner, key)
            await_waiting(shared_service, 2)
        assert (revoked.result(), made.result()) == ("done", "key_revoked")
    left = shared_service.desk[1].call("GET", f"/v1/members/{member}").data
    keys = shared_service.desk[1].pages(f"/v1/members/{member}/keys")
    assert (left["hand_back_kid"], [one["kid"] for one in keys if one["status"] != "revoked"]) == (None, [])


def await_waiting(service: RunningService, count: int) -> None:
    """Wait until so many transactions wait for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with service.superuser() as database:
        wait_for(lambda: database.execute(waiting).fetchone() == (count,))


def test_a_key_gives_no_power_over_membership(shared_service: RunningService) -> None:
    thief = shared_service.admit("Climber", region="US")
    mine = thief.session.signer.member_id
    acts = {
        f"/v1/members/{mine}/proposals": {"action": "recovery"},
        f"/v1/members/{mine}/approvals": {"action": "recovery"},
        f"/v1/members/{mine}/quotas": {"evaluations_per_day": 10_000_000},
        f"/v1/members/{mine}/suspension": {"reason": "x"},
        "/v1/members": {"name": "Mine", "role": "operator", "region": "US"},
        "/v1/sandbox/clock": {"days": 30},
    }
    assert {attempt(thief, "POST", path, body) for path, body in acts.items()} == {"role_forbidden"}
    assert attempt(thief, "GET", "/v1/members") == "role_forbidden"


def test_a_suspended_member_only_puts_right(service: RunningService) -> None:
    owner, operator = service.admit("Owner", region="US"), service.client(service.operators[0])
    (subject,) = owner.tokenise([BORROWER])
    record = owner.call("POST", "/v1/records", data=record_body(subject, "A-1"))["record_id"]
    operator.call("POST", f"/v1/members/{owner.session.signer.member_id}/suspension", data={"reason": "theft"})
    assert attempt(owner, "POST", "/v1/records", record_body(subject, "A-2")) == "member_suspended"
    assert attempt(owner, "POST", "/v1/tokens/evaluate", {"suite": "x", "key_version": 1, "blinded": ["x"]}) == (
        "member_suspended"
    )
    assert attempt(owner, "POST", f"/v1/records/{record}/withdrawal", {"reason": "reported_in_error"}) == "done"
