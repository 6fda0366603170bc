"""The log: checkpoint, tiles, entries, proofs, keys, health by plain GETs; what an event says by signed ones.

Where the log is shown to its readers only, anyone may still ask for the proof of an event whose id or leaf hash he
has: both are random, so that whoever has one had to do with the event.
"""

import re
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from creditshare.access.openings import ShownGroup
from creditshare.access.service import public_id
from creditshare.api.callers import MemberWork
from creditshare.api.exchange import SignedRoute, takes_part
from creditshare.api.public import Anchors, Inclusion, LogKeys, LogState
from creditshare.api.readers import MayRead, require_reader
from creditshare.api.schemas.log import LogTokenOut, OpenedOut
from creditshare.api.wiring import Wired, opened
from creditshare.audit import publication
from creditshare.audit.anchors import anchors
from creditshare.audit.checkpoints import RETRY_AFTER_S, cosigned_note, latest_checkpoint, note_of
from creditshare.audit.proofs import prove_consistency, prove_inclusion
from creditshare.audit.service import Entry, Recorded
from creditshare.audit.state import log_state
from creditshare.crypto.encoding import b64url_decode, b64url_encode
from creditshare.errors import FieldError, Malformed, Refused
from creditshare.services import Services
from creditshare.tlog.spelling import encode_std
from creditshare.tlog.tiles import parse_tile_name
from creditshare.wire.instants import spell_instant

router = APIRouter(tags=["log"])
for_readers = APIRouter(tags=["log"], dependencies=[Depends(require_reader)])
for_members = APIRouter(route_class=SignedRoute, tags=["log"])
HASH_BYTES = 32
LEVEL: Final = re.compile("[0-7]")
TEXT: Final = "text/plain; charset=utf-8"
HELD_FOR_STRANGERS: Final = "Witnesses object; readers of the log are told what they saw."
FOR_EVER: Final = "max-age=31536000, immutable"

TileName = Annotated[
    str, Path(description="`x001/x234/067`, or `x001/x234/067.p/112` if partial.", examples=["000.p/1"])
]


@for_readers.get("/log/v1/checkpoint", response_class=Response)
async def show_checkpoint(services: Wired) -> Response:
    """Return the newest checkpoint, a signed note (C2SP tlog-checkpoint), with the lines of who cosigned it already."""
    async with services.database.reading() as session:
        size, note = await latest_checkpoint(session)
        return _note(await cosigned_note(session, size, note))


@for_readers.get("/log/v1/cosigned-checkpoint", response_class=Response)
async def show_cosigned_checkpoint(services: Wired) -> Response:
    """Return the newest checkpoint that a quorum of witnesses cosigned (C2SP tlog-cosignature, tlog-policy)."""
    async with services.database.reading() as session:
        size = await services.newest_cosigned(session)
        note = None if size is None else await note_of(session, size)
        if size is None or note is None:
            hint = "no checkpoint has the cosignatures of a quorum yet"
            raise Refused("not_integrated_yet", retry_after=RETRY_AFTER_S, extra={"hint": hint})
        return _note(await cosigned_note(session, size, note))


@for_readers.get("/audit/v1/checkpoints/{size}", response_class=Response)
async def show_checkpoint_of(
    services: Wired, size: Annotated[int, Path(ge=0, le=2**62, description="Leaves under it.")]
) -> Response:
    """Return the checkpoint that was signed over so many leaves, with the lines of who cosigned it."""
    async with services.database.reading() as session:
        note = await note_of(session, size)
        if note is None:
            raise Refused("not_found")
        return _note(await cosigned_note(session, size, note))


@for_readers.get("/log/v1/tile/entries/{name:path}", response_class=Response)
async def show_entries(services: Wired, name: TileName) -> Response:
    """Return an entry bundle (C2SP tlog-tiles): each entry after its length in two bytes, 256 unless partial."""
    n, width = _tile(name)
    async with services.database.reading() as session:
        return _unchanging(services, await publication.bundle(session, n=n, width=width))


@for_readers.get("/log/v1/tile/{level}/{name:path}", response_class=Response)
async def show_tile(
    services: Wired, level: Annotated[str, Path(description="0 to 7.", examples=["0"])], name: TileName
) -> Response:
    """Return a tile of the tree (C2SP tlog-tiles): 32 bytes for each of its hashes, 256 of them unless partial."""
    n, width = _tile(name)
    if LEVEL.fullmatch(level) is None:
        raise Refused("not_found")
    async with services.database.reading() as session:
        return _unchanging(services, await publication.tile(session, level=int(level), n=n, width=width))


@router.get("/audit/v1/proof/inclusion", response_model=Inclusion)
async def show_inclusion_proof(
    request: Request,
    services: Wired,
    reader: MayRead,
    event_id: Annotated[str | None, Query(max_length=64)] = None,
    leaf_hash: Annotated[str | None, Query(max_length=64)] = None,
    size: Annotated[int | None, Query(ge=1, le=2**62, description="Against the checkpoint of this size.")] = None,
) -> Response | dict[str, str | int | list[str]]:
    """Prove that an event's leaf is in the log, against the newest checkpoint or that of a size.

    Strangers, where the log is for its readers, get it against the first checkpoint that covers the leaf, whenever they
    ask. With `Accept: text/plain` the answer is a C2SP tlog-proof.
    """
    if (event_id is None) == (leaf_hash is None):
        raise Refused("validation_failed", fields=[FieldError("/event_id", "required", "either event_id or leaf_hash")])
    if not reader and size is not None:
        raise Refused("reader_unknown")
    wanted = {"event_id": public_id("evt", event_id)} if event_id is not None else {"leaf_hash": _hash(leaf_hash or "")}
    async with services.database.reading() as session:
        proof = await prove_inclusion(session, **wanted, size=size, first=not reader)
    if _wants_text(request):
        return Response(proof.to_text(), media_type=TEXT, headers={"Vary": "Accept"})
    return proof.to_dict()


@for_readers.get("/audit/v1/proof/consistency")
async def show_consistency_proof(
    services: Wired,
    start: Annotated[int, Query(alias="from", ge=0, le=2**62)],
    end: Annotated[int | None, Query(alias="to", ge=0, le=2**62)] = None,
) -> dict[str, object]:
    """Prove that the log of ``to`` leaves begins with the log of ``from`` leaves."""
    async with services.database.reading() as session:
        proof = await prove_consistency(session, size1=start, size2=end)
    return {"from": proof.size1, "to": proof.size2, "hashes": [b64url_encode(h) for h in proof.hashes]}


@router.get("/audit/v1/keys", response_model=LogKeys)
async def show_log_keys(services: Wired) -> dict[str, list[dict[str, str]]]:
    """Return the keys that sign checkpoints, as C2SP verifier keys."""
    return {"keys": [{"vkey": services.log_verifier.vkey, "state": "active"}]}


@router.get("/audit/v1/health", response_model=LogState)
async def show_log_health(services: Wired, reader: MayRead) -> dict[str, int | float | str | None]:
    """Return the log's size and how long its oldest event has been waiting for an index.

    Strangers, where the log is for its readers, learn only whether it is late or held.
    """
    cosigned = None
    async with services.database.reading() as session:
        state = await log_state(session)
        if reader and services.witness_policy is not None and state.note is not None:
            cosigned = await services.newest_cosigned(session) or 0
    mmd = services.audit.merge_delay_s
    if not reader:  # when something waits is when something was done, and why the log is held names sizes
        late = state.oldest_pending_s if state.oldest_pending_s > mmd else 0.0
        return {
            "size": None,
            "oldest_pending_s": round(late, 3),
            "mmd_s": mmd,
            "held": state.hold and HELD_FOR_STRANGERS,
        }
    return {
        "cosigned_size": cosigned,
        "held": state.hold,
        "size": state.size,
        "oldest_pending_s": round(state.oldest_pending_s, 3),
        "mmd_s": mmd,
    }


@for_members.get("/v1/me/log-token")
@takes_part(data=False)
async def show_log_token(work: MemberWork, services: Wired) -> LogTokenOut:
    """Show the token by which this member's tools read the log; it ends with the key that asks for it."""
    work.record(Recorded(None, Entry("show_log_token")))
    return LogTokenOut(user=work.caller.kid, password=services.readers.token_of(work.caller.kid))


@for_members.get("/audit/v1/events/{event_id}/opening")
async def show_opening(
    event_id: str,
    work: MemberWork,
    services: Wired,
    group: Annotated[
        ShownGroup | None, Query(description="`meta`: who did what; `body`: the exchange. Without it all you may know.")
    ] = None,
) -> OpenedOut:
    """Open an event of the log: one's own, or for regulators and operators who did what. It is itself an event."""
    session, _ = opened(work)
    shown = await services.openings.show(session, public_id("evt", event_id), by=work.caller.member, group=group)
    return OpenedOut.of(work.record(shown))


def _tile(name: str) -> tuple[int, int]:
    try:
        return parse_tile_name(name)
    except Malformed:
        raise Refused("not_found") from None


def _wants_text(request: Request) -> bool:
    """Whether text is asked for by its name; who takes anything gets JSON."""
    accepted = {part.partition(";")[0].strip() for part in request.headers.get("accept", "").split(",")}
    return "text/plain" in accepted and "application/json" not in accepted


def _note(note: str) -> Response:
    return Response(note, media_type=TEXT, headers={"Cache-Control": "no-cache"})


def _unchanging(services: Services, body: bytes) -> Response:
    """Return what never changes; caches on the way may keep it only where it is for anyone (RFC 9111 section 3.5)."""
    kept_by = "public" if services.readers.everyone else "private"
    return Response(body, media_type="application/octet-stream", headers={"Cache-Control": f"{kept_by}, {FOR_EVER}"})


def _hash(text: str) -> bytes:
    try:
        value = b64url_decode(text)
    except Malformed:
        value = b""
    if len(value) != HASH_BYTES:
        raise Refused("validation_failed", fields=[FieldError("/leaf_hash", "format", "base64url of 32 bytes")])
    return value


@for_readers.get("/audit/v1/anchors", response_model=Anchors)
async def show_anchors(
    services: Wired,
    size: Annotated[int | None, Query(ge=0, le=2**62, description="Of the checkpoint over so many leaves.")] = None,
) -> dict[str, list[dict[str, int | str]]]:
    """Return the stamps of a time-stamping authority (RFC 3161) over a checkpoint, or the newest 24 there are."""
    async with services.database.reading() as session:
        found = await anchors(session, size=size)
    return {
        "anchors": [
            {"size": one.size, "tsa": one.tsa, "time": spell_instant(one.at), "token": encode_std(one.token)}
            for one in found
        ]
    }
