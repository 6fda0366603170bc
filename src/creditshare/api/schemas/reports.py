"""Reports: which there are, and one of them."""

from typing import Any, Self

from pydantic import BaseModel, Field

from creditshare.api.schemas.forms import Digest
from creditshare.reports.service import Listed, Standing


class ViewOut(BaseModel):
    """A way in which a report may be had: the value of ``by``, and the dimensions of its rows."""

    by: str
    dimensions: list[str]


class ReportListed(BaseModel):
    """A report that there is; ``first`` and ``last`` name the periods of which something was told."""

    report: str
    title: str
    views: list[ViewOut]
    measures: list[str]
    first: str | None
    last: str | None


class LogOut(BaseModel):
    """The checkpoint of the log that was the newest when the numbers were told.

    ``unreadable`` entries could not be opened, and are in no number.
    """

    size: int
    checkpoint: str
    unreadable: int = 0


class ReleaseOut(BaseModel):
    """Each time something was told: ``digest`` is over all documents that stood told then."""

    number: int
    made_at: str
    digest: Digest
    policy_version: str
    log: LogOut


class ReportsOut(BaseModel):
    """The reports there are, the newest release, and how many events wait to be counted, which lenders are not told."""

    data: list[ReportListed]
    release: ReleaseOut | None
    waiting: int | None

    @classmethod
    def of(cls, listed: list[Listed], standing: Standing, language: str) -> Self:
        """Return the list for a reader of a language."""
        return cls(
            data=[
                ReportListed(
                    report=one.kind.name,
                    title=one.kind.title.of(language),
                    views=[ViewOut(by=by, dimensions=list(names)) for by, names in one.kind.views.items()],
                    measures=list(one.kind.measures),
                    first=one.first,
                    last=one.last,
                )
                for one in listed
            ],
            release=None if standing.release is None else ReleaseOut.model_validate(standing.release),
            waiting=standing.waiting,
        )


class Period(BaseModel):
    """Months from and to, both included; null where all are asked for."""

    from_: str | None = Field(alias="from")
    to: str | None


class ColumnOut(BaseModel):
    """A member of the rows: a dimension, or a measure."""

    name: str
    title: str
    kind: str


class RuleOut(BaseModel):
    """A number that decided what is told, and what it rests on."""

    rule: str
    value: str
    basis: str


class ReportOut(BaseModel):
    """A report.

    A row has its dimensions, its measures and, where cells may be withheld, their status: a withheld number is null.
    ``digest`` is over the canonical JSON (RFC 8785 for what is in it) of ``report``, ``period``, ``by``, ``filters``,
    ``rows``, ``held``, ``release`` and ``rules``; ``signature`` is the service's over the digest.
    """

    report: str
    title: str
    period: Period
    by: str
    filters: dict[str, str]
    columns: list[ColumnOut]
    rows: list[dict[str, Any]]
    statuses: dict[str, str]
    held: list[str]
    lenders: dict[str, str] = Field(default_factory=dict)
    method: str
    sources: list[str]
    rules: list[RuleOut]
    release: ReleaseOut | None
    waiting: int | None
    digest: Digest
    signature: str
