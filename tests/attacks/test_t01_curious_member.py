"""T1, a curious member: a lender in good standing with valid keys, and with ids of others that it came across.

It must not get: another's record, consent, answer or key list; not even whether an id exists, belongs to somebody or
was erased; a default that is still within its notice window, nor a sign that there is one; a field it may not set.

Elsewhere: ``promises/test_consented_oracle.py`` (random consents and questions), ``promises/test_blind.py`` (a
withdrawn record looks like none).
"""

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.fixtures.attack import BORROWER, NOWHERE, UNKNOWN, ask, attempt, grant, look
from tests.fixtures.erasures import erase
from tests.fixtures.service import RunningService, record_body

from creditshare.client.bank import Client

VICTIMS = {
    "record": ("GET", "/v1/records/rec_{}", None),
    "record-step": (
        "POST",
        "/v1/records/rec_{}/events",
        {"kind": "settled_full", "on": datetime.now(UTC).date().isoformat()},
    ),
    "record-correction": (
        "POST",
        "/v1/records/rec_{}/corrections",
        {"reason": "other", "changes": {"days_past_due": 999}},
    ),
    "record-withdrawal": ("POST", "/v1/records/rec_{}/withdrawal", {"reason": "reported_in_error"}),
    "consent": ("GET", "/v1/consents/cns_{}", None),
    "consent-revocation": ("POST", "/v1/consents/cns_{}/revocation", {}),
    "consent-pause": ("POST", "/v1/consents/cns_{}/pause", {}),
    "consent-resumption": ("POST", "/v1/consents/cns_{}/resumption", {}),
    "answer": ("GET", "/v1/queries/qry_{}", None),
    "keys": ("GET", "/v1/members/mem_{}/keys", None),
}


class Victim:
    """A lender with one of each thing, and a stranger."""

    def __init__(self, service: RunningService) -> None:
        self.lender, self.stranger = service.admit("Lender", region="US"), service.admit("Stranger", region="US")
        (self.subject,) = self.lender.tokenise([BORROWER])
        self.stranger.tokenise([BORROWER])
        self.record = str(self.lender.call("POST", "/v1/records", data=record_body(self.subject, "A-1"))["record_id"])
        self.consent = grant(self.lender, self.subject)
        asked = self.lender.query(self.subject, purpose="pre_loan", consent_id=self.consent)
        self.ids = {
            "rec": self.record,
            "cns": self.consent,
            "qry": str(asked["query_id"]),
            "mem": self.lender.session.signer.member_id,
        }

    def path(self, template: str) -> str:
        prefix = template.partition("_{}")[0].rpartition("/")[2]
        return template.format(self.ids[prefix].partition("_")[2])


@pytest.fixture(scope="module")
def victim(shared_service: RunningService) -> Victim:
    return Victim(shared_service)


def probe(client: Client, method: str, path: str, data: Any) -> Any:
    return look(client.send(client.sign(method, path, data=data)))


@pytest.mark.parametrize("name", VICTIMS)
def test_what_belongs_to_another_looks_like_what_does_not_exist(victim: Victim, name: str) -> None:
    method, template, data = VICTIMS[name]
    seen = probe(victim.stranger, method, victim.path(template), data)
    assert seen == probe(victim.stranger, method, template.format(NOWHERE), data)
    assert (seen[0], seen[2]["code"]) == (404, "not_found")


@pytest.mark.parametrize("action", ["revocation", "retirement", "signatures"])
def test_another_members_keys_are_out_of_reach(victim: Victim, action: str) -> None:
    lender = victim.lender.session.signer
    body = {"revocation": {"reason": "compromise"}, "retirement": {}}.get(action)
    query = "since=2020-01-01T00:00:00Z" if action == "signatures" else ""
    method = "GET" if action == "signatures" else "POST"
    for owner, kid in ((lender.member_id, lender.key.kid), (victim.stranger.session.signer.member_id, lender.key.kid)):
        path = f"/v1/members/{owner}/keys/{kid}/{action}"
        assert attempt(victim.stranger, method, path, body, query=query) == "not_found"
    assert attempt(victim.lender, "GET", "/v1/me") == "done"


def test_anothers_consent_and_anothers_borrower_are_the_same_refusal(victim: Victim) -> None:
    (unknown,) = victim.stranger.tokenise([UNKNOWN])
    own = grant(victim.stranger, unknown)
    tries = [(victim.subject, victim.consent), (victim.subject, own), (unknown, victim.consent)]
    tries += [(subject, f"cns_{NOWHERE}") for subject in (victim.subject, unknown)]
    seen = []
    for subject, consent in tries:
        body = {"subject": subject, "purpose": "pre_loan", "consent_id": consent, "scopes": ["defaults"]}
        seen.append(probe(victim.stranger, "POST", "/v1/queries", body))
    assert seen[0][2]["code"] == "consent_missing"
    assert all(one == seen[0] for one in seen)


def test_a_record_in_its_notice_window_looks_like_none(service: RunningService) -> None:
    lender, asker = service.admit("Lender", region="CN"), service.admit("Asker", region="CN")
    pending, none = lender.tokenise([BORROWER, UNKNOWN])
    asker.tokenise([BORROWER, UNKNOWN])
    today = datetime.now(UTC).date().isoformat()
    digest = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
    reported = lender.call(
        "POST",
        "/v1/records",
        data=record_body(
            pending,
            "A-1",
            currency="CNY",
            region={"scheme": "GB/T 2260", "code": "310000"},
            lawful_basis="legal_duty",
            public_ref=None,
            notice={"sent_on": today, "channel": "post", "evidence_digest": digest},
        ),
    )
    assert reported["status"] == "pending_notice"
    looks = []
    for subject in (pending, none):
        answer = asker.query(subject, purpose="pre_loan", consent_id=grant(asker, subject))
        looks.append(look(answer))
        assert "cs-superseded" not in asker.call("GET", f"/v1/queries/{answer['query_id']}").headers
    assert looks[0] == looks[1]


@pytest.mark.slow
@pytest.mark.parametrize("erased", ["record", "borrower"])
def test_that_something_was_erased_is_told_to_its_owner_only(service: RunningService, erased: str) -> None:
    victim = Victim(service)
    erase(service, victim.record, whole_borrower=erased == "borrower")
    for name in ("record", "record-correction", "record-withdrawal", "consent", "consent-revocation", "answer"):
        method, template, data = VICTIMS[name]
        seen = probe(victim.stranger, method, victim.path(template), data)
        assert seen == probe(victim.stranger, method, template.format(NOWHERE), data), name
    assert attempt(victim.lender, "GET", victim.path("/v1/records/rec_{}")) == "erased"
    assert attempt(victim.lender, "GET", victim.path("/v1/queries/qry_{}")) == "erased"


@pytest.mark.parametrize(
    "field",
    ["record_id", "member_id", "subject_id", "visible_from", "lifecycle", "status", "recorded_at", "lawful_basis_ok"],
)
def test_a_report_sets_nothing_but_its_own_fields(victim: Victim, field: str) -> None:
    body = {**record_body(victim.subject, f"mass-{field}"), field: victim.ids["mem"]}
    assert attempt(victim.lender, "POST", "/v1/records", body) == "validation_failed"


def test_a_consent_is_used_for_its_own_borrower_only(victim: Victim) -> None:
    assert ask(victim.lender, victim.subject, victim.consent) == "0 defaults"
    (other,) = victim.lender.tokenise([UNKNOWN])
    assert ask(victim.lender, other, victim.consent) == "consent_missing"
