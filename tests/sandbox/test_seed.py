"""The fixed identifiers: each shows what its row promises, seeding again sends nothing, production refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql
from stdnum.cn import uscc
from tests.fixtures.processes import another_process, command
from tests.fixtures.service import RunningService

from creditshare.cli.sandbox_seed import DONE_FILE, Seeded, load_table, seed
from creditshare.client.bank import Client, Problem
from creditshare.client.core import Identity
from creditshare.errors import ConfigurationError

SCENARIOS: list[dict[str, Any]] = load_table()["scenario"]
OF_THE_API = {
    "91999999DEM000006M": "no record",
    "91999999DEM000014G": "one open default",
    "91999999DEM000022B": "several lenders",
    "91999999DEM0000306": "disputed",
    "91999999DEM0000493": "corrected",
    "91999999DEM000057X": "no consent",
    "91999999DEM000065Q": "consent revoked",
    "91999999DEM000073K": "retention over",
}


def seed_once(service: RunningService) -> Seeded:
    return seed((service.client(service.operators[0]), service.client(service.operators[1])), service.folder / "seed")


def count(service: RunningService, table: str) -> int:
    with service.superuser() as database:
        row = database.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))).fetchone()
    assert row is not None
    return int(row[0])


def test_the_table_holds_the_published_identifiers_with_valid_check_digits() -> None:
    assert {s["identifier"]: s["name"] for s in SCENARIOS} == OF_THE_API
    assert all(uscc.is_valid(s["identifier"]) for s in SCENARIOS)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["name"])
def test_each_identifier_shows_what_its_row_promises(shared_service: RunningService, scenario: dict[str, Any]) -> None:
    seeded = seed_once(shared_service)
    (done,) = (s for s in seeded.scenarios if s["identifier"] == scenario["identifier"])
    any_consent = next(c for s in seeded.scenarios if (c := seeded.consent_of(s)) is not None)
    consent = seeded.consent_of(done) or any_consent
    asker = shared_service.client(Identity.from_file(seeded.asker))
    (subject,) = asker.tokenise([scenario["identifier"]])
    expect = scenario["expect"]

    def ask() -> dict[str, Any]:
        answer: dict[str, Any] = asker.query(subject, purpose="pre_loan", consent_id=consent).data
        return answer

    if "refused" in expect:
        with pytest.raises(Problem) as caught:
            ask()
        assert caught.value.code == expect["refused"]
        return
    told = ask()
    assert told["match"] == expect["match"]
    assert told["summary"]["lenders"] == expect["lenders"]
    assert told["summary"]["open_defaults"] == expect["open_defaults"]
    if "superseded" in expect:
        query_id = next(d["query_id"] for d in done["done"] if "query_id" in d)
        assert asker.call("GET", f"/v1/queries/{query_id}").headers["cs-superseded"] == expect["superseded"]


def test_seeding_again_sends_nothing_and_an_interrupted_run_goes_on(service: RunningService) -> None:
    first = seed_once(service)
    events = count(service, "audit_event")
    assert seed_once(service) == first
    assert count(service, "audit_event") == events

    # The last answer of the last scenario was never noted: the same step is sent again, and nothing is done twice.
    file = service.folder / "seed" / DONE_FILE
    kept = json.loads(file.read_text())
    kept["done"][SCENARIOS[2]["identifier"]].pop()
    file.write_text(json.dumps(kept))
    records = count(service, "record_event")
    assert seed_once(service) == first
    assert count(service, "record_event") == records


def test_a_folder_of_another_service_is_refused(shared_service: RunningService, service: RunningService) -> None:
    operators = service.client(service.operators[0]), service.client(service.operators[1])
    seed_once(shared_service)
    with pytest.raises(ConfigurationError, match="seeded for another service"):
        seed(operators, shared_service.folder / "seed")


@pytest.mark.slow
def test_the_command_says_what_is_not_there_yet_and_production_refuses(service: RunningService) -> None:
    files = [str(service.write_key(n, service.folder / f"op-{n}.jwk.json")) for n in (0, 1)]
    arguments = ("--as", files[0], "--as", files[1], "--keys", str(service.folder / "cli"))
    done = command(service, "sandbox", "seed", *arguments, "--url", service.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("NOT YET") == len([s for s in SCENARIOS if "later" in s]) == 2

    passphrase = Path(service.folder / "passphrase")
    passphrase.write_text("correct horse")
    passphrase.chmod(0o400)
    sealing = {"keyring_passphrase_file": str(passphrase)}
    assert command(service, "keys", "seal", "--data", str(service.folder), **sealing).returncode == 0
    service.rewrite(  # operators as production's own bootstrap makes them
        "UPDATE member_key SET bootstrap = true FROM member m WHERE m.member_id = member_key.member_id"
        " AND m.role = 'operator'"
    )
    with another_process(service, environment="production", **sealing) as url:
        for refused in (
            command(service, "sandbox", "seed", *arguments, "--url", url),
            command(service, "sandbox", "advance", "--days", "1", "--as", files[0], "--url", url),
        ):
            assert refused.returncode == 2
            assert "runs in production mode" in refused.stderr
        with Client(url, service.operators[0]) as operator:
            route = operator.send(operator.sign("POST", "/v1/sandbox/clock", data={"days": 1}))
            assert (route.status, route.claims) == (404, None)
