"""The commands as processes of their own against a running service: what a bank types, what a script reads."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from tests.fixtures.commands import command_line
from tests.fixtures.service import RunningService, record_body, running_service, wait_for

from creditshare.cli import app
from creditshare.client import Pins, Profile
from creditshare.storage.embedded import EmbeddedPostgres

pytestmark = pytest.mark.slow
BORROWER = "91999999DEM000014G"


@dataclass
class Shell:
    """Runs ``creditshare`` with a home of its own."""

    home: Path
    url: str

    def run(self, *words: str | Path, stdin: str = "", **variables: str) -> "subprocess.CompletedProcess[str]":
        plain = {k: v for k, v in os.environ.items() if not k.startswith(("CREDITSHARE_", "XDG_"))}
        environment = {**plain, "HOME": str(self.home), **variables}
        return command_line().run(*map(str, words), environment=environment, stdin=stdin, folder=self.home)

    def json(self, *words: str | Path, stdin: str = "", **variables: str) -> Any:
        done = self.run(*words, "--json", stdin=stdin, **variables)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def refused(self, *words: str | Path, status: int = 1, stdin: str = "") -> dict[str, Any]:
        done = self.run(*words, "--json", stdin=stdin)
        assert done.returncode == status, done.stderr
        problem: dict[str, Any] = json.loads(done.stderr.splitlines()[-1])
        assert problem["status"] == status
        return problem

    def write(self, name: str, content: object) -> Path:
        path = self.home / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path


@pytest.fixture(scope="module")
def running(postgres: EmbeddedPostgres, template: str) -> Any:
    with running_service(postgres, template) as service:
        yield service


@pytest.fixture
def shell(tmp_path: Path, running: RunningService) -> Shell:
    for number, identity in enumerate(running.operators, start=1):
        path = tmp_path / f"operator-{number}.jwk.json"
        path.write_text(json.dumps(identity.stored()))
        path.chmod(0o600)
    return Shell(tmp_path, running.url)


def admitted(shell: Shell, name: str) -> str:
    """Admit a lender from the command line, its profile being ``name``; return its member id."""
    at = ("--url", shell.url)
    member = shell.json(
        "member", "add", "--as", "operator-1.jwk.json", *at, "--name", name, "--role", "lender", "--region", "US"
    )["member_id"]
    code = shell.json("member", "approve", member, "--as", "operator-2.jwk.json", *at)["enrolment_code"]
    made = shell.json("keys", "new", "--out", f"{name}.jwk.json")
    enrolled = shell.json(
        "keys", "enrol", "--key", f"{name}.jwk.json", "--code", "-", "--member", member, *at,
        "--save-profile", name, stdin=code + "\n",
    )  # fmt: skip
    assert enrolled["kid"] == made["kid"]
    assert code not in enrolled.values()
    return str(member)


def lender(shell: Shell, running: RunningService, name: str) -> str:
    """Admit a lender over the API, which is faster, and give it a profile; return its member id."""
    client = running.admit(name, region="US")
    identity = client.session.signer
    key_file = shell.write(f"{name}.jwk.json", dict(identity.stored()))
    key_file.chmod(0o600)
    path = shell.home / ".config" / "creditshare" / "profiles" / f"{name}.toml"
    pins = Pins.of(client.discovery, client.service_jwks)
    Profile(path=path, url=shell.url, key_file=key_file, sub="cli", pins=pins).save()
    return identity.member_id


def test_the_main_path_from_enrolment_to_evidence(shell: Shell) -> None:
    admitted(shell, "bank-a")
    reporter = ("--profile", "bank-a")
    shell.write("signed.pdf", "a signed consent")
    facts = {k: v for k, v in record_body({}, "A-1").items() if k != "subject"}
    record = shell.json(
        *reporter, "record", "submit", "--uscc", "-", "--file", shell.write("record.json", facts), stdin=BORROWER
    )
    assert record["status"] == "default"
    changes = shell.write("changes.json", {"outstanding_principal": "90000.00"})
    corrected = shell.json(
        *reporter, "record", "correct", record["record_id"], "--reason", "wrong_amount", "--file", changes
    )
    assert corrected["corrected"] is True

    admitted(shell, "bank-b")
    asker = ("--profile", "bank-b")
    consent = shell.json(*asker, "consent", "grant", "--uscc", "-", "--document", "signed.pdf", stdin=BORROWER)
    question = (*asker, "query", "run", "--uscc", "-", "--consent", consent["consent_id"])
    answer = shell.json(*question, "--evidence", "evidence.json", stdin=BORROWER)
    assert answer["summary"]["open_defaults"] == 1
    assert any("checkpoint signed" in line for line in shell.json("verify-evidence", "evidence.json")["shown"])
    assert shell.json("log", "verify-receipt", "evidence.json")["holds"] is True

    (asked,) = shell.json("query", "history")["questions"]
    assert asked["query_id"] == answer["query_id"]
    assert asked["consent_id"] == consent["consent_id"]
    history = shell.home / ".local" / "state" / "creditshare" / "history.ndjson"
    assert BORROWER not in history.read_text()
    assert history.stat().st_mode & 0o077 == 0
    told = shell.json(*asker, "query", "history", answer["query_id"])
    assert told == {"answer": answer, "superseded": None}
    shell.json(*reporter, "record", "withdraw", record["record_id"], "--reason", "duplicate")
    assert shell.json(*asker, "query", "history", answer["query_id"])["superseded"] == "withdrawn"
    assert shell.json(*reporter, "record", "show", record["record_id"])["status"] == "withdrawn"

    assert shell.json(*asker, "consent", "pause", consent["consent_id"])["status"] == "paused"
    assert shell.refused(*question, stdin=BORROWER)["error"] == "consent_paused"
    assert shell.json(*asker, "consent", "resume", consent["consent_id"])["status"] == "active"
    tampered = (shell.home / "evidence.json").read_text().replace('"status": 200', '"status": 201')
    assert shell.refused("verify-evidence", shell.write("tampered.json", tampered), status=3)


def test_a_record_is_advanced(shell: Shell, running: RunningService) -> None:
    lender(shell, running, "bank-c")
    facts = {k: v for k, v in record_body({}, "A-1").items() if k != "subject"}
    file = shell.write("record.json", facts)
    record = shell.json("--profile", "bank-c", "record", "submit", "--uscc", BORROWER, "--file", file)
    advance = ("--profile", "bank-c", "record", "advance", record["record_id"])
    assert shell.json(*advance, "cured", "--on", facts["default_on"])["ended_on"] == facts["default_on"]


def test_a_call_is_explained_and_a_clock_difference_is_named(shell: Shell, running: RunningService) -> None:
    lender(shell, running, "bank-d")
    done = shell.run("--profile", "bank-d", "call", "GET", "/v1/me", "--explain")
    assert done.returncode == 0
    assert json.loads(done.stdout)["name"] == "bank-d"
    assert "signed  htm" in done.stderr
    assert "holds   signature" in done.stderr
    assert "pinned" in done.stderr
    assert "FAILS" not in done.stderr
    body = '{"suite":"x","key_version":1,"blinded":[]}'
    refused = shell.run("--profile", "bank-d", "call", "POST", "/v1/tokens/evaluate", "--body", body, "--explain")
    assert refused.returncode == 1
    assert "holds   c_body" in refused.stderr
    assert "validation_failed (422): The body is readable" in refused.stderr
    assert "field        /blinded" in refused.stderr
    # faketime is not everywhere; a Python that is an hour late is.
    late = "import time; now = time.time; time.time = lambda: now() - 3600; from creditshare.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", late, "--profile", "bank-d", "call", "GET", "/v1/me", "--explain"],
        capture_output=True, text=True, timeout=60, check=False, cwd=shell.home,
        env={**os.environ, "HOME": str(shell.home)},
    )  # fmt: skip
    assert done.returncode == 1
    assert json.loads(done.stdout)["code"] == "token_expired"
    assert "s behind" in done.stderr


def test_a_members_key_is_rotated_and_the_old_one_revoked(shell: Shell, running: RunningService) -> None:
    lender(shell, running, "bank-e")
    at = ("--url", shell.url)
    rotated = shell.json("keys", "rotate", "--key", "bank-e.jwk.json", "--out", "new.jwk.json", *at)
    assert rotated["status"] == "active"
    assert (shell.home / "new.jwk.json").stat().st_mode & 0o077 == 0
    again = ("keys", "rotate", "--key", "bank-e.jwk.json", "--out", "new.jwk.json", *at)
    assert "not overwritten" in shell.refused(*again, status=2)["detail"]
    revoke = ("keys", "revoke", rotated["signed_by"], "--reason", "rotation", *at, "--as")
    assert shell.refused(*revoke, "new.jwk.json")["error"] == "state_conflict"
    assert shell.json(*revoke, "bank-e.jwk.json")["status"] == "revoked"
    states = {k["kid"]: k["status"] for k in shell.json("keys", "status", "--as", "new.jwk.json", *at)["keys"]}
    assert states == {rotated["signed_by"]: "revoked", rotated["kid"]: "active"}
    assert shell.refused("keys", "status", "--data", "nowhere", status=2)
    me = ("call", "GET", "/v1/me", "--as", "bank-e.jwk.json", *at, "--json")
    wait_for(lambda: shell.run(*me).returncode == 1)


def test_a_suspension_is_lifted_by_two(shell: Shell, running: RunningService) -> None:
    member = lender(shell, running, "bank-f")
    first, second = (("--as", f"operator-{n}.jwk.json", "--url", shell.url) for n in (1, 2))
    shell.json("member", "suspend", member, *first, "--reason", "test", "--yes")
    assert shell.json("member", "show", member, *first)["status"] == "suspended"
    assert shell.json("member", "propose", member, "lift_suspension", *first)["action"] == "lift_suspension"
    assert shell.refused("member", "approve", member, "--action", "lift_suspension", *first)
    assert shell.json("member", "approve", member, "--action", "lift_suspension", *second)["status"] == "active"


def test_a_members_life_by_commands(shell: Shell, running: RunningService) -> None:
    first, second = (("--as", f"operator-{n}.jwk.json", "--url", shell.url) for n in (1, 2))
    new = shell.json("member", "add", *first, "--name", "New", "--role", "lender", "--region", "US")["member_id"]
    examined = shell.json("member", "examine", new, *first, "--note", "licence, file 7")
    assert examined["status"] == "due_diligence"
    assert shell.refused("member", "approve", new, *first)["error"] == "role_forbidden"
    assert shell.json("member", "approve", new, *second)["status"] == "certified"
    member = lender(shell, running, "bank-l")
    assert shell.json("member", "limit", member, *first, "--reason", "test", "--yes")["status"] == "limited"
    for action, status in (("lift_limitation", "active"), ("termination", "terminated")):
        assert shell.json("member", "propose", member, action, *first, "--yes")["action"] == action
        assert shell.refused("member", "approve", member, "--action", action, *first)["error"] == "role_forbidden"
        assert shell.json("member", "approve", member, "--action", action, *second)["status"] == status
    assert shell.refused("keys", "status", "--as", "bank-l.jwk.json", "--url", shell.url)["error"] == "key_revoked"


def test_the_log_only_grew(shell: Shell, running: RunningService) -> None:
    lender(shell, running, "bank-g")
    fetch = httpx.get(shell.url + "/log/v1/checkpoint").text
    old = shell.write("old.txt", fetch)
    shell.json("keys", "rotate", "--key", "bank-g.jwk.json", "--out", "g2.jwk.json", "--url", shell.url)
    wait_for(lambda: httpx.get(shell.url + "/log/v1/checkpoint").text != fetch)
    new = shell.write("new.txt", httpx.get(shell.url + "/log/v1/checkpoint").text)
    vkey = httpx.get(shell.url + "/.well-known/creditshare").json()["log"]["vkey"]
    grown = shell.json("log", "verify-consistency", old, new, "--vkey", vkey, "--url", shell.url)
    assert grown["holds"]
    assert grown["from"] < grown["to"]
    sizes = {"from": grown["from"], "to": grown["to"]}
    proof = httpx.get(shell.url + "/audit/v1/proof/consistency", params=sizes).json()
    check = ("log", "verify-consistency", old, new, "--vkey", vkey, "--proof")
    assert shell.json(*check, shell.write("proof.json", proof)) == grown
    proof["hashes"] = proof["hashes"][:-1]
    assert shell.refused(*check, shell.write("proof.json", proof), status=3)
    backwards = ("log", "verify-consistency", new, old, "--vkey", vkey, "--url", shell.url)
    assert "earlier one first" in shell.refused(*backwards, status=3)["detail"]


def test_a_bare_receipt_is_verified_from_its_parts(shell: Shell, running: RunningService) -> None:
    client = running.admit("Bare", region="US")
    answer = client.call("POST", "/v1/records", data=record_body(client.tokenise([BORROWER])[0], "B-1"))
    files = {
        "request": answer.request.token,
        "request-body": answer.request.body.decode(),
        "answer-body": answer.body.decode(),
        "jwks": client.service_jwks,
    }
    options = [word for name, content in files.items() for word in (f"--{name}", str(shell.write(name, content)))]
    receipt = shell.write("receipt.txt", answer.headers["cs-signature"] + "\n")
    assert shell.json("log", "verify-receipt", receipt, *options, "--status", "201")["holds"]
    assert shell.refused("log", "verify-receipt", receipt, *options, "--status", "200", status=3)
    assert shell.refused("log", "verify-receipt", receipt, status=2)


def test_a_changed_service_is_refused_until_a_person_accepts_it(shell: Shell, running: RunningService) -> None:
    lender(shell, running, "bank-h")
    profile = shell.home / ".config" / "creditshare" / "profiles" / "bank-h.toml"
    right = profile.read_text()
    vkey = shell.json("profile", "show", "bank-h")["pins"]["log_vkey"]
    profile.write_text(right.replace(vkey, vkey[:-2] + "AA"))
    refused = shell.refused("--profile", "bank-h", "call", "GET", "/v1/me", status=3)
    assert "profile trust" in refused["detail"]
    shown = shell.run("profile", "trust", "bank-h")
    assert shown.returncode == 1
    assert "the log's key is not the pinned one" in shown.stdout
    shell.json("profile", "trust", "bank-h", "--yes")
    assert profile.read_text() == right
    assert shell.json("--profile", "bank-h", "call", "GET", "/v1/me")["body"]["name"] == "bank-h"


def test_mistakes_are_one_sentence_and_never_a_trace(shell: Shell) -> None:
    cases: list[tuple[list[str], int]] = [
        (["consent", "show", "cns_x"], 2),
        (["call", "GET", "/v1/me", "--as", "missing.json", "--url", shell.url], 2),
        (["call", "GET", "/v1/me", "--as", "operator-1.jwk.json", "--url", "http://127.0.0.1:9"], 4),
        (["call", "POST", "/v1/me", "--as", "operator-1.jwk.json", "--url", shell.url, "--body", "{"], 2),
        (["--profile", "none", "call", "GET", "/v1/me"], 2),
        (["keys", "rotate", "--key", "operator-1.jwk.json"], 2),
        (["verify-evidence", str(shell.write("e.json", "{}"))], 2),
    ]
    for words, status in cases:
        done = shell.run(*words)
        assert done.returncode == status, (words, done.stderr)
        assert "Traceback" not in done.stderr
        assert done.stderr.strip()


def test_every_command_finds_the_data_folder_by_its_setting(shell: Shell) -> None:
    def options(command: Any, name: str) -> Iterator[tuple[str, Any]]:
        for word, one in getattr(command, "commands", {}).items():
            yield from options(one, f"{name} {word}".strip())
        yield from ((name, option) for option in command.params if "--data" in option.opts)

    found = dict(options(typer.main.get_command(app), ""))
    assert {name for name, option in found.items() if option.envvar != "CREDITSHARE_DATA"} == {"demo", "keys status"}
    missing = shell.run("keys", "status", CREDITSHARE_DATA=str(shell.home / "elsewhere"))
    assert "elsewhere/keyring.json" in missing.stderr


def test_a_members_commands_load_nothing_of_the_service() -> None:
    """They start in half a second, on a machine that has no database and no web framework to speak of."""
    members = ", ".join(
        f"creditshare.cli.{name}" for name in ("call", "keys", "lender", "members", "profiles", "proofs")
    )
    seen = f"import sys, {members}; print(*{{'alembic', 'fastapi', 'pydantic', 'sqlalchemy'}} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
