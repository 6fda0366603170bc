"""What two people may change at the same time is changed under the version that was looked at (RFC 9110 section 13).

``ETag`` tells the version, ``If-Match`` names it again: 428 where it is missing, 412 where it is not current any more.
The version is read under the lock of what is changed, so of two who name the same one only the first succeeds.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from creditshare.errors import Refused

ANY = "*"


@dataclass(frozen=True, slots=True)
class Precondition:
    """The versions that ``If-Match`` names, as it was sent; None where it was not."""

    if_match: str | None

    def require(self, version: str) -> None:
        """Refuse unless the current version is named. A weak tag never matches (section 8.8.3.2)."""
        if self.if_match is None:
            raise Refused("precondition_required")
        named = {tag.strip() for tag in self.if_match.split(",")}
        if not named & {ANY, etag(version)}:
            raise Refused("precondition_failed")


def etag(version: str) -> str:
    """Return a version as a strong entity tag."""
    return f'"{version}"'


async def named_versions(request: Request) -> Precondition:
    """Return the request's precondition."""
    return Precondition(request.headers.get("if-match"))


IfMatch = Annotated[Precondition, Depends(named_versions)]
