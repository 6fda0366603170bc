"""Opening many borrowers' records at once, for the worker that counts them. No request is answered from here."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from creditshare.errors import IntegrityError, Refused
from creditshare.records.history import History, histories_of
from creditshare.records.statements import OF_BORROWERS, OPENED
from creditshare.storage.engine import ReadSession
from creditshare.storage.rowsets import columns_of
from creditshare.subjects.service import Subjects


@dataclass(frozen=True, slots=True)
class OpenedBorrower:
    """A borrower's records, and its version when they were read."""

    version: int
    histories: Sequence[History]


async def open_borrowers(
    session: ReadSession, subjects: Subjects, subject_ids: Sequence[UUID]
) -> dict[UUID, OpenedBorrower | IntegrityError]:
    """Return these borrowers' records, or what does not fit its seals. Erased borrowers are left out."""
    rows = (await session.run(OPENED, columns_of("b", OF_BORROWERS, [(one,) for one in subject_ids]))).mappings().all()
    opened: dict[UUID, OpenedBorrower | IntegrityError] = {}
    for row in rows:
        try:
            state = subjects.opened(row)
            opened[row["subject_id"]] = OpenedBorrower(state.version, histories_of(state, dict(row)))
        except Refused:
            continue
        except IntegrityError as error:
            opened[row["subject_id"]] = error
    return opened
