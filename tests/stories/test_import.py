"""A lender's file into records, by the real command: once, again, changed, interrupted; nothing is left lying about."""

import base64
import csv
import gzip
import json
import os
import pty
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest
from tests.fixtures.commands import command_line
from tests.fixtures.service import RunningService, running_service, wait_for

from creditshare.cli.demo.story import synthetic_uscc
from creditshare.cli.import_files import State
from creditshare.cli.imports import import_file
from creditshare.cli.options import write_private
from creditshare.client.bank import Client, Problem
from creditshare.errors import ConfigurationError
from creditshare.ids import parse
from creditshare.storage.embedded import EmbeddedPostgres

SOURCE = Path(__file__).parents[2] / "src"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SOURCE), "TERM": "xterm", "COLUMNS": "120"}
BUCKETS = ("sent", "done_before", "unchanged", "corrected", "not_confirmed", "not_sent")
Loan = dict[str, str]


@dataclass
class Desk:
    """A lender's desk: its key, its file and the command."""

    service: RunningService
    client: Client
    folder: Path
    key_file: Path
    file: Path
    taken: list[str] = field(default_factory=list)

    def words(self, *arguments: str) -> list[str]:
        own = ["--as", str(self.key_file), "--url", self.service.url, "--json"]
        return ["record", "import", str(self.file), *own, *arguments]

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "creditshare", *self.words(*arguments)]

    def run(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Run the command without a terminal; every row must stand in exactly one bucket."""
        done = command_line().run(*self.words(*arguments), environment=ENVIRONMENT)
        self.taken += [done.stdout, done.stderr]
        assert done.stdout, done.stderr
        return done.returncode, balanced(json.loads(done.stdout))

    def write(self, loans: list[Loan]) -> None:
        with self.file.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(loans[0]))
            writer.writeheader()
            writer.writerows(loans)

    def errors(self) -> list[tuple[int, str, str]]:
        """Return what the error file names; its entries have four members and no more."""
        path = self.file.with_name(self.file.name + ".errors.ndjson")
        entries = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        assert all(set(one) == {"row", "field", "code", "detail"} for one in entries)
        return [(one["row"], one["field"], one["code"]) for one in entries]

    def records(self) -> int:
        with self.service.superuser() as connection:
            return self.counted(connection)

    def counted(self, connection: "psycopg.Connection[Any]") -> int:
        assert self.client.identity is not None
        mine = parse("mem", self.client.identity.member_id)
        found = connection.execute("SELECT count(*) FROM record_current WHERE member_id = %s", [mine]).fetchone()
        return int(found[0]) if found else 0

    def record_of(self, loan: Loan) -> dict[str, Any]:
        """Return the record that an account became: a second report of it names it."""
        (subject,) = self.client.tokenise([loan["uscc"]])
        with pytest.raises(Problem) as caught:
            self.client.call("POST", "/v1/records", data=as_body(loan, subject))
        record: dict[str, Any] = self.client.call("GET", f"/v1/records/{caught.value.document['record_id']}").data
        return record


def as_body(loan: Loan, subject: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {name: text for name, text in loan.items() if "." not in name and name != "uscc"}
    body |= {"days_past_due": int(loan["days_past_due"]), "subject": subject}
    return body | {"region": {"scheme": loan["region.scheme"], "code": loan["region.code"]}}


def balanced(summary: dict[str, Any]) -> dict[str, Any]:
    assert summary["read"] == summary["valid"] + summary["invalid"]
    assert summary["valid"] == sum(summary[name] for name in BUCKETS) + sum(summary["refused"].values())
    return summary


def loans(count: int) -> list[Loan]:
    source = random.Random(11)  # noqa: S311  the same file each time
    today = datetime.now(UTC).date()
    return [
        {
            "uscc": synthetic_uscc(source),
            "role": "borrower",
            "account_ref": f"KTO-{number:05d}",
            "product": "term_loan",
            "currency": "USD",
            "original_amount": f"{source.randrange(10**6, 10**7)}.{source.randrange(10, 100)}",
            "outstanding_principal": f"{source.randrange(10**5, 10**6)}.{source.randrange(10, 100)}",
            "opened_on": (today - timedelta(days=900)).isoformat(),
            "default_on": (today - timedelta(days=100)).isoformat(),
            "days_past_due": "200",
            "default_reason": "days_past_due",
            "region.scheme": "ISO 3166-2",
            "region.code": "US-CA",
            "lawful_basis": "public_record",
            "public_ref": f"register {number}",
        }
        for number in range(count)
    ]


def desk_of(service: RunningService, folder: Path, *, evaluations_per_day: int = 2_000) -> Desk:
    client = service.admit("Lender", region="US", evaluations_per_day=evaluations_per_day)
    assert client.identity is not None
    key_file = service.folder / f"{client.identity.member_id}.jwk"
    write_private(key_file, {**client.identity.key.private_jwk(), "creditshare_member_id": client.identity.member_id})
    return Desk(service, client, folder, key_file, folder / "loans.csv")


@pytest.fixture
def desk(shared_service: RunningService, tmp_path: Path) -> Desk:
    return desk_of(shared_service, tmp_path)


def spellings(secret: str) -> list[bytes]:
    """Return a secret as it might lie in a file."""
    plain = secret.encode()
    return [plain, plain[::-1], base64.b64encode(plain), plain.hex().encode(), secret.encode("utf-16-le")]


def found_in(content: bytes, rows: list[Loan]) -> list[str]:
    secret = ("uscc", "original_amount", "outstanding_principal", "account_ref", "public_ref")
    return [name for row in rows for name in secret if any(one in content for one in spellings(row[name]))]


def test_a_file_is_sent_once_and_is_no_change_the_second_time(desk: Desk) -> None:
    rows = loans(7)
    desk.write(rows)
    status, first = desk.run()
    assert (status, first["sent"], first["error_file"], desk.records()) == (0, 7, None, 7)
    status, second = desk.run()
    assert (status, second["unchanged"], second["sent"], desk.records()) == (0, 7, 0, 7)
    status, dry = desk.run("--dry-run")
    assert (status, dry["unchanged"], dry["not_sent"], desk.records()) == (0, 7, 0, 7)
    # Without the state each row costs two calls instead of one, and comes to the same.
    (desk.folder / "loans.csv.import-state").unlink()
    status, third = desk.run()
    assert (status, third["unchanged"], desk.records()) == (0, 7, 7)
    told = desk.record_of(rows[3])
    assert {name: told[name] for name in ("account_ref", "original_amount", "public_ref")} == {
        name: rows[3][name] for name in ("account_ref", "original_amount", "public_ref")
    }


def test_bad_rows_are_named_and_left_out_and_nothing_of_a_dry_run_is_sent(desk: Desk) -> None:
    rows = loans(8)
    rows[1]["uscc"] = rows[1]["uscc"][:-1] + ("0" if rows[1]["uscc"][-1] != "0" else "1")
    rows[2]["original_amount"] = "12,50"
    rows[3]["product"] = "loan"
    rows[4] |= {"default_on": "2001-01-01", "currency": ""}
    rows[5]["account_ref"] = rows[0]["account_ref"]
    # Good as far as the lender can tell; the service's dated policy says no.
    rows[6]["days_past_due"] = "90"
    desk.write(rows)
    local = [
        (2, "uscc", "check_digit"),
        (3, "original_amount", "format"),
        (4, "product", "unknown_code"),
        (5, "currency", "required"),
        (5, "default_on", "before_opened_on"),
        (6, "account_ref", "duplicate"),
    ]
    there = (7, "days_past_due", "below_default")
    status, dry = desk.run("--dry-run")
    assert (status, dry["invalid"], dry["not_sent"], desk.records()) == (1, 5, 2, 0)
    assert dry["refused"] == {"validation_failed": 1}
    assert sorted(desk.errors()) == [*local, there]
    assert not (desk.folder / "loans.csv.import-state").exists()
    status, sent = desk.run()
    assert (status, sent["invalid"], sent["sent"], sent["refused"]) == (1, 5, 2, {"validation_failed": 1})
    assert sorted(desk.errors()) == [*local, there]
    assert sent["reasons"] == {**dict.fromkeys((code for _, _, code in local), 1), "below_default": 1}
    assert desk.records() == 2
    # Repaired, the rest follows and nothing is sent twice.
    desk.write(loans(8))
    status, repaired = desk.run()
    assert (status, repaired["unchanged"], repaired["sent"], desk.errors()) == (0, 2, 6, [])


def test_a_changed_row_is_a_correction_only_once_confirmed(desk: Desk) -> None:
    rows = loans(5)
    desk.write(rows)
    assert desk.run()[0] == 0
    rows[1] |= {"outstanding_principal": "4242.42", "days_past_due": "231"}
    rows[2]["outstanding_principal"] = "4343.43"
    rows[3] |= {"region.code": "US-NY", "days_past_due": "231"}
    desk.write(rows)
    fixed = (4, "region.code", "not_correctable")
    # Without a terminal nobody can confirm.
    status, asked = desk.run()
    assert (status, asked["not_confirmed"], asked["refused"]) == (1, 2, {"not_correctable": 1})
    assert asked["unchanged"] == 2
    unconfirmed = [
        (2, "outstanding_principal", "correction_not_confirmed"),
        (2, "days_past_due", "correction_not_confirmed"),
        (3, "outstanding_principal", "correction_not_confirmed"),
    ]
    assert sorted(desk.errors()) == sorted([*unconfirmed, fixed])
    assert desk.record_of(rows[1])["corrected"] is False
    status, corrected = desk.run("--corrections", "yes", "--reason", "wrong_amount")
    assert (status, corrected["corrected"], desk.errors()) == (1, 2, [fixed])
    told = desk.record_of(rows[1])
    assert (told["outstanding_principal"], told["days_past_due"], told["corrected"]) == ("4242.42", 231, True)
    assert desk.record_of(rows[3])["region"] == {"scheme": "ISO 3166-2", "code": "US-CA"}
    # Taken back to what the file said first: the first answer, told again, must not pass for the present state.
    before = loans(5)
    desk.write(before)
    status, back = desk.run("--corrections", "yes")
    assert (status, back["corrected"], back["unchanged"]) == (0, 2, 3)
    assert desk.record_of(before[1])["outstanding_principal"] == before[1]["outstanding_principal"]


def at_a_terminal(command: list[str], typed: bytes) -> tuple[int, str, str]:
    """Run a command with a terminal for its questions; return status, output and what the terminal showed."""
    master, slave = pty.openpty()
    shown: list[bytes] = []

    def read() -> None:
        with suppress(OSError):  # the terminal is gone once nobody holds it
            while part := os.read(master, 4096):
                shown.append(part)

    process = subprocess.Popen(command, stdin=slave, stdout=subprocess.PIPE, stderr=slave, env=ENVIRONMENT)
    os.close(slave)
    reader = threading.Thread(target=read)
    reader.start()
    os.write(master, typed)
    output, _ = process.communicate(timeout=60)
    reader.join(10)
    os.close(master)
    return process.returncode, output.decode(), b"".join(shown).decode()


def test_a_terminal_shows_each_difference_and_asks(desk: Desk) -> None:
    rows = loans(5)
    desk.write(rows)
    assert desk.run()[0] == 0
    for row in rows[1:]:
        row["outstanding_principal"] = "4242.42"
    rows[0]["currency"] = "usd"
    desk.write(rows)
    # Bad row: go on? First difference yes, second no, then all the rest.
    status, output, shown = at_a_terminal(desk.command(), b"y\nyes\nno\nall\n")
    summary = balanced(json.loads(output))
    assert (status, summary["corrected"], summary["not_confirmed"], summary["invalid"]) == (1, 3, 1, 1), shown
    assert f"{rows[1]['outstanding_principal']}" in shown
    assert loans(5)[1]["outstanding_principal"] in shown
    assert desk.errors() == [(1, "currency", "format"), (3, "outstanding_principal", "correction_not_confirmed")]
    # Who does not want to go on with a bad row sends nothing.
    status, output, _ = at_a_terminal(desk.command(), b"n\n")
    assert (status, balanced(json.loads(output))["not_sent"]) == (1, 4)


def stopped_by(desk: Desk, number: signal.Signals, *, after: int) -> tuple[int, str]:
    process = subprocess.Popen(
        desk.command("--parallel", "2", "--rows-at-once", "25"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    with desk.service.superuser() as connection:
        wait_for(lambda: desk.counted(connection) >= after or process.poll() is not None, seconds=60)
    process.send_signal(number)
    output, said = process.communicate(timeout=60)
    desk.taken += [output.decode(), said.decode()]
    return process.returncode, output.decode()


def jobs_of(desk: Desk) -> int:
    assert desk.client.identity is not None
    mine = parse("mem", desk.client.identity.member_id)
    with desk.service.superuser() as connection:
        found = connection.execute("SELECT count(*) FROM job WHERE member_id = %s", [mine]).fetchone()
    return int(found[0]) if found else 0


def settled(desk: Desk) -> int:
    """Wait until the service has dealt with all that it was sent; return how many records there are."""

    def waiting() -> bool:
        with desk.service.superuser() as connection:
            found = connection.execute("SELECT count(*) FROM job WHERE finished_at IS NULL").fetchone()
        return bool(found and found[0])

    wait_for(lambda: not waiting(), seconds=30)
    return desk.records()


@pytest.mark.slow
def test_killed_midway_it_goes_on_and_reports_every_row_exactly_once(desk: Desk) -> None:
    rows = loans(200)
    desk.write(rows)
    status, _ = stopped_by(desk, signal.SIGKILL, after=30)
    held = settled(desk)
    assert status == -signal.SIGKILL
    assert 0 < held < len(rows)
    # Ctrl-C ends in good order: what is under way is awaited, the rest is left.
    status, output = stopped_by(desk, signal.SIGINT, after=held + 75)
    interrupted = balanced(json.loads(output))
    assert (status, interrupted["interrupted"]) == (130, True)
    assert interrupted["not_sent"] > 0
    # What the killed run had sent was told again, and compared; no row was sent to no purpose.
    assert desk.records() == held + interrupted["sent"] == len(rows) - interrupted["not_sent"]
    assert interrupted["done_before"] + interrupted["unchanged"] == held
    status, rest = desk.run("--rows-at-once", "25")
    assert status == 0
    assert (rest["sent"], desk.records()) == (interrupted["not_sent"], len(rows))
    assert rest["done_before"] == len(rows) - rest["sent"]
    assert jobs_of(desk) == len(rows) // 25
    status, again = desk.run("--parallel", "1")
    assert (status, again["unchanged"]) == (0, len(rows))


def worked_on(desk: Desk, *, until_job: bool = False) -> tuple[int, dict[str, Any]]:
    """Run the command while the service's worker is played here; or play it only once the member is suspended."""
    process = subprocess.Popen(desk.command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
    if until_job:
        wait_for(lambda: jobs_of(desk) == 1, seconds=60)
        assert desk.service.run(desk.service.services.batches.step())
        desk.service.rewrite("UPDATE member SET status = 'suspended' WHERE name = 'Lender'")
    while process.poll() is None:
        desk.service.run(desk.service.services.batches.step())
        time.sleep(0.05)
    output, said = process.communicate()
    desk.taken += [output.decode(), said.decode()]
    return process.returncode, balanced(json.loads(output))


def test_a_file_that_the_service_ends_is_sent_anew_and_no_row_twice(postgres: EmbeddedPostgres, template: str) -> None:
    with running_service(postgres, template, with_worker=False) as service, TemporaryDirectory() as folder:
        desk = desk_of(service, Path(folder))
        desk.write(loans(250))
        status, first = worked_on(desk, until_job=True)
        assert (status, first["sent"], first["not_sent"]) == (1, 100, 150)
        assert "member_suspended" in desk.taken[-1]
        service.rewrite("UPDATE member SET status = 'active' WHERE name = 'Lender'")
        status, rest = worked_on(desk)
        assert (status, rest["done_before"], rest["sent"], desk.records()) == (0, 100, 150, 250)
        assert jobs_of(desk) == 2


def test_no_file_it_leaves_holds_an_identifier_or_an_amount(desk: Desk) -> None:
    rows = loans(30)
    rows[3]["currency"] = "usd"
    desk.write(rows)
    desk.run()
    rows[4]["outstanding_principal"] = "4242.42"
    rows[5]["region.code"] = "US-NY"
    desk.write(rows)
    desk.run()
    desk.run("--corrections", "yes")
    left = {path.name: path.read_bytes() for path in desk.folder.iterdir()}
    assert set(left) == {"loans.csv", "loans.csv.errors.ndjson", "loans.csv.import-state"}
    assert found_in(left.pop("loans.csv"), rows)
    for name, content in left.items():
        assert content
        assert found_in(content, rows) == [], name
        assert (desk.folder / name).stat().st_mode & 0o077 == 0
    assert found_in("".join(desk.taken).encode(), rows) == []


def test_other_forms_of_file_are_read_alike(desk: Desk) -> None:
    rows = loans(3)
    documents = [
        {
            **{name: text for name, text in row.items() if "." not in name},
            "days_past_due": 200,
            "cause": None,
            "region": {"scheme": "ISO 3166-2", "code": "US-CA"},
        }
        for row in rows
    ]
    lines = "\n".join(
        [json.dumps(documents[0]), "", "{bad", '{"a":1,"a":2}', '{"surprise":[1]}', json.dumps(documents[2])]
    )
    desk.file = desk.folder / "loans.ndjson.gz"
    desk.file.write_bytes(gzip.compress(lines.encode()))
    status, first = desk.run()
    assert (status, first["read"], first["invalid"], first["sent"]) == (1, 5, 3, 2)
    assert desk.errors() == [(row, "", "row_malformed") for row in (3, 4, 5)]
    # The same accounts from another file with other names and spellings.
    mapping = desk.folder / "mapping.toml"
    names = "\n".join(f'"{name}" = "列 {name}"' for name in rows[0] if name != "original_amount")
    mapping.write_text(
        f'encoding = "gb18030"\ndelimiter = ";"\n[fields]\n{names}\n'
        'original_amount = { column = "列 original_amount", decimal = "," }\n',
        encoding="utf-8",
    )
    header = ";".join(f"列 {name}" for name in rows[0])
    cells = [";".join(v.replace(".", ",") if k == "original_amount" else v for k, v in row.items()) for row in rows]
    bad = b";".join([b"\xff"] * len(rows[0]))
    desk.file = desk.folder / "other.csv"
    desk.file.write_bytes(b"\r\n".join(["\r\n".join([header, *cells, "too;short"]).encode("gb18030"), bad]))
    status, second = desk.run("--mapping", str(mapping))
    assert (status, second["unchanged"], second["sent"], second["invalid"]) == (1, 2, 1, 2)
    assert desk.errors() == [(4, "", "row_malformed"), (5, "", "encoding")]


def test_what_cannot_be_used_is_one_sentence(desk: Desk) -> None:
    def refusal(name: str, content: bytes | None, **options: Any) -> str:
        file = desk.folder / name
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(ConfigurationError) as caught:
            import_file(file, desk.key_file, desk.service.url, **options)
        return str(caught.value)

    desk.write(loans(2))
    good = desk.file.read_bytes()
    assert "acount" in refusal("column.csv", good.replace(b"account_ref", b"acount", 1))
    assert "two columns" in refusal("twice.csv", good.replace(b"account_ref", b"role", 1))
    assert "no header" in refusal("empty.csv", b"")
    assert "damaged" in refusal("cut.csv.gz", gzip.compress(good)[:-40])
    assert "damaged" in refusal("plain.csv.gz", good)
    assert ".ndjson" in refusal("loans.xlsx", b"")
    assert "cannot be read" in refusal("missing.csv", None)
    assert "wrong_amount" in refusal("reason.csv", good, reason="because")
    assert "is no TOML" in refusal("mapped.csv", good, mapping=desk.file)
    (desk.folder / "stated.csv.import-state").write_bytes(b"something else entirely, and long enough to be read")
    assert "remove it" in refusal("stated.csv", good)
    assert desk.records() == 0
    # The same from the command line: status 2, one sentence, no trace.
    desk.file.write_bytes(b"")
    done = subprocess.run(desk.command(), capture_output=True, env=ENVIRONMENT, check=False, text=True)
    told = {"error": "usage", "detail": "creditshare: loans.csv has no header line", "status": 2}
    assert (done.returncode, done.stdout, json.loads(done.stderr)) == (2, "", told)


def test_two_imports_of_one_file_exclude_each_other(desk: Desk) -> None:
    desk.write(loans(1))
    with State(desk.folder / "loans.csv.import-state"), pytest.raises(ConfigurationError, match="in use"):
        import_file(desk.file, desk.key_file, desk.service.url)
    assert desk.run()[1]["sent"] == 1


def test_a_withdrawn_record_is_left_alone(desk: Desk) -> None:
    rows = loans(2)
    desk.write(rows)
    assert desk.run()[0] == 0
    record = desk.record_of(rows[0])["record_id"]
    desk.client.call("POST", f"/v1/records/{record}/withdrawal", data={"reason": "reported_in_error"})
    status, again = desk.run("--corrections", "yes")
    assert (status, again["unchanged"], again["refused"]) == (1, 1, {"record_withdrawn": 1})


@pytest.mark.slow
def test_a_spent_budget_stops_the_run_and_the_next_goes_on(service: RunningService, tmp_path: Path) -> None:
    desk = desk_of(service, tmp_path, evaluations_per_day=300)
    desk.write(loans(320))
    status, first = desk.run()
    assert (status, first["sent"], first["not_sent"], first["interrupted"]) == (1, 256, 64, False)
    assert "quota_exhausted" in desk.taken[-1]
    service.advance(days=1)
    status, rest = desk.run()
    assert (status, rest["done_before"], rest["sent"]) == (0, 256, 64)
