"""The documents that were told and the releases that told them: rows that are only added, under the service's seal.

They stand in clear, because anybody may know what they say; the seals are for who could write them. Without one an
administrator of the database could let the service sign numbers of his own.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, select
from sqlalchemy.dialects.postgresql import distinct_on

from creditshare.crypto.digests import content_digest, sha256_b64url
from creditshare.crypto.rowseals import RowSeals, Value
from creditshare.errors import IntegrityError
from creditshare.reports.models import report_release, report_told
from creditshare.storage.engine import ReadSession, WriteSession
from creditshare.storage.rowsets import Columns, columns_of, rows_of
from creditshare.wire.strict_json import canonical

Name = tuple[str, str]
"""A report and a part of it."""
Document = tuple[int, str]
"""Which release told it, and its SHA-256."""


@dataclass(frozen=True, slots=True)
class ToldPart:
    """A document as it stands: of which report and part, told by which release, its bytes."""

    report: str
    part: str
    release: int
    document: bytes


@dataclass(frozen=True, slots=True)
class Release:
    """Each time something was told: when, the newest checkpoint of the log then, and a digest over all that stood.

    ``manifest`` lists what that is; releases of before there were manifests have none. ``unreadable`` counts entries of
    the log that nobody could open, so that they are not counted.
    """

    release: int
    made_at: datetime
    log_size: int
    log_note: str
    policy_version: str
    digest: str
    unreadable: int | None = None
    manifest: bytes | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What stands told since a release."""

    documents: Mapping[Name, Document] = field(default_factory=dict)

    @classmethod
    def of(cls, parts: Iterable[ToldPart]) -> "Manifest":
        """List documents."""
        return cls({(one.report, one.part): (one.release, sha256_b64url(one.document)) for one in parts})

    @classmethod
    def read(cls, data: bytes) -> "Manifest":
        """Read what ``spelled`` wrote."""
        return cls({(report, part): (release, digest) for report, part, release, digest in json.loads(data)})

    def followed_by(self, parts: Iterable[ToldPart]) -> "Manifest":
        """Return what stands when newer documents were told."""
        return Manifest({**self.documents, **Manifest.of(parts).documents})

    def spelled(self) -> bytes:
        """Return it as bytes, in the order of reports and parts."""
        return canonical([[*name, *document] for name, document in sorted(self.documents.items())])

    @property
    def digest(self) -> str:
        """The digest of a release: over the list, and by it over every document that stands."""
        return content_digest(self.spelled())


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest release, and what stands told since."""

    release: Release
    manifest: Manifest

    def names(self, report: str, *, first: str, last: str) -> list[Name]:
        """Return the parts of a report between two, both included."""
        return [name for name in self.manifest.documents if name[0] == report and first <= name[1] <= last]


class ToldStore:
    """Keeps what was told, and believes only what bears its seal and is what the newest release lists."""

    def __init__(self, seals: RowSeals) -> None:
        self._seals = seals

    async def newest(self, session: ReadSession) -> Newest | None:
        """Return the newest release with what stands told; ``IntegrityError`` where it is not what was released."""
        last = await self.last_release(session)
        if last is None:
            return None
        if last.manifest is not None:
            return Newest(last, Manifest.read(last.manifest))
        manifest = Manifest.of(await self._stood(session, last.release))
        if manifest.digest != last.digest:
            raise IntegrityError("what stands told is not what the last release told")
        return Newest(last, manifest)

    async def documents(self, session: ReadSession, newest: Newest, names: Collection[Name]) -> list[ToldPart]:
        """Return documents that stand told, by name; ``IntegrityError`` where there are others, more or fewer."""
        listed = [(*name, newest.manifest.documents[name]) for name in sorted(names)]
        rows = await session.run(
            STANDING,
            {
                **columns_of("w", _WANTED, [(report, part, release) for report, part, (release, _) in listed]),
                "newest": newest.release.release,
            },
        )
        # The list's digest stands under the release's seal: what it lists needs no other.
        found = [ToldPart(row.report, row.part, row.release, bytes(row.document)) for row in rows]
        there = sorted((one.report, one.part, (one.release, sha256_b64url(one.document))) for one in found)
        if there != listed:
            raise IntegrityError("what stands told is not what the newest release lists")
        return found

    async def _stood(self, session: ReadSession, release: int) -> list[ToldPart]:
        """Return the documents that a release left standing, without a manifest to go by."""
        told = report_told.c
        query = (
            select(report_told)
            .ext(distinct_on(told.report, told.part))
            .where(told.release <= release)
            .order_by(told.report, told.part, told.release.desc())
        )
        return [self._told(row) for row in await session.execute(query)]

    async def last_release(self, session: ReadSession) -> Release | None:
        """Return the newest release, if there is one."""
        newest = select(report_release).order_by(report_release.c.release.desc()).limit(1)
        row = (await session.execute(newest)).one_or_none()
        return None if row is None else self._released(row)

    def _released(self, row: Row[Any]) -> Release:
        columns = _columns(row)
        release = Release(**columns)
        if not self._seals.holds(report_release.name, _sealed(release), bytes(row.seal)):
            raise IntegrityError("a row of report_release does not match its seal")
        if release.manifest is not None and content_digest(release.manifest) != release.digest:
            raise IntegrityError("the manifest of a release is not what its digest is over")
        return release

    def _told(self, row: Row[Any]) -> ToldPart:
        columns = _columns(row)
        if not self._seals.holds(report_told.name, columns, bytes(row.seal)):
            raise IntegrityError("a row of report_told does not match its seal")
        return ToldPart(**columns)

    async def keep(self, session: WriteSession, part: ToldPart) -> None:
        """Add a document."""
        columns: dict[str, Value] = {name: getattr(part, name) for name in ToldPart.__slots__}
        await session.execute(report_told.insert().values(**columns, seal=self._seals.seal(report_told.name, columns)))

    async def keep_release(self, session: WriteSession, release: Release) -> None:
        """Add a release."""
        columns: dict[str, Value] = {name: getattr(release, name) for name in Release.__slots__}
        seal = self._seals.seal(report_release.name, _sealed(release))
        await session.execute(report_release.insert().values(**columns, seal=seal))

    async def releases(self, session: ReadSession, *, after: int, limit: int) -> list[Release | int]:
        """Return the next releases in their order, for whoever examines all; one that is broken by its number."""
        query = select(report_release).where(report_release.c.release > after).order_by(report_release.c.release)
        found: list[Release | int] = []
        for row in await session.execute(query.limit(limit)):
            try:
                found.append(self._released(row))
            except (IntegrityError, TypeError, ValueError):
                found.append(row.release)
        return found

    async def told_between(self, session: ReadSession, *, after: int, until: int | None) -> list[ToldPart | Name]:
        """Return the documents that were told behind a release, up to another; one that is broken by its name."""
        told = report_told.c
        query = select(report_told).where(told.release > after).order_by(told.release, told.report, told.part)
        found: list[ToldPart | Name] = []
        for row in await session.execute(query if until is None else query.where(told.release <= until)):
            try:
                found.append(self._told(row))
            except (IntegrityError, TypeError, ValueError):
                found.append((row.report, row.part))
        return found


_WANTED: Final[Columns] = {"report": "text", "part": "text", "release": "integer"}
STANDING: Final = f"""
SELECT t.report, t.part, t.release, t.document FROM {rows_of("w", _WANTED)}
JOIN report_told t ON t.report = w.report AND t.part = w.part AND t.release >= w.release
WHERE t.release <= %(newest)s
OR NOT EXISTS (SELECT FROM report_release r WHERE r.release = t.release)"""  # noqa: S608  names of ours
"""Documents that are listed, with any that claim to be newer: but for those of a release that was made meanwhile."""


def _columns(row: Row[Any]) -> dict[str, Any]:
    return {
        name: bytes(value) if isinstance(value, memoryview) else value
        for name, value in row._mapping.items()  # noqa: SLF001  SQLAlchemy's documented row mapping
        if name != "seal"
    }


def _sealed(release: Release) -> dict[str, Value]:
    """Return what a release's seal covers: not the manifest, which the digest is over, nor what older ones lack."""
    columns = {name: getattr(release, name) for name in Release.__slots__ if name != "manifest"}
    return {name: value for name, value in columns.items() if name != "unreadable" or value is not None}


async def anything_told(session: ReadSession) -> bool:
    """Whether there ever was a release."""
    return (await session.execute(select(report_release.c.release).limit(1))).first() is not None
