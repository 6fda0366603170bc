"""The shortest way to the routes that lenders call all day: by method and path, without the router's search.

The framework's middleware, router and request scope cost a question as much as its signature. A direct route (``Part``)
needs none of it: its answer, refusals and failures included, is made by its exchange. All else goes the usual way, and
so does what would be wrong here, such as another method.
"""

from collections.abc import Iterable
from typing import Final

from fastapi import APIRouter, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from creditshare.api.exchange import SignedRoute

METHOD: Final = "POST"


class Straight:
    """An application whose direct routes are reached at once."""

    def __init__(self, app: ASGIApp, *, routers: Iterable[APIRouter]) -> None:
        self._app = app
        self._routes = {
            route.path: (route, route.get_route_handler())
            for router in routers
            for route in router.routes
            if isinstance(route, SignedRoute) and route.part.direct
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a direct route, or pass the request on."""
        found = self._routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == METHOD else None
        if found is None:
            await self._app(scope, receive, send)
            return
        scope["route"], handle = found
        response = await handle(Request(scope, receive, send))
        await response(scope, receive, send)
