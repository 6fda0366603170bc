"""Many questions in one request: each is answered, refused and recorded for itself."""

from typing import Any

import pytest
from tests.fixtures.service import RunningService, record_body

from creditshare.client.bank import Client, Problem
from creditshare.crypto.digests import content_digest
from creditshare.errors import VerificationFailed
from creditshare.wire.leaf import LogEntry, leaf_hash
from creditshare.wire.strict_json import canonical, decode_object

BORROWERS = ["91999999DEM000014G", "91999999DEM000006M"]
PATH = "/v1/query-batches"


@pytest.fixture
def questions(shared_service: RunningService) -> tuple[Client, list[dict[str, Any]], str]:
    """A reported borrower and an unknown one, asked about under one use each; the third question has no consent."""
    reporter, asker = (shared_service.admit(name, region="US") for name in ("Reports", "Asks"))
    (reported, _), _ = reporter.tokenise(BORROWERS), asker.tokenise(BORROWERS)
    reporter.call("POST", "/v1/records", data=record_body(reported, f"a-{asker.session.signer.member_id}"))
    tokens = asker.tokenise(BORROWERS)
    consents = [
        str(
            asker.grant_consent(
                token, kind="query", purposes=["pre_loan"], scopes=["defaults"], document=b"signed", max_uses=1
            )["consent_id"]
        )
        for token in tokens
    ]
    asked = [
        {"subject": token, "purpose": "pre_loan", "consent_id": consent, "scopes": ["defaults"]}
        for token, consent in zip(tokens, consents, strict=True)
    ]
    return asker, [*asked, {**asked[0], "consent_id": consents[1]}], consents[0]


def test_each_question_has_its_own_answer_and_event(
    questions: tuple[Client, list[dict[str, Any]], str],
) -> None:
    asker, asked, consent_id = questions
    answer = asker.call("POST", PATH, data={"queries": asked}, key="many")
    results = answer["results"]
    assert [(one["status"], one["code"]) for one in results] == [(200, None), (200, None), (403, "consent_missing")]
    assert [one["answer"] and one["answer"]["match"] for one in results] == ["records", "none", None]
    for one in results:
        entry = LogEntry.from_mapping(one["log"])
        body = b"" if one["answer"] is None else canonical(one["answer"])
        entry.check(rqh=answer.request.rqh, request_body=answer.request.body, answer_body=body)
        with pytest.raises(VerificationFailed):
            entry.check(rqh=answer.request.rqh, request_body=answer.request.body, answer_body=body + b" ")
        meta = decode_object(entry.meta)
        assert (meta["action"], meta["outcome"]) == ("run_query", one["code"] or "ok")
        assert leaf_hash(entry.leaf) == entry.leaf_hash
        assert asker.inclusion_proof(entry.event_id) is not None
    assert asker.consents.show(consent_id)["uses"] == 1

    again = asker.call("POST", PATH, data={"queries": asked}, key="many")
    assert again.headers["idempotent-replayed"] == "true"
    assert [one["answer"] for one in again["results"]] == [one["answer"] for one in results]
    assert asker.consents.show(consent_id)["uses"] == 1
    actions = [decode_object(one["log"]["meta"].encode())["action"] for one in again["results"]]
    assert actions == ["run_query_again", "run_query_again", "run_query"]
    with pytest.raises(Problem) as caught:
        asker.call("POST", PATH, data={"queries": asked[:1]}, key="many")
    assert caught.value.code == "idempotency_mismatch"
    later = asker.call("POST", PATH, data={"queries": asked[:1]})
    assert later["results"][0]["code"] == "consent_exhausted"
    assert content_digest(later.body)


def test_a_batch_is_used_once_and_has_a_limit(questions: tuple[Client, list[dict[str, Any]], str]) -> None:
    asker, asked, consent_id = questions
    request = asker.sign("POST", PATH, data={"queries": asked[:1]})
    assert asker.send(request).status == 200
    replayed = asker.send(request)
    assert (replayed.status, replayed["code"]) == (401, "replay_detected")
    assert asker.consents.show(consent_id)["uses"] == 1
    with pytest.raises(Problem) as caught:
        asker.call("POST", PATH, data={"queries": []})
    assert caught.value.code == "validation_failed"
