"""What a witness answers: ``POST /add-checkpoint`` to logs, ``GET /checkpoint?origin=…`` to whoever compares."""

import sqlite3
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from creditshare.clock import Clock
from creditshare.errors import ConfigurationError, Malformed, VerificationFailed
from creditshare.tlog.witness import SIZE_TYPE, NotSigned, OtherSize, UnknownLog
from creditshare.witness.folder import Folder

MAX_BODY_BYTES: Final = 65_536
"""A proof of 63 lines and a checkpoint with a hundred signatures are smaller."""

log = structlog.get_logger()


def create_witness(folder: Folder, clock: Clock) -> Starlette:
    """Return the ASGI application of a witness."""

    async def add_checkpoint(request: Request) -> Response:
        body = await _read(request)
        if body is None:
            return PlainTextResponse("the request is too large\n", 413)
        try:
            line = await run_in_threadpool(folder.add, body, at=int(clock.now().timestamp()))
        except OtherSize as error:
            answer = Response(f"{error.size}\n", 409, headers={"Content-Type": SIZE_TYPE})
        except (Malformed, UnknownLog, NotSigned, VerificationFailed) as error:
            answer = PlainTextResponse(f"{error}\n", STATUS[type(error)])
        except (sqlite3.Error, ConfigurationError):
            log.exception("the folder cannot be used")
            answer = PlainTextResponse("the witness cannot store anything now\n", 503)
        else:
            answer = PlainTextResponse(line)
        log.info("add-checkpoint", status=answer.status_code)
        return answer

    async def show_checkpoint(request: Request) -> Response:
        note = await run_in_threadpool(folder.newest, request.query_params.get("origin", ""))
        if note is None:
            return PlainTextResponse("this witness cosigned no such log\n", 404)
        return PlainTextResponse(note, headers={"Cache-Control": "no-cache"})

    return Starlette(
        routes=[
            Route("/add-checkpoint", add_checkpoint, methods=["POST"]),
            Route("/checkpoint", show_checkpoint, methods=["GET"]),
        ]
    )


STATUS: Final = {Malformed: 400, UnknownLog: 404, NotSigned: 403, VerificationFailed: 422}


async def _read(request: Request) -> bytes | None:
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY_BYTES:
                return None
    except ClientDisconnect:
        return None
    return bytes(body)
