"""Logs and metrics. Neither ever carries borrower data: only actions, codes, counts and request ids.

Logs are one JSON object per line on standard error, the server's own included. Only the fields of ``FIELDS`` leave,
text is scrubbed, and of an exception its kind and place are told; its message only where it is ours, because ours never
echo a value (``errors``), whereas a driver's or a parser's quotes rows and input.
"""

import logging
import os
import re
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from creditshare.errors import CreditshareError

MULTIPROCESS_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Set before a process imports this module, so that all processes of one service are measured together."""

REQUESTS: Final = Histogram("creditshare_request_seconds", "Time from first byte to answer.", ["action", "status"])
REFUSALS: Final = Counter("creditshare_refusals_total", "Refusals by code, authenticated or not.", ["code"])
# Of the one log, so the newest look of any process counts; of this process, so the worst of the living counts.
PENDING_SECONDS: Final = Gauge(
    "creditshare_log_oldest_pending_seconds",
    "Age of the oldest event without an index.",
    multiprocess_mode="mostrecent",
)
PENDING: Final = Gauge("creditshare_log_pending", "Events without an index.", multiprocess_mode="mostrecent")
LOG_SIZE: Final = Gauge("creditshare_log_size", "Leaves under the newest checkpoint.", multiprocess_mode="mostrecent")
CHECKPOINT_SECONDS: Final = Gauge(
    "creditshare_log_checkpoint_age_seconds", "Age of the newest checkpoint.", multiprocess_mode="mostrecent"
)
HELD: Final = Gauge(
    "creditshare_log_held", "1 while witnesses object to the log and it is not signed.", multiprocess_mode="mostrecent"
)
COSIGNED_SIZE: Final = Gauge(
    "creditshare_log_cosigned_size", "Leaves under the newest checkpoint with a quorum.", multiprocess_mode="mostrecent"
)
UNANCHORED_SECONDS: Final = Gauge(
    "creditshare_log_unanchored_seconds",
    "Age of the oldest checkpoint that no time-stamp covers, where stamps are taken.",
    multiprocess_mode="mostrecent",
)
KEY_TABLE_SECONDS: Final = Gauge(
    "creditshare_key_table_age_seconds", "Since the members' keys were confirmed.", multiprocess_mode="livemax"
)
BROKEN_SEALS: Final = Gauge(
    "creditshare_broken_seals",
    "Rows of members and keys that do not match their seals, and one more if the key table is not whole.",
    multiprocess_mode="livemax",
)
DATABASE_WAIT: Final = Histogram("creditshare_database_wait_seconds", "Wait for a connection of the pool.")
DATABASE_FAILURES: Final = Counter(
    "creditshare_database_unavailable_total", "Transactions that the database did not answer, or cut off."
)

OURS: Final = frozenset({"action", "code", "level", "logger", "member_id", "timestamp"})
"""Fields whose text comes from our own tables, so that it need not be searched: a line is written for each request."""
FREE: Final = frozenset(
    {"count", "duration_ms", "event", "exception", "kind", "part", "request_id", "status", "why", "witness"}
)
FIELDS: Final = OURS | FREE
"""Every field that a line may have. A new one is added here, after asking whether it could tell of a borrower."""

SECRETS: Final = (
    re.compile(r"eyJ[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)*"),  # a JWS or what is left of one
    re.compile(r"\b[0-9A-HJ-NP-RTUW-Y]{2}\d{6}[0-9A-HJ-NP-RTUW-Y]{10}\b"),  # USCC, GB 32100-2015
    re.compile(r"\b[0-9A-Z]{18}\d{2}\b"),  # LEI, ISO 17442
    re.compile(r"\b(?:sub|cns|rec|qry)_[A-Za-z0-9_-]+"),  # public ids of what belongs to a borrower
    re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"),  # a bare UUID, such as a borrower's row
    re.compile(r"(?<=://)[^/@\s]+:[^/@\s]+(?=@)"),  # login and password of an address
    re.compile(r"\b[A-Za-z0-9_+/-]{43,}={0,2}"),  # long encoded bytes: elements, keys, digests
)
_ANY_SECRET: Final = re.compile("|".join(secret.pattern for secret in SECRETS))
REDACTED: Final = "[redacted]"
SERVER_LOGGERS: Final = ("uvicorn", "uvicorn.error", "uvicorn.access")
MAX_CAUSES: Final = 4
MAX_FRAMES: Final = 8


def redact(_logger: object, _method: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Let only known fields through, and nothing in their text that looks like a token, an identifier or a secret."""
    return {
        name: scrub(value) if name in FREE and isinstance(value, str) else value
        for name, value in line.items()
        if name in FIELDS
    }


def scrub(text: str) -> str:
    """Replace what looks like a token, an identifier, a password or encoded bytes."""
    if _ANY_SECRET.search(text) is None:
        return text
    for secret in SECRETS:
        text = secret.sub(REDACTED, text)
    return text


def tell_exception(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace a live exception by its kinds and places, outermost first, without foreign messages."""
    given = line.pop("exc_info", None)
    if given is None or given is False:
        return line
    error = given if isinstance(given, BaseException) else given[1] if isinstance(given, tuple) else sys.exc_info()[1]
    told: list[str] = []
    while error is not None and len(told) < MAX_CAUSES:
        places = traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:]
        way = " < ".join(f"{Path(place.filename).name}:{place.lineno} {place.name}" for place in reversed(places))
        said = f": {error}" if isinstance(error, CreditshareError) else ""
        told.append(f"{type(error).__name__}{said} at {way}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    line["exception"] = " | because of ".join(told)
    return line


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to whatever standard error is at that moment, so that a redirected one is honoured."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        del value


def configure_logging() -> None:
    """Write every line of this process, ours and the server's, as redacted JSON to standard error. May be repeated."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    for name in SERVER_LOGGERS:  # taken over from the server, whatever it set up
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    root = logging.getLogger()
    if any(isinstance(handler, _StandardError) for handler in root.handlers):
        return
    handler = _StandardError()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                tell_exception,
                redact,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root.addHandler(handler)
    logging.getLogger("creditshare").setLevel(logging.INFO)


class _Lines:
    """Where lines go that need nothing of the standard library's logging, of which a request's line costs a third."""

    def info(self, line: str) -> None:
        sys.stderr.write(line + "\n")


def quick_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """Return a logger for lines that every request writes: as redacted as all others, straight to standard error."""

    def named(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        line["logger"] = name
        return line

    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        _Lines(),
        processors=[
            structlog.processors.add_log_level,
            named,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            redact,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    return logger


def metrics() -> bytes:
    """Return all metrics in Prometheus' text form: of this process, or of all that share the folder of metrics."""
    folder = os.environ.get(MULTIPROCESS_VARIABLE)
    if folder is None:
        return generate_latest()
    for pid in {path.stem.rpartition("_")[2] for path in Path(folder).glob("gauge_live*.db")}:
        if not Path(f"/proc/{pid}").exists():
            mark_process_dead(int(pid), folder)  # type: ignore[no-untyped-call]  # the library has no types here
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]  # as above
    return generate_latest(registry)
