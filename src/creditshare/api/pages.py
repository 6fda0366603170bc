"""Lists in pages: from the cursor of a request to the place where its list goes on, and from there to the next page."""

from collections.abc import Callable, Sequence
from typing import Annotated, Final, TypeVar
from urllib.parse import urlencode

from fastapi import Depends, Query, Request

from creditshare.api.wiring import Wired
from creditshare.api.work import Work

T = TypeVar("T")
CURSOR: Final = "cursor"
Limit = Annotated[int, Query(ge=1, le=500)]


class Paging:
    """One request for a page of a list."""

    def __init__(self, request: Request, services: Wired, cursor: str | None) -> None:
        self._request = request
        self._cursors = services.cursors
        self._cursor = cursor

    @property
    def _path(self) -> str:
        return str(self._request.scope["path"])

    def start(self, work: Work) -> str | None:
        """Return the place at which the page begins, None for the first one; a cursor not ours is refused."""
        return None if self._cursor is None else self._cursors.read(work.caller.member_id, self._path, self._cursor)

    def next(self, work: Work, place: str | None) -> str | None:
        """Return the cursor of the page that follows, if one does, and link to it (RFC 8288)."""
        if place is None:
            return None
        cursor = self._cursors.make(work.caller.member_id, self._path, place)
        kept = [(name, value) for name, value in self._request.query_params.multi_items() if name != CURSOR]
        work.headers["Link"] = f'<{self._path}?{urlencode([*kept, (CURSOR, cursor)])}>; rel="next"'
        return cursor

    def cut(
        self, work: Work, rest: Sequence[T], *, limit: int, place: Callable[[T], object]
    ) -> tuple[Sequence[T], str | None]:
        """Return the page that begins a list, and the cursor of the next one if more than ``limit`` are left.

        ``place`` says where a row stands in the list; the next page begins after it.
        """
        page = rest[:limit]
        return page, self.next(work, str(place(page[-1])) if len(rest) > limit else None)


async def _paging(
    request: Request,
    services: Wired,
    cursor: Annotated[str | None, Query(max_length=256, description="The next_cursor of the page before.")] = None,
) -> Paging:
    return Paging(request, services, cursor)


Paged = Annotated[Paging, Depends(_paging)]
