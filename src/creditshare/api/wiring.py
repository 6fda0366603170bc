"""How routes reach the wired services, and the open transaction of their work."""

from datetime import datetime
from typing import Annotated

from fastapi import Depends, Request

from creditshare.api.work import Work
from creditshare.services import Services
from creditshare.storage.engine import WriteSession


async def wired(request: Request) -> Services:
    """Return the services that ``composition.py`` built."""
    services: Services = request.app.state.services
    return services


Wired = Annotated[Services, Depends(wired)]


def opened(work: Work) -> tuple[WriteSession, datetime]:
    """Return the work's transaction and its time; only a route that opens its own has none."""
    if work.session is None or work.now is None:
        raise RuntimeError("this route opens its own transaction")
    return work.session, work.now
