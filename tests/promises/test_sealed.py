"""*Sealed*: what an administrator moves, swaps, cuts, edits, deletes or rolls back is noticed before it is told."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from tests.fixtures.service import RunningService, record_body

from creditshare.client.bank import Client, Problem

BORROWER = "91999999DEM000022B"
Attack = Callable[["psycopg.Connection[Any]", str], object]

ATTACKS: dict[str, Attack] = {
    "ciphertext flipped": lambda db, _: db.execute(
        "UPDATE record_event SET sealed = set_byte(sealed, 40, get_byte(sealed, 40) # 1) WHERE event_no = 1"
    ),
    "ciphertext cut": lambda db, _: db.execute(
        "UPDATE record_event SET sealed = substring(sealed FOR 60) WHERE event_no = 1"
    ),
    "ciphertexts swapped": lambda db, _: db.execute(
        "UPDATE record_event a SET sealed = b.sealed FROM record_event b WHERE a.event_no + b.event_no = 3"
    ),
    "ciphertext moved with its mac": lambda db, _: db.execute(
        "UPDATE record_event a SET sealed = b.sealed, mac = b.mac FROM record_event b"
        " WHERE a.event_no = 1 AND b.event_no = 2"
    ),
    "event given to another record": lambda db, _: db.execute(
        "UPDATE record_event a SET record_id = b.record_id FROM record_event b WHERE a.event_no = 1 AND b.event_no = 2"
    ),
    "last event deleted": lambda db, _: db.execute("DELETE FROM record_event WHERE event_no = 2"),
    "record shown later": lambda db, _: db.execute("UPDATE record_current SET visible_from = '2099-01-01'"),
    "record ended in clear": lambda db, _: db.execute("UPDATE record_current SET lifecycle = 'ended'"),
    "record given to another member": lambda db, member: db.execute(
        "UPDATE record_current SET member_id = %s", [member]
    ),
    "clear columns deleted": lambda db, _: db.execute("DELETE FROM record_current"),
    "erasure forged": lambda db, _: (
        db.execute("DELETE FROM record_secret"),
        db.execute("UPDATE record_current SET lifecycle = 'erased'"),
    ),
    "borrower's row rolled back": lambda db, _: db.execute("UPDATE subject SET version = version - 1"),
    "event count edited": lambda db, _: db.execute("UPDATE subject SET event_count = event_count - 1"),
    "consent lengthened": lambda db, _: db.execute("UPDATE consent SET valid_until = valid_until + interval '9 years'"),
    "consent's uses raised": lambda db, _: db.execute("UPDATE consent SET max_uses = 1000000"),
    "consent given to another member": lambda db, _: db.execute("UPDATE consent SET member_id = gen_random_uuid()"),
    "consent's content swapped for a record's": lambda db, _: db.execute(
        "UPDATE consent SET sealed = (SELECT sealed FROM record_event LIMIT 1)"
    ),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_an_administrators_change_is_noticed_before_anything_is_told(service: RunningService, attack: Attack) -> None:
    lender, asker = service.admit("Lender", region="US"), service.admit("Asker", region="US")
    (subject,) = lender.tokenise([BORROWER])
    asker.tokenise([BORROWER])
    for account in ("A-1", "A-2"):
        lender.call("POST", "/v1/records", data=record_body(subject, account))
    granted = asker.grant_consent(
        subject, kind="query", purposes=["pre_loan"], scopes=["defaults"], document=b"signed", max_uses=5
    )
    consent = str(granted["consent_id"])
    assert told(asker, subject, consent) == "2 defaults"
    with service.superuser() as database:
        database.execute("ALTER TABLE record_event DISABLE TRIGGER ALL")
        attack(database, identity_of(asker).removeprefix("mem_"))
    assert told(asker, subject, consent) == "internal_error"


def identity_of(client: Client) -> str:
    assert client.identity is not None
    return client.identity.member_id


def told(asker: Client, subject: dict[str, Any], consent: str) -> str:
    try:
        answer = asker.query(subject, purpose="pre_loan", consent_id=consent).data
    except Problem as problem:
        return problem.code
    return f"{answer['summary']['open_defaults']} defaults"
