"""Pinned keys: trusted on first use and said aloud, compared ever after, replaced only by a person."""

import json
import logging
from pathlib import Path

import pytest
from tests.fixtures.simulated_service import ISSUER, MEMBER, SimulatedService, new_log_key

from creditshare.client import AsyncClient, Client, Identity, PinChanged, Pins, Profile
from creditshare.client.profile import profiles_folder
from creditshare.crypto import oprf
from creditshare.crypto.jws import SigningKey
from creditshare.errors import ConfigurationError, VerificationFailed

BORROWER = "91999999DEM000014G"


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Profile:
    monkeypatch.setenv("CREDITSHARE_PROFILES", str(tmp_path))
    key_file = tmp_path / "bank.jwk.json"
    identity = Identity(MEMBER, SigningKey.generate())
    key_file.write_text(json.dumps(identity.stored()))
    key_file.chmod(0o600)
    made = Profile(path=tmp_path / "bank-a.toml", url=ISSUER, key_file=key_file)
    made.save()
    return made


def open_bank(simulated: SimulatedService) -> Client:
    return Client.from_profile("bank-a", transport=simulated.transport)


def test_first_use_pins_the_keys_and_says_so(profile: Profile, caplog: pytest.LogCaptureFixture) -> None:
    simulated = SimulatedService()
    assert Profile.load("bank-a").pins is None
    with caplog.at_level(logging.WARNING, "creditshare.client"), open_bank(simulated) as bank:
        assert bank.tokenise([BORROWER])
    pins = Profile.load("bank-a").pins
    assert pins == Pins.of(bank.discovery, bank.service_jwks)
    assert simulated.signing.kid in caplog.text
    assert "pinned" in caplog.text
    assert profile.path.stat().st_mode & 0o077 == 0
    caplog.clear()
    with open_bank(simulated):
        pass
    assert not caplog.records


@pytest.mark.usefixtures("profile")
def test_a_tokeniser_that_uses_another_key_than_it_published_is_refused() -> None:
    simulated = SimulatedService(evaluating=oprf.SecretKey.generate())
    with open_bank(simulated) as bank, pytest.raises(VerificationFailed, match="not made with the published key"):
        bank.tokenise([BORROWER])


def test_a_tokeniser_key_published_to_this_member_alone_is_refused(profile: Profile) -> None:
    simulated = SimulatedService()
    with open_bank(simulated):
        pass
    simulated.tokeniser = oprf.SecretKey.generate()  # a consistent lie: published and used, with a valid proof
    with Client(ISSUER, profile.identity(), transport=simulated.transport) as trusting:
        assert trusting.tokenise([BORROWER])
    with pytest.raises(PinChanged, match="the tokeniser's key P256-SHA256/1 is not the pinned one"):
        open_bank(simulated)


@pytest.mark.usefixtures("profile")
async def test_the_async_client_refuses_it_too() -> None:
    simulated = SimulatedService()
    async with AsyncClient.from_profile("bank-a", transport=simulated.transport) as bank:
        assert await bank.tokenise([BORROWER])
    simulated.tokeniser = oprf.SecretKey.generate()
    async with AsyncClient.from_profile("bank-a", transport=simulated.transport) as bank:
        with pytest.raises(PinChanged, match="tokeniser"):
            await bank.tokenise([BORROWER])
    assert len(simulated.requests) == 1


@pytest.mark.usefixtures("profile")
def test_a_new_version_of_the_tokeniser_key_waits_for_a_person() -> None:
    simulated = SimulatedService()
    with open_bank(simulated):
        pass
    simulated.tokeniser, simulated.key_version = oprf.SecretKey.generate(), 2
    with open_bank(simulated) as bank:
        assert bank.call("GET", "/v1/me").status == 200
        with pytest.raises(PinChanged, match="P256-SHA256/2 is not pinned"):
            bank.tokenise([BORROWER])
    assert [r.url.path for r in simulated.requests] == ["/v1/me"]


@pytest.mark.usefixtures("profile")
def test_a_signing_key_beside_the_pinned_one_is_not_trusted() -> None:
    simulated = SimulatedService()
    with open_bank(simulated):
        pass
    old, simulated.signing = simulated.signing, SigningKey.generate()
    simulated.retired = (old,)
    with open_bank(simulated) as bank, pytest.raises(PinChanged, match=simulated.signing.kid):
        bank.call("GET", "/v1/me")


@pytest.mark.usefixtures("profile")
@pytest.mark.parametrize("what", ["signing", "log_key"])
def test_another_key_is_refused_before_anything_is_sent(what: str) -> None:
    simulated = SimulatedService()
    with open_bank(simulated):
        pass
    setattr(simulated, what, SigningKey.generate() if what == "signing" else new_log_key())
    with pytest.raises(PinChanged):
        open_bank(simulated)
    assert not simulated.requests
    known = Profile.load("bank-a")
    with Client(ISSUER, None, transport=simulated.transport) as seen:
        known.trusting(Pins.of(seen.discovery, seen.service_jwks)).save()
    with open_bank(simulated) as bank:
        assert bank.call("GET", "/v1/me").status == 200


def test_a_profile_survives_its_own_spelling(tmp_path: Path) -> None:
    pins = Pins('https://a"b\\c', ("k1", "k2"), {"P256-SHA256/1": "A", "X/2": "B"}, "log+0+key/=")
    made = Profile(path=tmp_path / "p.toml", url="https://x", key_file=tmp_path / "银行.jwk", sub="desk", pins=pins)
    made.save()
    assert Profile.load(made.path) == made


def test_profiles_lie_in_the_configuration_folder() -> None:
    assert profiles_folder({"XDG_CONFIG_HOME": "/c"}) == Path("/c/creditshare/profiles")
    assert profiles_folder({"CREDITSHARE_PROFILES": "/p", "XDG_CONFIG_HOME": "/c"}) == Path("/p")


@pytest.mark.parametrize("content", ["", "url = 1\n", "not toml", 'url = "x"\nkey_file = "k"\npins = 3\n'])
def test_a_wrong_profile_says_what_it_needs(tmp_path: Path, content: str) -> None:
    file = tmp_path / "p.toml"
    file.write_text(content)
    with pytest.raises(ConfigurationError, match="not a profile"):
        Profile.load(file)


@pytest.mark.parametrize("name", ["../evil", "", "a/b", ".hidden"])
def test_a_profile_name_stays_in_its_folder(name: str) -> None:
    with pytest.raises(ConfigurationError):
        Profile.load(name)
