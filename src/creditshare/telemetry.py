"""Logs and metrics. Neither ever carries borrower data: only actions, codes, counts and request ids."""

import logging
from typing import Final

import structlog
from prometheus_client import Counter, Gauge, Histogram

REQUESTS: Final = Histogram("creditshare_request_seconds", "Time from first byte to answer.", ["action", "status"])
REFUSALS: Final = Counter("creditshare_refusals_total", "Refusals by code, authenticated or not.", ["code"])
PENDING_SECONDS: Final = Gauge("creditshare_log_oldest_pending_seconds", "Age of the oldest event without an index.")


def configure_logging() -> None:
    """Write structured lines to standard error."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
