"""What a sandbox alone has."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from creditshare.api.schemas.forms import Instant, Strict


class ClockIn(Strict):
    """How far a sandbox moves its business time."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [{"days": 16}]})
    days: Annotated[int, Field(ge=1, le=3_660)]


class ClockOut(BaseModel):
    """The business time of a sandbox after it was moved."""

    business_time: Instant
    ahead_days: int
