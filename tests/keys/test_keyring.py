"""The key file: made once, sealed by a passphrase, private, and whole after a change."""

import stat
from pathlib import Path

import pytest

from creditshare.crypto.sealing import Place
from creditshare.errors import ConfigurationError, IntegrityError
from creditshare.keys.keyring import Keyring, KeyringFile


def test_a_key_file_is_made_once_and_is_private(tmp_path: Path) -> None:
    file = KeyringFile(tmp_path / "keyring.json", passphrase=None)
    made = file.load_or_create()
    assert file.load_or_create().secret("pepper") == made.secret("pepper")
    assert stat.S_IMODE((tmp_path / "keyring.json").stat().st_mode) == 0o600


def test_a_sealed_file_needs_its_passphrase(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    made = KeyringFile(path, passphrase=b"correct horse").load_or_create()
    assert made.secret("kek").hex() not in path.read_text()
    assert KeyringFile(path, passphrase=b"correct horse").load().secret("kek") == made.secret("kek")
    for wrong in (b"wrong", None):
        with pytest.raises(ConfigurationError):
            KeyringFile(path, passphrase=wrong).load()


def test_an_old_key_still_unwraps_after_rotation() -> None:
    keyring = Keyring.generate()
    wrapped = keyring.wrap(bytes(32), row_id=b"row")
    rotated = keyring.with_new_version("kek")
    assert rotated.current("kek") == "2"
    assert rotated.unwrap(wrapped, row_id=b"row") == bytes(32)
    again = rotated.wrap(bytes(32), row_id=b"row")
    with pytest.raises(IntegrityError):
        keyring.unwrap(again, row_id=b"row")
    with pytest.raises(IntegrityError):
        rotated.unwrap(wrapped, row_id=b"another row")


def test_a_keyring_hides_its_content() -> None:
    assert "keys" not in repr(Keyring.generate())


def test_service_boxes_are_bound_to_their_place() -> None:
    box = Keyring.generate().box("service")
    sealed = box.seal(Place("member", "contacts", b"1"), b"x")
    with pytest.raises(IntegrityError):
        box.open(Place("member", "contacts", b"2"), sealed)
