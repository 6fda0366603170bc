"""What the client refuses to believe: answers changed, exchanged or made up by somebody between, or by the service."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from tests.fixtures.simulated_service import (
    ISSUER,
    MEMBER,
    SimulatedService,
    Twist,
    make_entry,
    refusal,
    without_signature,
)

from creditshare.client.bank import Client, Problem
from creditshare.client.core import Identity
from creditshare.client.explain import explain_answer
from creditshare.client.flow import Received
from creditshare.crypto.encoding import b64url_encode
from creditshare.crypto.jws import SigningKey
from creditshare.errors import VerificationFailed

QUESTION = {"purpose": "pre_loan"}
FORGED = json.dumps(refusal("consent_revoked")).encode()


@pytest.fixture
def simulated() -> SimulatedService:
    return SimulatedService()


def client_of(simulated: SimulatedService) -> Client:
    return Client(ISSUER, Identity(MEMBER, SigningKey.generate()), transport=simulated.transport)


def signed_by(key: SigningKey) -> Twist:
    """Return a twist that signs the answer anew with another key, keeping every claim and the key's name."""

    def twist(got: Received) -> Received:
        header, payload, _ = got.headers["cs-signature"].split(".")
        token = key.sign(json.loads(_decoded(header)), _decoded(payload))
        return replace(got, headers={**got.headers, "cs-signature": token})

    return twist


def _decoded(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def with_header(**changes: Any) -> Twist:
    def twist(got: Received) -> Received:
        header, payload, signature = got.headers["cs-signature"].split(".")
        changed = json.dumps({**json.loads(_decoded(header)), **changes}).encode()
        return replace(got, headers={"cs-signature": f"{b64url_encode(changed)}.{payload}.{signature}"})

    return twist


TWISTS: dict[str, Twist] = {
    "changed-body": lambda got: replace(got, body=got.body.replace(b"queries", b"querieS")),
    "no-body": lambda got: replace(got, body=b""),
    "changed-status": lambda got: replace(got, status=201),
    "success-made-a-refusal": lambda got: replace(got, status=403),
    "stripped-signature": without_signature,
    "empty-signature": lambda got: replace(got, headers={"cs-signature": ""}),
    "stranger-with-its-own-kid": with_header(kid=SigningKey.generate().kid),
    "stranger-with-our-kid": signed_by(SigningKey.generate()),
    "alg-none": with_header(alg="none"),
    "other-typ": with_header(typ="cs-req+jwt"),
    "extra-header": with_header(jwk={}),
    "redirect": lambda got: replace(without_signature(got), status=307),
    "made-up-refusal": lambda got: replace(without_signature(got), status=403, body=FORGED),
}


@pytest.mark.parametrize("name", TWISTS)
def test_a_changed_answer_is_refused(simulated: SimulatedService, name: str) -> None:
    with client_of(simulated) as client:
        assert client.call("POST", "/v1/queries", data=QUESTION).status == 200
        simulated.twist = TWISTS[name]
        with pytest.raises(VerificationFailed):
            client.call("POST", "/v1/queries", data=QUESTION)


def test_the_answer_to_another_request_is_refused(simulated: SimulatedService) -> None:
    kept: list[Received] = []

    def keep(got: Received) -> Received:
        kept.append(got)
        return got

    with client_of(simulated) as client:
        simulated.twist = keep
        client.call("POST", "/v1/queries", data=QUESTION)
        simulated.twist = lambda _: kept[0]
        with pytest.raises(VerificationFailed, match="rqh"):
            client.call("POST", "/v1/queries", data=QUESTION)


def test_a_correctly_signed_answer_with_the_log_entry_of_another_exchange_is_refused(
    simulated: SimulatedService,
) -> None:
    with client_of(simulated) as client:
        simulated.log_of = lambda rqh, asked, _: make_entry(rqh, asked, b"what another was told")
        with pytest.raises(VerificationFailed, match="does not commit to this request and answer"):
            client.call("POST", "/v1/queries", data=QUESTION)


def test_an_action_without_a_place_in_the_log_is_refused(simulated: SimulatedService) -> None:
    simulated.log_of = lambda *_: None
    with client_of(simulated) as client:
        assert client.call("GET", "/v1/me").log_entry is None
        with pytest.raises(VerificationFailed, match="no place in the log"):
            client.call("POST", "/v1/queries", data=QUESTION)


def test_an_unsigned_refusal_is_believed_only_where_the_caller_was_not_known_yet(simulated: SimulatedService) -> None:
    simulated.results = [(401, refusal("token_expired", server_time=1), {})]
    simulated.twist = without_signature
    with client_of(simulated) as client, pytest.raises(Problem) as caught:
        client.call("GET", "/v1/me")
    assert caught.value.code == "token_expired"
    assert not caught.value.signed


@pytest.mark.parametrize("name", [None, *TWISTS])
def test_the_explanation_fails_a_check_exactly_where_the_client_refuses(
    simulated: SimulatedService, name: str | None
) -> None:
    with client_of(simulated) as client:
        if name is not None:
            simulated.twist = TWISTS[name]
        request = client.sign("POST", "/v1/queries", data=QUESTION)
        got = client.transmit(request)
        lines = explain_answer(
            request, got, issuer=ISSUER, member_id=MEMBER, keys=client.session.service.keys, pinned=False, now=0
        )
        fails = [line.what for line in lines if line.mark == "FAILS"]
        if name is None:
            assert client.session.check(request, got).status == 200
            assert not fails
        else:
            with pytest.raises(VerificationFailed):
                client.session.check(request, got)
            assert fails
