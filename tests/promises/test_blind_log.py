"""*Blind*, for whoever copies the log: leaves say nothing of a borrower, and two of one borrower are like any two."""

import hashlib
import math
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import httpx
from tests.fixtures.attack import grant
from tests.fixtures.service import RunningService, record_body, wait_for

from creditshare.client.mirror import entries, mirror, trusted_key
from creditshare.crypto.encoding import b64url_decode
from creditshare.wire.leaf import Leaf, commit, parse_leaf
from creditshare.wire.strict_json import canonical

BORROWERS = ("91999999DEM000049" + "3", "91999999DEM000006M")
QUESTIONS = 40
BITS = 256
SIX_SIGMA = 6.0
"""A fair log fails once in five hundred million runs."""


def distance_of(values: Sequence[bytes]) -> float:
    """Return by how many standard deviations the mean distance of all pairs is off half their bits.

    Bits of independent random values differ with probability 1/2, so the distance of a pair has the mean 128 and the
    variance 64, and pairs of independent values are uncorrelated.
    """
    numbers = [int.from_bytes(value) for value in values]
    distances = [(one ^ other).bit_count() for one, other in combinations(numbers, 2)]
    mean = sum(distances) / len(distances)
    return (mean - BITS / 2) / math.sqrt(BITS / 4 / len(distances))


def copied(service: RunningService, folder: Path) -> list[Leaf]:
    wait_for(lambda: httpx.get(service.url + "/audit/v1/health").json()["oldest_pending_s"] == 0)
    got = mirror(service.url, folder, trusted_key(folder, service.services.log_verifier.vkey))
    return [parse_leaf(entry) for _, bundle in entries(folder, got.checkpoint.size) for entry in bundle]


def test_leaves_of_one_borrower_share_nothing(service: RunningService, tmp_path: Path) -> None:
    lender, asker = service.admit("Lender", region="US"), service.admit("Asker", region="US")
    subjects = lender.tokenise(list(BORROWERS))
    asker.tokenise(list(BORROWERS))
    events: list[list[str]] = []
    for number, subject in enumerate(subjects):
        lender.call("POST", "/v1/records", data=record_body(subject, f"A-{number}"))
        consent = grant(asker, subject)
        asked = [asker.query(subject, purpose="pre_loan", consent_id=consent) for _ in range(QUESTIONS)]
        events.append([answer.log_entry.event_id for answer in asked if answer.log_entry is not None])
    leaves = {leaf.event_id: leaf for leaf in copied(service, tmp_path)}
    of_one, of_other = ([leaves[event] for event in group] for group in events)
    assert len(of_one) == len(of_other) == QUESTIONS

    commitments = [value for leaf in leaves.values() for value in (leaf.c_meta, leaf.c_subj, leaf.c_body) if value]
    assert len(set(commitments)) == len(commitments)
    for group in (of_one, of_other):
        for name in ("c_meta", "c_subj", "c_body"):
            assert abs(distance_of([getattr(leaf, name) for leaf in group])) < SIX_SIGMA, name
    # Nor does anything that is the same in two leaves of one borrower differ between leaves of two.
    windows = [{value[at : at + 8] for value in (leaf.c_subj, leaf.c_body) for at in range(25)} for leaf in of_one]
    assert not any(one & other for one, other in combinations(windows, 2))
    ones = sum(int.from_bytes(value).bit_count() for value in commitments)
    assert abs(ones - len(commitments) * BITS / 2) / math.sqrt(len(commitments) * BITS / 4) < SIX_SIGMA

    bundles = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for borrower, subject in zip(BORROWERS, subjects, strict=True):
        for secret in (borrower.encode(), b64url_decode(subject["element"]), subject["element"].encode()):
            for form in (secret, hashlib.sha256(secret).digest(), hashlib.sha256(secret).hexdigest().encode()):
                assert form not in bundles


def test_the_measure_notices_a_log_that_is_not_blind() -> None:
    """A salt for each borrower, or none, as a careless log would have it."""
    payload = canonical({"subject": BORROWERS[0]})
    same = [commit("subj", bytes(32), payload) for _ in range(QUESTIONS)]
    assert distance_of(same) < -SIX_SIGMA
    random = [hashlib.sha256(bytes([n])).digest() for n in range(QUESTIONS)]
    assert distance_of([bytes(8) + value[8:] for value in random]) < -SIX_SIGMA
    assert abs(distance_of(random)) < SIX_SIGMA
