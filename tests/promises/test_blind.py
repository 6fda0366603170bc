"""*Blind*: nothing the service keeps or shows holds an identifier in any form, nor an amount, a date, a reference.

The searcher is first shown to find each form when it is planted.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.fixtures.service import RunningService, record_body

from creditshare.client.bank import Client, Problem
from creditshare.crypto.encoding import b64url_decode

BORROWER = "91999999DEM000049" + "3"
NEVER_REPORTED = "91999999DEM000006M"
GUESSABLE_KEYS = (b"", b"creditshare", b"creditshare/v1", b"secret", bytes(32))
SECRETS = {
    "original_amount": "7351984.21",
    "outstanding_principal": "6218305.77",
    "opened_on": "2021-03-17",
    "first_overdue_on": "2024-05-06",
    "default_on": "2024-08-09",
    "account_ref": "zebra-account-5519",
    "public_ref": "walrus-register-8842",
}


def forms(identifier: str) -> dict[str, bytes]:
    """Return every form in which an identifier might lie about."""
    plain = identifier.encode()
    found = {"plain": plain, "utf-16-le": identifier.encode("utf-16-le"), "utf-16-be": identifier.encode("utf-16-be")}
    framed = (plain, b"uscc|" + plain, b"creditshare/v1|uscc|" + plain)
    for number, text in enumerate(framed):
        for name in ("md5", "sha1", "sha256", "sha512"):
            found[f"{name}-{number}"] = hashlib.new(name, text, usedforsecurity=False).digest()
        for key in GUESSABLE_KEYS:
            found[f"hmac-{number}-{key[:8].hex()}"] = hmac.digest(key, text, "sha256")
    return found


def spellings(value: bytes) -> Iterator[bytes]:
    """Return a value as raw bytes, hex and base64 in both alphabets, at every alignment that text may have."""
    yield value
    yield value.hex().encode()
    yield base64.b64encode(value).rstrip(b"=")
    yield base64.urlsafe_b64encode(value).rstrip(b"=")


def dump(service: RunningService) -> bytes:
    """Return every column of every row, as text and, for bytes, also raw and decoded from hex."""
    parts: list[bytes] = []
    with service.superuser() as database:
        tables = database.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
        for (table,) in tables:
            for row in database.execute(f"SELECT * FROM {table}"):  # noqa: S608
                for value in row:
                    parts.append(bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode())
                    if isinstance(value, bytes | memoryview):
                        parts.append(bytes(value).hex().encode())
    return b"\n".join(parts)


def needles(tokens: list[str]) -> dict[str, bytes]:
    """Return everything that must not be found."""
    wanted = {
        f"{identifier[-3:]} {name}": value
        for identifier in (BORROWER, NEVER_REPORTED)
        for name, value in forms(identifier).items()
    }
    wanted |= {name: text.encode() for name, text in SECRETS.items()}
    wanted |= {
        f"{name} compact": text.replace("-", "").encode() for name, text in SECRETS.items() if name.endswith("_on")
    }
    wanted |= {f"element {number}": b64url_decode(token) for number, token in enumerate(tokens)}
    return wanted


def search(haystack: bytes, wanted: dict[str, bytes]) -> set[str]:
    return {name for name, value in wanted.items() if any(spelled in haystack for spelled in spellings(value))}


def live_through_a_story(service: RunningService) -> tuple[list[str], str]:
    """Report, ask, be refused, correct; return the elements used and all that was printed to members."""
    lender, asker = service.admit("Lender", region="US"), service.admit("Asker", region="US")
    subject, other = lender.tokenise([BORROWER, NEVER_REPORTED])
    asker.tokenise([BORROWER, NEVER_REPORTED])
    record = lender.call("POST", "/v1/records", data={**record_body(subject, "x"), **SECRETS}).data
    consent = asker.grant_consent(subject, kind="query", purposes=["pre_loan"], scopes=["defaults"], document=b"signed")
    told = [asker.query(subject, purpose="pre_loan", consent_id=consent["consent_id"]).body.decode()]
    told += [refusal(asker, wrong, str(consent["consent_id"])) for wrong in (other, {**subject, "key_version": 9})]
    changes = {"reason": "other", "changes": {"days_past_due": 201}}
    lender.call("POST", f"/v1/records/{record['record_id']}/corrections", data=changes)
    told.append(httpx.get(service.url + "/metrics").text)
    return [subject["element"], other["element"]], "\n".join(told)


def refusal(asker: Client, subject: dict[str, Any], consent: str) -> str:
    with pytest.raises(Problem) as caught:
        asker.query(subject, purpose="pre_loan", consent_id=consent)
    return caught.value.answer.body.decode()


def test_no_form_of_an_identifier_and_no_fact_about_a_borrower_lies_in_clear(
    service: RunningService, capfd: pytest.CaptureFixture[str]
) -> None:
    elements, told = live_through_a_story(service)
    wanted = needles(elements)
    assert len(wanted) > 60
    assert search(dump(service), wanted) == set()
    captured = capfd.readouterr()
    assert search((captured.out + captured.err).encode(), wanted) == set()
    # A member is told the day of a default under the scope it has; nothing else of what was submitted.
    assert search(told.encode(), wanted) <= {"default_on"}


def test_the_searcher_finds_each_form_once_it_is_planted(service: RunningService) -> None:
    wanted = needles([])
    with service.superuser() as database:
        database.execute("CREATE TABLE planted (hidden bytea, written text)")
        for value in wanted.values():
            database.execute("INSERT INTO planted (hidden) VALUES (%s)", [b"before" + value + b"after"])
    assert search(dump(service), wanted) == set(wanted)
    with service.superuser() as database:
        database.execute("TRUNCATE planted")
        for value in wanted.values():
            database.execute("INSERT INTO planted (written) VALUES (%s)", [value.hex()])
    assert search(dump(service), wanted) == set(wanted)


def test_no_record_pending_and_withdrawn_look_alike(service: RunningService) -> None:
    lender, asker = service.admit("Lender", region="US"), service.admit("Asker", region="US")
    withdrawn, unknown = lender.tokenise([BORROWER, NEVER_REPORTED])
    asker.tokenise([BORROWER, NEVER_REPORTED])
    record = lender.call("POST", "/v1/records", data=record_body(withdrawn, "A-1")).data
    lender.call("POST", f"/v1/records/{record['record_id']}/withdrawal", data={"reason": "reported_in_error"})
    shapes = []
    for subject in (withdrawn, unknown):
        consent = asker.grant_consent(
            subject, kind="query", purposes=["pre_loan"], scopes=["defaults"], document=b"signed"
        )
        answer = asker.query(subject, purpose="pre_loan", consent_id=consent["consent_id"])
        body = answer.data
        shapes.append(
            {k: v for k, v in body.items() if k not in {"query_id", "as_of", "consent"}} | {"n": len(answer.body)}
        )
    assert shapes[0] == shapes[1]


def test_two_members_cannot_join_what_they_were_told(service: RunningService) -> None:
    lender = service.admit("Lender", region="US")
    (subject,) = lender.tokenise([BORROWER])
    lender.call("POST", "/v1/records", data=record_body(subject, "A-1"))
    handles = []
    for name in ("One", "Two"):
        asker = service.admit(name, region="US")
        asker.tokenise([BORROWER])
        consent = asker.grant_consent(
            subject, kind="query", purposes=["pre_loan"], scopes=["defaults"], document=b"signed"
        )
        answers = [asker.query(subject, purpose="pre_loan", consent_id=consent["consent_id"]).data for _ in range(2)]
        assert answers[0]["records"][0]["handle"] == answers[1]["records"][0]["handle"]
        handles.append(answers[0]["records"][0]["handle"])
    assert handles[0] != handles[1]
