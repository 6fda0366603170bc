"""Reading a log that is shown to its readers only: a token of one's own, as HTTP Basic credentials (RFC 7617)."""

import base64
from typing import Final

from creditshare.errors import ConfigurationError

UNAUTHORIZED: Final = 401


class NotAReader(ConfigurationError):
    """The log is not shown without a reader's token, or this one is none that lives."""

    def __init__(self, target: str) -> None:
        super().__init__(
            f"{target} is shown to readers of the log only: keep the output of `creditshare log token`, which ends with"
            " your key, and name the file with --reader"
        )


def reader_headers(reader: str | None) -> dict[str, str]:
    """Return the header for a reader's token, ``user:password`` as ``creditshare log token`` prints it."""
    if reader is None:
        return {}
    return {"Authorization": "Basic " + base64.b64encode(reader.encode()).decode()}
