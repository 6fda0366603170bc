"""A large body on its way: read once, kept on disk sealed under a key that never leaves this process.

The file has no name, so that nothing is left of it after a crash, and its blocks are AES-256-GCM under a key of their
own. Its digest is that of the bytes as received; until the caller has compared it nothing is read back.
"""

import asyncio
import hashlib
import secrets
import tempfile
from collections.abc import AsyncIterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from creditshare.crypto.digests import encode_content_digest
from creditshare.crypto.sealing import KEY_BYTES, KEY_ID_BYTES, Box, Place
from creditshare.errors import Refused

BLOCK_BYTES: Final = 262_144
_LENGTH_BYTES: Final = 4


class Spool:
    """One body; use it as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  closed by __exit__
        self._box = Box.of(secrets.token_bytes(KEY_BYTES), key_id=secrets.token_bytes(KEY_ID_BYTES))
        self._hash = hashlib.sha256()
        self._blocks = 0

    @property
    def digest(self) -> str:
        """The RFC 9530 digest of what was received."""
        return encode_content_digest(self._hash.digest())

    async def fill(self, parts: AsyncIterable[bytes], *, limit: int) -> None:
        """Take in a body of at most ``limit`` bytes; one byte more is refused and no further one is read."""
        block, size = bytearray(), 0
        async for part in parts:
            size += len(part)
            if size > limit:
                raise Refused("content_too_large")
            block += part
            if len(block) >= BLOCK_BYTES:
                await asyncio.to_thread(self._write, bytes(block))
                block.clear()
        if block:
            await asyncio.to_thread(self._write, bytes(block))

    def blocks(self) -> Iterator[bytes]:
        """Read the body back, block by block."""
        self._file.seek(0)
        for number in range(self._blocks):
            length = int.from_bytes(self._file.read(_LENGTH_BYTES), "big")
            yield self._box.open(_place(number), self._file.read(length))

    def _write(self, block: bytes) -> None:
        self._hash.update(block)
        sealed = self._box.seal(_place(self._blocks), block)
        self._file.write(len(sealed).to_bytes(_LENGTH_BYTES, "big") + sealed)
        self._blocks += 1

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Close the file, which has no name: it is gone with that."""
        self._file.close()


def _place(number: int) -> Place:
    return Place("spool", "block", number.to_bytes(8, "big"))
