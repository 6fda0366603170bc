"""What this machine asked: one line per question, so that an answer can be found again and a question accounted for.

Never an identifier, a token or an answer: only the question's id, when, why, under which consent and by whom.
"""

import json
import os
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from creditshare.errors import ConfigurationError
from creditshare.wire.instants import spell_instant

FILE_VARIABLE: Final = "CREDITSHARE_HISTORY"


def history_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the file: ``$CREDITSHARE_HISTORY``, or one in the user's state folder."""
    if FILE_VARIABLE in environment:
        return Path(environment[FILE_VARIABLE])
    base = environment.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "creditshare" / "history.ndjson"


def remember(
    *, query_id: str, purpose: str, consent_id: str, scopes: list[str], member_id: str, issuer: str, now: datetime
) -> None:
    """Append a question. It was answered already, so a file that cannot be written is only said."""
    entry = {
        "query_id": query_id,
        "at": spell_instant(now),
        "purpose": purpose,
        "consent_id": consent_id,
        "scopes": scopes,
        "member_id": member_id,
        "issuer": issuer,
    }
    path = history_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(json.dumps(entry) + "\n")
    except OSError as error:
        sys.stderr.write(f"this question is not in the history: {path} cannot be written ({error.strerror})\n")


def recall(*, limit: int) -> list[dict[str, Any]]:
    """Return the newest questions, oldest first."""
    path = history_file()
    try:
        lines = path.read_text().splitlines()[-limit:]
        return [json.loads(line) for line in lines]
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the history {path} cannot be read ({type(error).__name__})") from error
