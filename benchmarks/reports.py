"""``python -m benchmarks.reports``: what reports cost over a million sealed records.

Records of invented borrowers are taken in by the service's own code, in this process, as fast as it can; the service's
worker counts them beside it. Then: how long a few changed borrowers take to count among many and among few, how much
memory the worker ever held, how long a report takes to answer, and a pack to make.
"""

import argparse
import asyncio
import random
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from benchmarks.processes import scratch_folder
from benchmarks.results import figure, show, write
from creditshare.cli.admission import admit
from creditshare.cli.demo.stage import operator_files, service
from creditshare.client.bank import Client
from creditshare.client.core import Identity
from creditshare.composition import build_services
from creditshare.crypto.encoding import b64url_encode
from creditshare.crypto.oprf import SUITE
from creditshare.records.loading import Submission
from creditshare.records.rules import Coded, Report
from creditshare.services import Services
from creditshare.settings import Settings
from creditshare.subjects.service import BorrowerToken

PORT = 8978
LENDERS = 300
AT_ONCE = 1_000
CHANGED = 2_000
ROUNDS = 3
KEY = "regulator.jwk"
NEVER_S = "31000000"
STATES = ("CA", "TX", "NY", "FL", "IL", "OH", "PA", "WA", "GA", "NC", "MI", "NJ", "VA", "MA", "AZ", "CO", "VT", "WY")
SECTORS = ("11", "23", "31", "42", "44", "48", "51", "54", "56", "62", "71", "72", "81")
TODAY = datetime.now(UTC).date()


def submissions(draw: random.Random, count: int) -> Iterator[Submission]:
    """Yield defaults of borrowers that nobody named before, over twenty years."""
    for _ in range(count):
        point = ec.generate_private_key(ec.SECP256R1()).public_key()
        element = b64url_encode(point.public_bytes(Encoding.X962, PublicFormat.CompressedPoint))
        default_on = TODAY - timedelta(days=100 + draw.randrange(7_000))
        report = Report(
            role="borrower",
            account_ref=secrets.token_hex(8),
            product="term_loan",
            currency="USD",
            original_amount=Decimal(draw.randrange(10_000, 900_000)),
            opened_on=default_on - timedelta(days=draw.randrange(200, 3_000)),
            default_on=default_on,
            default_reason="unlikely_to_pay",
            cause="unknown",
            region=Coded("ISO 3166-2", f"US-{STATES[min(int(draw.expovariate(0.2)), len(STATES) - 1)]}"),
            lawful_basis="public_record",
            public_ref="a register",
            size_class=draw.choice(("micro", "small", "medium")),
            industry=Coded("NAICS", draw.choice(SECTORS) + "1110"),
        )
        yield Submission(BorrowerToken(SUITE, 1, element), report)


async def take_in(services: Services, count: int, draw: random.Random) -> None:
    """Take in so many defaults, each lender's in transactions of their own."""
    lenders = [UUID(int=draw.getrandbits(128), version=4) for _ in range(LENDERS)]
    rows = submissions(draw, count)
    for done in range(0, count, AT_ONCE):
        some = [one for _, one in zip(range(min(AT_ONCE, count - done)), rows, strict=False)]
        lender = lenders[min(int(draw.expovariate(4 / LENDERS)), LENDERS - 1)]
        async with services.database.writing() as session:
            now = datetime.now(UTC)
            outcomes = await services.records.submit_many(session, lender, ("US",), some, keep=True, now=now)
            await session.commit()
        if any(isinstance(one, Exception) for one in outcomes):
            raise AssertionError("a made-up report was refused")
        if (done + AT_ONCE) % 50_000 == 0:
            print(f"{done + AT_ONCE:>9,} taken in", flush=True)


def wait_until_counted(stage: Client) -> float:
    """Wait until no event waits to be counted; return how long."""
    began = time.monotonic()
    while stage.call("GET", "/v1/reports")["waiting"]:
        time.sleep(0.2)
    return time.monotonic() - began


def peak_of_worker(data: Path) -> float:
    """Return the most memory that the worker ever held, in MiB."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if "creditshare worker" in line and str(data) in line:
                status = (process / "status").read_text()
                return int(status.partition("VmHWM:")[2].split()[0]) / 1024
        except OSError:
            continue
    raise LookupError("the worker was not found")


async def measure(few: int, many: int) -> dict[str, dict[str, object]]:
    draw = random.Random(7)
    with scratch_folder() as data:
        with service(data, PORT, reports_every_s="0.2", reports_told_every_s=NEVER_S) as url:
            figures = await count(data, url, draw, few, many)
        # The same data with a worker that tells what was counted.
        with service(data, PORT, reports_every_s="0.2", reports_told_every_s="0") as url:
            return figures | read(data, url, many)


async def count(data: Path, url: str, draw: random.Random, few: int, many: int) -> dict[str, dict[str, object]]:
    """Return what a few more cost among many, and how much memory the worker took."""
    first, second = operator_files(data)
    with Client(url, Identity.from_file(first)) as one, Client(url, Identity.from_file(second)) as two:
        identity = admit((one, two), "Regulator", "regulator", "US", data / KEY, {})
    services = await build_services(Settings(data=data))
    # These borrowers' tokens were never evaluated, so that no lender's budget could take them in.
    services.subjects.introduce = lambda *_, **__: None  # type: ignore[method-assign]
    took: list[float] = []
    with Client(url, identity) as regulator:
        for size, before in ((few, 0), (many, few)):
            await take_in(services, size - before, draw)
            print(f"{size:>9,} records; the last were counted {wait_until_counted(regulator):.1f} s later", flush=True)
            took.append(statistics.median([await few_changed(services, regulator, draw) for _ in range(ROUNDS)]))
            print(f"{CHANGED:,} more counted in {took[-1]:.2f} s", flush=True)
    await services.database.close()
    await services.watching.close()
    how = f"{CHANGED:,} changed borrowers counted in {took[1]:.2f} s among {many:,}, in {took[0]:.2f} s among {few:,}"
    return {
        "report_count_many_vs_few": figure(took[1] / took[0], how),
        "report_worker_counting_mib": figure(peak_of_worker(data), f"the worker's most, {many:,} borrowers counted"),
    }


def read(data: Path, url: str, many: int) -> dict[str, dict[str, object]]:
    """Return how long telling, asking and a pack take."""
    began = time.monotonic()
    slowest = (0.0, "")
    with Client(url, Identity.from_file(data / KEY)) as regulator:
        while not any(one["report"] == "defaults" and one["first"] for one in listed(regulator)):
            time.sleep(0.2)
        telling = time.monotonic() - began
        print(f"told in {telling:.1f} s", flush=True)
        for one in listed(regulator):
            for view in one["views"]:
                last_years = f"&from={TODAY.year - 5}-01"
                times = []
                for _ in range(ROUNDS * 3):
                    asked = time.monotonic()
                    got = regulator.call("GET", f"/v1/reports/{one['report']}", query=f"by={view['by']}{last_years}")
                    times.append(time.monotonic() - asked)
                name = f"{one['report']} by {view['by']}, {len(got['rows']):,} rows"
                print(f"{statistics.median(times) * 1e3:7.0f} ms  {name}", flush=True)
                slowest = max(slowest, (statistics.median(times) * 1e3, name))
        command = [sys.executable, "-m", "creditshare", "report", "pack", str(data / "pack")]
        command += ["--as", str(data / KEY), "--url", url, "--from", f"{TODAY.year - 1}-01", "--to", f"{TODAY:%Y-%m}"]
        began = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        pack = time.monotonic() - began
    return {
        "report_worker_mib": figure(peak_of_worker(data), f"the worker's most while {many:,} records were told anew"),
        "report_told_s": figure(
            telling, f"all years of {many:,} records, protected and told, start of the worker included"
        ),
        "report_ms": figure(
            slowest[0], f"the slowest of all reports and views, median of {ROUNDS * 3}: {slowest[1]}, five years"
        ),
        "report_pack_s": figure(pack, "a pack of two years, on the command line"),
    }


def listed(regulator: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = regulator.call("GET", "/v1/reports")["data"]
    return found


async def few_changed(services: Services, regulator: Client, draw: random.Random) -> float:
    await take_in(services, CHANGED, draw)
    return wait_until_counted(regulator)


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.reports", description=__doc__)
    options.add_argument("--records", type=int, nargs=2, default=[100_000, 1_000_000], help="few and many")
    options.add_argument("--write", action="store_true", help="put the figures into results.json and results.md")
    chosen = options.parse_args()
    figures = asyncio.run(measure(*chosen.records))
    show(figures)
    if chosen.write:
        write(figures)


if __name__ == "__main__":
    main()
