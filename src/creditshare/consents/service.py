"""Granting, showing, revoking, pausing and resuming consents; opening them for those who decide by them."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import Date, case, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from creditshare.audit.service import Entry, Recorded
from creditshare.consents.models import consent, consent_evidence, consent_lookup
from creditshare.consents.rules import Consent, Frequency, Kind, refusal
from creditshare.crypto.sealing import length_prefixed
from creditshare.errors import FieldError, IntegrityError, Refused
from creditshare.ids import spell, uuid7
from creditshare.keys.custody import SubjectKeys, seal_place
from creditshare.members import standing
from creditshare.policy.service import Policy
from creditshare.storage.engine import ReadSession, WriteSession
from creditshare.storage.paging import page_of
from creditshare.subjects.service import BorrowerToken, Subjects, SubjectState
from creditshare.wire.strict_json import canonical, decode

Change = Literal["revoke", "pause", "resume"]
NEEDED_FOR: Final[Mapping[str, standing.Act]] = {"query": "ask", "provide": "report"}
"""What a member must be allowed to do that makes a consent of a kind good, or good again."""
_NEXT: Final[Mapping[Change, tuple[frozenset[str], str]]] = {
    "revoke": (frozenset({"active", "paused"}), "revoked"),
    "pause": (frozenset({"active"}), "paused"),
    "resume": (frozenset({"paused"}), "active"),
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What proves the consent: digest of (32 random bytes ‖ document), how it was given, when it was signed."""

    digest: str
    channel: str
    signed_at: datetime


@dataclass(frozen=True, slots=True)
class Terms:
    """A consent as a lender registers it."""

    kind: Kind
    subject: BorrowerToken
    purposes: tuple[str, ...]
    scopes: tuple[str, ...]
    valid_from: datetime
    valid_until: datetime
    max_uses: int | None
    frequency: Frequency | None
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Held:
    """A consent with its evidence, for its own lender."""

    consent: Consent
    evidence: Evidence


class Consents:
    """The only door to consents."""

    def __init__(self, *, subjects: Subjects, policy: Policy, reference_key: bytes) -> None:
        self._subjects = subjects
        self._policy = policy
        self._reference_key = reference_key

    async def grant(
        self, session: WriteSession, member_id: UUID, terms: Terms, *, member_status: str, now: datetime
    ) -> Recorded[Held]:
        """Register a consent. A document's digest serves once per member; its signature must be fresh."""
        standing.require(member_status, NEEDED_FOR[terms.kind])
        self._check(terms, now)
        state = await self._subjects.resolve(session, terms.subject, member_id, now=now)
        consent_id = uuid7(now)
        index = hmac.digest(
            self._reference_key, length_prefixed(b"evidence", member_id.bytes, terms.evidence.digest.encode()), "sha256"
        )
        first = await session.execute(
            insert(consent_evidence)
            .values(digest_index=index, consent_id=consent_id)
            .on_conflict_do_nothing()
            .returning(consent_evidence.c.consent_id)
        )
        if first.first() is None:
            raise Refused(
                "validation_failed",
                fields=[
                    FieldError("/evidence/digest", "used_before", "a document's digest serves for one consent only")
                ],
            )
        state = await self._subjects.advance(session, state)
        values: dict[str, Any] = {
            "subject_id": state.subject_id,
            "consent_id": consent_id,
            "member_id": member_id,
            "kind": terms.kind,
            "state": "active",
            "valid_from": terms.valid_from,
            "valid_until": terms.valid_until,
            "max_uses": terms.max_uses,
            "window_uses": terms.frequency.uses if terms.frequency else None,
            "window_per": terms.frequency.per if terms.frequency else None,
            "version": state.version,
        }
        content = canonical(
            {
                "evidence": {
                    "channel": terms.evidence.channel,
                    "digest": terms.evidence.digest,
                    "signed_at": terms.evidence.signed_at.isoformat(),
                },
                "purposes": list(terms.purposes),
                "scopes": list(terms.scopes),
            }
        )
        sealed = state.keys.box("consent").seal(seal_place("consent", "sealed", consent_id), content)
        values |= {"sealed": sealed, "mac": consent_mac(state.keys, values, sealed)}
        await session.execute(consent.insert().values(values))
        await session.execute(consent_lookup.insert().values(consent_id=consent_id, subject_id=state.subject_id))
        held = Held(
            open_consent(
                state.keys, {**values, "uses": 0, "window_start": None, "window_used": 0}, version=state.version
            ),
            terms.evidence,
        )
        return Recorded(
            held,
            self._entry("grant_consent", state.keys, consent_id, kind=terms.kind, purposes=" ".join(terms.purposes)),
        )

    async def show(self, session: ReadSession, member_id: UUID, consent_id: UUID) -> Recorded[Held]:
        """Return a member's own consent."""
        keys, row = await self._own(session, member_id, consent_id)
        content = _content(keys, row)
        evidence = content["evidence"]
        held = Held(
            open_consent(keys, row, version=None),
            Evidence(evidence["digest"], evidence["channel"], datetime.fromisoformat(evidence["signed_at"])),
        )
        return Recorded(held, self._entry("show_consent", keys, consent_id))

    async def change(
        self, session: WriteSession, member_id: UUID, consent_id: UUID, change: Change, *, member_status: str
    ) -> Recorded[Held]:
        """Revoke, pause or resume. Takes effect with the very next question, whoever is asking already."""
        subject_id = (await self._own_row(session, member_id, consent_id))["subject_id"]
        state = await self._subjects.lock(session, subject_id)
        keys, row = await self._own(session, member_id, consent_id)  # once more, as it is under the lock
        if change == "resume":
            standing.require(member_status, NEEDED_FOR[row["kind"]])
        allowed, target = _NEXT[change]
        if row["state"] not in allowed:
            raise Refused("state_conflict")
        state = await self._subjects.advance(session, state)
        changed = {**row, "state": target, "version": state.version}
        await session.execute(
            update(consent)
            .where(consent.c.subject_id == subject_id, consent.c.consent_id == consent_id)
            .values(state=target, version=state.version, mac=consent_mac(keys, changed, row["sealed"]))
        )
        shown = await self.show(session, member_id, consent_id)
        return Recorded(shown.value, self._entry(f"{change}_consent", keys, consent_id))

    async def require(
        self,
        session: WriteSession,
        state: SubjectState,
        consent_id: UUID,
        *,
        member_id: UUID,
        kind: Kind,
        purpose: str | None,
        scopes: tuple[str, ...],
        now: datetime,
    ) -> Consent:
        """Return the consent that covers an act, or refuse it. The borrower is locked."""
        found = await session.execute(
            select(consent).where(consent.c.subject_id == state.subject_id, consent.c.consent_id == consent_id)
        )
        row = found.mappings().one_or_none()
        given = None if row is None else open_consent(state.keys, row, version=state.version)
        reason = refusal(given, kind=kind, member_id=member_id, purpose=purpose, scopes=scopes, now=now)
        if given is None or reason is not None:
            raise Refused(reason or "consent_missing")
        return given

    async def use(self, session: WriteSession, state: SubjectState, given: Consent, *, now: datetime) -> None:
        """Count one use of a consent that covers an act, unless somebody else had the last one meanwhile."""
        window = literal(given.frequency.window(now) if given.frequency else None, Date)
        used = await session.execute(
            update(consent)
            .where(
                consent.c.subject_id == state.subject_id,
                consent.c.consent_id == given.consent_id,
                consent.c.state == "active",
                or_(consent.c.max_uses.is_(None), consent.c.uses < consent.c.max_uses),
                or_(
                    consent.c.window_uses.is_(None),
                    consent.c.window_start.is_(None),
                    consent.c.window_start < window,
                    consent.c.window_used < consent.c.window_uses,
                ),
            )
            .values(
                uses=consent.c.uses + 1,
                window_start=func.greatest(consent.c.window_start, window),
                window_used=case((consent.c.window_start >= window, consent.c.window_used + 1), else_=1),
            )
            .returning(consent.c.consent_id)
        )
        if used.first() is None:
            raise Refused("consent_exhausted")

    async def own_in_full(self, session: ReadSession, state: SubjectState, member_id: UUID) -> list[dict[str, Any]]:
        """Return a member's own consents of a borrower with their terms, evidence and use."""
        own = select(consent).where(consent.c.subject_id == state.subject_id, consent.c.member_id == member_id)
        found = []
        for row in (await session.execute(own.order_by(consent.c.consent_id))).mappings():
            opened = open_consent(state.keys, row, version=state.version)
            found.append(
                {
                    "consent_id": spell("cns", opened.consent_id),
                    "kind": opened.kind,
                    "state": opened.state,
                    "valid_from": opened.valid_from.isoformat(),
                    "valid_until": opened.valid_until.isoformat(),
                    "max_uses": opened.max_uses,
                    "uses": opened.uses,
                    **_content(state.keys, row),
                }
            )
        return found

    def _check(self, terms: Terms, now: datetime) -> None:
        wrong = []
        oldest = self._policy.number("*", "consent.evidence_max_age_days", now.date())
        if terms.valid_until <= terms.valid_from:
            wrong.append(FieldError("/valid_until", "not_after_valid_from", "an instant after valid_from"))
        if terms.valid_until <= now:
            wrong.append(FieldError("/valid_until", "in_past", "an instant that lies ahead"))
        if terms.evidence.signed_at > now:
            wrong.append(FieldError("/evidence/signed_at", "in_future", "an instant not after now"))
        if (now - terms.evidence.signed_at).total_seconds() > oldest * 86_400:
            wrong.append(FieldError("/evidence/signed_at", "too_old", f"at most {oldest} days ago"))
        if wrong:
            raise Refused("validation_failed", fields=wrong)

    async def _own(self, session: ReadSession, member_id: UUID, consent_id: UUID) -> tuple[SubjectKeys, dict[str, Any]]:
        row = await self._own_row(session, member_id, consent_id)
        state = await self._subjects.read(session, row["subject_id"])
        return state.keys, row

    @staticmethod
    async def _own_row(session: ReadSession, member_id: UUID, consent_id: UUID) -> dict[str, Any]:
        """Return a member's own consent, sealed. Another's is not found, even where it is erased."""
        subject_id = await subject_of_consent(session, consent_id)
        row = (
            (
                await session.execute(
                    select(consent).where(consent.c.subject_id == subject_id, consent.c.consent_id == consent_id)
                )
            )
            .mappings()
            .one_or_none()
        )
        if row is None or row["member_id"] != member_id:
            raise Refused("not_found")
        return dict(row)

    @staticmethod
    def _entry(action: str, keys: SubjectKeys, consent_id: UUID, **details: str) -> Entry:
        return Entry(action, subject=keys, references={"consent_id": spell("cns", consent_id)}, details=details)


async def borrowers_of_consents(session: ReadSession, member_id: UUID) -> set[UUID]:
    """Return all borrowers of whom a member registered consents."""
    found = await session.execute(select(consent.c.subject_id).where(consent.c.member_id == member_id))
    return set(found.scalars())


async def live_consents(session: ReadSession, member_id: UUID, *, now: datetime) -> dict[str, int]:
    """Return how many of a member's consents hold now, by their kind."""
    found = await session.execute(
        select(consent.c.kind, func.count().label("live"))
        .where(consent.c.member_id == member_id, consent.c.state == "active")
        .where(consent.c.valid_from <= now, consent.c.valid_until > now)
        .group_by(consent.c.kind)
    )
    return {row.kind: row.live for row in found}


async def subject_of_consent(session: ReadSession, consent_id: UUID) -> UUID:
    """Return the borrower that a consent belongs to; ``not_found`` for an unknown one."""
    found = await session.execute(select(consent_lookup.c.subject_id).where(consent_lookup.c.consent_id == consent_id))
    subject_id = found.scalar_one_or_none()
    if subject_id is None:
        raise Refused("not_found")
    return UUID(str(subject_id))


async def require_consent_of(session: ReadSession, keys: SubjectKeys, consent_id: UUID) -> None:
    """Raise ``IntegrityError`` if a consent is none of this borrower's, to which an index led that can be bent."""
    found = await session.execute(
        select(consent).where(consent.c.subject_id == keys.subject_id, consent.c.consent_id == consent_id)
    )
    row = found.mappings().one_or_none()
    if row is None:
        raise IntegrityError("an id leads to a borrower that has no such consent")
    open_consent(keys, row, version=None)


async def ids_of_consents(session: ReadSession, *, after: UUID | None, limit: int) -> list[tuple[UUID, UUID]]:
    """Return the next consents in the order of their ids, each with its borrower."""
    ids = consent_lookup.c
    return [tuple(row) for row in await page_of(session, ids.consent_id, ids.subject_id, after=after, limit=limit)]


def consent_mac(keys: SubjectKeys, row: Mapping[Any, Any], sealed: bytes) -> bytes:
    """Return the seal over a consent's clear columns, all but the counters that its use moves."""
    text = "|".join(
        str(row[name])
        for name in ("consent_id", "member_id", "kind", "state", "max_uses", "window_uses", "window_per", "version")
    )
    moments = f"{int(row['valid_from'].timestamp() * 1e6)}|{int(row['valid_until'].timestamp() * 1e6)}"
    return keys.mac(b"consent", text.encode(), moments.encode(), sealed)


def open_consent(keys: SubjectKeys, row: Mapping[Any, Any], *, version: int | None) -> Consent:
    """Open a consent's row, checking its seal; ``version`` is the borrower's, which no row may run ahead of."""
    if not hmac.compare_digest(consent_mac(keys, row, row["sealed"]), row["mac"]):
        raise IntegrityError("a consent does not match its seal")
    if version is not None and row["version"] > version:
        raise IntegrityError("a borrower's row was rolled back behind its consent")
    content = _content(keys, row)
    frequency = Frequency(row["window_uses"], row["window_per"]) if row["window_uses"] is not None else None
    return Consent(
        consent_id=row["consent_id"],
        member_id=row["member_id"],
        kind=row["kind"],
        state=row["state"],
        purposes=tuple(content["purposes"]),
        scopes=tuple(content["scopes"]),
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
        max_uses=row["max_uses"],
        uses=row["uses"],
        frequency=frequency,
        window_start=row["window_start"],
        window_used=row["window_used"],
    )


def open_seen_consent(keys: SubjectKeys, seen: Mapping[str, Any], *, version: int | None) -> Consent:
    """Open a consent that a statement read beside its borrower: what both rows have is named ``consent_…`` there."""
    names = ("state", "version", "sealed", "mac")
    return open_consent(keys, {**seen, **{name: seen[f"consent_{name}"] for name in names}}, version=version)


def _content(keys: SubjectKeys, row: Mapping[Any, Any]) -> dict[str, Any]:
    opened = decode(keys.box("consent").open(seal_place("consent", "sealed", row["consent_id"]), row["sealed"]))
    if not isinstance(opened, dict):
        raise IntegrityError("a consent's content is not an object")
    return opened


async def consents_by_state(session: ReadSession, member_id: UUID, *, now: datetime) -> dict[tuple[str, str], int]:
    """Return how many consents a member has of each kind in each state; nothing is opened."""
    column = consent.c
    state = case(
        (column.state == "revoked", "revoked"),
        (column.valid_until <= now, "expired"),
        (column.uses >= column.max_uses, "exhausted"),
        (column.valid_from > now, "pending"),
        else_=column.state,
    ).label("now")
    found = await session.execute(
        select(column.kind, state, func.count().label("consents"))
        .where(column.member_id == member_id)
        .group_by(column.kind, state)
    )
    return {(row.kind, row.now): row.consents for row in found}
