"""T5, the operator itself: whoever holds a copy of the database *and* the key file, and a list of firms.

Where the tokeniser is run by another owner (`split`, designed and not yet built) it must not get who the borrowers
are, because the oblivious function's key is not in its key file. In `embedded` mode, the only one today, it does: this
file shows the attack as a working script, so that nobody takes the limit for a small one. README and `SECURITY.md`
say it in words. `promises/test_blind.py` shows that the database alone gives nothing.
"""

import hmac
import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from tests.fixtures.attack import BORROWER, OTHER, UNKNOWN
from tests.fixtures.service import RunningService, record_body

from creditshare.client.identifiers import borrower_input
from creditshare.composition import keyring_file
from creditshare.crypto import oprf, p256
from creditshare.keys.custody import SubjectKeys
from creditshare.keys.keyring import Keyring
from creditshare.keys.provider import Wrapped
from creditshare.records.history import _place

REGISTER = [UNKNOWN, OTHER, BORROWER]
"""The public register of firms, which has some 160 million entries in life: an hour on one rented machine."""


def dictionary(keys: Keyring, function: oprf.SecretKey, candidates: Iterable[str]) -> Iterator[tuple[bytes, str]]:
    """Return the database's index of each candidate, as a thief computes it: no service is asked, no budget counts."""
    for identifier in candidates:
        point = p256.hash_to_curve(borrower_input("uscc", identifier), b"HashToGroup-" + oprf.context(oprf.MODE_VOPRF))
        element = p256.encode_point(function.multiplier.times([point])[0])
        yield hmac.digest(keys.secret("pepper"), b"P256-SHA256|1|" + element, "sha256"), identifier


def found(service: RunningService, index: dict[bytes, str]) -> dict[str, Any]:
    """Return the firms whose index is in the database, with their ids there."""
    with service.superuser() as database:
        rows = database.execute('SELECT "index", subject_id FROM subject_index').fetchall()
    return {index[bytes(key)]: subject_id for key, subject_id in rows if bytes(key) in index}


@pytest.fixture(scope="module")
def reported(shared_service: RunningService) -> RunningService:
    lender = shared_service.admit("Lender", region="US")
    (subject,) = lender.tokenise([BORROWER])
    lender.call("POST", "/v1/records", data=record_body(subject, "A-1", outstanding_principal="6218305.77"))
    return shared_service


def test_with_database_and_key_file_the_operator_names_the_firms_and_reads_their_defaults(
    reported: RunningService,
) -> None:
    keys = keyring_file(reported.settings).load()
    named = found(reported, dict(dictionary(keys, keys.tokeniser_key(1), REGISTER)))
    assert list(named) == [BORROWER]
    with reported.superuser() as database:
        row = database.execute(
            "SELECT s.dek, s.dek_id, e.record_id, e.event_no, e.sealed, x.salt FROM subject s"
            " JOIN record_event e USING (subject_id) JOIN record_secret x USING (subject_id, record_id)"
            " WHERE subject_id = %s",
            [named[BORROWER]],
        ).fetchone()
    assert row is not None
    dek, dek_id, record_id, event_no, sealed, salt = row
    secret = keys.unwrap(Wrapped(bytes(dek)), row_id=named[BORROWER].bytes)
    box = SubjectKeys.of(named[BORROWER], bytes(dek_id), secret).record_box(record_id, bytes(salt))
    opened = json.loads(box.open(_place(record_id, event_no), bytes(sealed)))
    assert opened["report"]["outstanding_principal"] == "6218305.77"


def test_without_the_functions_key_the_same_script_finds_nobody(reported: RunningService) -> None:
    keys = keyring_file(reported.settings).load()
    assert found(reported, dict(dictionary(keys, oprf.SecretKey.generate(), REGISTER))) == {}


def test_without_the_pepper_the_functions_key_finds_nobody(reported: RunningService) -> None:
    keys = keyring_file(reported.settings).load()
    assert found(reported, dict(dictionary(Keyring.generate(), keys.tokeniser_key(1), REGISTER))) == {}
