"""Handing a member's data back, on the service's own machine, where the keys are that open borrowers' fields."""

import asyncio
import os
import secrets
from dataclasses import asdict
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress

from creditshare.audit.service import Entry
from creditshare.cli.options import AsJson, DataFolder, show
from creditshare.cli.service import prepared, settings_of
from creditshare.composition import build_services
from creditshare.crypto.encoding import b64url_encode
from creditshare.errors import ConfigurationError
from creditshare.handback.service import HandBack, Tally
from creditshare.ids import parse, spell
from creditshare.services import Services
from creditshare.settings import Settings
from creditshare.wire.handback import Writing

FID_BYTES = 16


def make(
    member_id: Annotated[str, typer.Argument(help="The institution whose membership has ended, mem_….")],
    out: Annotated[Path, typer.Option("--out", help="Where to write the file; you cannot read it.")],
    data: DataFolder = Path("creditshare-data"),
    as_json: AsJson = False,
) -> None:
    """Write a terminated member's own data into a file that it alone opens, with `hand-back open`. It is an event."""
    settings, named = settings_of(data), parse("mem", member_id)
    if out.exists():
        raise ConfigurationError(f"{out} exists already and is not overwritten; name another file")
    draft = out.with_name(f".{out.name}.{secrets.token_hex(8)}")
    try:
        with prepared(settings):
            tally, kid, digest = asyncio.run(_run(settings, named, draft))
        draft.replace(out)  # once it is in the log that it was handed back
    finally:
        draft.unlink(missing_ok=True)
    line = (
        f"{out}: {tally.records} records, {tally.consents} consents, {tally.questions} questions, {tally.statements} "
        f"debt statements of {tally.borrowers} borrowers, encrypted to key {kid}"
    )
    show({**asdict(tally), "kid": kid, "digest": digest, "file": str(out)}, as_json=as_json, line=line)


async def _run(settings: Settings, member_id: UUID, draft: Path) -> tuple[Tally, str, str]:
    services = await build_services(settings)
    try:
        return await _write(services, services.hand_back, member_id, draft)
    finally:
        await services.database.close()
        await services.watching.close()


async def _write(services: Services, hand_back: HandBack, member_id: UUID, draft: Path) -> tuple[Tally, str, str]:
    recipient = await hand_back.recipient(member_id)
    tally, now = Tally(), services.clock.now()
    fid = b64url_encode(secrets.token_bytes(FID_BYTES))
    writing = Writing(recipient, issuer=services.issuer, member_id=spell("mem", member_id), fid=fid)
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn())
    with (
        Progress(*columns, console=Console(stderr=True), transient=True) as progress,
        draft.open("xb") as file,
    ):
        task = progress.add_task("borrowers", total=None)

        def done(count: int, total: int) -> None:
            progress.update(task, completed=count, total=total)

        async for rows in hand_back.rows(member_id, tally, now=now, progress=done):
            file.write(writing.part(rows) + b"\n")
        end, digest = writing.end(services.signing_key, iat=int(now.timestamp()))
        file.write(end + b"\n")
        file.flush()
        os.fsync(file.fileno())
    details: dict[str, str | int] = {
        "consents": tally.consents,
        "digest": digest,
        "kid": recipient.kid,
        "questions": tally.questions,
        "records": tally.records,
        "statements": tally.statements,
    }
    entry = Entry("hand_back", references={"member_id": spell("mem", member_id)}, details=details)
    async with services.database.writing() as session:
        await services.audit.record_own_act(session, entry, sub="member hand-back", now=now)
        await session.commit()
    return tally, recipient.kid, digest
