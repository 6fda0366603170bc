"""A witness as its owner runs it: made, told whom to trust, asked over HTTP, looked at."""

import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.fixtures.commands import Command, command_line
from tests.fixtures.service import wait_for

from creditshare.tlog.checkpoint import Checkpoint, sign_checkpoint
from creditshare.tlog.merkle import EMPTY_ROOT, leaf_hash
from creditshare.tlog.note import Signer
from creditshare.tlog.witness import MAX_PROOF, AddCheckpoint

pytestmark = pytest.mark.slow
LOG = Signer("log.example/log", Ed25519PrivateKey.generate())


def note_of(size: int, root: bytes) -> str:
    return sign_checkpoint(Checkpoint(LOG.name, size, root), [LOG])


def run(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    return command_line().run(*map(str, words), environment=os.environ)


def test_a_witness_is_made_trusts_a_log_and_cosigns_it(tmp_path: Path) -> None:
    folder = tmp_path / "witness"
    made = run("witness", "new", folder, "--name", "witness.example/1")
    assert made.returncode == 0, made.stderr
    vkey = made.stdout.strip()
    assert run("witness", "new", folder, "--name", "witness.example/1").returncode == 2
    assert run("witness", "trust", folder, "no key").returncode == 2
    assert "log.example/log" in run("witness", "trust", folder, LOG.verifier.vkey).stdout
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (tmp_path / "log").open("wb") as told:
        serving = command_line().start(
            "witness", "serve", str(folder), "--port", str(port), environment=os.environ, log=told.fileno()
        )
        try:
            asked(f"http://127.0.0.1:{port}", serving, tmp_path, vkey)
        finally:
            serving.end()
    held = run("witness", "status", folder)
    assert held.stdout.splitlines() == [vkey, "log.example/log: 1 leaves, 1 contradictions"]
    both = run("witness", "contradictions", folder, "log.example/log").stdout
    assert both.count("log.example/log\n1\n") == 2


def asked(url: str, serving: Command, tmp_path: Path, vkey: str) -> None:
    def answers() -> bool:
        assert not serving.ended()
        try:
            return httpx.get(f"{url}/checkpoint").status_code == 404
        except httpx.HTTPError:
            return False

    def add(old: int, note: str, proof: tuple[bytes, ...] = ()) -> httpx.Response:
        return httpx.post(f"{url}/add-checkpoint", content=AddCheckpoint(old, proof, note).encode())

    wait_for(answers, seconds=60)
    first = note_of(1, leaf_hash(b"a"))
    assert add(0, note_of(0, EMPTY_ROOT)).status_code == 200
    cosigned = add(0, first)
    assert cosigned.status_code == 200
    assert cosigned.text.startswith("\N{EM DASH} witness.example/1 ")
    behind = add(0, note_of(2, leaf_hash(b"b")))
    assert (behind.status_code, behind.text, behind.headers["content-type"]) == (409, "1\n", "text/x.tlog.size")
    assert add(1, note_of(1, leaf_hash(b"b"))).status_code == 409
    assert add(1, note_of(2, leaf_hash(b"b"))).status_code == 422
    assert add(1, first.replace("log.example/log", "other.example/log")).status_code == 404
    assert add(1, sign_checkpoint(Checkpoint(LOG.name, 1, leaf_hash(b"a")), [FORGER])).status_code == 403
    assert add(3, first).status_code == 400
    assert add(1, first, (EMPTY_ROOT,) * (MAX_PROOF + 1)).status_code == 400
    assert httpx.post(f"{url}/add-checkpoint", content=b"x" * 70_000).status_code == 413
    assert httpx.get(f"{url}/add-checkpoint").status_code == 405
    shown = httpx.get(f"{url}/checkpoint", params={"origin": LOG.name})
    assert shown.text == first + cosigned.text
    # What it says is checked offline, by a policy that names it.
    (tmp_path / "checkpoint").write_text(shown.text)
    (tmp_path / "policy").write_text(f"witness one {vkey}\nquorum one\n")
    words: list[Any] = ["log", "verify-checkpoint", tmp_path / "checkpoint", "--vkey", LOG.verifier.vkey]
    assert "signed by log.example/log, witness.example/1 at 20" in run(*words, "--policy", tmp_path / "policy").stdout
    (tmp_path / "checkpoint").write_text(first)
    refused = run(*words, "--policy", tmp_path / "policy")
    assert (refused.returncode, "cosigned by nobody" in refused.stderr) == (3, True)
    assert run(*words).returncode == 0
    serving.send_signal(signal.SIGTERM)
    wait_for(serving.ended, seconds=20)


FORGER = Signer(LOG.name, Ed25519PrivateKey.generate())
