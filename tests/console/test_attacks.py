"""Who attacks the pages: other sites, a stolen session, a replayed confirmation, a curious role, markup as text."""

from collections.abc import Iterator
from datetime import timedelta

import httpx
import psycopg
import pytest
from tests.fixtures.authenticator import Authenticator
from tests.fixtures.pages import (
    OPENED,
    Visitor,
    challenge_on,
    link_for,
    member_of,
    opening_of,
    origin_of,
    problem,
    shown_for,
    token_in,
    with_passkey,
    words_of,
)
from tests.fixtures.service import KEYRING, RunningService, wait_for

from creditshare.client.bank import Client
from creditshare.client.confirmations import check_opening
from creditshare.console.confirming import ACTIONS
from creditshare.crypto.encoding import b64url_encode
from creditshare.errors import VerificationFailed
from creditshare.seals import review
from creditshare.wire.confirmation import check, passkey_digest

ROUTES = {
    "operator": (
        "/console/desk",
        "/console/desk/members",
        "/console/desk/erasures",
        "/console/desk/jobs",
        "/console/desk/health",
    ),
    "regulator": ("/console/oversight", "/console/reading", "/console/warrants/new"),
    "lender": ("/console/bank", "/console/bank/inquiries", "/console/bank/consents", "/console/bank/keys"),
}


@pytest.fixture(autouse=True)
def nobody_stays() -> Iterator[None]:
    """Close what a test opened."""
    yield
    while OPENED:
        OPENED.pop().close()


@pytest.fixture(scope="module")
def clients(shared_service: RunningService) -> dict[str, Client]:
    return {
        "operator": shared_service.desk[0],
        "second": shared_service.desk[1],
        "regulator": shared_service.admit("A regulator", role="regulator"),
        "lender": shared_service.admit("A lender"),
    }


@pytest.fixture
def visitors(shared_service: RunningService, clients: dict[str, Client]) -> dict[str, Visitor]:
    return {name: Visitor(shared_service).sign_in(client) for name, client in clients.items()}


def stranger(service: RunningService, cookies: dict[str, str]) -> httpx.Client:
    """Open a browser of somebody else that has these cookies."""
    client = httpx.Client(base_url=service.url, cookies=cookies)
    OPENED.append(client)
    return client


# Links


def test_a_code_is_good_once(shared_service: RunningService, clients: dict[str, Client]) -> None:
    code = link_for(clients["lender"]).partition("#")[2]
    first, second = Visitor(shared_service), Visitor(shared_service)
    assert first.enter(code).status_code == 303
    refused = second.enter(code)
    assert (refused.status_code, problem(refused)) == (403, "console_code_invalid")
    assert "set-cookie" not in refused.headers


def test_a_code_older_than_a_minute_is_no_good(
    shared_service: RunningService, clients: dict[str, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = link_for(clients["lender"]).partition("#")[2]
    clock = shared_service.services.clock
    later = clock.now() + timedelta(seconds=61)
    monkeypatch.setattr(type(clock), "now", lambda _: later)
    assert problem(Visitor(shared_service).enter(code)) == "console_code_invalid"


def test_another_site_cannot_sign_anybody_in(shared_service: RunningService, clients: dict[str, Client]) -> None:
    code = link_for(clients["lender"]).partition("#")[2]
    visitor = Visitor(shared_service)
    assert problem(visitor.enter(code, Origin="https://elsewhere.example")) == "form_token_invalid"
    assert problem(visitor.enter(code, **{"Sec-Fetch-Site": "cross-site"})) == "form_token_invalid"
    assert problem(visitor.http.post("/console/login", data={"code": code})) == "form_token_invalid"
    assert visitor.enter(code).status_code == 303


def test_a_code_of_another_member_takes_no_session_over(
    visitors: dict[str, Visitor], clients: dict[str, Client]
) -> None:
    visitor = visitors["lender"]
    refused = visitor.enter(link_for(clients["regulator"]).partition("#")[2])
    assert (refused.status_code, problem(refused)) == (409, "state_conflict")
    assert visitor.get("/console/bank").status_code == 200


def test_signing_in_makes_a_new_secret_and_ends_the_old_one(
    visitors: dict[str, Visitor], clients: dict[str, Client], shared_service: RunningService
) -> None:
    visitor = visitors["lender"]
    planted = visitor.http.cookies["creditshare"]
    assert visitor.enter(link_for(clients["lender"]).partition("#")[2]).status_code == 303
    assert visitor.http.cookies["creditshare"] != planted
    thief = stranger(shared_service, {"creditshare": planted})
    assert thief.get("/console/bank").status_code == 303


def test_the_cookie_is_for_this_site_and_no_script(shared_service: RunningService, clients: dict[str, Client]) -> None:
    answer = Visitor(shared_service).enter(link_for(clients["lender"]).partition("#")[2])
    flags = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= flags
    assert not any(flag.startswith(("domain", "expires", "max-age")) for flag in flags)


def test_nothing_of_a_session_is_in_the_database_as_the_browser_has_it(
    visitors: dict[str, Visitor], shared_service: RunningService
) -> None:
    secret = visitors["lender"].http.cookies["creditshare"]
    with shared_service.superuser() as database:
        rows = database.execute("SELECT row_to_json(s)::text FROM console_session s").fetchall()
    assert rows
    assert not any(secret in row[0] or secret.encode().hex() in row[0] for row in rows)


def test_a_session_that_is_not_used_ends(
    visitors: dict[str, Visitor], shared_service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = shared_service.services.clock
    later = clock.now() + timedelta(minutes=15, seconds=1)
    with monkeypatch.context() as patched:
        patched.setattr(type(clock), "now", lambda _: later)
        assert visitors["lender"].get("/console/bank").headers["location"].startswith("/console/login")


def test_signing_out_ends_the_session_itself(visitors: dict[str, Visitor], shared_service: RunningService) -> None:
    visitor = visitors["lender"]
    kept = dict(visitor.http.cookies)
    assert visitor.post("/console/logout", {}).status_code == 303
    thief = stranger(shared_service, kept)
    assert thief.get("/console/bank").status_code == 303


def test_a_session_ends_with_suspension_and_with_its_key(
    shared_service: RunningService, clients: dict[str, Client]
) -> None:
    for end in ("suspension", "revocation"):
        bank = shared_service.admit(f"Bank of the {end}")
        visitor, named = Visitor(shared_service).sign_in(bank), member_of(bank)
        if end == "suspension":
            clients["operator"].call("POST", f"/v1/members/{named}/suspension", data={"reason": "review"})
        else:
            path = f"/v1/members/{named}/keys/{bank.identity.key.kid}/revocation" if bank.identity else ""
            clients["operator"].call("POST", path, data={"reason": "compromise"})
        wait_for(lambda visitor=visitor: visitor.get("/console/bank").status_code == 303, seconds=2.5)  # type: ignore[misc]
        assert visitor.get("/console/bank").headers["location"] == "/console/login"


# Forms


def test_a_form_needs_the_token_of_its_own_session(visitors: dict[str, Visitor], clients: dict[str, Client]) -> None:
    form = {"member_id": member_of(clients["lender"]), "reason": "x"}
    for token in ("", visitors["second"].form_token, "A" * 43):
        refused = visitors["operator"].post("/console/confirm/suspend_member", form, token=token)
        assert (refused.status_code, problem(refused)) == (403, "form_token_invalid")
    own = {**form, "form_token": visitors["operator"].form_token}
    foreign = visitors["operator"].http.post(
        "/console/confirm/suspend_member", data=own, headers={"Origin": "https://elsewhere.example"}
    )
    assert problem(foreign) == "form_token_invalid"


def test_a_form_is_bounded_and_strict(visitors: dict[str, Visitor], shared_service: RunningService) -> None:
    http = visitors["operator"].http
    large = b"a=" + b"x" * shared_service.settings.max_body_bytes
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert http.post("/console/logout", content=large, headers=kind).status_code == 413
    twice = f"form_token={visitors['operator'].form_token}&form_token=x".encode()
    assert http.post("/console/logout", content=twice, headers=kind).status_code == 400
    assert http.post("/console/logout", json={"form_token": "x"}).status_code == 415


@pytest.mark.parametrize("role", ROUTES)
def test_a_page_of_another_role_is_not_there(visitors: dict[str, Visitor], role: str) -> None:
    for path in ROUTES[role]:
        got = {name: visitors[name].get(path).status_code for name in ROUTES}
        assert got == {name: 200 if name == role else 404 for name in ROUTES}, path


@pytest.mark.parametrize("path", ["/console/passkeys", "/console/warrants"])
def test_a_page_of_two_roles_is_not_there_for_the_third(visitors: dict[str, Visitor], path: str) -> None:
    got = {name: visitors[name].get(path).status_code for name in ROUTES}
    assert got == {"operator": 200, "regulator": 200, "lender": 404}


def test_nobody_is_shown_what_another_role_changes(visitors: dict[str, Visitor], clients: dict[str, Client]) -> None:
    form = {"member_id": member_of(clients["lender"]), "reason": "x"}
    for action in ACTIONS.values():
        for who in {*ROUTES} - {action.role}:
            answer = visitors[who].post(f"/console/confirm/{action.name}", form)
            assert (answer.status_code, problem(answer)) == (404, "not_found"), (who, action.name)


def test_what_an_operator_was_shown_is_confirmed_by_no_regulator(
    visitors: dict[str, Visitor], clients: dict[str, Client]
) -> None:
    challenge = shown_for(visitors["operator"], "suspend_member", member_id=member_of(clients["lender"]), reason="x")
    authenticator, _ = with_passkey(visitors["regulator"], clients["regulator"])
    refused = visitors["regulator"].post("/console/confirmations", authenticator.sign(challenge))
    assert problem(refused) == "confirmation_ended"
    for path in ("/console/confirmations", "/console/passkeys"):
        assert visitors["lender"].post(path, authenticator.sign(challenge)).status_code == 404


def test_names_and_reasons_are_text(shared_service: RunningService, clients: dict[str, Client]) -> None:
    markup = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
    clients["operator"].call("POST", "/v1/members", data={"name": markup, "role": "lender", "region": "CN"})
    visitor = Visitor(shared_service).sign_in(clients["operator"])
    for path in ("/console/desk", "/console/desk/members", f"/console/desk/members?find={markup}"):
        page = visitor.get(path).text
        assert "<script>alert" not in page
        assert "<img src=x" not in page
    shown = visitor.post(
        "/console/confirm/suspend_member", {"member_id": member_of(clients["lender"]), "reason": markup}
    )
    assert "<script>alert" not in shown.text
    assert "alert(1)" in shown.text


def test_every_page_forbids_what_a_page_need_not_do(visitors: dict[str, Visitor]) -> None:
    for path in ("/console/login", "/console/desk", "/console/nowhere", "/console/assets/console.js"):
        headers = visitors["operator"].get(path).headers
        policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == ("no-cache" if "assets" in path else "no-store")


# What is confirmed


@pytest.fixture
def authenticator(visitors: dict[str, Visitor], clients: dict[str, Client]) -> Iterator[Authenticator]:
    made, digest = with_passkey(visitors["operator"], clients["operator"])
    yield made
    clients["operator"].call("POST", f"/v1/me/passkeys/{digest}/revocation", data={})


def suspended(client: Client, member_id: str) -> bool:
    return bool(client.call("GET", f"/v1/members/{member_id}")["status"] == "suspended")


def test_a_confirmation_is_done_once_and_leaves_evidence(
    shared_service: RunningService,
    visitors: dict[str, Visitor],
    clients: dict[str, Client],
    authenticator: Authenticator,
) -> None:
    bank, visitor = shared_service.admit("To be suspended"), visitors["operator"]
    named = member_of(bank)
    form = authenticator.sign(shown_for(visitor, "suspend_member", member_id=named, reason="key_theft"))
    assert visitor.post("/console/confirmations", form).status_code == 200
    assert suspended(clients["operator"], named)
    again = visitor.post("/console/confirmations", form)
    assert (again.status_code, problem(again)) == (409, "confirmation_ended")
    opening = opening_of(shared_service, clients["operator"], "suspend_member")
    checked = check_opening(opening, issuer=shared_service.url)
    said = checked.confirmation
    assert (said.action, said.object, said.terms) == ("suspend_member", named, {"reason": "key_theft"})
    assert checked.passkey == passkey_digest(authenticator.credential_id, authenticator.jwk)
    body = opening["groups"]["body"]
    changed = {**body, "request": body["request"].replace("key_theft", "key_thefts")}
    for wrong in (changed, {**body, "salt": "A" * 43}):
        with pytest.raises(VerificationFailed):
            check_opening({**opening, "groups": {"body": wrong}}, issuer=shared_service.url)
    with pytest.raises(VerificationFailed):
        check(changed["request"], issuer=shared_service.url)


@pytest.mark.parametrize("wrong", ["origin", "rp_id", "unverified", "stranger", "other_action", "count"])
def test_a_wrong_assertion_confirms_nothing(
    shared_service: RunningService,
    visitors: dict[str, Visitor],
    clients: dict[str, Client],
    authenticator: Authenticator,
    wrong: str,
) -> None:
    visitor, named = visitors["operator"], member_of(shared_service.admit(f"Kept {wrong}"))
    challenge = shown_for(visitor, "suspend_member", member_id=named, reason="review")
    signing, asked = authenticator, challenge
    if wrong == "origin":
        authenticator.origin = "https://elsewhere.example"
    elif wrong == "rp_id":
        authenticator.rp_id = "elsewhere.example"
    elif wrong == "unverified":
        authenticator.verified = False
    elif wrong == "stranger":
        signing = Authenticator(origin_of(shared_service))
    elif wrong == "other_action":
        asked = shown_for(visitor, "limit_member", member_id=named, reason="review")
    else:
        other = authenticator.sign(
            shown_for(visitor, "limit_member", member_id=member_of(clients["lender"]), reason="x")
        )
        assert visitor.post("/console/confirmations", other).status_code == 200
        authenticator.count -= 1
    form = signing.sign(asked) | {"challenge": challenge}
    refused = visitor.post("/console/confirmations", form)
    assert (refused.status_code, problem(refused)) == (403, "passkey_invalid")
    assert not suspended(clients["operator"], named)


def test_a_confirmation_of_another_session_is_none(
    visitors: dict[str, Visitor], clients: dict[str, Client], authenticator: Authenticator
) -> None:
    named = member_of(clients["lender"])
    challenge = shown_for(visitors["second"], "suspend_member", member_id=named, reason="review")
    refused = visitors["operator"].post("/console/confirmations", authenticator.sign(challenge))
    assert problem(refused) == "confirmation_ended"


def test_a_stolen_session_makes_no_passkey_count(
    visitors: dict[str, Visitor], clients: dict[str, Client], shared_service: RunningService
) -> None:
    visitor, thief = visitors["operator"], Authenticator(origin_of(shared_service))
    made = thief.make(challenge_on(visitor.get("/console/passkeys").text)) | {"label": "thief"}
    assert visitor.post("/console/passkeys", made).status_code == 200
    challenge = shown_for(visitor, "suspend_member", member_id=member_of(clients["lender"]), reason="review")
    refused = visitor.post("/console/confirmations", thief.sign(challenge))
    assert problem(refused) == "passkey_invalid"


def test_a_passkey_that_was_revoked_confirms_nothing_where_its_older_row_is_back(
    visitors: dict[str, Visitor], clients: dict[str, Client], shared_service: RunningService
) -> None:
    visitor, client, named = visitors["operator"], clients["operator"], member_of(clients["lender"])
    lost, digest = with_passkey(visitor, client)
    with shared_service.superuser() as database:
        database.execute("CREATE TABLE older_passkey AS SELECT * FROM passkey WHERE digest = %s", [digest])
        client.call("POST", f"/v1/me/passkeys/{digest}/revocation", data={})
        for statement in (
            "DELETE FROM passkey WHERE digest IN (SELECT digest FROM older_passkey)",
            "INSERT INTO passkey SELECT * FROM older_passkey",  # with the seal that it had
        ):
            database.execute(statement)
    wait_for(lambda: shared_service.services.key_table.is_buried(digest))
    challenge = shown_for(visitor, "suspend_member", member_id=named, reason="review")
    refused = visitor.post("/console/confirmations", lost.sign(challenge))
    assert (refused.status_code, problem(refused)) == (403, "passkey_invalid")
    assert not suspended(client, named)


def test_a_passkey_planted_in_the_database_confirms_nothing(
    visitors: dict[str, Visitor], clients: dict[str, Client], shared_service: RunningService
) -> None:
    visitor, thief = visitors["operator"], Authenticator(origin_of(shared_service))
    made = thief.make(challenge_on(visitor.get("/console/passkeys").text)) | {"label": "planted"}
    visitor.post("/console/passkeys", made)
    kid = clients["operator"].identity.key.kid if clients["operator"].identity else ""
    with shared_service.superuser() as database:
        assert isinstance(database, psycopg.Connection)
        database.execute(
            "UPDATE passkey SET state = 'active', confirmed_by = %s, confirmed_at = now() WHERE label = 'planted'",
            [kid],
        )
    challenge = shown_for(visitor, "suspend_member", member_id=member_of(clients["lender"]), reason="review")
    answer = visitor.post("/console/confirmations", thief.sign(challenge))
    assert answer.status_code == 500
    reviewed = shared_service.run(review(shared_service.services.database, KEYRING.row_seals()))
    assert [name.partition(":")[0] for name in reviewed.broken] == ["passkey"]
    with shared_service.superuser() as database:
        database.execute("DELETE FROM passkey WHERE label = 'planted'")


def test_the_same_person_is_no_second_one(
    visitors: dict[str, Visitor], clients: dict[str, Client], authenticator: Authenticator
) -> None:
    proposed = clients["operator"].call("POST", "/v1/members", data={"name": "Waits", "role": "lender", "region": "CN"})
    (open_one,) = clients["operator"].pages(f"/v1/members/{proposed['member_id']}/proposals")
    form = authenticator.sign(shown_for(visitors["operator"], "approve_member", proposal_id=open_one["proposal_id"]))
    refused = visitors["operator"].post("/console/confirmations", form)
    assert problem(refused) == "role_forbidden"
    assert "another person must approve it" in words_of(refused.text)


def test_what_changed_since_it_was_shown_is_not_approved(
    visitors: dict[str, Visitor], clients: dict[str, Client]
) -> None:
    authenticator, _ = with_passkey(visitors["second"], clients["second"])
    bank = member_of(clients["lender"])
    version = clients["operator"].call("GET", f"/v1/members/{bank}").version
    proposal = clients["operator"].call(
        "POST", f"/v1/members/{bank}/quotas", data={"queries_per_day": 77}, if_match=version
    )
    form = authenticator.sign(shown_for(visitors["second"], "approve_member", proposal_id=str(proposal["proposal_id"])))
    clients["operator"].call(
        "POST", f"/v1/members/{bank}/quotas", data={"queries_per_day": 78}, if_match=proposal.version
    )
    assert problem(visitors["second"].post("/console/confirmations", form)) == "precondition_failed"


def test_a_stranger_learns_nothing(shared_service: RunningService) -> None:
    http = stranger(shared_service, {"creditshare": b64url_encode(bytes(32))})
    for path in [*ROUTES["operator"], *ROUTES["regulator"], "/console/nowhere"]:
        got = http.get(path)
        assert (got.status_code, got.headers["location"], got.text) == (303, "/console/login", "")
    assert token_in('name="form_token" value="' + "A" * 43 + '"') == "A" * 43
