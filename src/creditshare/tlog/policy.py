"""Which cosignatures suffice: C2SP tlog-policy, a file of logs, witnesses, groups of them, and one quorum.

The same file tells a service whom to ask, and whoever verifies a checkpoint what to demand of it::

    log <vkey> [<url>]
    witness <name> <vkey> [<url>]
    group <name> all|any|<k> <name>...
    quorum <name>|none
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from creditshare.errors import Malformed, VerificationFailed
from creditshare.tlog.checkpoint import Checkpoint, open_checkpoint
from creditshare.tlog.cosignature import Cosigned, Witness, cosigned_by
from creditshare.tlog.note import Verifier, split_note
from creditshare.tlog.spelling import decode_decimal, decode_text

MAX_POLICY = 65_536
"""Largest file that is read, in bytes."""

MAX_LINES = 256
"""Most logs, witnesses and groups together; the standard asks for at least 32 of each."""

MAX_WITNESSES = 64
"""Most witnesses: with all their lines a note is still one that everybody reads."""

_BLANK = re.compile("[ \t]+")
_NONE = "none"


@dataclass(frozen=True, slots=True)
class Listed:
    """A witness as the policy names it; ``url`` is where its ``add-checkpoint`` is, if it says so."""

    name: str
    witness: Witness
    url: str | None


@dataclass(frozen=True, slots=True)
class Group:
    """A group that has witnessed where at least ``threshold`` of its members have."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """A parsed policy. ``quorum`` names a witness or group, or nothing where no cosignature is asked for."""

    logs: tuple[Verifier, ...]
    witnesses: Mapping[str, Listed]
    groups: Mapping[str, Group]
    quorum: str | None

    @classmethod
    def parse(cls, data: bytes) -> "TrustPolicy":
        """Read a policy file. Raises ``Malformed`` that names the line."""
        text = decode_text(data, what="the policy", limit=MAX_POLICY)
        builder = _Builder()
        for number, line in enumerate(text.split("\n"), start=1):
            words = [word for word in _BLANK.split(line) if word]
            if not words or words[0].startswith("#"):
                continue
            try:
                builder.read(words)
            except Malformed as error:
                raise Malformed(f"line {number}: {error}") from error
        return builder.build()

    @property
    def asked(self) -> tuple[Listed, ...]:
        """The witnesses that can be asked, because the policy says where they are."""
        return tuple(one for one in self.witnesses.values() if one.url is not None)

    def suffices(self, witnesses: Collection[Witness]) -> bool:
        """Whether these witnesses make the quorum."""
        return self.quorum is None or self._witnessed(self.quorum, witnesses)

    def cosigned(self, note: bytes | str) -> tuple[Cosigned, ...]:
        """Return the known cosignatures of a checkpoint; ``VerificationFailed`` for one that does not hold."""
        unverified = split_note(note)
        return cosigned_by(unverified.text, unverified.signatures, [one.witness for one in self.witnesses.values()])

    def open(self, note: bytes | str) -> tuple[Checkpoint, tuple[Cosigned, ...]]:
        """Return a checkpoint that one of the policy's logs signed and its quorum cosigned.

        Raises ``Malformed``, or ``VerificationFailed`` where either is missing.
        """
        return open_checkpoint(note, self.logs), self.require(note)

    def require(self, note: bytes | str) -> tuple[Cosigned, ...]:
        """Return the known cosignatures of a checkpoint; ``VerificationFailed`` where they are no quorum.

        That the log signed it is the caller's to check.
        """
        found = self.cosigned(note)
        if not self.suffices([one.witness for one in found]):
            names = ", ".join(one.witness.name for one in found) or "nobody"
            raise VerificationFailed(f"the checkpoint is cosigned by {names}, too few for the policy")
        return found

    def since(self, note: bytes | str) -> int | None:
        """Return the latest time since which a quorum cosigned a checkpoint, in seconds since 1970, if one is needed.

        One witness that lies about its time, early or late, changes nothing where the quorum is of more. Raises
        ``VerificationFailed`` where there is no quorum.
        """
        found = self.require(note)
        times = sorted({one.at for one in found}, reverse=True)
        return next((at for at in times if self.suffices([one.witness for one in found if one.at >= at])), None)

    def _witnessed(self, name: str, witnesses: Collection[Witness]) -> bool:
        if name in self.witnesses:
            return self.witnesses[name].witness in witnesses
        group = self.groups[name]
        return sum(self._witnessed(member, witnesses) for member in group.members) >= group.threshold


class _Builder:
    def __init__(self) -> None:
        self._logs: list[Verifier] = []
        self._witnesses: dict[str, Listed] = {}
        self._groups: dict[str, Group] = {}
        self._members: set[str] = set()
        self._quorum: list[str] = []

    def read(self, words: list[str]) -> None:
        if len(self._logs) + len(self._witnesses) + len(self._groups) >= MAX_LINES:
            raise Malformed(f"a policy has at most {MAX_LINES} logs, witnesses and groups")
        match words:
            case ["log", vkey, *url] if len(url) <= 1:
                self._log(Verifier.parse(vkey))
            case ["witness", name, vkey, *url] if len(url) <= 1:
                self._witness(name, Witness.parse(vkey), _address(url[0]) if url else None)
            case ["group", name, threshold, *members] if members:
                self._group(name, threshold, members)
            case ["quorum", name]:
                if name != _NONE:
                    self._known(name)
                self._quorum.append(name)
            case _:
                raise Malformed("expected log VKEY [URL], witness NAME VKEY [URL], group NAME K NAME… or quorum NAME")

    def build(self) -> TrustPolicy:
        if len(self._quorum) != 1:
            raise Malformed("a policy has exactly one line quorum")
        name = self._quorum[0]
        return TrustPolicy(tuple(self._logs), self._witnesses, self._groups, None if name == _NONE else name)

    def _log(self, verifier: Verifier) -> None:
        if any(known.public_key == verifier.public_key for known in self._logs):
            raise Malformed("this log's key is listed already")
        self._logs.append(verifier)

    def _witness(self, name: str, witness: Witness, url: str | None) -> None:
        self._new(name)
        if any(known.witness.public_key == witness.public_key for known in self._witnesses.values()):
            raise Malformed("this witness's key is listed already")
        if len(self._witnesses) >= MAX_WITNESSES:
            raise Malformed(f"a policy has at most {MAX_WITNESSES} witnesses")
        self._witnesses[name] = Listed(name, witness, url)

    def _group(self, name: str, threshold: str, members: list[str]) -> None:
        self._new(name)
        for member in members:
            self._known(member)
            if member in self._members:
                raise Malformed("a name is a member of one group only, and once")
            self._members.add(member)
        words = {"all": len(members), "any": 1}
        needed = words[threshold] if threshold in words else decode_decimal(threshold, what="the threshold")
        if not 1 <= needed <= len(members):
            raise Malformed("a threshold is 1 to the number of members")
        self._groups[name] = Group(needed, tuple(members))

    def _new(self, name: str) -> None:
        if name == _NONE or name in self._witnesses or name in self._groups:
            raise Malformed("this name is taken")

    def _known(self, name: str) -> None:
        if name not in self._witnesses and name not in self._groups:
            raise Malformed("this name is not defined on a line before")


def _address(url: str) -> str:
    """Return an address that can be asked: http or https, a host, perhaps a port and a path."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")
        _ = parts.port
    except ValueError:
        host = b""
    if not host or parts.scheme not in {"http", "https"} or parts.query or parts.fragment:
        raise Malformed("a witness's address is http:// or https:// with a host")
    return url
