"""A copy of the log in a folder, checked: whoever keeps one need not trust the service, its database or us.

The folder has the names of C2SP tlog-tiles, so that any tool that reads a log by HTTP reads it from there:
``checkpoint``, ``tile/<L>/<N>``, ``tile/entries/<N>``. Beside them are ``log-key``, the key that was trusted from the
beginning, and ``checkpoints/<size>``, every checkpoint that was ever seen: a log that takes something back contradicts
one of them. Where there is a ``witness-policy`` too, no checkpoint is believed that its witnesses did not cosign.

``mirror`` fetches what is new, checks the whole, and only then puts the new checkpoint in its place. ``check`` needs
nothing but the folder.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import httpx

from creditshare.client.reader import UNAUTHORIZED, NotAReader, reader_headers
from creditshare.errors import ConfigurationError, Malformed, Unavailable, VerificationFailed
from creditshare.tlog.bundles import MAX_BUNDLE, parse_bundle
from creditshare.tlog.checkpoint import Checkpoint, open_checkpoint
from creditshare.tlog.growth import Growth
from creditshare.tlog.merkle import leaf_hash
from creditshare.tlog.note import MAX_NOTE, Verifier
from creditshare.tlog.policy import TrustPolicy
from creditshare.tlog.tiles import (
    TILE_BYTES,
    TILE_HEIGHT,
    TILE_WIDTH,
    FullTile,
    partial_tiles,
    partial_widths,
    tile_name,
)

PREFIX: Final = "/log/v1"
KEY_FILE: Final = "log-key"
POLICY_FILE: Final = "witness-policy"
NEWEST: Final = "checkpoint"
COSIGNED: Final = "cosigned-checkpoint"
SEEN: Final = "checkpoints"
CONTRADICTIONS: Final = "contradictions"
TIMEOUT_S: Final = 30.0
OK: Final = 200
MOST_PROBLEMS: Final = 20
"""How many a check tells before it stops: whoever put one tile out of order need not fill the screen."""


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What a visit brought: the sizes before and after it, and how many files were fetched."""

    before: int
    checkpoint: Checkpoint
    files: int


@dataclass(frozen=True, slots=True)
class Checked:
    """A mirror that is whole: its newest checkpoint, and how many earlier ones its tree agrees with.

    ``at`` is when no more than that was to be seen, in seconds since 1970: the latest time since which a quorum of the
    folder's policy cosigned, or without a policy the time of the file.
    """

    checkpoint: Checkpoint
    earlier: int
    at: float


Tell = Callable[[int, int], None]
"""Told of progress: how much is done, out of how much."""


def trusted_key(folder: Path, given: str | None) -> Verifier:
    """Return the log's key: the one given, which the folder keeps, or the one that it keeps since the first time."""
    kept = _read_text(folder / KEY_FILE)
    if kept is None and given is None:
        raise ConfigurationError(
            f"{folder} keeps no key of the log yet: give it with --vkey, as you know it from elsewhere"
        )
    if kept is not None and given is not None and kept.strip() != given:
        raise VerificationFailed(f"{folder} was begun with another key than this one: {kept.strip()}")
    verifier = Verifier.parse(given or (kept or "").strip())
    if kept is None:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / KEY_FILE, verifier.vkey.encode() + b"\n")
    return verifier


def trusted_policy(folder: Path, given: bytes | None = None) -> TrustPolicy | None:
    """Return whose cosignatures a mirror asks for: the policy given, which the folder keeps, or the one it keeps.

    Raises ``ConfigurationError`` for a file that is no C2SP tlog-policy.
    """
    kept = _read_text(folder / POLICY_FILE)
    policy = given if given is not None else None if kept is None else kept.encode()
    if policy is None:
        return None
    try:
        parsed = TrustPolicy.parse(policy)
    except Malformed as error:
        raise ConfigurationError(f"the policy of witnesses: {error}") from error
    if given is not None:
        _write(folder / POLICY_FILE, given)
    return parsed


def mirror(
    url: str,
    folder: Path,
    verifier: Verifier,
    *,
    policy: TrustPolicy | None = None,
    reader: str | None = None,
    transport: httpx.BaseTransport | None = None,
    tell: Tell = lambda _done, _of: None,
) -> Mirrored:
    """Fetch what the log at ``url`` shows beyond what the folder holds, and check all of it.

    With a policy it is the newest checkpoint with its quorum that is fetched. ``reader`` is a reader's token,
    ``user:password``, for a log that asks for one: ``NotAReader`` without it.
    Raises ``Unavailable`` where the log does not answer; what was fetched stays and is not fetched again.
    ``VerificationFailed`` where anything does not hold: what was fetched beyond the held checkpoint is gone again, and
    the new one, where the tree is not the one that it was signed over or shows another past, lies in
    ``contradictions/``: with the old one it is the proof, signed twice by the log's own key.
    """
    base = url.rstrip("/").removesuffix(PREFIX) + PREFIX
    headers = {"User-Agent": "creditshare-mirror", **reader_headers(reader)}
    with httpx.Client(transport=transport, timeout=TIMEOUT_S, headers=headers) as http:
        note = _fetch(http, f"{base}/{NEWEST if policy is None else COSIGNED}", most=MAX_NOTE)
        shown = open_checkpoint(note, [verifier])
        if policy is not None:
            policy.require(note)
        held = _held(folder, verifier)
        if held is not None:
            _require_reached(folder, held, shown, policy)
            _require_growth(folder, held, shown, note)
        fetched, of = 0, _count(shown.size)
        for number, name in enumerate(_names(shown.size), start=1):
            tell(number, of)
            if (folder / name).exists():
                continue
            fetched += 1
            most = MAX_BUNDLE if name.startswith("tile/entries/") else TILE_BYTES
            _write(folder / name, _fetch(http, f"{base}/{name}", most=most))
    examined = _examine(folder, shown, verifier)
    if examined.problems:
        covered = set() if held is None else set(_names(held.size))
        for name in _names(shown.size):
            if name not in covered:  # another visit may bring what holds
                (folder / name).unlink(missing_ok=True)
        if examined.contradicted:
            _keep_contradiction(folder, shown, note)
        raise VerificationFailed("\n".join(examined.problems))
    _write(folder / SEEN / str(shown.size), note)
    _write(folder / NEWEST, note)
    _drop_outgrown(folder, shown.size)
    return Mirrored(0 if held is None else held.size, shown, fetched)


def check(folder: Path, verifier: Verifier) -> Checked:
    """Check a mirror from its entries up: hashes, tiles, root, signatures, and every checkpoint that was ever seen.

    Raises ``VerificationFailed`` that names each file which does not hold.
    """
    held = _held(folder, verifier)
    if held is None:
        raise ConfigurationError(f"{folder} holds no mirror: it has no file {NEWEST}")
    if problems := _examine(folder, held, verifier).problems:
        raise VerificationFailed("\n".join(problems))
    policy, newest = trusted_policy(folder), folder / NEWEST
    at = None if policy is None else policy.since(newest.read_bytes())
    return Checked(held, len(_seen(folder)), newest.stat().st_mtime if at is None else at)


def entries(folder: Path, size: int) -> Iterator[tuple[int, list[bytes]]]:
    """Yield each bundle of the first ``size`` entries and the index that it begins at."""
    for start in range(0, size, TILE_WIDTH):
        width = min(TILE_WIDTH, size - start)
        name = f"tile/entries/{tile_name(start // TILE_WIDTH, width)}"
        try:
            yield start, parse_bundle((folder / name).read_bytes(), width=width)
        except OSError as error:
            raise VerificationFailed(f"{name} is missing") from error
        except Malformed as error:
            raise VerificationFailed(f"{name}: {error}") from error


@dataclass(frozen=True, slots=True)
class _Examined:
    """What of a folder does not hold, each in a line; and whether the entries make another tree than was signed."""

    problems: list[str]
    contradicted: bool


def _examine(folder: Path, checkpoint: Checkpoint, verifier: Verifier) -> _Examined:
    growth = Growth(at=[size for size in _seen(folder) if size <= checkpoint.size])
    spoilt = _some(_spoilt(folder, checkpoint, growth))
    if growth.size < checkpoint.size:  # some entries cannot be read
        return _Examined(spoilt, contradicted=False)
    contradicting = _some(_contradicting(folder, checkpoint, verifier, growth))
    return _Examined(spoilt + contradicting, bool(contradicting) or growth.root != checkpoint.root)


def _some(problems: Iterator[str]) -> list[str]:
    """Return the first few; whatever they are drawn from is walked to its end."""
    found = list(islice(problems, MOST_PROBLEMS))
    more = sum(1 for _ in problems)
    return [*found, f"and {more} more"] if more else found


def _spoilt(folder: Path, checkpoint: Checkpoint, growth: Growth) -> Iterator[str]:
    """Let the tree grow from the entries, and yield what is not as they make it."""
    bundles = entries(folder, checkpoint.size)
    while growth.size < checkpoint.size:
        try:
            start, bundle = next(bundles)
        except VerificationFailed as error:
            yield str(error)
            return
        hashes = [leaf_hash(entry) for entry in bundle]
        full = growth.add(hashes)
        for tile in full:
            yield from _compare(folder, f"tile/{tile.level}/{tile_name(tile.n)}", tile.hashes, _what(tile, start))
    for level, (width, body) in enumerate(zip(partial_widths(growth.size), growth.edge, strict=True)):
        if width:
            n = growth.size >> (TILE_HEIGHT * (level + 1))
            yield from _compare(folder, f"tile/{level}/{tile_name(n, width)}", body, "what the entries make of it")
    if growth.root != checkpoint.root:
        yield f"{NEWEST}: its root is not that of the {checkpoint.size} entries"


def _contradicting(folder: Path, checkpoint: Checkpoint, verifier: Verifier, growth: Growth) -> Iterator[str]:
    """Yield every checkpoint seen earlier that the tree does not agree with."""
    for size in _seen(folder):
        earlier = _opened(folder, f"{SEEN}/{size}", verifier)
        if earlier.size != size or size > checkpoint.size:
            yield f"{SEEN}/{size}: it is not of this many entries, or of more than there are"
        elif growth.roots[size] != earlier.root:
            yield f"{SEEN}/{size}: the first {size} entries are not what the log signed then"


def _what(tile: FullTile, start: int) -> str:
    return f"the hashes of entries {start} to {start + TILE_WIDTH - 1}" if tile.level == 0 else "the tiles below it"


def _compare(folder: Path, name: str, expected: bytes, what: str) -> Iterator[str]:
    try:
        if (folder / name).read_bytes() != expected:
            yield f"{name}: not {what}"
    except OSError:
        yield f"{name}: missing"


def _require_reached(folder: Path, held: Checkpoint, shown: Checkpoint, policy: TrustPolicy | None) -> None:
    """Wait for witnesses who are behind a mirror that did without them so far, if it is this log that they saw."""
    if policy is None or shown.size >= held.size or _root_of(folder, held.size, at=shown.size) != shown.root:
        return
    cosigned = policy.cosigned((folder / NEWEST).read_bytes())
    if not policy.suffices([one.witness for one in cosigned]):
        raise Unavailable(
            f"the newest checkpoint with a quorum is of {shown.size} entries, and {held.size} are here that no quorum"
            " cosigned yet: come again later"
        )


def _require_growth(folder: Path, held: Checkpoint, shown: Checkpoint, note: bytes) -> None:
    """Refuse a log that shows less than before, or as much but something else. Another past is found by the roots."""
    if shown.size > held.size or (shown.size, shown.root) == (held.size, held.root):
        return
    place = _keep_contradiction(folder, shown, note)
    what = "shrank" if shown.size < held.size else "shows another root"
    raise VerificationFailed(
        f"the log {what}: it signed {held.size} entries, which this mirror holds, and now signs {shown.size} with root"
        f" {shown.root.hex()[:16]}…; both notes are kept, {NEWEST} and {CONTRADICTIONS}/{place.name}"
    )


def _keep_contradiction(folder: Path, shown: Checkpoint, note: bytes) -> Path:
    place = folder / CONTRADICTIONS / f"{shown.size}-{shown.root.hex()[:16]}"
    _write(place, note)
    return place


def _root_of(folder: Path, size: int, *, at: int) -> bytes:
    """Return the root of the first entries of a folder."""
    growth = Growth(at=[at])
    for _, bundle in entries(folder, size):
        growth.add([leaf_hash(entry) for entry in bundle])
    return growth.roots[at]


def _names(size: int) -> Iterator[str]:
    """Yield the names of all files of a log of this size, entries first."""
    whole, rest = divmod(size, TILE_WIDTH)
    yield from (f"tile/entries/{tile_name(n)}" for n in range(whole))
    if rest:
        yield f"tile/entries/{tile_name(whole, rest)}"
    for level in range(len(partial_widths(size))):
        yield from (f"tile/{level}/{tile_name(n)}" for n in range(size >> (TILE_HEIGHT * (level + 1))))
    yield from (f"tile/{tile.level}/{tile_name(tile.n, tile.width)}" for tile in partial_tiles(size))


def _count(size: int) -> int:
    """Return how many names ``_names`` yields."""
    tiles = sum(-(-(size >> (TILE_HEIGHT * level)) // TILE_WIDTH) for level in range(len(partial_widths(size))))
    return -(-size // TILE_WIDTH) + tiles


def _drop_outgrown(folder: Path, size: int) -> None:
    """Remove partial files that a wider one stands for now."""
    kept = {folder / name for name in _names(size)}
    for path in (folder / "tile").rglob("*.p/*"):
        if path not in kept:
            path.unlink()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()


def _held(folder: Path, verifier: Verifier) -> Checkpoint | None:
    return _opened(folder, NEWEST, verifier) if (folder / NEWEST).exists() else None


def _opened(folder: Path, name: str, verifier: Verifier) -> Checkpoint:
    try:
        return open_checkpoint((folder / name).read_bytes(), [verifier])
    except (Malformed, VerificationFailed) as error:
        raise VerificationFailed(f"{name}: {error}") from error


def _seen(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in (folder / SEEN).glob("*") if path.name.isdecimal())


def _fetch(http: httpx.Client, url: str, *, most: int) -> bytes:
    body = bytearray()
    try:
        with http.stream("GET", url) as got:
            if got.status_code == UNAUTHORIZED:
                raise NotAReader(url)
            if got.status_code != OK:
                raise Unavailable(f"{url} cannot be read (status {got.status_code}); is the address right?")
            for part in got.iter_bytes():
                body += part
                if len(body) > most:
                    raise VerificationFailed(f"{url} is larger than it can be")
    except httpx.HTTPError as error:
        raise Unavailable(f"{url} does not answer") from error
    return bytes(body)


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read") from error


def _write(path: Path, body: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    with fresh.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
