"""What a lender's own page says that it is asked for: of its keys, its state, its tier; and nothing once it is done."""

from typing import LiteralString

import pytest
from tests.fixtures.pages import OPENED, Visitor, words_of
from tests.fixtures.service import RunningService

from creditshare.client.bank import Client
from creditshare.crypto.jwe import OpeningKey

NOTHING = "Nothing is asked of you."
LIMITED, KEY, TIER, HAND_BACK = (
    "You are limited",
    "Replace it before",
    "Your answers are shorter",
    "Name a key to which",
)


def asked(service: RunningService, bank: Client) -> list[str]:
    visitor = Visitor(service).sign_in(bank)
    page = visitor.get("/console/bank")
    assert page.status_code == 200
    while OPENED:
        OPENED.pop().close()
    return [one for one in (LIMITED, KEY, TIER, HAND_BACK, NOTHING) if one in words_of(page.text)]


def test_nothing_once_a_key_for_the_hand_back_is_named(shared_service: RunningService) -> None:
    bank = shared_service.admit("A lender that is asked")
    assert asked(shared_service, bank) == [HAND_BACK]
    bank.call("POST", "/v1/me/hand-back-key", data={"jwk": dict(OpeningKey.generate().public_jwk)})
    assert asked(shared_service, bank) == [NOTHING]


STATES: dict[str, LiteralString] = {
    LIMITED: "UPDATE member SET status = 'limited' WHERE member_id = %s",
    TIER: "UPDATE member SET tier = 'basic' WHERE member_id = %s",
    KEY: "UPDATE member_key SET expires_at = now() + interval '6 days' WHERE member_id = %s",
}


@pytest.mark.parametrize("said", STATES)
def test_each_thing_is_said_where_it_is_so(shared_service: RunningService, said: str) -> None:
    bank = shared_service.admit("A lender of its state")
    assert said not in asked(shared_service, bank)
    shared_service.rewrite(STATES[said], bank.session.signer.member_id.removeprefix("mem_"))
    assert said in asked(shared_service, bank)
