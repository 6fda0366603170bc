"""T12, whoever rewrites the log: superuser of the database, perhaps together with whoever has the log's key.

It must not get: an event that somebody holds a receipt for edited, removed or moved without the receipt's holder
noticing; a shorter or other log that passes for a continuation of the one that was seen.

The attacker here switches off what ``promises/test_recorded.py`` shows in place (triggers, grants). Without the key,
the worker signs nothing on what it did not sign. With it, what remains is arithmetic: receipts, checkpoints and mirrors
that are out of reach. Witnesses, which notice for everybody, are in ``jobs/test_witnesses.py``.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.fixtures import foreign
from tests.fixtures.attack import attempt
from tests.fixtures.service import RunningService, wait_for

from creditshare.client.bank import Client
from creditshare.client.growth import check_growth
from creditshare.client.mirror import Checked, check, mirror, trusted_key
from creditshare.client.promises import check_promises
from creditshare.composition import keyring_file, log_signer
from creditshare.errors import VerificationFailed
from creditshare.tlog.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from creditshare.tlog.proof import InclusionProof

NOTHING = "/v1/records/rec_01900000-0000-7000-8000-000000000000"
TRIED_S = 1.5
"""Longer than the worker rests after a round that failed."""
LOG_TABLES = ("audit_event", "audit_leaf", "audit_tile", "audit_checkpoint")


def act(client: Client, evidence: Path | None = None) -> Any:
    """Do something that is an event, and return its receipt's log entry; keep the exchange in a file, if named."""
    answer = client.send(client.sign("GET", NOTHING))
    if evidence is not None:
        client.evidence(answer).save(evidence)
    assert answer.log_entry is not None
    return answer.log_entry


class Log:
    """A log of some events, a checkpoint of it that a regulator kept, and a lender's receipts."""

    def __init__(self, service: RunningService) -> None:
        self.service = service
        self.lender = service.admit("Lender", region="US")
        self.receipts = [act(self.lender) for _ in range(6)]
        self.settle()
        self.kept = self.checkpoint()
        for receipt in self.receipts:
            self.prove(receipt)

    def settle(self) -> None:
        wait_for(lambda: httpx.get(self.service.url + "/audit/v1/health").json()["oldest_pending_s"] == 0)

    def checkpoint(self) -> Checkpoint:
        return open_checkpoint(
            httpx.get(self.service.url + "/log/v1/checkpoint").text, [self.service.services.log_verifier]
        )

    def prove(self, receipt: Any) -> None:
        """Check, as the receipt's holder would, that its leaf is in the log."""
        got = httpx.get(self.service.url + "/audit/v1/proof/inclusion", params={"event_id": receipt.event_id})
        if got.status_code != 200:
            raise VerificationFailed("the log does not know what it promised")
        proof = InclusionProof.from_dict(got.json())
        if proof.leaf_hash != receipt.leaf_hash:
            raise VerificationFailed("the proof is of another leaf")
        proof.verify([self.service.services.log_verifier])

    def rewrite(self, *statements: str) -> None:
        with self.service.superuser() as database:
            for table in LOG_TABLES:
                database.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
            for statement in statements:
                database.execute(statement, {"event": self.receipts[2].event_id[4:]})
            for table in LOG_TABLES:
                database.execute(f"ALTER TABLE {table} ENABLE TRIGGER ALL")

    def sign(self) -> None:
        """Sign the leaves that are there, as whoever has the log's key can, so that the worker goes on from them."""
        signer = log_signer(keyring_file(self.service.settings).load(), self.service.services.issuer)
        with self.service.superuser() as database, database.transaction():
            leaves = database.execute("SELECT leaf_hash FROM audit_leaf ORDER BY idx").fetchall()
            signed = Checkpoint(signer.name, len(leaves), foreign.root([bytes(leaf) for (leaf,) in leaves]))
            database.execute("ALTER TABLE audit_checkpoint DISABLE TRIGGER ALL")
            database.execute("DELETE FROM audit_checkpoint WHERE size >= %s", [signed.size])
            row = [signed.size, signed.root, sign_checkpoint(signed, [signer])]
            database.execute("INSERT INTO audit_checkpoint (size, root, note) VALUES (%s, %s, %s)", row)
            database.execute("ALTER TABLE audit_checkpoint ENABLE TRIGGER ALL")

    def mirror(self, folder: Path) -> Checked:
        """Copy the log and check it, as anyone may; return what the copy is worth."""
        verifier = trusted_key(folder, self.service.services.log_verifier.vkey)
        mirror(self.service.url, folder, verifier)
        return check(folder, verifier)

    def only_checkpoint(self, folder: Path) -> Path:
        """Return the folder of who kept nothing but the checkpoint, and will fetch all else."""
        (folder / "checkpoints").mkdir(parents=True)
        note = httpx.get(self.service.url + "/log/v1/checkpoint").text
        for name in ("checkpoint", f"checkpoints/{self.checkpoint().size}"):
            (folder / name).write_text(note)
        return folder

    def grow(self) -> None:
        for _ in range(8):
            act(self.lender)
        self.settle()

    def check_growth(self) -> None:
        """Check, as the checkpoint's keeper would, that the log only grew."""
        now = self.checkpoint()
        got = httpx.get(
            self.service.url + "/audit/v1/proof/consistency", params={"from": self.kept.size, "to": now.size}
        )
        if got.status_code != 200:
            raise VerificationFailed("the log is shorter than it was")
        check_growth(self.kept, now, got.json())


@pytest.fixture
def log(service: RunningService) -> Log:
    return Log(service)


REWRITINGS = {
    "edited": (
        "ALTER TABLE audit_event DROP CONSTRAINT ck_audit_event_leaf_hash",
        "UPDATE audit_event SET leaf = '\\x00', leaf_hash = sha256('\\x0000') WHERE event_id = %(event)s",
        "UPDATE audit_leaf SET leaf_hash = sha256('\\x0000') WHERE event_id = %(event)s",
    ),
    "removed": (
        "DELETE FROM audit_leaf WHERE event_id = %(event)s",
        "DELETE FROM audit_event WHERE event_id = %(event)s",
    ),
}


@pytest.mark.parametrize("how", ["edited", "removed"])
def test_the_holder_of_a_receipt_notices(log: Log, how: str) -> None:
    log.rewrite(*REWRITINGS[how])
    with pytest.raises(VerificationFailed):
        log.prove(log.receipts[2])


def test_two_leaves_that_changed_places_are_noticed(log: Log) -> None:
    first, second = (receipt.event_id[4:] for receipt in log.receipts[2:4])
    log.rewrite(
        "ALTER TABLE audit_leaf DROP CONSTRAINT ck_audit_leaf_idx",
        "CREATE TEMP TABLE places AS SELECT event_id, idx FROM audit_leaf",
        f"UPDATE audit_leaf SET idx = -1 WHERE event_id = '{first}'",  # noqa: S608
        f"UPDATE audit_leaf SET idx = (SELECT idx FROM places WHERE event_id = '{first}') WHERE event_id = '{second}'",  # noqa: S608
        f"UPDATE audit_leaf SET idx = (SELECT idx FROM places WHERE event_id = '{second}') WHERE event_id = '{first}'",  # noqa: S608
    )
    for receipt in log.receipts[2:4]:
        with pytest.raises(VerificationFailed):
            log.prove(receipt)


SHIFT = (
    "ALTER TABLE audit_leaf DROP CONSTRAINT ck_audit_leaf_idx",
    "UPDATE audit_leaf SET idx = -2 - idx WHERE idx >= 3",
    "UPDATE audit_leaf SET idx = -1 - idx WHERE idx < 0",
)
LEAF = "'\\x7b7d', "
INSERTED = f"'00000000-0000-4000-8000-000000000000', {LEAF}sha256('\\x007b7d')"
PAST = (
    *SHIFT,
    f"INSERT INTO audit_event (event_id, leaf, leaf_hash) VALUES ({INSERTED})",  # noqa: S608
    f"INSERT INTO audit_leaf (idx, event_id, leaf_hash) VALUES (3, {INSERTED.replace(LEAF, '')})",  # noqa: S608
)
AGAINST_A_MIRROR = {
    "edited": REWRITINGS["edited"],
    "another event in the past": PAST,
    "two that changed places": (
        "ALTER TABLE audit_leaf DROP CONSTRAINT ck_audit_leaf_idx",
        "UPDATE audit_leaf SET idx = -1 WHERE idx = 2",
        "UPDATE audit_leaf SET idx = 2 WHERE idx = 3",
        "UPDATE audit_leaf SET idx = 3 WHERE idx = -1",
    ),
    "tail removed": ("DELETE FROM audit_leaf WHERE idx >= 4", "DELETE FROM audit_checkpoint WHERE size > 4"),
}


UNSIGNED = {
    "edited": REWRITINGS["edited"],
    "no checkpoint": ("DELETE FROM audit_checkpoint",),
    "cut back to what was signed earlier": (
        "DELETE FROM audit_leaf WHERE idx >= (SELECT max(size) FROM audit_checkpoint WHERE size < 6)",
        "DELETE FROM audit_tile",
    ),
    "cut back to nothing": ("DELETE FROM audit_leaf", "DELETE FROM audit_tile"),
    "another root": ("UPDATE audit_checkpoint SET root = sha256('x'), note = replace(note, E'\\n\\n', E'\\nx\\n\\n')",),
}


@pytest.mark.parametrize("how", UNSIGNED)
def test_without_the_logs_key_nothing_is_signed_on(log: Log, how: str) -> None:
    log.rewrite(*UNSIGNED[how])
    with log.service.superuser() as database:
        left = database.execute("SELECT count(*) FROM audit_leaf").fetchone()
    for _ in range(12):  # so many that a cut log would be longer than it was
        act(log.lender)
    wait_for(lambda: httpx.get(log.service.url + "/audit/v1/health").json()["oldest_pending_s"] > TRIED_S)
    with log.service.superuser() as database:
        assert database.execute("SELECT count(*) FROM audit_leaf").fetchone() == left
        newest = database.execute("SELECT max(size) FROM audit_checkpoint").fetchone()
    assert newest == (None if how == "no checkpoint" else log.kept.size,)


@pytest.mark.parametrize("how", AGAINST_A_MIRROR)
def test_whoever_kept_a_mirror_or_a_checkpoint_notices(log: Log, how: str, tmp_path: Path) -> None:
    """The database is rewritten with tiles and all, signed anew, and the worker goes on from there."""
    kept, noted = tmp_path / "mirror", log.only_checkpoint(tmp_path / "checkpoint")
    whole = log.mirror(kept)
    log.rewrite(*AGAINST_A_MIRROR[how])
    log.sign()
    for _ in range(2):
        log.grow()
    for folder in (kept, noted):
        with pytest.raises(VerificationFailed):
            log.mirror(folder)
    # What was copied before is as good as it was, and says what the log once signed.
    assert check(kept, trusted_key(kept, None)) == whole


def test_a_shorter_log_is_told_as_such_and_both_notes_are_kept(log: Log, tmp_path: Path) -> None:
    log.mirror(tmp_path)
    log.rewrite(*AGAINST_A_MIRROR["tail removed"])
    log.sign()
    act(log.lender)
    log.settle()
    assert log.checkpoint().size < log.kept.size
    with pytest.raises(VerificationFailed, match="the log shrank"):
        log.mirror(tmp_path)
    (note,) = (tmp_path / "contradictions").iterdir()
    verifiers = [trusted_key(tmp_path, None)]
    assert (
        open_checkpoint(note.read_bytes(), verifiers).size
        < open_checkpoint((tmp_path / "checkpoint").read_bytes(), verifiers).size
    )


def test_a_promise_whose_event_was_taken_out_of_the_queue_is_shown_broken(log: Log, tmp_path: Path) -> None:
    receipts, copy = tmp_path / "receipts", tmp_path / "mirror"
    receipts.mkdir()
    act(log.lender, receipts / "kept.json")
    log.settle()
    with log.service.superuser() as database, database.transaction():
        # Before the worker sees it: a trigger of the attacker's takes the event out of the queue again.
        database.execute(
            "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN DELETE FROM public.audit_pending WHERE event_id = NEW.event_id; RETURN NULL; END'"
        )
        database.execute("CREATE TRIGGER swallow AFTER INSERT ON audit_pending FOR EACH ROW EXECUTE FUNCTION swallow()")
    swallowed = act(log.lender, receipts / "swallowed.json")
    with log.service.superuser() as database:
        database.execute("DROP TRIGGER swallow ON audit_pending")
    log.grow()
    checked = log.mirror(copy)
    told = {one.file: one for one in check_promises(receipts, copy, checked)}
    assert (told["kept.json"].state, told["swallowed.json"].state) == ("kept", "waits")
    later = replace(checked, at=checked.at + log.service.settings.merge_delay_s + 2)  # a mirror of a minute later
    told = {one.file: one for one in check_promises(receipts, copy, later)}
    assert (told["kept.json"].state, told["swallowed.json"].state) == ("kept", "broken")
    assert told["swallowed.json"].event_id == swallowed.event_id
    # A receipt of another service breaks no promise of this log.
    of_another = replace(checked, checkpoint=replace(checked.checkpoint, origin="other.example/log"))
    with pytest.raises(VerificationFailed, match=r"another log than the mirror's, other\.example/log"):
        check_promises(receipts, copy, of_another)


@pytest.mark.parametrize("how", ["edited", "truncated", "begun anew"])
def test_a_log_that_the_service_itself_signs_anew_is_no_continuation(log: Log, how: str) -> None:
    """The signature is good, and the arithmetic betrays it."""
    keep = {"truncated": log.kept.size - 4, "begun anew": 0}.get(how)
    cut = (
        ()
        if keep is None
        else (
            f"DELETE FROM audit_leaf WHERE idx >= {keep}",  # noqa: S608
            f"DELETE FROM audit_checkpoint WHERE size > {keep}",  # noqa: S608
            "DELETE FROM audit_tile",
        )
    )
    log.rewrite(*(cut or (*REWRITINGS["edited"], "DELETE FROM audit_checkpoint")))
    log.sign()
    log.grow()
    if log.checkpoint().size < log.kept.size:
        log.grow()
    with pytest.raises(VerificationFailed):
        log.check_growth()


def test_an_honest_log_is_a_continuation(log: Log) -> None:
    log.grow()
    log.check_growth()
    for receipt in log.receipts:
        log.prove(receipt)
    assert attempt(log.lender, "GET", "/v1/me") == "done"
