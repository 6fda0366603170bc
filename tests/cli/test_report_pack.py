"""``report pack``: what came is what was asked for, and nothing half done is left behind."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.fixtures.service import RunningService
from typer.testing import CliRunner

from creditshare.cli import reports as commands
from creditshare.cli.options import write_private
from creditshare.crypto.jws import SigningKey
from creditshare.errors import VerificationFailed
from creditshare.wire.reports import sign_report

ISSUER = "https://creditshare.example"
KEY = SigningKey.generate()


def answering(**changes: Any) -> Any:
    """A service that answers every question with one document, which it signed."""
    content = {
        "report": "defaults",
        "period": {"from": "2025-01", "to": "2025-12"},
        "by": "month",
        "filters": {},
        "rows": [],
        "lenders": {},
        "held": [],
        "release": None,
        "rules": [],
        **changes,
    }
    digest, signature = sign_report(KEY, content, issuer=ISSUER, iat=1)
    document = {**content, "digest": digest, "signature": signature}
    known = SimpleNamespace(keys={KEY.kid: KEY.verifying_key}, issuer=ISSUER)
    return SimpleNamespace(call=lambda *_, **__: SimpleNamespace(data=document), session=SimpleNamespace(service=known))


def test_the_report_that_was_asked_for_is_taken() -> None:
    assert commands._checked(answering(), "defaults", "2025-01", "2025-12", "en")["report"] == "defaults"


@pytest.mark.parametrize(
    ("name", "first", "changes", "words"),
    [
        ("vintages", "2025-01", {}, "another came"),
        ("defaults", "2024-01", {}, "another period"),
        ("defaults", "2025-01", {"period": {"from": None, "to": None}}, "another period"),
        ("../defaults", "2025-01", {"report": "../defaults"}, "another came"),
    ],
)
def test_what_was_signed_for_another_question_is_not_taken(
    name: str, first: str, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(VerificationFailed, match=words):
        commands._checked(answering(**changes), name, first, "2025-12", "en")


def test_a_pack_that_fails_leaves_nothing_behind(
    shared_service: RunningService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> Iterator[tuple[str, bytes]]:
        yield "one.json", b"{}"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(commands, "pack_files", failing)
    regulator = shared_service.admit("Regulator of packs", role="regulator", region="US")
    signer, key = regulator.session.signer, tmp_path / "regulator.jwk.json"
    write_private(key, {**signer.key.private_jwk(), "creditshare_member_id": signer.member_id})
    words = ["pack", str(tmp_path / "packs/2005"), "--as", str(key), "--url", shared_service.url, "--json"]
    done = CliRunner().invoke(commands.report, words)
    assert isinstance(done.exception, OSError), done.output
    assert list((tmp_path / "packs").iterdir()) == []
