"""Readers of the log: who may see more of it than what an event's id proves that he had to do with."""

from typing import Annotated

from fastapi import Depends, Request

from creditshare.api.wiring import Wired


async def may_read(request: Request, services: Wired) -> bool:
    """Return whether the log is shown to who asks."""
    return await services.readers.may_read(request.headers.get("authorization"), peer=_peer(request))


async def require_reader(request: Request, services: Wired) -> None:
    """Refuse who is no reader of the log."""
    await services.readers.admit(request.headers.get("authorization"), peer=_peer(request))


MayRead = Annotated[bool, Depends(may_read)]


def _peer(request: Request) -> str | None:
    return request.client.host if request.client else None
