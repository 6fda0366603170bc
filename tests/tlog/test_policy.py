"""Whose cosignatures suffice, as a file says it (C2SP tlog-policy)."""

import hashlib
from itertools import combinations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from creditshare.errors import Malformed, VerificationFailed
from creditshare.tlog.checkpoint import Checkpoint, sign_checkpoint
from creditshare.tlog.cosignature import Cosigner
from creditshare.tlog.merkle import EMPTY_ROOT
from creditshare.tlog.note import Signer
from creditshare.tlog.policy import TrustPolicy


def key(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


LOG = Signer("log.example/log", key("log"))
COSIGNERS = {name: Cosigner(f"{name}.example", key(name)) for name in ("X1", "X2", "X3", "Y1", "Y2")}
LISTED = "".join(f"witness {name} {one.witness.vkey}\n" for name, one in COSIGNERS.items())
TWO_LEVELS = f"""
# the regulators
log {LOG.verifier.vkey}
{LISTED}
group\tX  2 X1 X2 X3
  group Y any Y1 Y2
group both all X Y
quorum both
"""


def policy(text: str) -> TrustPolicy:
    return TrustPolicy.parse(text.encode())


def test_a_quorum_of_two_levels() -> None:
    both = policy(TWO_LEVELS)
    for count in range(6):
        for names in combinations(COSIGNERS, count):
            enough = sum(name[0] == "X" for name in names) >= 2 and any(name[0] == "Y" for name in names)
            assert both.suffices([COSIGNERS[name].witness for name in names]) == enough, names


def test_one_witness_or_none() -> None:
    assert policy(LISTED + "quorum X1\n").suffices([COSIGNERS["X1"].witness])
    assert not policy(LISTED + "quorum X1\n").suffices([COSIGNERS["X2"].witness])
    assert policy("quorum none\n").suffices([])
    assert policy(f"witness A {COSIGNERS['X1'].witness.vkey} http://127.0.0.1:1\nquorum A").witnesses["A"].url


def test_a_checkpoint_is_opened_where_log_and_quorum_signed_it() -> None:
    checkpoint = Checkpoint(LOG.name, 0, EMPTY_ROOT)
    note = sign_checkpoint(checkpoint, [LOG])
    both = policy(TWO_LEVELS)
    with pytest.raises(VerificationFailed, match="cosigned by nobody"):
        both.open(note)
    for name in ("X1", "Y2"):
        note += COSIGNERS[name].cosign(checkpoint, at=7)
    with pytest.raises(VerificationFailed, match=r"cosigned by X1\.example, Y2\.example, too few"):
        both.open(note)
    note += COSIGNERS["X3"].cosign(checkpoint, at=8)
    opened, by = both.open(note)
    assert opened == checkpoint
    assert [one.at for one in by] == [7, 7, 8]
    with pytest.raises(VerificationFailed):
        policy(f"log {Signer('other', key('other')).verifier.vkey}\nquorum none").open(note)


X1 = COSIGNERS["X1"].witness.vkey


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 0),
        ("quorum none\nquorum none\n", 0),
        ("quorum A\n", 1),
        (f"witness none {X1}\nquorum none", 1),
        (f"witness A {X1}\nwitness B {X1}\nquorum none", 2),
        (f"witness A {X1}\nwitness A {COSIGNERS['X2'].witness.vkey}\nquorum none", 2),
        (f"witness A {LOG.verifier.vkey}\nquorum A", 1),
        (f"log {X1}\nquorum none", 1),
        (f"log {LOG.verifier.vkey}\nlog {LOG.verifier.vkey}\nquorum none", 2),
        (f"witness A {X1}\ngroup G 2 A\nquorum G", 2),
        (f"witness A {X1}\ngroup G 0 A\nquorum G", 2),
        (f"witness A {X1}\ngroup G 01 A\nquorum G", 2),
        (f"witness A {X1}\ngroup G any\nquorum G", 2),
        (f"witness A {X1}\ngroup G any B\nquorum G", 2),
        (f"witness A {X1}\ngroup G any A A\nquorum G", 2),
        (f"witness A {X1}\ngroup G any A\ngroup H any A\nquorum H", 3),
        (f"witness A {X1}\ngroup G any none\nquorum G", 2),
        (f"witness A {X1} http://a http://b\nquorum A", 1),
        (f"witness A {X1} http://h:abc\nquorum A", 1),
        (f"witness A {X1} http://[::1\nquorum A", 1),
        (f"witness A {X1} http://a..b\nquorum A", 1),
        (f"witness A {X1} ftp://a\nquorum A", 1),
        (f"witness A {X1} a.example\nquorum A", 1),
        ("what is this\nquorum none", 1),
    ],
)
def test_a_line_that_is_wrong_is_named(text: str, line: int) -> None:
    with pytest.raises(Malformed, match=f"^line {line}: " if line else "exactly one line quorum"):
        policy(text)


def test_a_policy_without_end_is_not_read() -> None:
    with pytest.raises(Malformed):
        policy("#" * 70_000)
    keys = "".join(f"witness W{n} {Cosigner(f'w{n}', key(str(n))).witness.vkey}\n" for n in range(257))
    with pytest.raises(Malformed, match="at most 64 witnesses"):
        policy(keys + "quorum none")
