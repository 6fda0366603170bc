"""Files of records, as their member follows them."""

from dataclasses import asdict

from pydantic import BaseModel

from creditshare.api.schemas.forms import Instant
from creditshare.batches.service import Job
from creditshare.ids import spell


class JobOut(BaseModel):
    """A file being dealt with: how many of its rows were accepted and refused so far, and why it failed if it did."""

    job_id: str
    status: str
    code: str | None
    dry_run: bool
    rows: int
    accepted: int
    refused: int
    created_at: Instant
    finished_at: Instant | None
    expires_at: Instant

    @classmethod
    def of(cls, job: Job) -> "JobOut":
        """Present a job."""
        return cls(**{**asdict(job), "job_id": spell("job", job.job_id)})
