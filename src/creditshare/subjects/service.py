"""From a blind token to a borrower: looked up by keyed hash, made when first named, locked for writing.

Making a borrower costs the same whether it existed or not: a key is always made and wrapped, and the
insert simply finds its place taken. Every write about a borrower bumps ``version`` under the row's lock,
extends the MAC chain over its record events, and seals the row.
"""

import hmac
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from sqlalchemy import RowMapping, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from creditshare.crypto.encoding import b64url_decode, b64url_encode
from creditshare.crypto.oprf import SUITE
from creditshare.crypto.p256 import checked_point
from creditshare.crypto.sealing import KEY_ID_BYTES
from creditshare.errors import FieldError, IntegrityError, Malformed, Refused
from creditshare.ids import uuid7
from creditshare.keys.custody import Custody, SubjectKeys, seal_place
from creditshare.storage.engine import DriverConnection, ReadSession, WriteSession
from creditshare.storage.paging import page_of
from creditshare.subjects.models import member_subject, subject, subject_index
from creditshare.subjects.tokeniser import Tokeniser

EMPTY_CHAIN: Final = bytes(32)
COUNTING_TIMEOUT: Final = "10min"  # reads every borrower's row once
WRAPPING_LOCK: Final = 0x6B65_6B77_7261_70  # shared while a borrower is made, alone while a wrapping key is retired
HOLD: Final = """
SELECT i.index, s.*
FROM (SELECT index, subject_id FROM subject_index WHERE index = ANY(%(indexes)b) ORDER BY subject_id) i
LEFT JOIN LATERAL (
    SELECT subject_id, state, version, dek_id, dek, element, event_count, chain, last_event_at, mac
    FROM subject WHERE subject_id = i.subject_id FOR UPDATE) s ON true"""
"""Locks rows in the order of their ids. An index whose row is gone is told with nothing beside it."""
_TICK: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class BorrowerToken:
    """A blind token as a request gives it: suite, key version and the element's base64url text."""

    suite: str
    key_version: int
    element: str


@dataclass(frozen=True, slots=True)
class SubjectState:
    """A borrower's row, opened and checked against its own seal."""

    subject_id: UUID
    version: int
    event_count: int
    chain: bytes
    last_event_at: datetime
    keys: SubjectKeys


@dataclass(frozen=True, slots=True)
class Made:
    """A new borrower, not yet written: its state, its wrapped key and its sealed token."""

    state: SubjectState
    dek: bytes
    element: bytes


class Subjects:
    """The only door to borrowers' rows."""

    def __init__(
        self,
        *,
        custody: Custody,
        tokeniser: Tokeniser,
        pepper: bytes,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._custody = custody
        self._tokeniser = tokeniser
        self._pepper = pepper
        self._monotonic = monotonic

    def index(self, token: BorrowerToken) -> bytes:
        """Return the keyed hash under which a token is looked up; a malformed element is refused.

        HMAC-SHA-256 under the pepper, over suite, key version and element.
        """
        self._tokeniser.key_for(token.suite, token.key_version)
        element = element_bytes(token.element)
        message = f"{token.suite}|{token.key_version}|".encode() + element
        return hmac.digest(self._pepper, message, "sha256")

    async def resolve(
        self, session: WriteSession, token: BorrowerToken, member_id: UUID, *, now: datetime
    ) -> SubjectState:
        """Return the borrower of a token, locked for writing, making it if nobody named it before."""
        subject_id = await self._find_or_make(session, self.index(token), token, now=now)
        state = await self.lock(session, subject_id, token=token)
        introduced = await session.execute(
            insert(member_subject)
            .values(subject_id=subject_id, member_id=member_id)
            .on_conflict_do_nothing()
            .returning(member_subject.c.subject_id)
        )
        if introduced.first() is not None:
            self.introduce(session, member_id, count=1, now=now)
        return state

    def introduce(self, session: WriteSession, member_id: UUID, *, count: int, now: datetime) -> None:
        """Count, at the end of a transaction, borrowers that a member named for the first time; it may refuse then."""
        session.at_the_end(partial(self._tokeniser.budgets.introduce, session, member_id, count=count, now=now))

    async def hold(self, session: WriteSession, indexes: Collection[bytes]) -> dict[bytes, RowMapping | None]:
        """Lock the borrowers of those indexes that somebody named before, and return their rows by index.

        All transactions lock in the order of ids, so that none waits for another in a circle. Those that are to be made
        may be made until the transaction ends: ``WRAPPING_LOCK`` is held.
        """
        await session.execute(select(func.pg_advisory_xact_lock_shared(WRAPPING_LOCK)))
        found = await session.run(HOLD, {"indexes": list(indexes)})
        return {row["index"]: row if row["subject_id"] is not None else None for row in found.mappings()}

    async def introduced(self, connection: DriverConnection, member_id: UUID, *, count: int) -> None:
        """Count borrowers that a member named for the first time, or refuse and let its transaction roll back."""
        await self._tokeniser.budgets.introduce_at_once(connection, member_id, count=count)

    def index_or_refusal(self, token: BorrowerToken) -> bytes | Refused:
        """Return ``index``, or the refusal where that is to wait until something else was looked at."""
        try:
            return self.index(token)
        except Refused as refusal:
            return refusal

    async def _find_or_make(self, session: WriteSession, index: bytes, token: BorrowerToken, *, now: datetime) -> UUID:
        taken = await session.execute(
            insert(subject_index)
            .values(index=index, subject_id=uuid7(now), key_version=token.key_version)
            .on_conflict_do_nothing()
            .returning(subject_index.c.subject_id, func.pg_advisory_xact_lock_shared(WRAPPING_LOCK))
        )
        new = taken.first()
        # Made after that lock is held, so that no wrapping key is retired between this and the commit.
        made = self.make(uuid7(now) if new is None else new.subject_id, token, now=now)
        if new is None:
            found = select(subject_index.c.subject_id).where(subject_index.c.index == index)
            known = (await session.execute(found)).scalar_one_or_none()
            if known is None:
                raise Refused("not_found")
            return UUID(str(known))
        state = made.state
        await session.execute(
            subject.insert().values(
                subject_id=state.subject_id,
                state="live",
                version=state.version,
                dek_id=state.keys.key_id,
                dek=made.dek,
                element=made.element,
                event_count=state.event_count,
                chain=state.chain,
                last_event_at=now,
                mac=sealed_row(state),
            )
        )
        return state.subject_id

    def make(self, subject_id: UUID, token: BorrowerToken, *, now: datetime) -> "Made":
        """Make a borrower that nobody named before, with a key of its own. Nothing is written yet.

        The caller holds ``WRAPPING_LOCK`` until its transaction ends, so that the key that wraps this one is not
        retired meanwhile.
        """
        keys, wrapped = self._custody.make(subject_id)
        # The token was looked up before, so its element is known to be good.
        element = keys.box("element").seal(seal_place("subject", "element", subject_id), b64url_decode(token.element))
        return Made(SubjectState(subject_id, 1, 0, EMPTY_CHAIN, now, keys), wrapped.data, element)

    async def lock(
        self, session: WriteSession, subject_id: UUID, *, token: BorrowerToken | None = None
    ) -> SubjectState:
        """Lock a borrower's row for writing and return it; ``erased`` if its key was destroyed.

        Who came by a token names it, so that a row to which the index was bent is noticed.
        """
        row = (
            await session.execute(select(subject).where(subject.c.subject_id == subject_id).with_for_update())
        ).one_or_none()
        found = None if row is None else row._mapping  # noqa: SLF001  SQLAlchemy's documented row mapping
        state = self.opened(found)
        if token is not None and found is not None:
            check_token(state, found["element"], token)
        return state

    async def read(self, session: ReadSession, subject_id: UUID) -> SubjectState:
        """Return a borrower's row.

        In a writing session nobody changes it before the session ends: what is read after it must fit the seal in it,
        and a report in between would look like tampering.
        """
        found = select(subject).where(subject.c.subject_id == subject_id)
        if isinstance(session, WriteSession):
            found = found.with_for_update(read=True)
        row = (await session.execute(found)).one_or_none()
        return self.opened(None if row is None else row._mapping)  # noqa: SLF001  SQLAlchemy's documented row mapping

    async def find(self, session: WriteSession, token: BorrowerToken) -> SubjectState | None:
        """Return the borrower of a token as ``read`` does, or nothing where nobody named it, or it is erased."""
        found = await session.execute(
            select(subject)
            .join(subject_index, subject_index.c.subject_id == subject.c.subject_id)
            .where(subject_index.c.index == self.index(token))
            .with_for_update(read=True, of=subject)
        )
        row = found.one_or_none()
        if row is None or row.dek is None:
            return None
        state = self.opened(row._mapping)  # noqa: SLF001  SQLAlchemy's documented row mapping
        check_token(state, row.element, token)
        return state

    async def token_of(self, session: ReadSession, state: SubjectState) -> BorrowerToken:
        """Return the token that a borrower was first named by, for who named it."""
        found = await session.execute(
            select(subject.c.element, subject_index.c.key_version)
            .join(subject_index, subject_index.c.subject_id == subject.c.subject_id)
            .where(subject.c.subject_id == state.subject_id)
            .order_by(subject_index.c.key_version)
            .limit(1)
        )
        row = found.one()
        element = state.keys.box("element").open(seal_place("subject", "element", state.subject_id), row.element)
        return BorrowerToken(SUITE, row.key_version, b64url_encode(element))

    def opened(self, row: Mapping[str, object] | RowMapping | None) -> SubjectState:
        """Open a borrower's row: unwrap its key and check its seal."""
        if row is None:
            raise Refused("not_found")
        wrapped = row["dek"]
        if not isinstance(wrapped, bytes):
            raise Refused("erased")
        subject_id, dek_id, chain, mac = row["subject_id"], row["dek_id"], row["chain"], row["mac"]
        version, count, last = row["version"], row["event_count"], row["last_event_at"]
        if not (
            isinstance(subject_id, UUID)
            and isinstance(dek_id, bytes)
            and isinstance(chain, bytes)
            and isinstance(mac, bytes)
            and isinstance(version, int)
            and isinstance(count, int)
            and isinstance(last, datetime)
        ):
            raise IntegrityError("a borrower's row has columns of other types")
        keys = self._custody.open(subject_id, dek_id, wrapped, monotonic=self._monotonic())
        expected = row_mac(keys, version=version, event_count=count, chain=chain, last_event_at=last)
        if not hmac.compare_digest(expected, mac):
            raise IntegrityError("a borrower's row does not match its seal")
        return SubjectState(subject_id, version, count, chain, last, keys)

    async def advance(
        self,
        session: WriteSession,
        state: SubjectState,
        *,
        event_macs: Sequence[bytes] = (),
        at: datetime | None = None,
    ) -> SubjectState:
        """Bump the version, extend the chain by new record events, and seal the row anew."""
        changed = advanced(state, event_macs=event_macs, at=at)
        await session.execute(
            subject.update()
            .where(subject.c.subject_id == changed.subject_id)
            .values(
                version=changed.version,
                event_count=changed.event_count,
                chain=changed.chain,
                last_event_at=changed.last_event_at,
                mac=sealed_row(changed),
            )
        )
        return changed

    async def count_wrapped(self, session: ReadSession, *, hold: bool = False) -> dict[bytes, int]:
        """Return how many borrower keys each wrapping key wraps, by the 8-byte id that wrapped bytes name.

        ``hold`` keeps the counts true until the transaction ends: no borrower is made meanwhile.
        """
        await session.execute(select(func.set_config("statement_timeout", COUNTING_TIMEOUT, True)))  # noqa: FBT003  SQL's own argument, positional there
        if hold:
            await session.execute(select(func.pg_advisory_xact_lock(WRAPPING_LOCK)))
        name = func.substring(subject.c.dek, 3, KEY_ID_BYTES)
        counted = await session.execute(
            select(name.label("key_id"), func.count().label("rows")).where(subject.c.dek.is_not(None)).group_by(name)
        )
        return {bytes(row.key_id): int(row.rows) for row in counted}

    async def rewrap(self, session: WriteSession, *, limit: int) -> int:
        """Wrap up to ``limit`` borrower keys anew that another than the key in force wraps; return how many.

        The data keys stay, so nothing else changes. Repeating it until it returns 0 finishes a rotation,
        whoever began it.
        """
        current = self._custody.wrapping_key_id()
        stale = await session.execute(
            select(subject.c.subject_id, subject.c.dek_id, subject.c.dek)
            .where(subject.c.dek.is_not(None), func.substring(subject.c.dek, 3, KEY_ID_BYTES) != current)
            .order_by(subject.c.subject_id)
            .limit(limit)
            .with_for_update()
        )
        rows = stale.all()
        for row in rows:
            wrapped = self._custody.rewrap(row.subject_id, row.dek)
            await session.execute(
                subject.update().where(subject.c.subject_id == row.subject_id).values(dek=wrapped.data)
            )
        return len(rows)

    async def destroy(self, session: WriteSession, subject_id: UUID) -> None:
        """Destroy a borrower's key and forget its token: all that is sealed under the key stays closed for ever."""
        await session.execute(delete(subject_index).where(subject_index.c.subject_id == subject_id))
        await session.execute(
            subject.update()
            .where(subject.c.subject_id == subject_id)
            .values(state="erased", dek=None, element=None, version=subject.c.version + 1)
        )
        self._custody.forget(subject_id)


async def ids_of_subjects(session: ReadSession, *, after: UUID | None, limit: int) -> list[UUID]:
    """Return the next borrowers in the order of their ids."""
    return [row.subject_id for row in await page_of(session, subject.c.subject_id, after=after, limit=limit)]


async def still_live(session: ReadSession, subject_ids: Sequence[UUID]) -> tuple[UUID, ...]:
    """Return those of these borrowers whose key exists."""
    found = await session.execute(
        select(subject.c.subject_id).where(subject.c.subject_id.in_(subject_ids), subject.c.dek.is_not(None))
    )
    return tuple(found.scalars())


async def keys_of(
    session: ReadSession, custody: Custody, subject_ids: Collection[UUID], *, monotonic: float
) -> dict[UUID, SubjectKeys | IntegrityError | None]:
    """Return these borrowers' keys, ``None`` for an erased one, the error of one that does not open.

    One that there is not is left out. For whoever looks at what is kept, not at what may be told: the rows' seals are
    not looked at.
    """
    found = await session.execute(
        select(subject.c.subject_id, subject.c.dek_id, subject.c.dek).where(subject.c.subject_id.in_(subject_ids))
    )
    keys: dict[UUID, SubjectKeys | IntegrityError | None] = {}
    for row in found:
        try:
            opened = None if row.dek is None else custody.open(row.subject_id, row.dek_id, row.dek, monotonic=monotonic)
        except (IntegrityError, TypeError, ValueError) as error:
            keys[row.subject_id] = IntegrityError(f"its borrower's key does not open: {error}")
        else:
            keys[row.subject_id] = opened
    return keys


async def erased_of(session: ReadSession, subject_ids: Collection[UUID]) -> set[UUID]:
    """Return those of these borrowers that were erased."""
    found = await session.execute(
        select(subject.c.subject_id).where(subject.c.subject_id.in_(subject_ids), subject.c.dek.is_(None))
    )
    return set(found.scalars())


def element_bytes(text: str) -> bytes:
    """Return the 33 bytes of an element's only valid spelling, or refuse naming the field."""
    try:
        element = b64url_decode(text)
        checked_point(element)
    except Malformed:
        raise Refused(
            "element_invalid",
            fields=[FieldError("/subject/element", "element_invalid", "base64url of 33 bytes, a point of P-256")],
        ) from None
    return element


def advanced(state: SubjectState, *, event_macs: Sequence[bytes] = (), at: datetime | None = None) -> SubjectState:
    """Return a borrower one version further: its chain extended by new record events. Nothing is written yet."""
    chain = state.chain
    for mac in event_macs:
        chain = chain_step(state.keys, chain, mac)
    return SubjectState(
        state.subject_id,
        state.version + 1,
        state.event_count + len(event_macs),
        chain,
        at or state.last_event_at,
        state.keys,
    )


def check_token(state: SubjectState, sealed: object, token: BorrowerToken) -> None:
    """Raise ``IntegrityError`` unless a borrower's row holds this very token.

    The index from token to borrower is not sealed: whoever exchanges two of its rows would give one firm the
    records of another. The element inside the row, sealed under the borrower's own key, cannot be exchanged.
    """
    if not isinstance(sealed, bytes):
        raise IntegrityError("a borrower's row lacks its token")
    kept = state.keys.box("element").open(seal_place("subject", "element", state.subject_id), sealed)
    # That the token is a point was seen when it was looked up.
    if not hmac.compare_digest(kept, b64url_decode(token.element)):
        raise IntegrityError("the index leads from a token to another borrower")


def next_event_time(state: SubjectState, now: datetime) -> datetime:
    """Return the time of the borrower's next event: the clock's, but always after the last one, in whole ms."""
    clock = now.replace(microsecond=now.microsecond // 1000 * 1000)
    return max(clock, state.last_event_at.replace(microsecond=state.last_event_at.microsecond // 1000 * 1000) + _TICK)


def chain_step(keys: SubjectKeys, chain: bytes, event_mac: bytes) -> bytes:
    """Return the chained MAC after one more record event."""
    return keys.mac(b"chain", chain, event_mac)


def sealed_row(state: SubjectState) -> bytes:
    """Return the seal of the row that holds this state."""
    return row_mac(
        state.keys,
        version=state.version,
        event_count=state.event_count,
        chain=state.chain,
        last_event_at=state.last_event_at,
    )


def row_mac(keys: SubjectKeys, *, version: int, event_count: int, chain: bytes, last_event_at: datetime) -> bytes:
    """Return the seal of a borrower's row over all that may change in it."""
    moment = int(last_event_at.timestamp() * 1_000_000)
    numbers = b"".join(n.to_bytes(8, "big") for n in (version, event_count, moment))
    return keys.mac(b"subject", keys.subject_id.bytes, numbers, chain)
