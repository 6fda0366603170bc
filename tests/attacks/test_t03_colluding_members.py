"""T3, colluding members: two lenders that put together all that they were told about many borrowers.

They must not get: a name that both were told for the same record, so that lists could be joined without identifiers;
the lender behind a record; use of each other's consents, answers and idempotency keys.

What two lenders that both hold a borrower's identifier can do is compare the facts; no service prevents it. Elsewhere:
``promises/test_blind.py`` (handles differ), ``test_t01_curious_member.py`` (each other's objects).
"""

import re
from typing import Any

from tests.fixtures.attack import BORROWER, ask, grant
from tests.fixtures.service import RunningService, record_body

from creditshare.client.bank import Client

_NAME = re.compile(r"[A-Za-z0-9_-]{16,}")


def told(client: Client, subject: dict[str, Any], consent: str) -> set[str]:
    """Return everything that could serve as a name in an answer: in the body, and signed in its headers."""
    answer = client.query(subject, purpose="pre_loan", consent_id=consent, scopes=["defaults", "amounts"])
    assert len(answer.data["records"]) == 2
    entry = answer.log_entry
    assert entry is not None
    return set(_NAME.findall(answer.body.decode() + entry.leaf.decode() + entry.meta.decode()))


def test_nothing_that_one_was_told_names_what_the_other_was_told(service: RunningService) -> None:
    lender = service.admit("Lender", region="US")
    (subject,) = lender.tokenise([BORROWER])
    for account in ("A-1", "A-2"):
        lender.call("POST", "/v1/records", data=record_body(subject, account))
    heard = []
    for name in ("One", "Two"):
        asker = service.admit(name, region="US")
        asker.tokenise([BORROWER])
        heard.append(told(asker, subject, grant(asker, subject, scopes=["defaults", "amounts"])))
    common = heard[0] & heard[1]
    structure = re.compile(r"[a-z_]+|pol-[0-9a-f]{12}")  # names of fields and codes; the policy in force
    assert {name for name in common if not structure.fullmatch(name)} == set()
    assert not any(lender.session.signer.member_id[4:] in name for name in heard[0] | heard[1])


def test_a_shared_idempotency_key_opens_nothing(service: RunningService) -> None:
    lender, one, two = (service.admit(name, region="US") for name in ("Lender", "One", "Two"))
    (subject,) = lender.tokenise([BORROWER])
    lender.call("POST", "/v1/records", data=record_body(subject, "A-1"))
    one.tokenise([BORROWER])
    two.tokenise([BORROWER])
    consent = grant(one, subject)
    assert ask(one, subject, consent, key="shared") == "1 defaults"
    assert ask(two, subject, consent, key="shared") == "consent_missing"
    assert ask(two, subject, grant(two, subject), key="shared") == "1 defaults"
