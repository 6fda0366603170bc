"""The samples for banks that do not write Python, as real processes: against the vectors and a running service.

Node needs npm to fetch the one pinned library, or a ``node_modules`` that is already there; Java needs a JDK of 17 or
newer, the shell sample bash, curl and openssl. What is missing is skipped and named.
"""

import base64
import json
import os
import re
import shutil
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.fixtures.processes import SOURCE, command
from tests.fixtures.service import RunningService, record_body

from creditshare.crypto.jws import SigningKey

DOCS = SOURCE.parent / "docs"
SAMPLES = DOCS / "samples"
JAVA = SAMPLES / "java" / "Sample.java"
BORROWER = "91999999DEM000014G"
ANOTHER_POINT = "A2sX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKW"
NO_REGISTRY = re.compile(r"code (E(?:NOTFOUND|AI_AGAIN|CONN\w+|TIMEDOUT|SOCKETTIMEOUT|NOTCACHED|NETUNREACH|[45]\d\d))")
Sample = tuple[str, ...]
Done = subprocess.CompletedProcess[str]


def run(*arguments: str | Path, text: str = "", folder: Path | None = None) -> Done:
    """Run a process to its end."""
    return subprocess.run(
        [str(one) for one in arguments],
        input=text,
        cwd=folder,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def tool(name: str) -> str:
    """Return where a tool is, or skip."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"this sample needs {name}, which is not on the path")
    return found


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """The Node sample beside its pinned library."""
    binary, npm = tool("node"), tool("npm")
    version = run(binary, "--version").stdout.strip()
    if [int(part) for part in version.removeprefix("v").split(".")] < [20, 19]:
        pytest.skip(f"the Node sample needs Node 20.19 or newer, this is {version}")
    folder = tmp_path_factory.mktemp("node") / "sample"
    shutil.copytree(SAMPLES / "node", folder)
    if not (folder / "node_modules").is_dir():
        options = ("--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0", "--fetch-timeout=20000")
        installed = run(npm, "ci", *options, folder=folder)
        if unreachable := NO_REGISTRY.search(installed.stderr):
            pytest.skip(f"npm cannot fetch the Node sample's library ({unreachable[1]}); see docs/samples/README.md")
        assert installed.returncode == 0, installed.stderr
    return binary, str(folder / "sample.mjs")


@pytest.fixture(scope="module")
def java(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """The Java sample, compiled once; that it starts from its source has a test of its own."""
    binary, compiler = tool("java"), tool("javac")
    version = re.search(r"\d+", run(compiler, "-version").stdout)
    if version is None or int(version[0]) < 17:
        pytest.skip("the Java sample needs a JDK of version 17 or newer")
    classes = tmp_path_factory.mktemp("java")
    compiled = run(compiler, "-Xlint:all", "-Werror", "-encoding", "UTF-8", "-d", classes, JAVA)
    assert compiled.returncode == 0, compiled.stderr
    return binary, "-cp", str(classes), "Sample"


@pytest.fixture(params=["node", "java"])
def sample(request: pytest.FixtureRequest) -> Sample:
    """Each sample that does the whole job."""
    found: Sample = request.getfixturevalue(request.param)
    return found


@dataclass
class Registry:
    """A service that knows one default, and the token by which the project's own client reported it."""

    service: RunningService
    subject: dict[str, Any]


@pytest.fixture(scope="module")
def registry(shared_service: RunningService) -> Registry:
    """One borrower, reported by one lender."""
    bank = shared_service.admit("Reporter", region="US")
    (subject,) = bank.tokenise([BORROWER])
    bank.call("POST", "/v1/records", data=record_body(subject, "A-1"))
    return Registry(shared_service, subject)


@dataclass
class Bank:
    """A bank that does not write Python: its folder, and who it is."""

    folder: Path
    url: str
    member_id: str
    code: str

    def enrol(self, sample: Sample) -> Done:
        run(
            "openssl",
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-out",
            self.file("bank.pem"),
        )
        command = ("enrol", self.url, self.member_id, self.file("bank.pem"), self.file("pins.json"))
        return run(*sample, *command, text=self.code + "\n")

    def ask(self, sample: Sample, identifier: str = BORROWER) -> Done:
        document = self.file("signed.pdf")
        document.write_bytes(os.urandom(64))
        files = (self.file("bank.pem"), self.file("pins.json"))
        return run(*sample, "ask", *files, "uscc", identifier, document, self.file("evidence.json"))

    def file(self, name: str) -> Path:
        return self.folder / name

    def pins(self) -> dict[str, Any]:
        pins: dict[str, Any] = json.loads(self.file("pins.json").read_text())
        return pins


@pytest.fixture
def bank(registry: Registry, tmp_path: Path) -> Bank:
    """A lender that is admitted and has its one-time code."""
    tool("openssl")
    first, second = (registry.service.client(operator) for operator in registry.service.operators)
    body = {"name": "Foreign Bank", "role": "lender", "region": "US-NY"}
    proposed = first.call("POST", "/v1/members", data=body)
    member_id, terms = proposed["member_id"], {"action": "admission"}
    code = second.call("POST", f"/v1/members/{member_id}/approvals", data=terms, if_match=proposed.version).data
    return Bank(tmp_path, registry.service.url, member_id, code["enrolment_code"])


def test_java_starts_from_its_source(java: Sample) -> None:
    done = run(java[0], JAVA)
    assert (done.returncode, done.stderr) == (2, "usage: see the first lines of this file\n")


def test_it_reproduces_the_vectors(sample: Sample) -> None:
    done = run(*sample, "vectors", DOCS / "vectors")
    assert (done.returncode, done.stdout) == (0, "all vectors hold\n"), done.stderr


def test_it_notices_a_changed_vector(sample: Sample, tmp_path: Path) -> None:
    folder = shutil.copytree(DOCS / "vectors", tmp_path / "vectors")
    changed = (folder / "10-query.json").read_text().replace('\\"match\\":\\"records\\"', '\\"match\\":\\"none\\"')
    (folder / "10-query.json").write_text(changed)
    done = run(*sample, "vectors", folder)
    assert (done.returncode, done.stderr) == (1, "the answer's cdg is another\n")


def test_it_enrols_asks_and_keeps_evidence_that_holds(sample: Sample, bank: Bank, registry: Registry) -> None:
    enrolled = bank.enrol(sample)
    assert enrolled.returncode == 0, enrolled.stderr
    assert bank.pins()["discovery"]["log"]["vkey"] in enrolled.stdout

    asked = bank.ask(sample, " 91999999dem000014g ")
    assert asked.returncode == 0, asked.stderr
    told = json.loads(asked.stdout)
    assert told["element"] == registry.subject["element"]
    assert told["answer"]["summary"]["open_defaults"] == 1
    assert 0 <= told["leaf_index"] < told["tree_size"]

    verified = command(registry.service, "verify-evidence", str(bank.file("evidence.json")))
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "leaf" in verified.stdout


def test_it_says_the_code_of_a_signed_refusal(sample: Sample, bank: Bank, registry: Registry) -> None:
    assert bank.enrol(sample).returncode == 0
    registry.service.client(registry.service.operators[0]).call(
        "POST", f"/v1/members/{bank.member_id}/suspension", data={"reason": "test"}
    )
    asked = bank.ask(sample)
    assert asked.returncode == 1
    assert "member_suspended" in asked.stderr


def test_it_believes_only_what_it_pinned(sample: Sample, bank: Bank) -> None:
    assert bank.enrol(sample).returncode == 0
    pins = bank.pins()
    (suite,) = pins["discovery"]["tokens"]["suites"]
    another_tokeniser = {"suites": [{**suite, "public_key": ANOTHER_POINT}]}
    for spoiled, said in (
        (pins | {"jwks": {"keys": [{"kid": "none"}]}}, "signed by a key that is not pinned"),
        (pins | {"discovery": pins["discovery"] | {"tokens": another_tokeniser}}, "the proof does not hold"),
    ):
        bank.file("pins.json").write_text(json.dumps(spoiled))
        asked = bank.ask(sample)
        assert (asked.returncode, asked.stderr) == (1, said + "\n")


@pytest.fixture
def shell() -> Sample:
    """The shell sample."""
    for name in ("curl", "openssl", "od"):
        tool(name)
    return tool("bash"), str(SAMPLES / "shell" / "sample.sh")


@dataclass
class Question:
    """What the shell sample is given: a key as PEM, the pinned keys, a token and a consent made elsewhere."""

    url: str
    member_id: str
    key: Path
    jwks: Path
    subject: dict[str, Any]
    consent_id: str

    def ask(self, shell: Sample) -> Done:
        subject = (str(self.subject["key_version"]), self.subject["element"])
        return run(*shell, self.url, self.member_id, self.key, self.jwks, *subject, self.consent_id)


@pytest.fixture
def question(registry: Registry, tmp_path: Path) -> Question:
    """A lender of the project's own client, with a consent."""
    lender = registry.service.admit("Shell Bank", region="US")
    document, key, jwks = tmp_path / "signed.pdf", tmp_path / "bank.pem", tmp_path / "jwks.json"
    document.write_bytes(os.urandom(64))
    consent = lender.consents.grant(
        uscc=BORROWER, kind="query", purposes=["pre_loan"], scopes=["defaults"], evidence=document
    )
    assert lender.identity
    secret = lender.identity.key.private_jwk()["d"]
    number = int.from_bytes(base64.urlsafe_b64decode(secret + "="))
    key.write_bytes(
        ec.derive_private_key(number, ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    jwks.write_bytes(httpx.get(f"{registry.service.url}/.well-known/jwks.json").content)
    return Question(
        registry.service.url, lender.identity.member_id, key, jwks, registry.subject, consent.data["consent_id"]
    )


def test_the_shell_asks_with_a_token_made_before(shell: Sample, question: Question) -> None:
    asked = question.ask(shell)
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout)["summary"]["open_defaults"] == 1
    assert asked.stderr.startswith("evt_")


def test_the_shell_says_the_code_of_a_signed_refusal(shell: Sample, question: Question) -> None:
    question.consent_id = f"cns_{uuid.uuid4()}"
    asked = question.ask(shell)
    assert (asked.returncode, asked.stdout) == (1, "")
    assert "consent_missing" in asked.stderr


def test_the_shell_says_that_an_unsigned_refusal_binds_nobody(shell: Sample, question: Question) -> None:
    question.member_id = f"mem_{uuid.uuid4()}"
    asked = question.ask(shell)
    assert (asked.returncode, asked.stdout) == (1, "")
    assert asked.stderr.startswith("sample.sh: 401, not signed")


@pytest.mark.parametrize(
    ("member", "said"), [("kid", "signed by a key that is not pinned"), ("x", "the signature does not hold")]
)
def test_the_shell_believes_only_the_pinned_key(shell: Sample, question: Question, member: str, said: str) -> None:
    pinned = json.loads(question.jwks.read_text())
    other = SigningKey.generate().private_jwk()
    replaced = {"kid": ("kid",), "x": ("x", "y")}[member]
    pinned["keys"][0] |= {name: other[name] for name in replaced}
    question.jwks.write_text(json.dumps(pinned))
    asked = question.ask(shell)
    assert (asked.returncode, asked.stdout) == (1, "")
    assert asked.stderr.endswith(f"sample.sh: {said}\n")
