"""Whether the log kept what receipts promise: each leaf in the tree before its merge delay was over.

A receipt is signed by the service and names its leaf; the mirror's checkpoint is signed by the log's key. Where the one
promises what the other lacks, the two together show it to anybody.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from creditshare.client.evidence import Evidence
from creditshare.client.mirror import Checked, entries
from creditshare.errors import ConfigurationError, Malformed, VerificationFailed
from creditshare.tlog.merkle import leaf_hash
from creditshare.tlog.note import Verifier
from creditshare.wire.leaf import LogEntry, parse_leaf

Kept = Literal["kept", "waits", "broken"]


@dataclass(frozen=True, slots=True)
class Promise:
    """What became of one receipt: ``kept`` at an index, ``waits`` for a newer mirror, or ``broken``."""

    file: str
    event_id: str
    state: Kept
    index: int | None


def check_promises(receipts: Path, folder: Path, checked: Checked) -> list[Promise]:
    """Look for the leaf of every evidence file below ``receipts`` in a mirror that was checked.

    A promise whose time was not over when the mirror's newest checkpoint was cosigned, or without witnesses fetched,
    waits for a newer one. Raises ``ConfigurationError`` where there is no evidence file, ``VerificationFailed`` for one
    that does not hold.
    """
    asked = promised(receipts, checked.checkpoint.origin)
    wanted = {entry.leaf_hash for entry in asked.values()}
    places: dict[bytes, int] = {}
    for start, bundle in entries(folder, checked.checkpoint.size):
        for place, one in enumerate(bundle):
            if (hashed := leaf_hash(one)) in wanted:
                places[hashed] = start + place
    return [_promise(file, entry, places.get(entry.leaf_hash), checked.at) for file, entry in asked.items()]


def _promise(file: str, entry: LogEntry, index: int | None, looked: float) -> Promise:
    if index is not None:
        return Promise(file, entry.event_id, "kept", index)
    return Promise(file, entry.event_id, "waits" if looked <= due(entry) else "broken", None)


def due(entry: LogEntry) -> int:
    """Return the time, in seconds since 1970, by which a promised leaf is in the log."""
    return parse_leaf(entry.leaf).at + 1 + entry.mmd  # ``at`` is cut to whole seconds


def promised(folder: Path, origin: str) -> Mapping[str, LogEntry]:
    """Return what each evidence file below a folder promises, by its path there; all are checked.

    Raises ``ConfigurationError`` where there is none, ``VerificationFailed`` for one that does not hold or is of
    another log than ``origin``.
    """
    found: dict[str, LogEntry] = {}
    for path in sorted(folder.rglob("*.json")):
        try:
            evidence = Evidence.load(path)
        except Malformed:
            continue  # another file of whoever keeps them
        if Verifier.parse(evidence.log_vkey).name != origin:
            raise VerificationFailed(f"{path.name} is of another log than the mirror's, {origin}")
        evidence.verify()
        log = evidence.receipt().check().log
        if log is not None:
            found[str(path.relative_to(folder))] = LogEntry.from_mapping(log)
    if not found:
        raise ConfigurationError(f"{folder} holds no evidence file with a receipt")
    return found
