"""``RateLimit-Policy`` and ``RateLimit``: what a member may send and what is left of it.

The list form of draft-ietf-httpapi-ratelimit-headers: one item for each allowance, ``q`` granted in ``w`` seconds,
``r`` left, full again or renewed in ``t`` seconds.
"""

from typing import Final

from creditshare.access.limits import Rate, Standing
from creditshare.access.quotas import DayStanding

POLICY: Final = "RateLimit-Policy"
LEFT: Final = "RateLimit"
DAY_S: Final = 86_400


def rate_headers(rate: Rate, standing: Standing, day: DayStanding | None) -> dict[str, str]:
    """Return both headers; ``day`` where the request counts against a quota of the day of which something is known."""
    policy, left = f'"burst";q={rate.burst};w={rate.window_s}', f'"burst";r={standing.remaining};t={standing.full_in_s}'
    if day is not None:
        policy += f', "daily";q={day.quota};w={DAY_S}'
        left += f', "daily";r={day.remaining};t={day.ends_in_s}'
    return {POLICY: policy, LEFT: left}
