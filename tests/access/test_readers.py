"""Where the log is shown to its readers only, a stranger learns nothing but whether an event he knows is in it."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.fixtures.attack import attempt
from tests.fixtures.processes import command
from tests.fixtures.service import RunningService, running_service, wait_for

from creditshare.client.bank import Client
from creditshare.client.mirror import check
from creditshare.storage.embedded import EmbeddedPostgres
from creditshare.tlog.proof import InclusionProof

NOTHING = "/v1/records/rec_01900000-0000-7000-8000-000000000000"
VERIFY = Path(__file__).parents[2] / "docs" / "verify"
PARTLY = {"/audit/v1/proof/inclusion", "/audit/v1/health"}
PLAIN = {"level": "0", "name": "000.p/1", "size": "1"}


@pytest.fixture(scope="module")
def service(postgres: EmbeddedPostgres, template: str) -> Iterator[RunningService]:
    with running_service(postgres, template, log_readers="members", stranger_failures_per_minute=50) as running:
        yield running


@pytest.fixture(scope="module")
def lender(service: RunningService) -> Client:
    return service.admit("Lender")


@pytest.fixture(scope="module")
def reader(lender: Client) -> tuple[str, str]:
    return token_of(lender)


def token_of(client: Client) -> tuple[str, str]:
    got = client.call("GET", "/v1/me/log-token").data
    return got["user"], got["password"]


def closed(service: RunningService) -> list[str]:
    """Return every address that the document calls one for readers, of an entry that is there."""
    paths = [
        path
        for path, item in service.contract.document["paths"].items()
        if {"log-reader": []} in item.get("get", {}).get("security", []) and path not in PARTLY
    ]
    query = {"/audit/v1/proof/consistency": "?from=0&to=1"}
    return [path.format(**PLAIN) + query.get(path, "") for path in paths]


def test_a_stranger_sees_nothing_of_the_log_and_a_reader_all(service: RunningService, reader: tuple[str, str]) -> None:
    wait_for(lambda: httpx.get(service.url + "/log/v1/checkpoint", auth=reader).status_code == 200)
    asked = closed(service)
    assert len(asked) == 7
    for path in asked:
        refused = httpx.get(service.url + path)
        assert (refused.status_code, refused.json()["code"]) == (401, "reader_unknown"), path
        assert refused.headers["www-authenticate"] == 'Basic realm="log"'
        shown = httpx.get(service.url + path, auth=reader)
        # No witness is asked here, so there is no cosigned checkpoint; and not every size was signed.
        assert shown.status_code in ({404} if "cosigned" in path else {200, 404} if "checkpoints/" in path else {200})


def test_what_a_reader_gets_is_not_for_caches_of_others(service: RunningService, reader: tuple[str, str]) -> None:
    wait_for(lambda: httpx.get(service.url + "/log/v1/checkpoint", auth=reader).status_code == 200)
    shown = httpx.get(service.url + "/log/v1/tile/0/000.p/1", auth=reader)
    assert shown.headers["cache-control"] == "private, max-age=31536000, immutable"


def test_health_tells_a_stranger_no_size(service: RunningService, reader: tuple[str, str]) -> None:
    wait_for(lambda: httpx.get(service.url + "/log/v1/checkpoint", auth=reader).status_code == 200)
    told = httpx.get(service.url + "/audit/v1/health").json()
    assert told["size"] is None
    assert told["mmd_s"] == 60
    assert httpx.get(service.url + "/audit/v1/health", auth=reader).json()["size"] > 0
    discovery = httpx.get(service.url + "/.well-known/creditshare").json()
    assert discovery["log"]["readers"] == "members"


def test_who_holds_a_receipt_gets_its_proof_without_a_token_and_sees_no_growth_by_it(
    service: RunningService, lender: Client, reader: tuple[str, str]
) -> None:
    answer = lender.send(lender.sign("GET", NOTHING))
    assert answer.log_entry is not None
    event_id = answer.log_entry.event_id
    proof = lender.inclusion_proof(event_id)
    assert proof is not None
    InclusionProof.from_dict(proof).verify([service.services.log_verifier])
    asked = f"{service.url}/audit/v1/proof/inclusion?event_id={event_id}"

    def grew() -> bool:
        lender.send(lender.sign("GET", NOTHING))
        return bool(httpx.get(asked, auth=reader).json()["size"] > proof["size"])

    wait_for(grew)
    assert httpx.get(asked).json() == proof
    by_size = httpx.get(f"{asked}&size={proof['size']}")
    assert (by_size.status_code, by_size.json()["code"]) == (401, "reader_unknown")
    assert httpx.get(f"{asked}&size={proof['size']}", auth=reader).json() == proof


def test_health_tells_a_stranger_neither_when_something_happens_nor_what_witnesses_saw(service: RunningService) -> None:
    with service.superuser() as database:
        database.execute("INSERT INTO audit_hold VALUES (true, 'it cosigned 1234 leaves')")
        database.execute(
            "INSERT INTO audit_pending (event_id, queued_at)"
            " VALUES (gen_random_uuid(), clock_timestamp() - interval '9 s')"
        )
        try:
            told = httpx.get(service.url + "/audit/v1/health").json()
        finally:
            database.execute("DELETE FROM audit_hold")
            database.execute("DELETE FROM audit_pending WHERE event_id NOT IN (SELECT event_id FROM audit_event)")
    assert told["oldest_pending_s"] == 0
    assert "1234" not in told["held"]


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic !!",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b":").decode(),
        "Basic " + base64.b64encode("jemand:schlüssel".encode()).decode(),
        "Basic " + base64.b64encode(b"x" * 4_000 + b":y").decode(),
        "Basic \xe9",
        "Bearer {password}",
        "{user}:{password}",
    ],
)
def test_a_wrong_token_is_refused_and_no_way_of_writing_it_fails(
    service: RunningService, reader: tuple[str, str], authorization: str
) -> None:
    given = authorization.format(user=reader[0], password=reader[1]).encode("latin-1")
    refused = httpx.get(service.url + "/log/v1/checkpoint", headers={b"Authorization": given})
    assert (refused.status_code, refused.json()["code"]) == (401, "reader_unknown")


def test_a_token_is_good_for_its_own_key_only(service: RunningService, reader: tuple[str, str]) -> None:
    other = token_of(service.admit("Other"))
    for user, password in ((reader[0], other[1]), (other[0], reader[1]), (reader[0], ""), (reader[0], reader[1] + "A")):
        assert httpx.get(service.url + "/log/v1/checkpoint", auth=(user, password)).status_code == 401


def test_a_token_ends_with_its_key(service: RunningService) -> None:
    leaver = service.admit("Leaver")
    token, member_id = token_of(leaver), leaver.session.signer.member_id
    wait_for(lambda: httpx.get(service.url + "/log/v1/checkpoint", auth=token).status_code == 200)
    revoked = attempt(leaver, "POST", f"/v1/members/{member_id}/keys/{token[0]}/revocation", {"reason": "rotation"})
    assert revoked == "done"
    wait_for(lambda: httpx.get(service.url + "/log/v1/checkpoint", auth=token).status_code == 401, seconds=2)


def test_a_suspended_member_may_still_check_the_log(service: RunningService) -> None:
    suspended = service.admit("Suspended")
    member_id = suspended.session.signer.member_id
    assert attempt(service.desk[0], "POST", f"/v1/members/{member_id}/suspension", {"reason": "inquiry"}) == "done"
    token = token_of(suspended)
    assert httpx.get(service.url + "/log/v1/checkpoint", auth=token).status_code == 200


def test_that_a_token_was_shown_is_an_event(lender: Client) -> None:
    answer = lender.call("GET", "/v1/me/log-token")
    assert answer.log_entry is not None
    assert json.loads(answer.log_entry.meta)["action"] == "show_log_token"


def test_the_commands_read_with_a_token_and_say_how_to_get_one(
    service: RunningService, lender: Client, tmp_path: Path
) -> None:
    key = tmp_path / "key.jwk"
    signer = lender.session.signer
    key.write_text(json.dumps({**signer.key.private_jwk(), "creditshare_member_id": signer.member_id}))
    printed = command(service, "log", "token", "--as", str(key), "--url", service.url)
    assert printed.returncode == 0, printed.stderr
    token, mirrored = tmp_path / "token", str(tmp_path / "log")
    token.write_text(printed.stdout)
    vkey = ("--vkey", service.services.log_verifier.vkey)
    without = command(service, "log", "mirror", service.url, mirrored, *vkey)
    assert without.returncode == 2
    assert "creditshare log token" in without.stderr
    made = command(service, "log", "mirror", service.url, mirrored, *vkey, "--reader", str(token))
    assert made.returncode == 0, made.stderr
    old = tmp_path / "old"
    old.write_bytes((tmp_path / "log" / "checkpoint").read_bytes())
    size = int(old.read_text().split("\n")[1])

    def mirrored_more() -> bool:
        lender.send(lender.sign("GET", NOTHING))
        again = command(service, "log", "mirror", service.url, mirrored, "--reader", str(token))
        return again.returncode == 0 and int((tmp_path / "log" / "checkpoint").read_text().split("\n")[1]) > size

    wait_for(mirrored_more)
    grown = ("log", "verify-consistency", str(old), str(tmp_path / "log" / "checkpoint"), *vkey, "--url", service.url)
    assert command(service, *grown).returncode == 2
    assert command(service, *grown, "--reader", str(token)).returncode == 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page's own commands are made with curl")
def test_the_regulators_page_reads_with_a_token_in_curls_own_file(
    service: RunningService, reader: tuple[str, str], tmp_path: Path
) -> None:
    wait_for(lambda: httpx.get(service.url + "/log/v1/checkpoint", auth=reader).status_code == 200)
    copied = ["sh", str(VERIFY / "mirror.sh"), service.url, str(tmp_path / "log")]
    own = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    assert subprocess.run(copied, env=own, check=False, capture_output=True).returncode == 22  # HTTP said no
    (tmp_path / ".curlrc").write_text(f'user = "{":".join(reader)}"\n')
    subprocess.run(copied, env=own, check=True)
    check(tmp_path / "log", service.services.log_verifier)


def test_who_guesses_is_slowed_down_and_readers_beside_him_are_not(
    service: RunningService, reader: tuple[str, str]
) -> None:
    guesses = [httpx.get(service.url + "/log/v1/checkpoint", auth=(reader[0], f"{n}")).status_code for n in range(60)]
    assert set(guesses) == {401, 429}
    assert guesses[-1] == 429
    assert httpx.get(service.url + "/log/v1/checkpoint", auth=reader).status_code == 200
