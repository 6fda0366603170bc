"""The key file: every secret of one service that must not be in the database.

A JSON object of named key sets, each with a ``current`` version and all older ones that are still
needed. With a passphrase the file holds only ``{"sealed", "salt"}`` (scrypt, RFC 7914, then AES-256-GCM);
without one it is protected by mode 0600 alone, which production refuses. It is written whole, beside
itself, and renamed, so that a crash leaves the old or the new file. Never back it up with the database.
"""

import base64
import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from creditshare.crypto.jws import SigningKey
from creditshare.crypto.oprf import SecretKey
from creditshare.crypto.rowseals import RowSeals
from creditshare.crypto.sealing import KEY_BYTES, KEY_ID_BYTES, Box, Place
from creditshare.errors import ConfigurationError, IntegrityError
from creditshare.keys.provider import Wrapped

SCRYPT_COST: Final = 2**15  # about 0.1 s and 32 MiB, once per start
_FILE_PLACE: Final = Place("keyring", "file", b"")
_FILE_KEY_ID: Final = b"keyring\0"
SETS: Final = (
    "kek",
    "pepper",
    "tokeniser",
    "signing",
    "log",
    "log_opening",
    "service",
    "handle",
    "reference",
    "fingerprint",
)
_SYMMETRIC: Final = ("kek", "pepper", "log_opening", "service", "handle", "reference", "fingerprint")


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _fresh_set(value: object) -> dict[str, Any]:
    return {"current": "1", "keys": {"1": value}}


@dataclass(frozen=True, slots=True)
class Keyring:
    """The opened key file. Its content hides in its repr; properties give only what a caller needs."""

    _sets: Mapping[str, Any] = field(repr=False)
    _boxes: dict[tuple[str, str], Box] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def generate(cls) -> "Keyring":
        """Make all secrets of a new service."""
        sets: dict[str, Any] = {name: _fresh_set(_encode(secrets.token_bytes(KEY_BYTES))) for name in _SYMMETRIC}
        sets["tokeniser"] = _fresh_set(_encode(SecretKey.generate().to_bytes()))
        sets["signing"] = _fresh_set(dict(SigningKey.generate().private_jwk()))
        sets["log"] = _fresh_set(_encode(Ed25519PrivateKey.generate().private_bytes_raw()))
        return cls(sets)

    def current(self, name: str) -> str:
        """Return the version in force of a key set, as text."""
        return str(self._sets[name]["current"])

    def versions(self, name: str) -> list[str]:
        """Return all versions of a key set that are kept."""
        return list(self._sets[name]["keys"])

    def secret(self, name: str, version: str | None = None) -> bytes:
        """Return the bytes of a symmetric key; the current version unless one is named."""
        chosen = version or self.current(name)
        try:
            return base64.b64decode(self._sets[name]["keys"][chosen])
        except KeyError:
            raise IntegrityError(f"the key file has no {name} key of version {chosen}") from None

    def box(self, name: str) -> Box:
        """Return the current key of a set as a box for sealing what belongs to no borrower."""
        return self._box(name, self.current(name))

    def _box(self, name: str, version: str) -> Box:
        if (name, version) not in self._boxes:
            self._boxes[name, version] = Box.of(self.secret(name, version), key_id=key_id(name, version))
        return self._boxes[name, version]

    def row_seals(self) -> RowSeals:
        """Return the seals of rows that decide who may do what, under keys derived from the service's own."""
        secrets_by_id = {
            key_id("service", version): self.secret("service", version) for version in self.versions("service")
        }
        return RowSeals.of(secrets_by_id, current=key_id("service", self.current("service")))

    def signing_keys(self) -> dict[str, SigningKey]:
        """Return the service's ES256 keys by version."""
        return {version: SigningKey.from_jwk(jwk) for version, jwk in self._sets["signing"]["keys"].items()}

    def signing_key(self) -> SigningKey:
        """Return the ES256 key that signs answers now."""
        return SigningKey.from_jwk(self._sets["signing"]["keys"][self.current("signing")])

    def tokeniser_key(self, version: int) -> SecretKey:
        """Return the oblivious function's key of a version."""
        return SecretKey.from_bytes(self.secret("tokeniser", str(version)))

    def with_new_version(self, name: str) -> "Keyring":
        """Return a keyring whose symmetric key set has one more version, which is now current."""
        if name not in _SYMMETRIC:
            raise ConfigurationError(f"{name} keys are not rotated here")
        version = str(max(int(v) for v in self.versions(name)) + 1)
        keys = {**self._sets[name]["keys"], version: _encode(secrets.token_bytes(KEY_BYTES))}
        return Keyring({**self._sets, name: {"current": version, "keys": keys}})

    def without_version(self, name: str, version: str) -> "Keyring":
        """Return a keyring that lacks an old version of a key set; the version in force is never taken out."""
        if version not in self.versions(name):
            raise ConfigurationError(f"the key file has no {name} key of that version")
        if version == self.current(name):
            raise ConfigurationError(f"version {version} of {name} is the one in force: rotate first")
        keys = {kept: key for kept, key in self._sets[name]["keys"].items() if kept != version}
        return Keyring({**self._sets, name: {**self._sets[name], "keys": keys}})

    # KeyProvider: the file's own key-encryption keys.

    def wrap(self, key: bytes, *, row_id: bytes) -> Wrapped:
        """Wrap a data key under the current key-encryption key, bound to its row."""
        return Wrapped(self.box("kek").seal(Place("subject", "dek", row_id), key))

    def unwrap(self, wrapped: Wrapped, *, row_id: bytes) -> bytes:
        """Return the data key, whichever kept key-encryption key wrapped it."""
        for version in self.versions("kek"):
            if key_id("kek", version) == wrapped.wrapping_key_id:
                return self._box("kek", version).open(Place("subject", "dek", row_id), wrapped.data)
        raise IntegrityError("the key file does not hold the key that wraps this borrower's key")

    def describe(self) -> str:
        """Say which key wraps."""
        return f"key file, key-encryption key version {self.current('kek')}"


def key_id(name: str, version: str) -> bytes:
    """Return the 8-byte id under which a key file's key is named in sealed bytes."""
    return f"{name[:4]}{int(version):04d}".encode().ljust(KEY_ID_BYTES, b"_")[:KEY_ID_BYTES]


def is_sealed(path: Path) -> bool:
    """Whether a key file is sealed by a passphrase; one that cannot be read is left to ``KeyringFile.load``."""
    try:
        return "sealed" in json.loads(path.read_bytes())
    except (ValueError, OSError):
        return True


class KeyringFile:
    """Reads and replaces the key file."""

    def __init__(self, path: Path, *, passphrase: bytes | None) -> None:
        self._path = path
        self._passphrase = passphrase

    def stamp(self) -> tuple[int, int]:
        """Return what changes whenever the file is replaced."""
        found = self._path.stat()
        return found.st_ino, found.st_mtime_ns

    def exists(self) -> bool:
        """Whether a key file is there."""
        return self._path.exists()

    def load(self) -> Keyring:
        """Open the file; a wrong passphrase or an edited file is a ``ConfigurationError``."""
        try:
            stored = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            raise ConfigurationError(
                f"there is no key file at {self._path}; start the service once to make it, or name its folder by --data"
            ) from None
        except ValueError:
            raise ConfigurationError(f"the key file {self._path} is not readable; restore it from its backup") from None
        if "sealed" not in stored:
            return Keyring(stored)
        if self._passphrase is None:
            raise ConfigurationError("the key file is sealed: set CREDITSHARE_KEYRING_PASSPHRASE_FILE")
        box = self._file_box(base64.b64decode(stored["salt"]))
        try:
            return Keyring(json.loads(box.open(_FILE_PLACE, base64.b64decode(stored["sealed"]))))
        except IntegrityError:
            raise ConfigurationError("the passphrase does not open the key file") from None

    def load_or_create(self) -> Keyring:
        """Open the file, making it first if there is none; safe among processes that start together."""
        with self.locked():
            if not self.exists():
                self.replace(Keyring.generate())
            return self.load()

    def replace(self, keyring: Keyring) -> None:
        """Write the whole file anew, atomically, readable by its owner only."""
        content: dict[str, Any] = dict(keyring._sets)  # noqa: SLF001  the file is the keyring's own stored form
        if self._passphrase is not None:
            salt = secrets.token_bytes(16)
            sealed = self._file_box(salt).seal(_FILE_PLACE, json.dumps(content).encode())
            content = {"salt": _encode(salt), "sealed": _encode(sealed)}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_suffix(".new")
        beside.unlink(
            missing_ok=True
        )  # a left-over, or another's trap: neither its mode nor where it leads is taken over
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from changing the file meanwhile."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _file_box(self, salt: bytes) -> Box:
        if not self._passphrase:
            raise ConfigurationError("the passphrase file is empty")
        return Box.of(
            Scrypt(salt=salt, length=KEY_BYTES, n=SCRYPT_COST, r=8, p=1).derive(self._passphrase), key_id=_FILE_KEY_ID
        )


class FileProvider:
    """The key file as a provider, read anew when it was replaced: nothing is wrapped by a key out of force."""

    def __init__(self, file: KeyringFile) -> None:
        self._file = file
        self._load()

    def _load(self) -> None:
        self._stamp = self._file.stamp()
        self._keyring = self._file.load()

    def wrap(self, key: bytes, *, row_id: bytes) -> Wrapped:
        """Wrap under the key-encryption key that is current now, whichever process made it."""
        if self._file.stamp() != self._stamp:
            self._load()
        return self._keyring.wrap(key, row_id=row_id)

    def unwrap(self, wrapped: Wrapped, *, row_id: bytes) -> bytes:
        """Return the data key, or raise ``IntegrityError``."""
        known = {key_id("kek", version) for version in self._keyring.versions("kek")}
        if wrapped.wrapping_key_id not in known:
            self._load()
        return self._keyring.unwrap(wrapped, row_id=row_id)

    def describe(self) -> str:
        """Say which key wraps."""
        return self._keyring.describe()
