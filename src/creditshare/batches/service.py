"""Accepting a batch, showing its job, and dealing with the next chunk. The only door to jobs."""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

import structlog
from sqlalchemy import RowMapping, delete, func, select, update

from creditshare.access.service import Caller
from creditshare.audit.service import Actor, Audit, Entry, ExchangeDigests, Recorded
from creditshare.batches.models import job, job_chunk, job_error, job_result
from creditshare.batches.rows import CHUNK_ROWS, chunks
from creditshare.crypto.digests import content_digest
from creditshare.crypto.encoding import b64url_decode, b64url_encode
from creditshare.crypto.sealing import KEY_BYTES, KEY_ID_BYTES, Box, Place
from creditshare.errors import FieldError, IntegrityError, Refused, Unavailable
from creditshare.ids import spell, uuid7
from creditshare.members import standing
from creditshare.members.keys import MemberKeys
from creditshare.members.service import Member, Members
from creditshare.records.loading import Loaded, Submission
from creditshare.records.service import Records
from creditshare.sandbox.service import business_time
from creditshare.storage.engine import Changed, Database, ReadSession, WriteSession
from creditshare.wire.reasons import REASONS
from creditshare.wire.strict_json import canonical, decode_object

KEPT: Final = timedelta(hours=72)
STAGED_AT_ONCE: Final = 16
CHUNKS_AT_ONCE: Final = 10
"""The most chunks of one transaction. What each statement costs is nothing beside 1,000 rows, and nobody waits long."""
ROWS_AT_ONCE: Final = 1_000
"""How many rows one answer tells of."""
WOKEN_BY: Final = "creditshare_jobs"
"""The channel on which workers hear that a job waits."""
JobStatus = Literal["queued", "running", "done", "failed"]
Outcome = Loaded | Refused
ReadRow = Callable[[bytes], Submission]
"""Reads a row as ``POST /v1/records`` would, or refuses it; the form of bodies belongs to ``api``, above this."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Job:
    """A batch and how far it is. ``code`` says why it failed."""

    job_id: UUID
    status: JobStatus
    code: str | None
    dry_run: bool
    rows: int
    accepted: int
    refused: int
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class RowErrors:
    """What is wrong with one row of a file; ``record_id`` where its account is reported already."""

    row: int
    errors: Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class RowRecord:
    """The record that one row of a file became."""

    row: int
    record_id: UUID


@dataclass(frozen=True, slots=True)
class _Order:
    """What a job must remember of the signed request that ordered it, and the key of its rows."""

    actor: Actor
    rqh: str
    request_digest: str
    box: Box

    @property
    def exchange(self) -> ExchangeDigests:
        """The exchange of the job's events: that request; its token is kept with the request's own event."""
        return ExchangeDigests(self.rqh, "", self.request_digest, content_digest(b""))


class Batches:
    """Takes in batches and deals with them. Staged rows are sealed under a key that ends with the job."""

    def __init__(
        self,
        *,
        database: Database,
        records: Records,
        members: Members,
        member_keys: MemberKeys,
        audit: Audit,
        service_box: Box,
        read_row: ReadRow,
    ) -> None:
        self._database = database
        self._records = records
        self._members = members
        self._member_keys = member_keys
        self._audit = audit
        self._box = service_box
        self._read_row = read_row

    async def accept(
        self, session: WriteSession, caller: Caller, rows: Iterable[bytes], *, dry_run: bool, now: datetime
    ) -> Recorded[Job]:
        """Stage the rows of a file; the job begins when this transaction commits."""
        job_id = uuid7(now)
        secret, key_id = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(KEY_ID_BYTES)
        count, number = 0, 0
        box, staged = Box.of(secret, key_id=key_id), list[dict[str, Any]]()
        for number, chunk in enumerate(chunks(rows), start=1):
            count += len(chunk)
            sealed = box.seal(_chunk_place(job_id, number - 1), b"\n".join(chunk))
            staged.append({"job_id": job_id, "chunk": number - 1, "sealed": sealed})
            if len(staged) == STAGED_AT_ONCE:
                await session.execute(job_chunk.insert(), staged)
                staged = []
        if staged:
            await session.execute(job_chunk.insert(), staged)
        if not count:
            raise Refused("validation_failed", fields=[FieldError("/rows", "too_short", "at least one row")])
        order = canonical(
            {
                "key": b64url_encode(secret),
                "key_id": b64url_encode(key_id),
                "kid": caller.kid,
                "request_digest": caller.signed_digest,
                "request_id": caller.request_id,
                "rqh": caller.rqh,
                "sub": caller.sub,
            }
        )
        accepted = Job(job_id, "queued", None, dry_run, count, 0, 0, now, None, now + KEPT)
        await session.execute(
            job.insert().values(
                job_id=job_id,
                member_id=caller.member_id,
                dry_run=dry_run,
                status="queued",
                rows=count,
                chunks=number,
                next_chunk=0,
                accepted=0,
                refused=0,
                sealed=self._box.seal(_order_place(job_id), order),
                created_at=now,
                touched_at=now,
                expires_at=accepted.expires_at,
            )
        )
        await session.execute(select(func.pg_notify(WOKEN_BY, "")))  # heard when this transaction commits
        details = {"dry_run": int(dry_run), "rows": count}
        return Recorded(accepted, Entry("submit_record_batch", references=_reference(job_id), details=details))

    async def show(self, session: ReadSession, member_id: UUID, job_id: UUID, *, now: datetime) -> Job:
        """Return a member's own job; another's, and one whose time is over, is not found."""
        found = await session.execute(
            select(job).where(job.c.job_id == job_id, job.c.member_id == member_id, job.c.expires_at > now)
        )
        row = found.mappings().one_or_none()
        if row is None:
            raise Refused("not_found")
        return _job(row)

    async def errors(
        self, session: ReadSession, member_id: UUID, job_id: UUID, *, after: int, now: datetime
    ) -> list[RowErrors]:
        """Return the next rows that were refused, by number, beginning behind row ``after``."""
        await self.show(session, member_id, job_id, now=now)
        found = await session.execute(
            select(job_error)
            .where(job_error.c.job_id == job_id, job_error.c.row > after)
            .order_by(job_error.c.row)
            .limit(ROWS_AT_ONCE)
        )
        return [RowErrors(row.row, row.errors) for row in found]

    async def records(
        self, session: ReadSession, member_id: UUID, job_id: UUID, *, after: int, now: datetime
    ) -> list[RowRecord]:
        """Return the next rows that became records, by number, beginning behind row ``after``."""
        await self.show(session, member_id, job_id, now=now)
        found = await session.execute(
            select(job_result)
            .where(job_result.c.job_id == job_id, job_result.c.chunk >= after // CHUNK_ROWS)
            .order_by(job_result.c.chunk)
            .limit(ROWS_AT_ONCE // CHUNK_ROWS)
        )
        return [
            RowRecord(number, record_id)
            for chunk in found
            for number, record_id in enumerate(chunk.record_ids, start=chunk.chunk * CHUNK_ROWS + 1)
            if record_id is not None and number > after
        ]

    async def step(self) -> bool:
        """Deal with the next chunks of one job, in one transaction; False where no job waits."""
        job_id: UUID | None = None
        try:
            async with self._database.writing() as session:
                row = await self._next(session)
                if row is None:
                    return False
                job_id = row["job_id"]
                now = (await business_time(session)).now
                await self._advance(session, row, now=now)
                await session.commit()
        except Unavailable:
            raise
        except Changed:
            return True  # nothing happened, the next step begins at the same row
        except Refused as refusal:
            code = refusal.code
        except Exception:
            # What it was is told to the operator; the job ends, so that it does not hold up the others for ever.
            log.exception("batch failed", job_id=str(job_id))
            code = "internal_error"
        else:
            return True
        if job_id is None:
            raise IntegrityError("a refusal without a job")
        async with self._database.writing() as session:
            row = await self._locked(session, job_id)
            if row is not None:
                await self._finish(session, row, now=(await business_time(session)).now, code=code)
            await session.commit()
        return True

    async def _next(self, session: WriteSession) -> RowMapping | None:
        """Lock the job that waited longest, leaving out those that another worker holds."""
        found = await session.execute(
            select(job)
            .where(job.c.status.in_(("queued", "running")))
            .order_by(job.c.touched_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        return found.mappings().one_or_none()

    async def _locked(self, session: WriteSession, job_id: UUID) -> RowMapping | None:
        found = await session.execute(
            select(job).where(job.c.job_id == job_id, job.c.status.in_(("queued", "running"))).with_for_update()
        )
        return found.mappings().one_or_none()

    async def _advance(self, session: WriteSession, row: RowMapping, *, now: datetime) -> None:
        job_id, first = row["job_id"], row["next_chunk"]
        # As many chunks as are done already: how a file fares is told soon, and most of it is done in long strides.
        last = min(row["chunks"], first + min(max(first, 1), CHUNKS_AT_ONCE))
        order = self._order(row)
        member = await self._members.get(session, row["member_id"])
        await self._require_right(session, member, order)
        found = await session.execute(
            delete(job_chunk)
            .where(job_chunk.c.job_id == job_id, job_chunk.c.chunk >= first, job_chunk.c.chunk < last)
            .returning(job_chunk.c.chunk, job_chunk.c.sealed)
        )
        staged = {row.chunk: row.sealed for row in found}
        rows = [
            line
            for number in range(first, last)
            for line in order.box.open(_chunk_place(job_id, number), staged[number]).split(b"\n")
        ]
        outcomes = await self._deal(session, member, rows, keep=not row["dry_run"], now=now)
        refused = {at: one for at, one in enumerate(outcomes, start=first * CHUNK_ROWS + 1) if isinstance(one, Refused)}
        if not row["dry_run"]:
            await self._record(session, job_id, first, order, outcomes, now=now)
        if refused:
            await session.execute(
                job_error.insert(),
                [{"job_id": job_id, "row": at, "errors": _named(refusal)} for at, refusal in refused.items()],
            )
        counts = {
            "accepted": row["accepted"] + len(rows) - len(refused),
            "refused": row["refused"] + len(refused),
            "next_chunk": last,
        }
        if last == row["chunks"]:
            await self._finish(session, {**row, **counts}, now=now, code=None)
        else:
            await session.execute(
                update(job).where(job.c.job_id == job_id).values(status="running", touched_at=now, **counts)
            )

    async def _require_right(self, session: ReadSession, member: Member, order: _Order) -> None:
        """Refuse to go on for a member that was suspended, or whose key was revoked, since it sent the file."""
        if member.role != "lender":
            raise Refused("role_forbidden")
        standing.require(member.status, "report")
        if await self._member_keys.was_revoked(session, order.actor.kid):
            raise Refused("key_revoked")

    async def _deal(
        self, session: WriteSession, member: Member, rows: Sequence[bytes], *, keep: bool, now: datetime
    ) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        good: dict[int, Submission] = {}
        for number, row in enumerate(rows):
            try:
                good[number] = self._read_row(row)
            except Refused as refusal:
                outcomes[number] = refusal
        done = await self._records.submit_many(
            session, member.member_id, member.jurisdictions, list(good.values()), keep=keep, now=now
        )
        outcomes |= zip(good, done, strict=True)
        return [outcomes[number] for number in range(len(rows))]

    async def _record(
        self,
        session: WriteSession,
        job_id: UUID,
        first: int,
        order: _Order,
        outcomes: Sequence[Outcome],
        *,
        now: datetime,
    ) -> None:
        """Append the event of each record, and note which row became which record."""
        series = self._audit.series(Entry("load_record"), actor=order.actor, exchange=order.exchange, now=now)
        of_job = _reference(job_id)
        events = [
            series.event(one.subject, {**of_job, "record_id": spell("rec", one.record_id)})
            for one in outcomes
            if isinstance(one, Loaded)
        ]
        await self._audit.append_many(session, events)
        ids = [one.record_id if isinstance(one, Loaded) else None for one in outcomes]
        results = [
            {"job_id": job_id, "chunk": first + at // CHUNK_ROWS, "record_ids": ids[at : at + CHUNK_ROWS]}
            for at in range(0, len(ids), CHUNK_ROWS)
            if any(ids[at : at + CHUNK_ROWS])  # so that a page of results is empty only behind the last one
        ]
        if results:
            await session.execute(job_result.insert(), results)

    async def _finish(self, session: WriteSession, row: Mapping[Any, Any], *, now: datetime, code: str | None) -> None:
        """End a job: its key and what is left of its rows go, and its counts become an event."""
        job_id, order = row["job_id"], self._order(row)
        await session.execute(
            update(job)
            .where(job.c.job_id == job_id)
            .values(
                status="failed" if code else "done",
                code=code,
                sealed=None,
                finished_at=now,
                touched_at=now,
                **{name: row[name] for name in ("accepted", "refused", "next_chunk")},
            )
        )
        await session.execute(delete(job_chunk).where(job_chunk.c.job_id == job_id))
        details = {name: row[name] for name in ("accepted", "refused", "rows")}
        event = self._audit.compose(
            Entry("finish_job", references=_reference(job_id), details=details),
            actor=order.actor,
            exchange=order.exchange,
            now=now,
            outcome=code or "ok",
        )
        await self._audit.append(session, event)

    def _order(self, row: Mapping[Any, Any]) -> _Order:
        kept = decode_object(self._box.open(_order_place(row["job_id"]), row["sealed"]))
        text = {name: str(value) for name, value in kept.items()}
        actor = Actor(spell("mem", row["member_id"]), text["sub"], text["kid"], text["request_id"])
        box = Box.of(b64url_decode(text["key"]), key_id=b64url_decode(text["key_id"]))
        return _Order(actor, text["rqh"], text["request_digest"], box)


async def files_in_progress(session: ReadSession, member_id: UUID) -> int:
    """Return how many of a member's files are not dealt with yet."""
    waiting = select(func.count()).where(job.c.member_id == member_id, job.c.status.in_(("queued", "running")))
    return int((await session.execute(waiting)).scalar_one())


async def rows_ended_since(session: ReadSession, member_id: UUID, *, since: datetime) -> tuple[int, int]:
    """Return how many rows of a member's files that ended since an instant were dealt with, and how many refused."""
    dealt = func.coalesce(func.sum(job.c.accepted + job.c.refused), 0).label("dealt")
    refused = func.coalesce(func.sum(job.c.refused), 0).label("refused")
    ended = select(dealt, refused).where(
        job.c.member_id == member_id, job.c.finished_at > since, job.c.dry_run.is_(False)
    )
    row = (await session.execute(ended)).one()
    return int(row.dealt), int(row.refused)


@dataclass(frozen=True, slots=True)
class Queue:
    """How many files are in which state, since when the oldest waits, and the newest of all with their members."""

    by_status: Mapping[str, int]
    waits_since: datetime | None
    newest: Sequence[tuple[UUID, Job]]


async def queue(session: ReadSession, *, limit: int) -> Queue:
    """Return how the queue stands, for who runs the service; what is in a file is told to its member alone."""
    counted = await session.execute(select(job.c.status, func.count().label("jobs")).group_by(job.c.status))
    waits = select(func.min(job.c.created_at)).where(job.c.status.in_(("queued", "running")))
    newest = await session.execute(select(job).order_by(job.c.created_at.desc()).limit(limit))
    rows = list(newest.mappings())
    return Queue(
        {row.status: row.jobs for row in counted},
        (await session.execute(waits)).scalar(),
        [(row["member_id"], _job(row)) for row in rows],
    )


async def forget_jobs(session: WriteSession) -> None:
    """Delete jobs whose time is over, with their error files."""
    over = select(job.c.job_id).where(job.c.expires_at < func.creditshare_now())
    for table in (job_error, job_result, job_chunk):
        await session.execute(delete(table).where(table.c.job_id.in_(over)))
    await session.execute(delete(job).where(job.c.expires_at < func.creditshare_now()))


def _named(refusal: Refused) -> list[dict[str, str]]:
    """Return what the error file says of a row: pointer, code and what is expected, never a value."""
    more = {"record_id": str(refusal.extra["record_id"])} if "record_id" in refusal.extra else {}
    if not refusal.fields:
        return [{"pointer": "", "code": refusal.code, "detail": REASONS[refusal.code].detail.en, **more}]
    return [{"pointer": one.pointer, "code": one.code, "detail": one.detail} for one in refusal.fields]


def _job(row: RowMapping) -> Job:
    return Job(**{name: row[name] for name in Job.__dataclass_fields__})


def _reference(job_id: UUID) -> dict[str, str]:
    return {"job_id": spell("job", job_id)}


def _order_place(job_id: UUID) -> Place:
    return Place("job", "sealed", job_id.bytes)


def _chunk_place(job_id: UUID, number: int) -> Place:
    return Place("job_chunk", "sealed", job_id.bytes + number.to_bytes(8, "big"))
