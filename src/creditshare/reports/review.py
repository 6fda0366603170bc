"""Looks at all that the reports keep, for ``log fsck --database``: releases, documents, cells, and who was counted.

Each release is held against the log, which is kept elsewhere too; the rest against what the newest release and the
position list. Nothing is changed, and what is wrong does not end the walk.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from creditshare.audit.rebuild import MOST_NAMED, named
from creditshare.errors import CreditshareError
from creditshare.reports.counting import counts_on
from creditshare.reports.repository import CellStore, Position
from creditshare.reports.tally import Tally
from creditshare.reports.told import Document, Manifest, Name, Release, ToldPart, ToldStore
from creditshare.reports.waiting import MOST_WAITING, forgotten, sum_of_counted
from creditshare.storage.engine import ReadSession

AT_ONCE: Final = 50
_NOTHING: Final[Document] = (0, "")
Tell = Callable[[str], None]
"""Told of each thing that does not hold, in words."""


@dataclass(slots=True)
class Review:
    """One walk through everything. ``logged`` are the digests that the log tells of, by the number of the release."""

    session: ReadSession
    store: CellStore
    told: ToldStore
    tally: Tally
    logged: Mapping[int, Collection[str]]
    tell: Tell
    _stands: dict[Name, Document] = field(default_factory=dict)
    _last: int = 0
    _documents: int = 0

    async def run(self) -> str:
        """Look at everything; return what was seen."""
        async with self._going_on("releases"):
            await self._releases()
        position = None
        async with self._going_on("the position"):
            position = await self._position()
        if position is not None:
            await self._cells(position)
            async with self._going_on("who was counted"):
                await self._counted(position)
        return f"{self._last} releases, {self._documents} documents"

    @asynccontextmanager
    async def _going_on(self, what: str) -> AsyncIterator[None]:
        """Have whatever a written row makes of this part told, and go on behind it."""
        try:
            yield
        except (CreditshareError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            self.tell(f"{what}: {error}")

    async def _releases(self) -> None:
        while releases := await self.told.releases(self.session, after=self._last, limit=AT_ONCE):
            for release in releases:
                await self._release(release)
        lost = [str(number) for number in sorted(self.logged) if number > self._last]
        if lost:
            self.tell(f"the log tells of releases that are not there: {named(lost[:MOST_NAMED], len(lost))}")
        for one in await self.told.told_between(self.session, after=self._last, until=None):
            self.tell(f"{_spelled(_name_of(one))} is of a release that is not there")

    async def _release(self, release: Release | int) -> None:
        number = release if isinstance(release, int) else release.release
        for missing in range(self._last + 1, number):
            self.tell(f"release {missing} is not there")
        documents = await self.told.told_between(self.session, after=self._last, until=number)
        broken = {one for one in documents if not isinstance(one, ToldPart)}
        for one in sorted(broken):
            self.tell(f"{_spelled(one)} of release {number} does not match its seal")
        self._documents += len(documents)
        self._stands |= Manifest.of([one for one in documents if isinstance(one, ToldPart)]).documents
        self._last = number
        if isinstance(release, int):
            self.tell(f"release {number} does not match its seal")
            return
        if release.digest not in self.logged.get(number, ()):
            self.tell(f"release {number} is not the one that the log tells of")
        self._hold(release, broken)

    def _hold(self, release: Release, broken: AbstractSet[Name]) -> None:
        """Hold what stands told against what a release lists; behind it, that is what stands."""
        if Manifest(self._stands).digest == release.digest:
            return
        if release.manifest is None:
            self.tell(f"what stood told at release {release.release} is not what it told")
            return
        listed = dict(Manifest.read(release.manifest).documents)
        for name in sorted((listed.keys() | self._stands.keys()) - broken):
            wanted, stands = listed.get(name, _NOTHING), self._stands.get(name, _NOTHING)
            if wanted[0] > stands[0]:
                self.tell(f"{_spelled(name)} of release {wanted[0]} is not there")
            elif wanted != stands:
                self.tell(f"{_spelled(name)} of release {stands[0]} is not what release {release.release} lists")
        self._stands = listed

    async def _position(self) -> Position | None:
        """Return the position, if there is one to go by."""
        position = await self.store.position(self.session)
        if position is None:
            if self._last:
                self.tell("the position is not there")
            return None
        if not counts_on(position):  # a worker that just began takes it over, or counts anew
            return None
        if position.release != self._last:
            self.tell(f"the last release was {position.release}, and {self._last} is the newest that is there")
        return position

    async def _cells(self, position: Position) -> None:
        for part in sorted(position.parts):
            async with self._going_on(f"the cells of {_spelled(part)}"):
                await self.store.opened(self.session, position, part)
        strays = await self.store.strays(self.session, position)
        if strays:
            self.tell(f"{abs(strays)} rows of cells are {'too many' if strays > 0 else 'missing'}")

    async def _counted(self, position: Position) -> None:
        if await sum_of_counted(self.session, self.tally) != position.counted:
            self.tell("as of when borrowers were counted last is not what was noted: somebody wrote these rows")
        missing = await forgotten(self.session, limit=MOST_WAITING)
        if missing:
            names = [str(one) for one in missing[:MOST_NAMED]]
            self.tell(f"borrowers changed, were not counted and do not wait: {named(names, len(missing))}")


def _name_of(one: ToldPart | Name) -> Name:
    return (one.report, one.part) if isinstance(one, ToldPart) else one


def _spelled(name: Name) -> str:
    return " ".join(name)
