"""Profiles: a small TOML file that names the service, the key file and the service's pinned keys.

``bank-a`` means ``bank-a.toml`` in ``$CREDITSHARE_PROFILES``, or in the user's configuration folder. The private key is
not in it. The pins are written at enrolment or first use, said aloud, and compared ever after.
"""

import json
import logging
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from creditshare.client.core import Identity
from creditshare.client.pins import Pins
from creditshare.errors import ConfigurationError

FOLDER_VARIABLE: Final = "CREDITSHARE_PROFILES"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
log = logging.getLogger("creditshare.client")


def profiles_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of profiles."""
    if FOLDER_VARIABLE in environment:
        return Path(environment[FOLDER_VARIABLE])
    base = environment.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "creditshare" / "profiles"


def profile_path(name: str | Path) -> Path:
    """Return a profile's file: a path as it is, a name inside the folder of profiles."""
    if isinstance(name, Path) or name.endswith(".toml"):
        return Path(name)
    if not _NAME.fullmatch(name):
        raise ConfigurationError("a profile's name is letters, digits, dot, underscore and hyphen")
    return profiles_folder() / f"{name}.toml"


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the service is, which key signs for it, and which keys of the service are trusted."""

    path: Path
    url: str
    key_file: Path
    sub: str = "sdk"
    pins: Pins | None = None

    @classmethod
    def load(cls, name: str | Path) -> "Profile":
        """Read a profile; ``ConfigurationError`` says what is wrong with it."""
        path = profile_path(name)
        try:
            d = tomllib.loads(path.read_text())
            pins = d.get("pins")
            return cls(
                path=path,
                url=str(d["url"]),
                key_file=path.parent / Path(d["key_file"]).expanduser(),
                sub=str(d.get("sub", "sdk")),
                pins=None if pins is None else _pins(pins),
            )
        except FileNotFoundError:
            raise ConfigurationError(f"there is no profile {path}; `creditshare profile add` writes one") from None
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(f"{path} is not a profile: it names url, key_file and perhaps [pins]") from error

    def identity(self) -> Identity:
        """Read the key."""
        return Identity.from_file(self.key_file, sub=self.sub)

    def save(self) -> None:
        """Write the profile whole or not at all; only its owner may change it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".draft")
        draft.write_text(self._text())
        draft.chmod(0o600)
        draft.replace(self.path)

    def trusting(self, pins: Pins) -> "Profile":
        """Return the profile with other pins."""
        return replace(self, pins=pins)

    def remember(self, pins: Pins) -> None:
        """Pin what the service showed at first use, and say so."""
        self.trusting(pins).save()
        log.warning(
            "first use of %s: its keys are pinned in %s. Compare them with what the operator published:"
            " signing %s; tokeniser %s; log %s",
            pins.issuer,
            self.path,
            ", ".join(pins.service_keys),
            ", ".join(f"{label} {key}" for label, key in pins.tokeniser.items()),
            pins.log_vkey,
        )

    def _text(self) -> str:
        lines = [
            "# A creditshare profile. The keys under [pins] are the service's, as first seen or since accepted.",
            f"url = {_quoted(self.url)}",
            f"key_file = {_quoted(str(self.key_file))}",
            f"sub = {_quoted(self.sub)}",
        ]
        if self.pins is not None:
            lines += [
                "",
                "[pins]",
                f"issuer = {_quoted(self.pins.issuer)}",
                f"service_keys = [{', '.join(map(_quoted, self.pins.service_keys))}]",
                f"log_vkey = {_quoted(self.pins.log_vkey)}",
                "",
                "[pins.tokeniser]",
                *(f"{_quoted(label)} = {_quoted(key)}" for label, key in self.pins.tokeniser.items()),
            ]
        return "\n".join(lines) + "\n"


def _pins(members: Mapping[str, Any]) -> Pins:
    return Pins(
        issuer=str(members["issuer"]),
        service_keys=tuple(map(str, members["service_keys"])),
        tokeniser={str(label): str(key) for label, key in members["tokeniser"].items()},
        log_vkey=str(members["log_vkey"]),
    )


def _quoted(text: str) -> str:
    # A TOML basic string has the escapes of JSON.
    return json.dumps(text, ensure_ascii=False)
