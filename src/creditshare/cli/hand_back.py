"""A member's own data when its membership ends: the key they are encrypted to, and opening the file."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from creditshare.cli.options import AsJson, KeyFile, ServiceUrl, client, read_json, show, write_private
from creditshare.crypto.jwe import OpeningKey
from creditshare.crypto.jws import VerifyingKey
from creditshare.errors import ConfigurationError, CreditshareError, Malformed
from creditshare.wire.handback import Reading

hand_back = typer.Typer(no_args_is_help=True, help="Your data when your membership ends: name a key, open the file.")


@hand_back.command("key")
def key(
    file: Annotated[Path, typer.Option("--out", help="Where to write the private key (mode 0600).")],
    as_json: AsJson = False,
) -> None:
    """Make the key that your data are to be encrypted to. Keep it where it outlives your membership."""
    made = OpeningKey.generate()
    write_private(file, made.private_jwk())
    show({"kid": made.kid, "file": str(file)}, as_json=as_json, line=f"key {made.kid} in {file}")


@hand_back.command("name")
def name(
    key_to: Annotated[Path, typer.Option("--key", help="The key's file; its public half alone is sent.")],
    key_file: KeyFile = None,
    url: ServiceUrl = None,
    as_json: AsJson = False,
) -> None:
    """Name that key to the service, by a signed request, while you are a member. The last one named counts."""
    own = _key(key_to)
    with client(url, key_file) as service:
        done = service.call("POST", "/v1/me/hand-back-key", data={"jwk": dict(own.public_jwk)}).data
    show(done, as_json=as_json, line=f"your data will be encrypted to key {done['hand_back_kid']}")


@hand_back.command("open")
def open_file(
    file: Annotated[Path, typer.Argument(help="The file that was handed back.")],
    key_to: Annotated[Path, typer.Option("--key", help="The key's file.")],
    out: Annotated[Path, typer.Option("--out", help="Where to write the rows, one JSON object a line (mode 0600).")],
    jwks: Annotated[Path | None, typer.Option(help="The service's keys that you know, to check who made it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Open the file: every line is checked, and nothing is left at the place named unless all of it is good."""
    own = _key(key_to)
    reading = Reading(own, service_keys=None if jwks is None else _service_keys(jwks))
    counts: dict[str, int] = {}
    draft = out.with_name(f".{out.name}.part")
    if out.exists():
        raise ConfigurationError(f"{out} exists already and is not overwritten; name another file")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with file.open("rb") as lines, os.fdopen(descriptor, "w", encoding="utf-8") as written:
            for row in reading.rows(lines):
                written.write(json.dumps(row, ensure_ascii=False) + "\n")
                counts[str(row.get("row"))] = counts.get(str(row.get("row")), 0) + 1
    except OSError as error:
        draft.unlink()
        raise ConfigurationError(f"{file} cannot be read ({error.strerror})") from error
    except CreditshareError:
        draft.unlink()
        raise
    draft.replace(out)
    made = reading.end
    signed = "by keys that you gave" if jwks else "not checked, give --jwks"
    told = ", ".join(f"{count} of {kind}" for kind, count in counts.items())
    show(
        {"rows": counts, "file": str(out), "from": made.iss if made else None, "for": made.aud if made else None},
        as_json=as_json,
        line=f"{out}: {told}; signature {signed}",
    )


def _key(file: Path) -> OpeningKey:
    stored: Any = read_json(file)
    if not isinstance(stored, dict):
        raise ConfigurationError(f"{file} is not a key")
    try:
        return OpeningKey.from_jwk(stored)
    except Malformed as error:
        raise ConfigurationError(f"{file} is not a key of `hand-back key`: {error}") from error


def _service_keys(file: Path) -> Mapping[str, VerifyingKey]:
    document: Any = read_json(file)
    keys = document.get("keys", []) if isinstance(document, dict) else []
    return {found.kid: found for found in (VerifyingKey.from_jwk(jwk) for jwk in keys)}
