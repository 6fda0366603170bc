"""The documents that were told and the releases that told them: rows that are only added, under the service's seal.

They stand in clear, because anybody may know what they say; the seals are for who could write them. Without one an
administrator of the database could let the service sign numbers of his own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.dialects.postgresql import distinct_on

from creditshare.crypto.digests import content_digest, sha256_b64url
from creditshare.crypto.rowseals import RowSeals, Value
from creditshare.errors import IntegrityError
from creditshare.reports.models import report_release, report_told
from creditshare.storage.engine import ReadSession, WriteSession
from creditshare.wire.strict_json import canonical


@dataclass(frozen=True, slots=True)
class ToldPart:
    """A document as it stands: of which report and part, told by which release, its bytes."""

    report: str
    part: str
    release: int
    document: bytes


@dataclass(frozen=True, slots=True)
class Release:
    """Each time something was told: when, the newest checkpoint of the log then, and a digest over all that stood."""

    release: int
    made_at: datetime
    log_size: int
    log_note: str
    policy_version: str
    digest: str


class ToldStore:
    """Keeps what was told, and believes only what bears its seal."""

    def __init__(self, seals: RowSeals) -> None:
        self._seals = seals

    async def parts(
        self, session: ReadSession, *, report: str | None = None, first: str = "", last: str = "~"
    ) -> list[ToldPart]:
        """Return the documents that stand told, by report and part; ``IntegrityError`` for one that was not ours."""
        told = report_told.c
        query = (
            select(report_told)
            .ext(distinct_on(told.report, told.part))
            .where(told.part >= first, told.part <= last)
            .order_by(told.report, told.part, told.release.desc())
        )
        if report is not None:
            query = query.where(told.report == report)
        found = []
        for row in await session.execute(query):
            self._require(report_told.name, row)
            found.append(ToldPart(row.report, row.part, row.release, bytes(row.document)))
        return found

    async def names(self, session: ReadSession) -> list[tuple[str, str]]:
        """Return of which reports and parts something was told."""
        rows = await session.execute(select(report_told.c.report, report_told.c.part).distinct())
        return [(row.report, row.part) for row in rows]

    async def last_release(self, session: ReadSession) -> Release | None:
        """Return the newest release, if there is one."""
        newest = select(report_release).order_by(report_release.c.release.desc()).limit(1)
        row = (await session.execute(newest)).one_or_none()
        if row is None:
            return None
        self._require(report_release.name, row)
        return Release(row.release, row.made_at, row.log_size, row.log_note, row.policy_version, row.digest)

    async def keep(self, session: WriteSession, part: ToldPart) -> None:
        """Add a document."""
        columns: dict[str, Value] = {
            "report": part.report,
            "part": part.part,
            "release": part.release,
            "document": part.document,
        }
        await session.execute(report_told.insert().values(**columns, seal=self._seals.seal(report_told.name, columns)))

    async def keep_release(self, session: WriteSession, release: Release) -> None:
        """Add a release."""
        columns: dict[str, Value] = {name: getattr(release, name) for name in Release.__slots__}
        await session.execute(
            report_release.insert().values(**columns, seal=self._seals.seal(report_release.name, columns))
        )

    def _require(self, table: str, row: Row[Any]) -> None:
        columns: Mapping[str, Any] = {
            name: bytes(value) if isinstance(value, memoryview) else value
            for name, value in row._mapping.items()  # noqa: SLF001  SQLAlchemy's documented row mapping
            if name != "seal"
        }
        if not self._seals.holds(table, columns, bytes(row.seal)):
            raise IntegrityError(f"a row of {table} does not match its seal")


def digest_of(parts: Sequence[ToldPart]) -> str:
    """Return the digest over all documents that stand told: of each one's report, part, release and SHA-256."""
    listed = [[one.report, one.part, one.release, sha256_b64url(one.document)] for one in parts]
    return content_digest(canonical(listed))


async def anything_told(session: ReadSession) -> bool:
    """Whether there ever was a release."""
    return (await session.execute(select(report_release.c.release).limit(1))).first() is not None
