"""``console verify`` on what the log kept of a confirmation, offline; and on what somebody changed in it."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fixtures.pages import OPENED, Person, member_of, opening_of
from tests.fixtures.processes import command
from tests.fixtures.service import RunningService

from creditshare.crypto.encoding import b64url_decode, b64url_encode


@pytest.fixture(scope="module")
def person(shared_service: RunningService) -> Iterator[Person]:
    yield Person(shared_service, shared_service.desk[0])
    while OPENED:
        OPENED.pop().close()


@pytest.fixture(scope="module")
def suspended(shared_service: RunningService) -> str:
    return member_of(shared_service.admit("Suspended on a page"))


@pytest.fixture(scope="module")
def opening(shared_service: RunningService, person: Person, suspended: str) -> dict[str, Any]:
    """What the log keeps of a suspension on a page."""
    person.does("suspend_member", member_id=suspended, reason="key_theft")
    return opening_of(shared_service, person.client, "suspend_member", about=suspended)


@pytest.fixture
def kept(opening: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(opening)


def test_it_says_who_confirmed_what(
    shared_service: RunningService, person: Person, suspended: str, kept: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "opening.json"
    file.write_text(json.dumps(kept))
    done = command(shared_service, "console", "verify", str(file), "--issuer", shared_service.url, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["action"], told["object"], told["by"]) == ("suspend_member", suspended, person.member_id)
    assert (told["terms"], told["passkey"]) == ({"reason": "key_theft"}, person.passkey)


@pytest.mark.parametrize("forged", ["reason", "signature", "passkey", "salt", "issuer", "no_json"])
def test_what_is_forged_is_refused(
    shared_service: RunningService, kept: dict[str, Any], tmp_path: Path, forged: str
) -> None:
    file, issuer = tmp_path / "opening.json", shared_service.url
    body = kept["groups"]["body"]
    evidence = json.loads(body["request"])
    if forged == "reason":
        body["request"] = body["request"].replace("key_theft", "key_thief")
    elif forged == "signature":
        signature = bytearray(b64url_decode(evidence["assertion"]["signature"]))
        signature[-1] ^= 1
        evidence["assertion"]["signature"] = b64url_encode(bytes(signature))
        body["request"] = json.dumps(evidence)
    elif forged == "passkey":
        evidence["credential"]["id"] = b64url_encode(bytes(32))
        body["request"] = json.dumps(evidence)
    elif forged == "salt":
        body["salt"] = b64url_encode(bytes(32))
    else:
        issuer = "https://elsewhere.example"
    file.write_text("{" if forged == "no_json" else json.dumps(kept))
    done = command(shared_service, "console", "verify", str(file), "--issuer", issuer)
    status, said = (2, "is not JSON") if forged == "no_json" else (3, "does not verify")
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
