"""A cheap client: raw connections that are kept open, requests prepared in advance, latencies noted."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Prepared = bytes
"""One HTTP/1.1 request, byte for byte."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a load brought: answers by status, seconds it took, latencies in seconds, sorted."""

    statuses: dict[int, int]
    seconds: float
    latencies: list[float]

    @property
    def count(self) -> int:
        return sum(self.statuses.values())

    @property
    def rate(self) -> float:
        return self.count / self.seconds

    def percentile(self, share: float) -> float:
        """Return a latency in milliseconds."""
        return self.latencies[min(len(self.latencies) - 1, int(len(self.latencies) * share))] * 1e3


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Prepared) -> int:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    if length:
        await reader.readexactly(length)
    return int(head[9:12])


async def _closed(port: int, make: Iterator[Prepared], connections: int, seconds: float) -> Load:
    statuses: dict[int, int] = {}
    latencies: list[float] = []
    began = time.perf_counter()

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        while time.perf_counter() - began < seconds:
            request = next(make)
            sent = time.perf_counter()
            status = await _exchange(reader, writer, request)
            latencies.append(time.perf_counter() - sent)
            statuses[status] = statuses.get(status, 0) + 1
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return Load(statuses, time.perf_counter() - began, sorted(latencies))


async def _open(port: int, make: Iterator[Prepared], connections: int, seconds: float, rate: float) -> Load:
    statuses: dict[int, int] = {}
    latencies: list[float] = []
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(connections):
        free.put_nowait(await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))
    began = time.perf_counter()

    async def one(due: float, request: Prepared) -> None:
        pair = await free.get()
        status = await _exchange(*pair, request)
        latencies.append(time.perf_counter() - due)  # from when it was due, so that waiting for a connection counts
        statuses[status] = statuses.get(status, 0) + 1
        free.put_nowait(pair)

    tasks = []
    for number in range(int(seconds * rate)):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(due, next(make))))
    await asyncio.gather(*tasks)
    while not free.empty():
        free.get_nowait()[1].close()
    return Load(statuses, time.perf_counter() - began, sorted(latencies))


def closed_loop(port: int, make: Iterator[Prepared], *, connections: int, seconds: float) -> Load:
    """Send as fast as ``connections`` connections get answers."""
    return asyncio.run(_closed(port, make, connections, seconds))


def open_loop(port: int, make: Iterator[Prepared], *, connections: int, seconds: float, rate: float) -> Load:
    """Send at a fixed rate, whatever the answers do."""
    return asyncio.run(_open(port, make, connections, seconds, rate))


def drain(port: int, requests: Iterator[Prepared], *, connections: int) -> None:
    """Send prepared requests until there are no more."""

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        for request in requests:
            await _exchange(reader, writer, request)
        writer.close()

    async def all_of_them() -> None:
        await asyncio.gather(*(one() for _ in range(connections)))

    asyncio.run(all_of_them())


def post(path: str, headers: dict[str, str], body: bytes) -> Prepared:
    """Spell a POST request."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def repeat(make: Callable[[int], Prepared]) -> Iterator[Prepared]:
    """Make requests one by one, numbered."""
    number = 0
    while True:
        yield make(number)
        number += 1
