"""Institutions and their keys. What cannot be undone takes two operators."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response

from creditshare.access.service import public_id
from creditshare.access.usage import usage_of
from creditshare.api.callers import CorrectingLenderWork, MemberWork, OperatorWork
from creditshare.api.enrolment import enrol_first_key
from creditshare.api.exchange import SignedRoute, takes_part
from creditshare.api.pages import Limit, Paged, Paging
from creditshare.api.preconditions import IfMatch, Precondition, etag
from creditshare.api.schemas.forms import EmptyIn, instant_in_query
from creditshare.api.schemas.keys import KeyIn, KeyOut, KeyPage, RevocationIn, SignedActsOut
from creditshare.api.schemas.members import (
    ApprovalIn,
    ApprovalOut,
    DueDiligenceIn,
    EndingKeyOut,
    EndingKeyPage,
    ExaminationOut,
    HandBackKeyIn,
    ImpactOut,
    LimitationIn,
    MemberIn,
    MemberOut,
    MemberPage,
    MemberShownOut,
    MeOut,
    ProposalIn,
    ProposalOut,
    ProposalPage,
    QuotasIn,
    RejectionIn,
    SuspensionIn,
    UsageOut,
    UsagePage,
)
from creditshare.api.schemas.reciprocity import ReciprocityOut
from creditshare.api.wiring import Wired, opened
from creditshare.api.work import Work
from creditshare.approvals.rules import Proposal
from creditshare.audit.service import Entry, Recorded
from creditshare.errors import Refused
from creditshare.ids import spell
from creditshare.impact import impact_on
from creditshare.members.keys import checked_jwk, ending_keys
from creditshare.members.service import ProposalAction
from creditshare.services import Services
from creditshare.storage.engine import ReadSession

router = APIRouter(route_class=SignedRoute, tags=["members"])
first_key = APIRouter(include_in_schema=False)
REVIEW_PAGE = 2_000
MemberId = Annotated[str, Path(description="mem_ and a UUID")]


@router.get("/v1/me")
@takes_part(data=False)
async def show_me(work: MemberWork, services: Wired) -> MeOut:
    """Show whom the service takes the caller for."""
    own = MemberOut.of(work.caller.member)
    ending = await _ending(services, opened(work)[0], work.caller.member_id)
    return MeOut(**own.model_dump(), kid=work.caller.kid, sub=work.caller.sub, ending_keys=ending)


@router.get("/v1/me/reciprocity")
async def show_reciprocity(work: CorrectingLenderWork, services: Wired) -> ReciprocityOut:
    """Show your tier and the figures that it follows from, by /v1/reciprocity-rules."""
    session, _ = opened(work)
    return ReciprocityOut.of(await services.reciprocity.standing(session, work.caller.member))


@router.post("/v1/me/hand-back-key")
async def name_hand_back_key(body: HandBackKeyIn, work: CorrectingLenderWork, services: Wired) -> MemberOut:
    """Name the key to which your data are encrypted when your membership ends; who hands them over reads nothing."""
    session, _ = opened(work)
    caller = work.caller
    return MemberOut.of(
        work.record(await services.members.name_hand_back_key(session, caller.member_id, body.jwk, by_kid=caller.kid))
    )


@router.post("/v1/members", status_code=201)
async def propose_member(body: MemberIn, work: OperatorWork, services: Wired) -> MemberOut:
    """Propose an institution. Another operator must approve it."""
    session, now = opened(work)
    caller = work.caller
    made = work.record(
        await services.members.apply(
            session, caller.member_id, body.application(), bootstrap_key=caller.bootstrap, now=now
        )
    )
    work.headers["ETag"] = etag(await services.members.version(session, made.member_id, now=now))
    return MemberOut.of(made)


@router.get("/v1/members")
async def list_members(
    work: OperatorWork,
    services: Wired,
    paging: Paged,
    limit: Limit = 50,
) -> MemberPage:
    """List institutions in order of their ids."""
    session, _ = opened(work)
    start = paging.start(work)
    found = await services.members.list_all(session, after=UUID(start) if start else None, limit=limit + 1)
    page, following = paging.cut(work, found, limit=limit, place=lambda member: member.member_id)
    return MemberPage.holding(map(MemberOut.of, page), following)


@router.get("/v1/expiring-keys")
async def list_expiring_keys(
    work: OperatorWork,
    services: Wired,
    paging: Paged,
    limit: Limit = 50,
) -> EndingKeyPage:
    """List members' keys that end soon, soonest first; how soon is the service's setting."""
    session, _ = opened(work)
    days = services.settings.key_warning_days
    found = await ending_keys(session, days=days, now=services.clock.now())
    start = paging.start(work)
    places = [f"{key.expires_at.isoformat()}|{key.kid}" for key in found]
    first = 0 if start is None else sum(place <= start for place in places)
    page, following = paging.cut(
        work, found[first:], limit=limit, place=lambda key: f"{key.expires_at.isoformat()}|{key.kid}"
    )
    return EndingKeyPage.holding(map(EndingKeyOut.of, page), following)


@router.get("/v1/quota-usage")
async def list_quota_usage(
    work: OperatorWork,
    services: Wired,
    paging: Paged,
    limit: Limit = 50,
) -> UsagePage:
    """List what members use of their quotas today, in order of their ids; the day is UTC's."""
    session, now = opened(work)
    start = paging.start(work)
    found = await services.members.list_all(session, after=UUID(start) if start else None, limit=limit + 1)
    page, following = paging.cut(work, found, limit=limit, place=lambda member: member.member_id)
    usages = await usage_of(session, page, quotas=services.access.quotas, budgets=services.tokeniser.budgets, now=now)
    return UsagePage.holding(map(UsageOut.of, usages), following)


@router.get("/v1/members/{member_id}/impact")
async def show_impact(member_id: MemberId, work: OperatorWork, services: Wired) -> ImpactOut:
    """Show what a limitation, suspension or the end of the membership would touch, before it is done."""
    session, now = opened(work)
    named = public_id("mem", member_id)
    return ImpactOut.of(
        named,
        await impact_on(
            session,
            named,
            approvals=services.approvals,
            members=services.members,
            member_keys=services.member_keys,
            now=now,
            machine_now=services.clock.now(),
        ),
    )


async def _ending(services: Services, session: ReadSession, member_id: UUID) -> list[EndingKeyOut]:
    days = services.settings.key_warning_days
    found = await ending_keys(session, days=days, now=services.clock.now(), member_id=member_id)
    return [EndingKeyOut.of(key) for key in found]


@router.get("/v1/members/{member_id}")
async def show_member(member_id: MemberId, work: OperatorWork, services: Wired) -> MemberShownOut:
    """Show an institution. ``ETag`` is the version of it and its open proposals, which changes are made under."""
    session, now = opened(work)
    named = public_id("mem", member_id)
    work.headers["ETag"] = etag(await services.members.version(session, named, now=now))
    found = MemberOut.of(await services.members.get(session, named))
    examination = await services.members.examination(session, named)
    particulars = await services.members.particulars(session, named)
    return MemberShownOut(
        **found.model_dump(),
        licence_no=particulars.licence_no,
        contacts=dict(particulars.contacts),
        ending_keys=await _ending(services, session, named),
        examination=None if examination is None else ExaminationOut.of(examination),
    )


@router.post("/v1/members/{member_id}/due-diligence")
async def begin_due_diligence(
    member_id: MemberId, body: DueDiligenceIn, work: OperatorWork, services: Wired, if_match: IfMatch
) -> MemberOut:
    """Begin to examine an applicant. In production an admission is approved only of who was examined."""
    session, now = opened(work)
    named = public_id("mem", member_id)
    if_match.require(await services.members.lock_version(session, named, now=now))
    begun = work.record(
        await services.members.begin_due_diligence(session, named, note=body.note, by=work.caller.member_id, now=now)
    )
    work.headers["ETag"] = etag(await services.members.version(session, named, now=now))
    return MemberOut.of(begun)


@router.get("/v1/members/{member_id}/proposals")
async def list_proposals(
    member_id: MemberId,
    work: OperatorWork,
    services: Wired,
    paging: Paged,
    limit: Limit = 50,
) -> ProposalPage:
    """List what waits for a second person, newest first, with its terms. ``ETag`` as of the institution."""
    session, now = opened(work)
    named = public_id("mem", member_id)
    work.headers["ETag"] = etag(await services.members.version(session, named, now=now))
    found = await services.members.open_proposals(session, named, now=now)
    return _newest_first(services, found, work, paging, limit)


@router.post("/v1/members/{member_id}/approvals")
async def approve_member(
    member_id: MemberId, work: OperatorWork, services: Wired, if_match: IfMatch, body: ApprovalIn | None = None
) -> ApprovalOut:
    """Approve an open proposal as the second person; an admission brings the one-time enrolment code."""
    session, now = opened(work)
    named = public_id("mem", member_id)
    if_match.require(await services.members.lock_version(session, named, now=now))
    done = work.record(
        await services.members.approve(
            session,
            named,
            action=body.action if body else "admission",
            terms=body.terms() if body else {},
            by=work.caller.member_id,
            now=now,
        )
    )
    work.headers["ETag"] = etag(await services.members.version(session, named, now=now))
    return ApprovalOut(**MemberOut.of(done.member).model_dump(), enrolment_code=done.enrolment_code)


@router.post("/v1/members/{member_id}/proposals", status_code=202)
async def propose_change(
    member_id: MemberId, body: ProposalIn, work: OperatorWork, services: Wired, if_match: IfMatch
) -> ProposalOut:
    """Propose what takes two people: lifting a restriction, a recovery, jurisdictions, the end of a membership."""
    return await _propose(work, services, if_match, public_id("mem", member_id), body.action, body.terms())


@router.get("/v1/proposals")
async def list_all_proposals(
    work: OperatorWork,
    services: Wired,
    paging: Paged,
    limit: Limit = 50,
) -> ProposalPage:
    """List all that waits for a second person, whatever it is about, newest first."""
    session, now = opened(work)
    return _newest_first(services, await services.approvals.open(session, now=now), work, paging, limit)


@router.post("/v1/proposals/{proposal_id}/rejection")
async def reject_proposal(
    proposal_id: Annotated[str, Path(description="prp_ and a UUID")],
    body: RejectionIn,
    work: OperatorWork,
    services: Wired,
) -> ProposalOut:
    """Reject what another operator proposed, or withdraw what you proposed; it cannot be approved any more.

    An erasure that was approved is stopped by it, until it is carried out.
    """
    session, now = opened(work)
    done = await services.approvals.reject(
        session, public_id("prp", proposal_id), by=work.caller.member_id, reason=body.reason, now=now
    )
    return _presented(services, work.record(done))


@router.post("/v1/members/{member_id}/quotas", status_code=202)
async def propose_quotas(
    member_id: MemberId, body: QuotasIn, work: OperatorWork, services: Wired, if_match: IfMatch
) -> ProposalOut:
    """Propose quotas of the day; they hold once another operator approves."""
    return await _propose(work, services, if_match, public_id("mem", member_id), "quotas", body.terms())


def _presented(services: Services, proposal: Proposal) -> ProposalOut:
    kind = services.approvals.kind(proposal.kind)
    return ProposalOut.of(proposal, about=kind.about, approvals=kind.approvals)


def _newest_first(
    services: Services, proposals: Sequence[Proposal], work: Work, paging: Paging, limit: int
) -> ProposalPage:
    start = paging.start(work)
    rest = sorted(
        (proposal for proposal in proposals if start is None or proposal.proposal_id < UUID(start)),
        key=lambda proposal: proposal.proposal_id,
        reverse=True,
    )
    page, following = paging.cut(work, rest, limit=limit, place=lambda proposal: proposal.proposal_id)
    return ProposalPage.holding((_presented(services, one) for one in page), following)


async def _propose(
    work: Work,
    services: Services,
    if_match: Precondition,
    member_id: UUID,
    action: ProposalAction,
    terms: Mapping[str, Any],
) -> ProposalOut:
    session, now = opened(work)
    if_match.require(await services.members.lock_version(session, member_id, now=now))
    done = await services.members.propose(session, member_id, action, terms, by=work.caller.member_id, now=now)
    work.headers["ETag"] = etag(await services.members.version(session, member_id, now=now))
    return _presented(services, work.record(done))


@router.post("/v1/members/{member_id}/suspension")
async def suspend_member(
    member_id: MemberId,
    body: SuspensionIn,
    work: OperatorWork,
    services: Wired,
) -> MemberOut:
    """Suspend a member at once: it may only correct, withdraw and answer. Lifting it takes two operators."""
    session, now = opened(work)
    named = public_id("mem", member_id)
    suspended = await services.members.restrict(
        session, named, "suspension", by=work.caller.member_id, reason=body.reason, now=now
    )
    work.headers["ETag"] = etag(await services.members.version(session, named, now=now))
    return MemberOut.of(work.record(suspended))


@router.post("/v1/members/{member_id}/limitation")
async def limit_member(
    member_id: MemberId,
    body: LimitationIn,
    work: OperatorWork,
    services: Wired,
) -> MemberOut:
    """Limit a lender at once: it may report, correct and answer, not ask. Lifting it takes two operators."""
    session, now = opened(work)
    named = public_id("mem", member_id)
    limited = await services.members.restrict(
        session, named, "limitation", by=work.caller.member_id, reason=body.reason, now=now
    )
    work.headers["ETag"] = etag(await services.members.version(session, named, now=now))
    return MemberOut.of(work.record(limited))


# A first key is hidden from the document: with its signed twin it is one operation, which the twin describes.
@first_key.post("/v1/members/{member_id}/keys", status_code=201)
async def add_first_key(member_id: MemberId, request: Request, services: Wired) -> Response:
    """Enrol a first key by its one-time code; with Authorization it is a later one."""
    if "authorization" in request.headers:
        return await signed_key_route(request)
    return await enrol_first_key(request, services, member_id)


async def add_key(member_id: MemberId, body: KeyIn, work: MemberWork, services: Wired) -> KeyOut:
    """Register a key with proof of possession: the first one by its enrolment code, later ones by a live key.

    A later key of an operator or regulator is ``pending`` until another operator approves the proposal ``key``.

    A first key comes without Authorization and with ``enrolment_code``; the answer is signed over the hash of
    ``proof``, and the Idempotency-Key counts per code. A later key comes signed by a live key, without a code.
    """
    session, business_now = opened(work)
    now = services.clock.now()  # keys and their proofs live by the machine's clock, as at the gate
    owner = public_id("mem", member_id)
    if owner != work.caller.member_id:
        raise Refused("not_found")
    checked_jwk(body.jwk)
    caller = work.caller
    done = await services.members.add_key(
        session,
        caller.member,
        jwk=body.jwk,
        proof=body.proof,
        by_kid=caller.kid,
        bootstrap_key=caller.bootstrap,
        issuer=services.issuer,
        now=now,
        business_now=business_now,
    )
    return KeyOut.of(work.record(done), now=now)


_later = SignedRoute(
    "/v1/members/{member_id}/keys", add_key, methods=["POST"], status_code=201, operation_id="add_key", tags=["members"]
)
router.routes.append(_later)
signed_key_route = _later.get_route_handler()


@router.get("/v1/members/{member_id}/keys")
async def list_keys(
    member_id: MemberId,
    work: MemberWork,
    services: Wired,
    paging: Paged,
    limit: Limit = 50,
) -> KeyPage:
    """List a member's keys, newest first, revoked and expired ones too: old evidence stays verifiable."""
    session, _ = opened(work)
    now = services.clock.now()
    owner = public_id("mem", member_id)
    if not work.caller.member.oversees("operator") and owner != work.caller.member_id:
        raise Refused("not_found")
    keys = await services.member_keys.keys_of(session, owner)
    start = paging.start(work)
    # Keys are never deleted, so the last one of the page before is still there.
    first = 0 if start is None else [key.kid for key in keys].index(start) + 1
    page, following = paging.cut(work, keys[first:], limit=limit, place=lambda key: key.kid)
    return KeyPage.holding((KeyOut.of(key, now=now) for key in page), following)


@router.post("/v1/members/{member_id}/keys/{kid}/revocation")
async def revoke_key(
    member_id: MemberId,
    kid: Annotated[str, Path(max_length=64)],
    body: RevocationIn,
    work: MemberWork,
    services: Wired,
) -> KeyOut:
    """Revoke a key now: in every worker within two seconds, at once for what writes.

    For a planned change register the new key and retire the old one instead, so that nothing stops working meanwhile.
    """
    session, _ = opened(work)
    now = services.clock.now()
    owner = public_id("mem", member_id)
    if not work.caller.member.oversees("operator") and owner != work.caller.member_id:
        raise Refused("not_found")
    done = await services.member_keys.revoke_key(
        session, owner, kid, reason=body.reason, since=body.since, now=now, by_kid=work.caller.kid
    )
    return KeyOut.of(work.record(done), now=now)


@router.post("/v1/members/{member_id}/keys/{kid}/retirement")
async def retire_key(
    member_id: MemberId,
    kid: Annotated[str, Path(max_length=64)],
    work: MemberWork,
    services: Wired,
    body: EmptyIn | None = None,
) -> KeyOut:
    """Let a key end seven days after its successor was registered; the answer says when."""
    del body
    session, _ = opened(work)
    now = services.clock.now()
    owner = public_id("mem", member_id)
    if owner != work.caller.member_id:
        raise Refused("not_found")
    return KeyOut.of(work.record(await services.member_keys.retire_key(session, owner, kid, now=now)), now=now)


@router.get("/v1/members/{member_id}/keys/{kid}/signatures")
async def review_key(
    member_id: MemberId,
    kid: Annotated[str, Path(max_length=64)],
    work: MemberWork,
    services: Wired,
    paging: Paged,
    since: Annotated[str, Query(max_length=32, description="An instant in UTC, YYYY-MM-DDThh:mm:ssZ")],
) -> SignedActsOut:
    """List for review what a key signed since an instant, a stretch of the log at a time; a page may be empty."""
    session, _ = opened(work)
    owner = public_id("mem", member_id)
    keys = await services.member_keys.keys_of(session, owner)
    allowed = work.caller.member.oversees("operator") or owner == work.caller.member_id
    if not allowed or kid not in {key.kid for key in keys}:
        raise Refused("not_found")
    start = paging.start(work)
    acts, more = await services.audit.signed_by(
        session,
        kid,
        since=instant_in_query("since", since),
        start=None if start is None else int(start),
        limit=REVIEW_PAGE,
    )
    work.record(
        Recorded(None, Entry("review_key", references={"member_id": spell("mem", owner)}, details={"kid": kid}))
    )
    return SignedActsOut.of(acts, next_cursor=paging.next(work, None if more is None else str(more)))
