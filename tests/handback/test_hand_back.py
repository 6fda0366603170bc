"""A member gets back what is its own, and only it can read it."""

import json
import random
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.fixtures.attack import attempt, grant
from tests.fixtures.erasures import erase
from tests.fixtures.processes import command
from tests.fixtures.service import RunningService, record_body

from creditshare.cli.demo.story import synthetic_uscc
from creditshare.client.bank import Client
from creditshare.crypto.jwe import OpeningKey
from creditshare.ids import parse

SOURCE = random.Random("hand back")  # noqa: S311  synthetic borrowers, not secrets


def end(service: RunningService, bank: Client) -> str:
    """End a membership by two people."""
    member = bank.session.signer.member_id
    path, body = f"/v1/members/{member}", {"action": "termination"}
    assert attempt(service.desk[0], "POST", f"{path}/proposals", body, if_match="*") == "done"
    assert attempt(service.desk[1], "POST", f"{path}/approvals", body, if_match="*") == "done"
    return member


def test_what_was_reported_agreed_and_asked_comes_back_and_no_more(
    shared_service: RunningService, tmp_path: Path
) -> None:
    service = shared_service
    bank, other = (service.admit(f"Bank {uuid4()}", region="US") for _ in range(2))
    firms = [synthetic_uscc(SOURCE) for _ in range(3)]
    own, asked, erased = bank.tokenise(firms)
    (others,) = other.tokenise([firms[0]])
    other.call("POST", "/v1/records", data=record_body(others, "of another", outstanding_principal="77777.00"))
    record = bank.call("POST", "/v1/records", data=record_body(own, "A-1")).data["record_id"]
    correction = {"reason": "wrong_amount", "changes": {"outstanding_principal": "12345.00"}}
    bank.call("POST", f"/v1/records/{record}/corrections", data=correction)
    consent = grant(bank, own)
    question = bank.query(own, purpose="pre_loan", consent_id=consent).data["query_id"]
    unused = grant(bank, asked, document=b"another")
    gone = bank.call("POST", "/v1/records", data=record_body(erased, "A-2")).data["record_id"]
    key = tmp_path / "mine.jwk.json"
    at = ("--url", service.url)
    as_bank = tmp_path / "bank.jwk.json"
    as_bank.write_text(json.dumps(bank.session.signer.stored()))
    assert command(service, "hand-back", "key", "--out", str(key)).returncode == 0
    named = command(service, "hand-back", "name", "--key", str(key), "--as", str(as_bank), *at)
    assert named.returncode == 0, named.stderr
    out = tmp_path / "back"
    member = bank.session.signer.member_id
    too_early = command(service, "member", "hand-back", member, "--out", str(out), *data(service))
    assert (too_early.returncode, out.exists()) == (1, False)
    end(service, bank)
    erase(service, gone, whole_borrower=True)
    made = command(service, "member", "hand-back", member, "--out", str(out), *data(service), "--json")
    assert made.returncode == 0, made.stderr
    told = json.loads(made.stdout)
    assert {name: told[name] for name in ("records", "consents", "questions", "borrowers", "erased")} == {
        "records": 1,
        "consents": 2,
        "questions": 1,
        "borrowers": 3,
        "erased": 1,
    }
    for secret in (b"12345.00", own["element"].encode(), record.encode()):
        assert secret not in out.read_bytes()
    rows = opened(service, out, key, tmp_path)
    found = {row.get("record_id") or row.get("query_id") or row.get("consent_id"): row for row in rows}
    assert found.keys() == {None, record, consent, question, unused}
    assert found[None]["member_id"] == member
    first, corrected = found[record]["events"]
    assert (found[record]["subject"], first["report"]["account_ref"]) == (own, "A-1")
    assert corrected["report"]["outstanding_principal"] == "12345.00"
    assert found[consent]["evidence"]["channel"]
    assert found[question]["purpose"] == "pre_loan"
    assert "77777.00" not in json.dumps(rows)


def opened(service: RunningService, file: Path, key: Path, folder: Path) -> list[dict[str, Any]]:
    """Open a file as its member does; another key opens nothing of it."""
    keys, plain, another = folder / "jwks.json", folder / "plain.ndjson", folder / "another.jwk.json"
    keys.write_text(json.dumps({"keys": [dict(service.services.signing_key.public_jwk)]}))
    another.write_text(json.dumps(OpeningKey.generate().private_jwk()))
    words = ("hand-back", "open", str(file), "--jwks", str(keys), "--out", str(plain), "--key")
    refused = command(service, *words, str(another))
    assert (refused.returncode, plain.exists()) == (3, False)
    done = command(service, *words, str(key))
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in plain.read_text().splitlines()]


def data(service: RunningService) -> tuple[str, str]:
    return "--data", str(service.folder)


def test_who_named_no_key_gets_no_file(shared_service: RunningService, tmp_path: Path) -> None:
    bank = shared_service.admit(f"Bank {uuid4()}", region="US")
    member = end(shared_service, bank)
    made = command(
        shared_service, "member", "hand-back", member, "--out", str(tmp_path / "back"), *data(shared_service)
    )
    assert made.returncode == 1
    assert "named no key" in made.stderr


@pytest.mark.parametrize("changes", [{"use": "sig"}, {"d": "AA"}, {"x": "AA"}], ids=str)
def test_a_key_that_is_none_is_refused(shared_service: RunningService, changes: dict[str, str]) -> None:
    bank = shared_service.admit(f"Bank {uuid4()}", region="US")
    jwk = {**OpeningKey.generate().public_jwk, **changes}
    assert attempt(bank, "POST", "/v1/me/hand-back-key", {"jwk": jwk}) == "validation_failed"
    assert bank.call("GET", "/v1/me").data["hand_back_kid"] is None


def test_a_named_key_is_sealed_with_its_member(shared_service: RunningService) -> None:
    bank = shared_service.admit(f"Bank {uuid4()}", region="US")
    key = OpeningKey.generate()
    bank.call("POST", "/v1/me/hand-back-key", data={"jwk": dict(key.public_jwk)})
    member = parse("mem", bank.session.signer.member_id)
    with shared_service.superuser() as database:
        thief = json.dumps(dict(OpeningKey.generate().public_jwk))
        database.execute("UPDATE member SET hand_back_jwk = %s WHERE member_id = %s", [thief, member])
    answer = command(shared_service, "seals", "check", *data(shared_service))
    assert f"member:{member}" in answer.stdout
    shared_service.rewrite("UPDATE member SET name = name WHERE member_id = %s", member)


@pytest.mark.parametrize("reason", ["compromise", "other"])
def test_a_key_that_a_thief_may_have_named_is_named_anew(shared_service: RunningService, reason: str) -> None:
    bank, key = shared_service.admit(f"Bank {uuid4()}", region="US"), OpeningKey.generate()
    bank.call("POST", "/v1/me/hand-back-key", data={"jwk": dict(key.public_jwk)})
    assert bank.identity is not None
    path = f"/v1/members/{bank.identity.member_id}"
    shared_service.desk[0].call("POST", f"{path}/keys/{bank.identity.key.kid}/revocation", data={"reason": reason})
    named = shared_service.desk[1].call("GET", path).data["hand_back_kid"]
    assert named == (None if reason == "compromise" else key.kid)
