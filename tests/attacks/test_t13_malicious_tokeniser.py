"""T13, a malicious tokeniser: whoever runs it wants to find out which tokens belong together, member by member.

It must not get: a member that takes a token made with another key than the published, pinned one; tokens in another
order than was asked.

Elsewhere: ``client/test_trust.py`` (another key, published or not, to this member alone), ``crypto/test_oprf.py`` (the
proof itself).
"""

import json
from pathlib import Path

import pytest
from tests.fixtures.attack import BORROWER, OTHER
from tests.fixtures.processes import another_process
from tests.fixtures.service import RunningService

from creditshare.client import Pins
from creditshare.client.bank import Client
from creditshare.client.identifiers import borrower_input
from creditshare.client.pins import PinChanged
from creditshare.crypto import oprf
from creditshare.crypto.encoding import b64url_decode, b64url_encode
from creditshare.errors import CreditshareError
from creditshare.keys.keyring import _encode


@pytest.mark.slow
def test_an_operator_that_exchanges_the_key_is_noticed_before_a_token_is_made(
    service: RunningService, tmp_path: Path
) -> None:
    lender = service.admit("Lender", region="US")
    pins = Pins.of(lender.discovery, lender.service_jwks)
    (token,) = lender.tokenise([BORROWER])
    sets = json.loads(service.settings.keyring_path.read_text())
    sets["tokeniser"]["keys"]["1"] = _encode(oprf.SecretKey.generate().to_bytes())
    keyring = tmp_path / "keyring.json"
    keyring.write_text(json.dumps(sets))
    with another_process(service, keyring_file=str(keyring)) as url:
        with Client(url, lender.identity) as trusting:
            assert trusting.tokenise([BORROWER]) != [token]
        with pytest.raises(PinChanged, match="tokeniser"):
            Client(url, lender.identity, pins=pins)


def test_a_batch_comes_back_as_it_was_asked_or_not_at_all(shared_service: RunningService) -> None:
    lender = shared_service.admit("Lender", region="US")
    blinded = [oprf.blind(borrower_input("uscc", name)) for name in (BORROWER, OTHER)]
    asked = {
        "suite": oprf.SUITE,
        "key_version": 1,
        "blinded": [b64url_encode(one.element) for one in blinded],
    }
    answer = lender.call("POST", "/v1/tokens/evaluate", data=asked).data
    again = lender.call("POST", "/v1/tokens/evaluate", data=asked).data
    evaluated, proof = [b64url_decode(e) for e in answer["evaluated"]], b64url_decode(answer["proof"])
    public = shared_service.services.tokeniser.public_keys[1]
    assert len(oprf.open_evaluation(public, blinded, evaluated, proof)) == 2
    assert again["evaluated"] == answer["evaluated"]
    assert again["proof"] != answer["proof"], "a nonce that serves twice would give the key away"
    other_key = oprf.SecretKey.generate().public_key
    forged = [
        (public, evaluated[::-1], proof),
        (public, [evaluated[0]] * 2, proof),
        (public, evaluated[:1], proof),
        (public, [blinded[0].element, evaluated[1]], proof),
        (public, [b"\x00" * 33, evaluated[1]], proof),
        (public, evaluated, proof[32:] + proof[:32]),
        (public, evaluated, bytes(64)),
        (other_key, evaluated, proof),
    ]
    for key, elements, shown in forged:
        with pytest.raises(CreditshareError):
            oprf.open_evaluation(key, blinded, elements, shown)
