"""T6, a thief of backups: a complete copy of the database, without the key file; or files left behind on a machine.

It must not get: anything that is sealed, by restoring the copy elsewhere with keys of its own; what was erased after
the backup was made; a private key out of a file that the commands or the service write.

Elsewhere: ``stories/test_restore.py`` (erased stays erased, revoked stays revoked), ``promises/test_blind.py`` (reading
the copy), ``stories/test_wrapping_keys.py`` (a retired key ends the life of old backups).
"""

import json
from pathlib import Path

import pytest
from tests.fixtures.attack import BORROWER, ask, attempt, grant
from tests.fixtures.processes import another_process, older_copy
from tests.fixtures.service import RunningService, record_body

from creditshare.cli.options import write_private
from creditshare.client.bank import Client
from creditshare.client.evidence import Evidence
from creditshare.keys.keyring import Keyring, KeyringFile
from creditshare.settings import Settings
from creditshare.storage import schema


@pytest.mark.slow
def test_a_copy_served_with_other_keys_opens_nothing(service: RunningService, tmp_path: Path) -> None:
    lender, asker = service.admit("Lender", region="US"), service.admit("Asker", region="US")
    (subject,) = lender.tokenise([BORROWER])
    asker.tokenise([BORROWER])
    record = str(lender.call("POST", "/v1/records", data=record_body(subject, "A-1"))["record_id"])
    consent = grant(asker, subject)
    query = str(asker.query(subject, purpose="pre_loan", consent_id=consent)["query_id"])
    keyring = tmp_path / "keyring.json"
    others = Keyring.generate()
    KeyringFile(keyring, passphrase=None).replace(others)
    with older_copy(service) as copy:
        refused = pytest.raises(AssertionError, match="another key file than the database's")
        with refused, another_process(service, keyring_file=str(keyring), **copy):
            pass
        # So the thief takes the seals away, and has his own keys seal what is left.
        schema.downgrade(copy["owner_database_url"], revision="0008")
        schema.upgrade(copy["owner_database_url"], seals=others.row_seals())
        with (
            another_process(service, keyring_file=str(keyring), **copy) as url,
            Client(url, lender.identity) as thief,
            Client(url, asker.identity) as helper,
        ):
            assert attempt(thief, "GET", f"/v1/records/{record}") == "internal_error"
            assert attempt(helper, "GET", f"/v1/consents/{consent}") == "internal_error"
            assert attempt(helper, "GET", f"/v1/queries/{query}") == "internal_error"
            assert ask(helper, subject, consent) == "consent_missing"
    assert ask(asker, subject, consent) == "1 defaults"


def others_may(path: Path) -> int:
    return path.stat().st_mode & 0o077


def test_a_key_file_is_replaced_without_following_a_link_or_keeping_a_mode(tmp_path: Path) -> None:
    target, link, loose = tmp_path / "target", tmp_path / "link", tmp_path / "loose"
    target.write_text("untouched")
    link.symlink_to(target)
    loose.write_text("{}")
    loose.chmod(0o666)
    for file in (link, loose):
        write_private(file, {"d": "secret"}, replace=True)
        assert json.loads(file.read_text()) == {"d": "secret"}
        assert others_may(file) == 0
    assert not link.is_symlink()
    assert target.read_text() == "untouched"
    assert sorted(found.name for found in tmp_path.iterdir()) == ["link", "loose", "target"]


def test_the_services_key_file_is_not_written_into_a_trap(tmp_path: Path) -> None:
    trap = tmp_path / "elsewhere"
    trap.write_text("untouched")
    (tmp_path / "keyring.new").symlink_to(trap)
    KeyringFile(tmp_path / "keyring.json", passphrase=None).replace(Keyring.generate())
    assert trap.read_text() == "untouched"
    assert others_may(tmp_path / "keyring.json") == 0
    (tmp_path / "keyring.new").write_text("")
    (tmp_path / "keyring.new").chmod(0o666)
    KeyringFile(tmp_path / "keyring.json", passphrase=None).replace(Keyring.generate())
    assert others_may(tmp_path / "keyring.json") == 0


def test_evidence_of_a_borrower_is_for_its_owners_eyes(shared_service: RunningService, tmp_path: Path) -> None:
    asker = shared_service.admit("Asker", region="US")
    (subject,) = asker.tokenise([BORROWER])
    answer = asker.query(subject, purpose="pre_loan", consent_id=grant(asker, subject))
    asker.evidence(answer).save(tmp_path / "evidence.json")
    assert others_may(tmp_path / "evidence.json") == 0
    assert Evidence.load(tmp_path / "evidence.json").verify()


def test_a_service_leaves_no_file_that_others_read(shared_service: RunningService) -> None:
    settings: Settings = shared_service.settings
    lender = shared_service.admit("Reviser", region="US")
    kid = lender.session.signer.key.kid
    member_id = lender.session.signer.member_id
    assert attempt(lender, "POST", f"/v1/members/{member_id}/keys/{kid}/revocation", {"reason": "other"}) in {
        "done",
        "state_conflict",
    }
    for path in (settings.keyring_path, settings.tombstones_path):
        if path.exists():
            assert others_may(path) == 0, path.name
