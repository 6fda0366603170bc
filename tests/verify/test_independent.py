"""docs/verify.md keeps its word: what others wrote accepts our log at every size, refuses what was changed, and the
page's own commands work against a running service.

The tools are those of ``docs/verify/``: openssl and jq in a shell, Go's ``golang.org/x/mod/sumdb`` from Debian's
packages, ``@sigstore/verify`` from npm. What is missing is skipped and named.
"""

import copy
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.fixtures.loopback import listening
from tests.fixtures.service import RunningService, wait_for

from creditshare.client.bank import Client
from creditshare.tlog.bundles import encode_bundle
from creditshare.tlog.checkpoint import Checkpoint, sign_checkpoint
from creditshare.tlog.merkle import (
    HASH_SIZE,
    ProofPlan,
    consistency_nodes,
    fold_proof,
    inclusion_nodes,
    leaf_hash,
)
from creditshare.tlog.note import Signer
from creditshare.tlog.proof import InclusionProof
from creditshare.tlog.spelling import decode_url, encode_url
from creditshare.tlog.tiles import TILE_WIDTH, evaluate, extend, partial_tiles, reads, root_from_edge, tile_name

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"
PAGE, PAGE_ZH, PROGRAMS = DOCS / "verify.md", DOCS / "verify.zh.md", DOCS / "verify"
GOPATH = Path("/usr/share/gocode")
NO_REGISTRY = re.compile(r"code (E(?:NOTFOUND|AI_AGAIN|CONN\w+|TIMEDOUT|SOCKETTIMEOUT|NOTCACHED|NETUNREACH|[45]\d\d))")
NPM_OPTIONS = ("--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=0", "--fetch-timeout=20000")
NOTHING = "/v1/records/rec_01900000-0000-7000-8000-000000000000"

ORIGIN = "log.example/log"
SIGNER = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"\1" * 32))
OTHER = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"\2" * 32))
VKEY = SIGNER.verifier.vkey
SIZES = [0, 1, 2, 255, 256, 257, 65_535, 65_536, 65_537, 70_000]
"""Around one entry, a tile and a tile of tiles."""
LARGEST = SIZES[-1]
Done = subprocess.CompletedProcess[str]
Json = dict[str, Any]


def run(*arguments: str | Path, folder: Path | None = None, **environment: str) -> Done:
    """Run a process to its end."""
    return subprocess.run(
        [str(one) for one in arguments],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


# The tools


@dataclass(frozen=True)
class Tool:
    """A program of docs/verify, ready to run, and what it knows."""

    command: tuple[str, ...]
    consistency: bool = True
    mirrors: bool = False

    def says(self, *arguments: str | Path, key: str = VKEY) -> Done:
        return run(*self.command, key, *arguments)

    def accepts(self, *arguments: str | Path) -> str:
        done = self.says(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("holds: ")
        return done.stdout

    def refuses(self, *arguments: str | Path, key: str = VKEY) -> str:
        done = self.says(*arguments, key=key)
        assert (done.returncode, done.stdout) == (1, ""), done.stderr
        assert "does not hold: " in done.stderr
        return done.stderr


def installed(*names: str) -> None:
    """Skip unless all of these are on the path."""
    for name in names:
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")


@pytest.fixture(scope="module")
def shell() -> Tool:
    """The shell script; openssl before 3.0 cannot check Ed25519 from a file."""
    installed("sh", "jq", "openssl", "xxd", "awk")
    version = run("openssl", "version").stdout
    if not re.match(r"OpenSSL ([3-9]|\d\d)\.", version):
        pytest.skip(f"openssl 3 is not installed, but {version.strip()}")
    return Tool(("sh", str(PROGRAMS / "check.sh")))


@pytest.fixture(scope="module")
def go(tmp_path_factory: pytest.TempPathFactory) -> Tool:
    """The Go program, built once."""
    installed("go")
    if not (GOPATH / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        pytest.skip("golang-golang-x-mod-dev is not installed")
    binary = tmp_path_factory.mktemp("go") / "check"
    built = run("go", "build", "-o", binary, PROGRAMS / "check.go", GO111MODULE="off", GOPATH=str(GOPATH), GOFLAGS="")
    assert built.returncode == 0, built.stderr
    return Tool((str(binary),), mirrors=True)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Tool:
    """The Node program beside its pinned package."""
    installed("node", "npm")
    version = run("node", "--version").stdout.strip()
    if [int(part) for part in version.removeprefix("v").split(".")] < [20, 17]:
        pytest.skip(f"Node 20.17 is not installed, but {version}")
    folder = tmp_path_factory.mktemp("node")
    for name in ("check.mjs", "package.json", "package-lock.json"):
        shutil.copy(PROGRAMS / name, folder)
    done = run("npm", "ci", *NPM_OPTIONS, folder=folder)
    if unreachable := NO_REGISTRY.search(done.stderr):
        pytest.skip(f"npm cannot reach its registry ({unreachable[1]})")
    assert done.returncode == 0, done.stderr
    return Tool(("node", str(folder / "check.mjs")), consistency=False)


@pytest.fixture(params=["shell", "go", "node"])
def tool(request: pytest.FixtureRequest) -> Tool:
    """Each tool."""
    found: Tool = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["shell", "go"])
def growth_tool(request: pytest.FixtureRequest) -> Tool:
    """Each tool that knows consistency proofs."""
    found: Tool = request.getfixturevalue(request.param)
    return found


# The log


def entry(index: int) -> bytes:
    """Return an entry; they differ in length."""
    return b'{"entry":%d}' % index


@dataclass
class Log:
    """One log at all sizes: a folder for each with its own checkpoint, and the files that all of them share."""

    folder: Path
    rows: list[bytearray] = field(default_factory=list)
    """Row L are all hashes of level L, as they are stored."""
    notes: dict[int, str] = field(default_factory=dict)

    def at(self, size: int) -> Path:
        return self.folder / str(size)

    def inclusion(self, index: int, size: int) -> Json:
        """Return the proof as ``GET /audit/v1/proof/inclusion`` gives it."""
        hashes = self._fold(inclusion_nodes(index, size))
        return InclusionProof(
            f"evt_{index}", leaf_hash(entry(index)), index, size, tuple(hashes), self.notes[size]
        ).to_dict()

    def consistency(self, old: int, new: int) -> Json:
        """Return the proof as ``GET /audit/v1/proof/consistency`` gives it."""
        hashes = self._fold(consistency_nodes(old, new)) if old else []
        return {"from": old, "to": new, "hashes": [encode_url(one) for one in hashes]}

    def _fold(self, plan: ProofPlan) -> list[bytes]:
        rows = {
            read: bytes(self.rows[read.level][read.start * HASH_SIZE : (read.start + read.count) * HASH_SIZE])
            for read in reads(plan.nodes)
        }
        return fold_proof(plan, evaluate(plan.nodes, rows))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """The largest log, built once; at each of ``SIZES`` it is kept as it was then."""
    log = Log(tmp_path_factory.mktemp("log"), [bytearray() for _ in range(5)])
    shared = log.folder / "tile"
    files: dict[str, bytes] = {}
    size, edge = 0, tuple[bytes, ...]()
    for wanted in SIZES:
        hashes = [leaf_hash(entry(index)) for index in range(size, wanted)]
        grown = extend(size, edge, hashes)
        size, edge = wanted, grown.edge
        log.rows[0] += b"".join(hashes)
        for tile in grown.tiles:
            files[f"{tile.level}/{tile_name(tile.n)}"] = tile.hashes
            log.rows[tile.level + 1] += tile.root
        for part in partial_tiles(size):
            files[f"{part.level}/{tile_name(part.n, part.width)}"] = edge[part.level]
        start = size - size % TILE_WIDTH
        if start < size:
            name = tile_name(start // TILE_WIDTH, size - start)
            files[f"entries/{name}"] = encode_bundle([entry(index) for index in range(start, size)])
        log.notes[size] = sign_checkpoint(Checkpoint(ORIGIN, size, root_from_edge(size, edge)), [SIGNER])
    for n in range(LARGEST // TILE_WIDTH):
        some = range(n * TILE_WIDTH, (n + 1) * TILE_WIDTH)
        files[f"entries/{tile_name(n)}"] = encode_bundle([entry(index) for index in some])
    for name, body in files.items():
        (shared / name).parent.mkdir(parents=True, exist_ok=True)
        (shared / name).write_bytes(body)
    for size, note in log.notes.items():
        log.at(size).mkdir()
        (log.at(size) / "checkpoint").write_text(note, encoding="utf-8")
        (log.at(size) / "tile").symlink_to(shared)
    return log


def write(folder: Path, name: str, value: Json | bytes | str) -> Path:
    """Write a file as it came from the service."""
    path = folder / name
    body = json.dumps(value) if isinstance(value, dict) else value
    path.write_bytes(body.encode() if isinstance(body, str) else body)
    return path


# What is accepted


@pytest.mark.parametrize("size", SIZES)
def test_a_log_of_any_size_is_accepted(tool: Tool, log: Log, tmp_path: Path, size: int) -> None:
    if not size:
        assert " 0 entries" in tool.accepts("checkpoint", log.at(0) / "checkpoint")
    for index in {size // 3, size - 1} if size else ():
        leaf, proof = write(tmp_path, "leaf", entry(index)), write(tmp_path, "proof", log.inclusion(index, size))
        assert f" {index} of {size}\n" in tool.accepts("inclusion", leaf, proof)


@pytest.mark.parametrize("size", SIZES)
def test_a_log_grew_from_any_size(growth_tool: Tool, log: Log, tmp_path: Path, size: int) -> None:
    later = LARGEST if size == 1 else next((one for one in SIZES if one > size), size)
    notes = (log.at(size) / "checkpoint", log.at(later) / "checkpoint")
    proof = write(tmp_path, "proof", log.consistency(size, later))
    assert f" {size} to {later} " in growth_tool.accepts("consistency", *notes, proof)


@pytest.mark.parametrize("size", SIZES)
def test_go_reads_the_whole_log_and_makes_the_same_proofs(go: Tool, log: Log, tmp_path: Path, size: int) -> None:
    proofs = [write(tmp_path, f"to-{old}", log.consistency(old, size)) for old in SIZES if old <= size]
    for earlier in (one for one in SIZES if 0 < one <= size):
        step = max(1, earlier // 7)
        proofs += [
            write(tmp_path, f"of-{index}-{earlier}", log.inclusion(index, earlier))
            for index in {*range(0, earlier, step), earlier - 1}
        ]
    assert go.accepts("mirror", log.at(size), *proofs) == f"holds: {size} entries, {len(proofs)} proofs made again\n"


@pytest.mark.parametrize("size", [0, 1, 256, 257, LARGEST])
def test_curl_copies_a_whole_log(go: Tool, log: Log, tmp_path: Path, size: int) -> None:
    installed("curl")

    class Quiet(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: Any) -> None:
            pass

    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "v1").symlink_to(log.at(size))
    with listening(partial(Quiet, directory=str(tmp_path))) as url:
        done = run("sh", PROGRAMS / "mirror.sh", url, tmp_path / "copy")
    assert (done.returncode, done.stderr) == (0, "")
    assert go.accepts("mirror", tmp_path / "copy") == f"holds: {size} entries, 0 proofs made again\n"


# What is refused


def flip(text: str, at: int) -> str:
    """Return a text in which one byte of what it spells is another."""
    return text[:at] + ("B" if text[at] != "B" else "C") + text[at + 1 :]


def flip_hash(text: str) -> str:
    """Return another hash, one bit away."""
    body = decode_url(text, what="a hash")
    return encode_url(body[:-1] + bytes([body[-1] ^ 1]))


def flip_byte(body: bytes, at: int) -> bytes:
    """Return bytes of which one bit is another."""
    changed = bytearray(body)
    changed[at] ^= 1
    return bytes(changed)


SPOILT_NOTES: dict[str, Callable[[str], str]] = {
    "origin": lambda note: note.replace("log.example", "log.exbmple", 1),
    "size": lambda note: note.replace("70000", "70001", 1),
    "root": lambda note: flip(note, note.index("\n70000\n") + 7),
    "signature": lambda note: flip(note, len(note) - 40),
    "key id": lambda note: flip(note, note.rindex(" ") + 1),
    "no signature": lambda note: note[: note.index("\n\n") + 2],
}


@pytest.mark.parametrize("part", SPOILT_NOTES)
def test_a_spoilt_checkpoint_is_refused(tool: Tool, log: Log, tmp_path: Path, part: str) -> None:
    spoilt = SPOILT_NOTES[part](log.notes[LARGEST])
    assert spoilt != log.notes[LARGEST]
    proof = log.inclusion(5, LARGEST) | {"checkpoint": spoilt}
    tool.refuses("inclusion", write(tmp_path, "leaf", entry(5)), write(tmp_path, "proof", proof))


def test_another_key_is_refused(tool: Tool, log: Log) -> None:
    tool.refuses("checkpoint", log.at(LARGEST) / "checkpoint", key=OTHER.verifier.vkey)
    name, key_id, key = VKEY.split("+", 2)
    tool.refuses("checkpoint", log.at(LARGEST) / "checkpoint", key=f"{name}+{key_id}+{flip(key, 20)}")


INDEX = 65_536
"""An entry whose path has siblings on both sides."""


def _set(name: str, change: Callable[[Any], Any]) -> Callable[[Json], None]:
    def spoil(proof: Json) -> None:
        proof[name] = change(proof[name])

    return spoil


def _flip_one(at: int) -> Callable[[Json], None]:
    def spoil(proof: Json) -> None:
        proof["hashes"][at] = flip_hash(proof["hashes"][at])

    return spoil


SPOILT_PROOFS: dict[str, Callable[[Json], None]] = {
    "the first hash": _flip_one(0),
    "a hash in the middle": _flip_one(6),
    "the last hash": _flip_one(-1),
    "a hash less": _set("hashes", lambda hashes: hashes[:-1]),
    "a hash more": _set("hashes", lambda hashes: [*hashes, hashes[0]]),
    "a hash cut short": _set("hashes", lambda hashes: [hashes[0][:-4], *hashes[1:]]),
    "a hash in another spelling": _set("hashes", lambda hashes: [hashes[0] + "=", *hashes[1:]]),
}
OF_A_LEAF: dict[str, Callable[[Json], None]] = {
    "another index": _set("index", lambda index: index + 1),
    "an index outside": _set("index", lambda _: LARGEST),
    "another size": _set("size", lambda size: size + 1),
    "another leaf hash": _set("leaf_hash", flip_hash),
}


@pytest.mark.parametrize("part", [*SPOILT_PROOFS, *OF_A_LEAF])
def test_a_spoilt_inclusion_proof_is_refused(tool: Tool, log: Log, tmp_path: Path, part: str) -> None:
    proof = copy.deepcopy(log.inclusion(INDEX, LARGEST))
    (SPOILT_PROOFS | OF_A_LEAF)[part](proof)
    tool.refuses("inclusion", write(tmp_path, "leaf", entry(INDEX)), write(tmp_path, "proof", proof))


@pytest.mark.parametrize("at", [0, -1])
def test_a_spoilt_leaf_is_refused(tool: Tool, log: Log, tmp_path: Path, at: int) -> None:
    proof, leaf = log.inclusion(INDEX, LARGEST), flip_byte(entry(INDEX), at)
    spoilt = write(tmp_path, "leaf", leaf)
    assert "another leaf" in tool.refuses("inclusion", spoilt, write(tmp_path, "proof", proof))
    # A service that lies about the leaf lies about its hash too.
    proof["leaf_hash"] = encode_url(leaf_hash(leaf))
    tool.refuses("inclusion", spoilt, write(tmp_path, "proof", proof))


@pytest.mark.parametrize("part", [*SPOILT_PROOFS, "another from", "another to"])
def test_a_spoilt_consistency_proof_is_refused(growth_tool: Tool, log: Log, tmp_path: Path, part: str) -> None:
    others = {"another from": _set("from", lambda size: size + 1), "another to": _set("to", lambda size: size - 1)}
    proof = log.consistency(65_535, LARGEST)
    (SPOILT_PROOFS | others)[part](proof)
    notes = (log.at(65_535) / "checkpoint", log.at(LARGEST) / "checkpoint")
    growth_tool.refuses("consistency", *notes, write(tmp_path, "proof", proof))


@pytest.mark.parametrize("old", [255, 256])
def test_a_rewritten_past_is_refused(growth_tool: Tool, log: Log, tmp_path: Path, old: int) -> None:
    """The log's own key signed both, which is what makes them evidence."""
    rewritten = sign_checkpoint(Checkpoint(ORIGIN, old, leaf_hash(b"another past")), [SIGNER])
    other, proof = write(tmp_path, "old", rewritten), write(tmp_path, "proof", log.consistency(old, 257))
    growth_tool.refuses("consistency", other, log.at(257) / "checkpoint", proof)
    note, equal = log.at(old) / "checkpoint", write(tmp_path, "equal", log.consistency(old, old))
    growth_tool.accepts("consistency", note, note, equal)
    growth_tool.refuses("consistency", other, note, equal)
    back = write(tmp_path, "back", {"from": 257, "to": old, "hashes": []})
    growth_tool.refuses("consistency", log.at(257) / "checkpoint", note, back)


@contextmanager
def spoiling(path: Path, at: int) -> Iterator[None]:
    """Spoil a file of the shared log until the block ends."""
    good = path.read_bytes()
    path.write_bytes(flip_byte(good, at))
    try:
        yield
    finally:
        path.write_bytes(good)


@pytest.mark.parametrize(
    "name", ["entries/000", "entries/273.p/112", "0/007", "0/273.p/112", "1/000", "1/001.p/17", "2/000.p/1"]
)
@pytest.mark.parametrize("at", [0, -1])
def test_go_refuses_a_spoilt_file(go: Tool, log: Log, name: str, at: int) -> None:
    with spoiling(log.folder / "tile" / name, at):
        go.refuses("mirror", log.at(LARGEST))


def test_go_refuses_a_proof_that_it_would_not_make(go: Tool, log: Log, tmp_path: Path) -> None:
    for good in (log.inclusion(100, 257), log.consistency(255, 257)):
        for at in range(len(good["hashes"])):
            proof = copy.deepcopy(good)
            _flip_one(at)(proof)
            said = go.refuses("mirror", log.at(257), write(tmp_path, "proof", proof))
            assert "is not the proof that the folder gives" in said
    other = log.inclusion(100, 257) | {"leaf_hash": encode_url(leaf_hash(entry(101)))}
    assert "of another leaf" in go.refuses("mirror", log.at(257), write(tmp_path, "proof", other))


# The page


def blocks(page: Path) -> dict[str, list[str]]:
    """Return the commands of a page by the file of docs/verify that their section is about; "" is before the first."""
    sections = re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found: dict[str, list[str]] = {}
    for section in sections:
        named = re.search(r"`(check\.\w+)`", section.partition("\n")[0])
        commands = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
        found.setdefault(named[1] if named else "", []).extend(commands)
    return found


def test_both_pages_have_the_same_commands() -> None:
    assert blocks(PAGE) == blocks(PAGE_ZH)
    assert set(blocks(PAGE)) == {"", "check.sh", "check.go", "check.mjs"}


def test_no_registry_is_named() -> None:
    lock = json.loads((PROGRAMS / "package-lock.json").read_text())
    for name, package in lock["packages"].items():
        assert "resolved" not in package
        assert not name or package["integrity"].startswith("sha512-")


def act(client: Client, file: Path) -> None:
    """Do what the log records; keep the evidence and wait until it is integrated."""
    answer = client.send(client.sign("GET", NOTHING))
    assert answer.log_entry is not None
    client.evidence(answer).save(file)
    event_id = answer.log_entry.event_id
    wait_for(lambda: client.inclusion_proof(event_id) is not None)


@pytest.fixture(scope="module")
def visit(
    shell: Tool, shared_service: RunningService, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], list[str]]:
    """Runs the commands of one section of the page, in one folder as a reader would; returns what they printed.

    What comes before the sections, and the section of ``shell``, whose files the others use, are run at once.
    """
    assert shell.consistency
    installed("curl")
    folder = tmp_path_factory.mktemp("visit")
    lender, vkey = shared_service.admit("Lender"), shared_service.services.log_verifier.vkey
    act(lender, folder / "given.json")
    shutil.copytree(PROGRAMS, folder, dirs_exist_ok=True)
    head, *fetching = blocks(PAGE)[""]
    for name, value in {"SERVICE": shared_service.url, "VKEY": vkey, "EVIDENCE": "given.json"}.items():
        head, count = re.subn(rf"^{name}=.*$", f"{name}='{value}'", head, flags=re.MULTILINE)
        assert count == 1

    def ran(commands: list[str]) -> list[str]:
        printed: list[str] = []
        for block in commands:
            if "-o new-checkpoint" in block:  # here the page lets a day pass
                act(lender, folder / "later.json")
            done = run("sh", "-e", "-c", head + block, folder=folder)
            assert (done.returncode, done.stderr) == (0, ""), block
            printed += done.stdout.splitlines()
        return printed

    ran(fetching)
    with_openssl = ran(blocks(PAGE)["check.sh"])
    return lambda section: with_openssl if section == "check.sh" else ran(blocks(PAGE)[section])


def test_the_page_works_with_openssl(visit: Callable[[str], list[str]]) -> None:
    signed, leaf, grew = visit("check.sh")
    assert signed.startswith("holds: ")
    assert leaf.startswith("holds: the leaf is entry ")
    old, new = map(int, re.findall(r"\d+", grew))
    assert old < new


@pytest.mark.usefixtures("go")
def test_the_page_works_with_go(visit: Callable[[str], list[str]]) -> None:
    signed, leaf, grew, whole = visit("check.go")
    assert signed.startswith("holds: signed ")
    assert leaf.startswith("holds: the leaf is entry ")
    assert grew.startswith("holds: the log grew from ")
    assert re.fullmatch(r"holds: \d+ entries, 2 proofs made again", whole)


@pytest.mark.usefixtures("node")
def test_the_page_works_with_npm(visit: Callable[[str], list[str]]) -> None:
    signed, leaf = (line for line in visit("check.mjs") if line.startswith("holds: "))
    assert signed.startswith("holds: signed ")
    assert leaf.startswith("holds: the leaf is entry ")
