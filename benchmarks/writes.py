"""What a report of a default costs with its event and without: ``records.submit`` itself, on the same database.

Without means: no event is composed and sealed, and the writing statement has neither the event's part nor its
parameters. All else stays: the reading statement, the rules, the record, its request's use, the commit. The queue's
trigger runs with the event; sequencing it is the worker's and not part of this, so no worker runs.
"""

import asyncio
import secrets
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from unittest import mock

import uvloop

from benchmarks import ours
from benchmarks.processes import cpu_of, postmaster_of
from creditshare.api.schemas.records import RecordIn, RecordOut
from creditshare.audit.service import Audit, ComposedEvent
from creditshare.audit.statements import EVENT, EVENT_OF
from creditshare.cli.service import running
from creditshare.client.core import build_request
from creditshare.composition import build_services
from creditshare.crypto.digests import content_digest
from creditshare.records import service as records_service
from creditshare.records.service import Records, Reporting
from creditshare.records.statements import SUBMIT, SUBMITTED
from creditshare.services import Services
from creditshare.settings import Settings
from creditshare.storage.rowsets import rows_of
from creditshare.wire.requests import Received

PORT: Final = 8977
TOGETHER: Final = 16
"""As many as the other benchmarks have connections. Those that wait together share a transaction (decision 17)."""
BLOCK: Final = 64
"""Writes of one kind in a row: few enough that both kinds meet one machine, enough that the kernel counts their CPU."""
ROUTE: Final = "/v1/records"
PLAIN_COLUMNS: Final = {column: kind for column, kind in SUBMITTED.items() if column not in EVENT_OF}


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of one write, and its CPU seconds of all processes."""

    seconds: float
    cpu: float


class Unlogged(Audit):
    """Hands out one event that was composed before."""

    def __init__(self, audit: Audit) -> None:
        super().__init__(opening_box=audit.opening_box, merge_delay_s=audit.merge_delay_s)
        self.kept: ComposedEvent | None = None

    def compose(self, *args: Any, **named: Any) -> ComposedEvent:
        self.kept = self.kept or super().compose(*args, **named)
        return self.kept


def measure(folder: Path, count: int) -> tuple[float, str]:
    """Return the time of a write with its event over that of one without, and how it was made.

    The borrowers are reported once before: making a borrower and sealing a budget would hide the event's cost.
    """
    with ours.running(folder, PORT, borrowers=1, spare=count) as stage:
        pass  # it admits the lender and makes the tokens; what is measured needs no service beside it
    with running(Settings(data=folder)):
        return uvloop.run(_measure(stage, folder))


async def _measure(stage: ours.Stage, folder: Path) -> tuple[float, str]:
    settings = Settings(data=folder)
    services = await build_services(settings)
    try:
        await services.key_table.reload()
        ways = {True: services.records, False: _unlogged(services, settings)}
        known = [await _reporting(stage, services, token) for token in stage.spare]
        await _hand_in(services.records, known, together=TOGETHER)
        alone, shared = [await _compared(stage, services, ways, together=one) for one in (1, TOGETHER)]
    finally:
        await services.database.close()
        await services.watching.close()
    how = f"reports of known borrowers through records.submit in one process, median of blocks of {BLOCK}:"
    for pair, when in ((shared, f"{TOGETHER} at a time"), (alone, "one at a time")):
        logged, plain = pair[True], pair[False]
        how += (
            f" {when} {logged.seconds * 1e3:.2f} ms with its event and {plain.seconds * 1e3:.2f} without, CPU of"
            f" process and PostgreSQL {logged.cpu * 1e3:.2f} and {plain.cpu * 1e3:.2f} ms, ratio"
            f" {logged.seconds / plain.seconds:.2f} (CPU {logged.cpu / plain.cpu:.2f});"
        )
    how += " without: the same statement less the event's part, none composed; signature, gate and HTTP are in neither"
    return shared[True].seconds / shared[False].seconds, how


async def _compared(
    stage: ours.Stage, services: Services, ways: dict[bool, Records], *, together: int
) -> dict[bool, Cost]:
    """Write blocks of both kinds in turn."""
    costs: dict[bool, list[Cost]] = {True: [], False: []}
    for start in range(0, len(stage.spare), BLOCK):
        for logged, records in ways.items():
            reportings = [await _reporting(stage, services, one) for one in stage.spare[start : start + BLOCK]]
            with _statement(logged=logged):
                cpu, began = _cpu(services.settings.data), time.perf_counter()
                await _hand_in(records, reportings, together=together)
                seconds = time.perf_counter() - began
                used = _cpu(services.settings.data) - cpu
            costs[logged].append(Cost(seconds / len(reportings), used / len(reportings)))
    # The first blocks do not count: statements are planned in them.
    return {
        logged: Cost(statistics.median(one.seconds for one in some[1:]), statistics.mean(one.cpu for one in some[1:]))
        for logged, some in costs.items()
    }


async def _hand_in(records: Records, reportings: list[Reporting], *, together: int) -> None:
    waiting = iter(reportings)

    async def hand_in() -> None:
        for one in waiting:
            if await records.submit(one) is None:
                raise AssertionError("a report counted as answered before")

    await asyncio.gather(*(hand_in() for _ in range(together)))


def _cpu(data: Path) -> float:
    return time.process_time() + cpu_of(postmaster_of(data))


def _unlogged(services: Services, settings: Settings) -> Records:
    return Records(
        database=services.database,
        access=services.access,
        subjects=services.subjects,
        audit=Unlogged(services.audit),
        policy=services.policy,
        reference_key=bytes(32),
        skew_s=settings.skew_s,
    )


async def _reporting(stage: ours.Stage, services: Services, token: dict[str, Any]) -> Reporting:
    """Return a report as the edge hands it on, of an account of its own, from a request signed now."""
    client, data, key = stage.reporter, ours.record(token, secrets.token_hex(8)), secrets.token_hex(12)
    assert client.identity is not None
    request = build_request(
        client.identity,
        issuer=services.issuer,
        method="POST",
        path=ROUTE,
        data=data,
        idempotency_key=key,
        now=int(time.time()),
    )
    token_line = request.headers["Authorization"].encode()
    received = Received("POST", ROUTE.encode(), b"", (token_line,), request.body, key.encode())
    caller = await services.access.authenticate(received, request_id="benchmark", peer=None)
    given = RecordIn.model_validate_json(request.body)
    return Reporting(
        caller,
        services.access.claim_of(caller.member_id, route=ROUTE, key=key, method="POST", body=request.body),
        given.subject.token(),
        given.report(),
        request_digest=content_digest(request.body),
        present=lambda held: RecordOut.of(held).model_dump_json().encode(),
    )


def without_event() -> str:
    """Return the writing statement of a report, less all that belongs to its event."""
    plain = SUBMIT.replace(rows_of("q", SUBMITTED), rows_of("q", PLAIN_COLUMNS)).replace(f",\n{EVENT}", "")
    if "leaf" in plain or "audit" in plain:
        raise AssertionError("the statement still has a part of the event")
    return plain


@contextmanager
def _statement(*, logged: bool) -> Iterator[None]:
    if logged:
        yield
        return
    with mock.patch.multiple(records_service, SUBMIT=without_event(), SUBMITTED=PLAIN_COLUMNS):
        yield
