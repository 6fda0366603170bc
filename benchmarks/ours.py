"""Our service under load: a data folder of its own, members admitted and borrowers reported through its API."""

import json
import random
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.load import Prepared, post
from benchmarks.processes import Cpu, cpu_of, postmaster_of
from creditshare.cli.admission import admit
from creditshare.cli.demo.stage import operator_files, service
from creditshare.cli.demo.story import synthetic_uscc
from creditshare.client.bank import Client
from creditshare.client.core import Identity, build_request
from creditshare.composition import embedded_postgres
from creditshare.settings import Settings
from creditshare.storage.embedded import EmbeddedPostgres


@dataclass(frozen=True, slots=True)
class Stage:
    """A running service with two lenders, and borrowers that one reported and the other may ask about."""

    url: str
    port: int
    data: Path
    pid: int
    reporter: Client
    asker: Client
    tokens: list[dict[str, Any]]
    consents: list[str]
    spare: list[dict[str, Any]]

    def cpu(self) -> Cpu:
        return Cpu(cpu_of(self.pid), cpu_of(postmaster_of(self.data)))

    def postgres(self) -> EmbeddedPostgres:
        return embedded_postgres(Settings(data=self.data))

    def database(self) -> "psycopg.Connection[Any]":
        return psycopg.connect(self.postgres().url("superuser").replace("+psycopg", ""), autocommit=True)

    def question(self, number: int) -> Prepared:
        """Return a signed question about one of the borrowers."""
        chosen = number % len(self.consents)
        body = {
            "subject": self.tokens[chosen],
            "purpose": "pre_loan",
            "consent_id": self.consents[chosen],
            "scopes": ["defaults"],
        }
        return self._signed(self.asker, "/v1/queries", body)

    def submission(self, number: int) -> Prepared:
        """Return a signed default of a borrower that nobody reported before."""
        return self._signed(
            self.reporter, "/v1/records", record(self.spare[number % len(self.spare)], secrets.token_hex(8))
        )

    @staticmethod
    def _signed(client: Client, path: str, body: dict[str, Any]) -> Prepared:
        assert client.identity is not None
        request = build_request(
            client.identity,
            issuer=client.issuer,
            method="POST",
            path=path,
            data=body,
            idempotency_key=secrets.token_hex(12),
            now=int(time.time()),
        )
        return post(path, dict(request.headers), request.body)


def record(subject: dict[str, Any], account: str) -> dict[str, Any]:
    """Return a default of a public record, as a lender in the US reports it."""
    today = datetime.now(UTC).date()
    return {
        "subject": subject,
        "role": "borrower",
        "account_ref": account,
        "product": "term_loan",
        "currency": "USD",
        "original_amount": "150000.00",
        "outstanding_principal": "98000.00",
        "opened_on": (today - timedelta(days=900)).isoformat(),
        "default_on": (today - timedelta(days=100)).isoformat(),
        "days_past_due": 200,
        "default_reason": "days_past_due",
        "region": {"scheme": "ISO 3166-2", "code": "US-CA"},
        "lawful_basis": "public_record",
        "public_ref": f"register {account}",
    }


@contextmanager
def running(data: Path, port: int, *, borrowers: int, spare: int) -> Iterator[Stage]:
    """Run the service; two records and one consent for each borrower, and tokens for submissions still to come."""
    # One member sends everything here, which its pace and its day would not allow.
    allowed = {"member_requests_per_s": "100000", "member_burst_requests": "100000"}
    allowed |= {"queries_per_day": "1000000000", "reports_per_day": "1000000000"}
    allowed |= {"max_batch_bytes": str(1 << 32)}
    with service(data, port, **allowed) as url:
        pid = _pid_of(data)
        first_file, second_file = operator_files(data)
        budget = borrowers + spare + 256
        with (
            Client(url, Identity.from_file(first_file)) as first,
            Client(url, Identity.from_file(second_file)) as second,
        ):
            clients = [
                Client(
                    url,
                    admit((first, second), name, "lender", "US", data / f"{name}.jwk", {"evaluations_per_day": budget}),
                )
                for name in ("reporter", "asker")
            ]
        source = random.Random(1)
        names = [synthetic_uscc(source) for _ in range(borrowers + spare)]
        tokens = clients[0].tokenise(names)
        if clients[1].tokenise(names[:borrowers]) != tokens[:borrowers]:
            raise AssertionError("two lenders made different tokens")
        consents = []
        for number, token in enumerate(tokens[:borrowers]):
            for client in clients:
                client.call("POST", "/v1/records", data=record(token, f"B-{number}"))
            granted = clients[1].grant_consent(
                token, kind="query", purposes=["pre_loan"], scopes=["defaults"], document=b"x"
            )
            consents.append(str(granted["consent_id"]))
        yield Stage(url, port, data, pid, clients[0], clients[1], tokens[:borrowers], consents, tokens[borrowers:])
        for client in clients:
            client.close()


def _pid_of(data: Path) -> int:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if "creditshare serve" in line and str(data) in line:
            return int(process.name)
    raise LookupError("the service's process was not found")


def check(status: dict[int, int], expected: int) -> None:
    """A figure counts only if every request was answered as it should be."""
    if set(status) != {expected}:
        raise AssertionError(f"expected only {expected}: {json.dumps(status)}")
