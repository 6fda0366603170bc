"""A member's keys: a planned change without an outage, and the day after a theft."""

import time
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from tests.fixtures.service import RunningService, record_body, wait_for

from creditshare.client.bank import Client, Problem
from creditshare.client.core import Identity
from creditshare.crypto.jws import SigningKey
from creditshare.wire.registration import make_proof


def further_key(service: RunningService, client: Client) -> Client:
    assert client.identity is not None
    key, member_id = SigningKey.generate(), client.identity.member_id
    proof = make_proof(key, member_id=member_id, issuer=service.url, iat=int(time.time()), jti=uuid4().hex)
    client.call("POST", f"/v1/members/{member_id}/keys", data={"jwk": dict(key.public_jwk), "proof": proof})
    return service.client(Identity(member_id, key, "successor"))


def keys_path(client: Client, action: str) -> str:
    assert client.identity is not None
    return f"/v1/members/{client.identity.member_id}/keys/{client.identity.key.kid}/{action}"


def test_a_retired_key_signs_until_the_overlap_has_passed(service: RunningService) -> None:
    old = service.admit("Lender", region="US")
    with pytest.raises(Problem) as caught:
        old.call("POST", keys_path(old, "retirement"), data={})
    assert caught.value.code == "state_conflict"
    new = further_key(service, old)
    retired = new.call("POST", keys_path(old, "retirement"), data={}).data
    days = (datetime.fromisoformat(retired["expires_at"]) - datetime.now(UTC)).total_seconds() / 86_400
    assert retired["status"] == "retiring"
    assert 6.9 < days <= 7
    assert old.call("GET", "/v1/me").data["kid"] == retired["kid"]


def test_after_a_theft_all_that_the_key_signed_is_listed_for_review(service: RunningService) -> None:
    owner = service.admit("Lender", region="US")
    stolen, spare = further_key(service, owner), further_key(service, owner)
    since = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    (subject,) = stolen.tokenise(["91999999DEM000014G"])
    stolen.call("POST", "/v1/records", data=record_body(subject, "A-1"))
    with pytest.raises(Problem):
        stolen.call("POST", "/v1/records", data=record_body(subject, "A-1"))
    thief = further_key(service, stolen)
    revocation = {"reason": "compromise", "since": since}
    owner.call("POST", keys_path(stolen, "revocation"), data=revocation)
    for key in (stolen, thief):
        wait_for(lambda key=key: key.send(key.sign("GET", "/v1/me")).status == 401, seconds=2)  # type: ignore[misc]
    assert spare.call("GET", "/v1/me").status == 200

    def listed() -> list[tuple[str, str]]:
        page = owner.call("GET", keys_path(stolen, "signatures"), query=f"since={since}").data
        return [(act["action"], act["outcome"]) for act in page["data"]]

    expected = [
        ("evaluate_tokens", "ok"),
        ("submit_record", "ok"),
        ("submit_record", "state_conflict"),
        ("add_key", "ok"),
    ]
    # What it tried after its end is listed as well, refused.
    wait_for(lambda: listed()[: len(expected)] == expected)
    assert {outcome for _, outcome in listed()[len(expected) :]} <= {"key_revoked"}
    stranger = service.admit("Another", region="US")
    with pytest.raises(Problem) as caught:
        stranger.call("GET", keys_path(stolen, "signatures"), query=f"since={since}")
    assert caught.value.code == "not_found"
    with pytest.raises(Problem) as caught:
        owner.call("GET", keys_path(stolen, "signatures"), query="since=yesterday")
    assert caught.value.document["errors"][0]["pointer"] == "/query/since"
