"""Erasing one record and one borrower: unreadable for ever, the log still provable, the erasure itself an event."""

from typing import Any

import pytest
from tests.fixtures.erasures import erase
from tests.fixtures.service import RunningService, record_body

from creditshare.client.bank import Client, Problem
from creditshare.composition import build_services, keyring_file
from creditshare.keys.tombstones import Tombstones
from creditshare.tlog.note import Verifier
from creditshare.tlog.proof import InclusionProof

BORROWER = "91999999DEM000022B"


def code_of(client: Client, method: str, path: str) -> str:
    with pytest.raises(Problem) as caught:
        client.call(method, path)
    return caught.value.code


def two_records(service: RunningService) -> tuple[Client, Client, dict[str, Any], list[str], str]:
    lender, asker = service.admit("Lender", region="US"), service.admit("Asker", region="US")
    (subject,) = lender.tokenise([BORROWER])
    asker.tokenise([BORROWER])
    records = [
        str(lender.call("POST", "/v1/records", data=record_body(subject, account)).data["record_id"])
        for account in ("A-1", "A-2")
    ]
    consent = asker.grant_consent(subject, kind="query", purposes=["pre_loan"], scopes=["defaults"], document=b"signed")
    return lender, asker, subject, records, str(consent["consent_id"])


def test_an_erased_record_is_gone_and_the_others_stay(service: RunningService) -> None:
    lender, asker, subject, records, consent = two_records(service)
    before = asker.query(subject, purpose="pre_loan", consent_id=consent)
    assert before.data["summary"]["open_defaults"] == 2
    erase(service, records[0])
    assert code_of(lender, "GET", f"/v1/records/{records[0]}") == "erased"
    assert lender.call("GET", f"/v1/records/{records[1]}").status == 200
    assert code_of(asker, "GET", f"/v1/queries/{before.data['query_id']}") == "erased"
    assert asker.query(subject, purpose="pre_loan", consent_id=consent).data["summary"]["open_defaults"] == 1


def test_an_erased_borrower_is_gone_and_the_log_still_proves_what_happened(service: RunningService) -> None:
    lender, asker, subject, records, consent = two_records(service)
    answer = asker.query(subject, purpose="pre_loan", consent_id=consent)
    entry = answer.log_entry
    assert entry is not None
    erase(service, records[0], whole_borrower=True)
    (subject_id,) = Tombstones(service.settings.tombstones_path).read().borrowers
    assert code_of(lender, "GET", f"/v1/records/{records[1]}") == "erased"
    assert code_of(asker, "GET", f"/v1/queries/{answer.data['query_id']}") == "erased"
    assert code_of(asker, "GET", f"/v1/consents/{consent}") == "erased"
    with pytest.raises(Problem) as caught:
        asker.query(subject, purpose="pre_loan", consent_id=consent)
    assert caught.value.code == "consent_missing"
    proof = asker.inclusion_proof(entry.event_id)
    assert proof is not None
    InclusionProof.from_dict(proof).verify([Verifier.parse(asker.discovery["log"]["vkey"])])
    with service.superuser() as database:
        left = database.execute("SELECT count(*) FROM audit_opening WHERE subject_id = %s", [subject_id]).fetchone()
        keys = database.execute("SELECT dek, element FROM subject WHERE subject_id = %s", [subject_id]).fetchone()
    assert left == (0,)
    assert keys == (None, None)
    (same_token,) = lender.tokenise([BORROWER])  # naming the borrower anew takes an evaluation, as for any other
    assert same_token == subject
    again = lender.call("POST", "/v1/records", data=record_body(subject, "A-9")).data
    assert again["status"] == "default"


def test_a_new_wrapping_key_opens_what_the_old_one_closed(service: RunningService) -> None:
    lender, asker, subject, _, consent = two_records(service)
    file = keyring_file(service.settings)
    file.replace(file.load().with_new_version("kek"))

    async def rewrap() -> int:
        fresh = await build_services(service.settings)
        try:
            async with fresh.database.writing() as session:
                done: int = await fresh.subjects.rewrap(session, limit=10)
                await session.commit()
                return done
        finally:
            await fresh.database.close()

    assert service.run(rewrap()) == 1
    assert asker.query(subject, purpose="pre_loan", consent_id=consent).data["match"] == "records"
    assert lender.call("POST", "/v1/records", data=record_body(subject, "A-3")).status == 201
