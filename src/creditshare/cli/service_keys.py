"""The service's own keys, on the operator's machine: what wraps what, rotating, retiring, sealing the file."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from creditshare.audit.service import Entry
from creditshare.cli.options import AsJson, DataFolder, show
from creditshare.cli.service import prepared, settings_of
from creditshare.composition import build_services, keyring_file
from creditshare.errors import ConfigurationError, Refused
from creditshare.keys.keyring import SETS, key_id
from creditshare.services import Services
from creditshare.settings import Settings

T = TypeVar("T")
REWRAP_BATCH: Final = 500
KEK: Final = "kek"


def status(data: Path | None, *, as_json: bool) -> None:
    """Show the versions of the service's own keys, and how many borrower keys each wrapping key still wraps."""
    settings = Settings.read() if data is None else settings_of(data)
    keyring = keyring_file(settings).load()
    versions = {name: {"current": keyring.current(name), "kept": keyring.versions(name)} for name in SETS}
    wrapped = _with_services(settings, _wrapped)
    counts = {version: wrapped.get(key_id(KEK, version), 0) for version in keyring.versions(KEK)}
    lines = [f"{name}: version {v['current']} of {', '.join(v['kept'])}" for name, v in versions.items()]
    lines += [f"kek version {version} wraps {count} borrower keys" for version, count in counts.items()]
    show({**versions, KEK: {**versions[KEK], "wraps": counts}}, as_json=as_json, line="\n".join(lines))


def retire(
    name: Annotated[str, typer.Argument(help="The key set: kek.")],
    version: Annotated[str, typer.Argument(help="The old version, as `keys status` shows it.")],
    data: DataFolder = Path("creditshare-data"),
    as_json: AsJson = False,
) -> None:
    """Remove an old key-encryption key from the key file, if it wraps nothing any more. There is no way back.

    Refused for the current version and while any borrower's key is still wrapped by it (`keys rotate` rewraps
    them). Backups of the database from before the rotation cannot be opened afterwards: that ends their life.
    """
    settings = settings_of(data)
    if name != KEK:
        raise ConfigurationError("only kek versions are retired: kek VERSION")
    keyring_file(settings).load().without_version(KEK, version)  # refuses what can be refused without the database

    async def run(services: Services) -> None:
        await _retire(settings, services, version)

    _with_services(settings, run)
    show({"retired": version}, as_json=as_json, line=f"key-encryption key version {version} is gone")


def seal(data: DataFolder = Path("creditshare-data"), as_json: AsJson = False) -> None:
    """Seal the key file by the passphrase of CREDITSHARE_KEYRING_PASSPHRASE_FILE, as production needs it."""
    settings = settings_of(data)
    if settings.keyring_passphrase_file is None:
        raise ConfigurationError("set CREDITSHARE_KEYRING_PASSPHRASE_FILE to a file with a passphrase")
    file = keyring_file(settings)
    with file.locked():
        file.replace(file.load())
    show({"sealed": str(settings.keyring_path)}, as_json=as_json, line=f"{settings.keyring_path} is sealed")


def rotate(data: Path, *, as_json: bool) -> None:
    """Make a new key-encryption key, wrap every borrower's key by it and say how many."""
    version, rewrapped = rotate_wrapping_key(settings_of(data))
    show(
        {"kek": version, "rewrapped": rewrapped},
        as_json=as_json,
        line=f"key-encryption key version {version}; {rewrapped} borrower keys wrapped anew",
    )


def rotate_wrapping_key(settings: Settings) -> tuple[str, int]:
    """Make a new key-encryption key and wrap every borrower's key by it; return its version and how many.

    Finishes a rotation that was interrupted before it makes another version. The service may run on.
    """

    async def run(services: Services) -> tuple[str, int]:
        file = keyring_file(settings)
        async with services.database.reading() as session:
            wrapped = await services.subjects.count_wrapped(session)
        with file.locked():
            keyring = file.load()
            if set(wrapped) <= {key_id(KEK, keyring.current(KEK))}:
                keyring = keyring.with_new_version(KEK)
                file.replace(keyring)
        return keyring.current(KEK), await _rewrap_all(services)

    return _with_services(settings, run)


async def _rewrap_all(services: Services) -> int:
    total = 0
    while True:
        async with services.database.writing() as session:
            done = await services.subjects.rewrap(session, limit=REWRAP_BATCH)
            total += done
            if not done:
                entry = Entry("rotate_kek", details={"rewrapped": total})
                await services.audit.record_own_act(session, entry, sub="keys rotate", now=services.clock.now())
            await session.commit()
            if not done:
                return total


async def _retire(settings: Settings, services: Services, version: str) -> None:
    file = keyring_file(settings)
    async with services.database.writing() as session:
        left = (await services.subjects.count_wrapped(session, hold=True)).get(key_id(KEK, version), 0)
        if left:
            hint = f"{left} borrower keys are still wrapped by version {version}: run `creditshare keys rotate`"
            raise Refused("state_conflict", extra={"hint": hint})
        entry = Entry("retire_kek", details={"version": int(version)})
        await services.audit.record_own_act(session, entry, sub="keys retire", now=services.clock.now())
        with file.locked():
            file.replace(file.load().without_version(KEK, version))
        await session.commit()


async def _wrapped(services: Services) -> dict[bytes, int]:
    async with services.database.reading() as session:
        return await services.subjects.count_wrapped(session)


def _with_services(settings: Settings, act: Callable[[Services], Awaitable[T]]) -> T:
    async def run() -> T:
        services = await build_services(settings)
        try:
            return await act(services)
        finally:
            await services.database.close()

    with prepared(settings):
        return asyncio.run(run())
