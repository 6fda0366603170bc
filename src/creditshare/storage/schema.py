"""Runs the migrations and says whether the schema fits the code. One head; never from two processes at once."""

from importlib.resources import files
from pathlib import Path
from typing import Final

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, MetaData, create_engine, func, select

from creditshare.crypto.rowseals import RowSeals
from creditshare.errors import ConfigurationError
from creditshare.storage.engine import driver_url

_MIGRATION_LOCK: Final = 0x6D69_6772_6174


def migrations_folder() -> Path:
    """Return the folder of the migrations: beside the sources in a checkout, inside an installed package."""
    package = Path(str(files("creditshare")))
    for folder in (package / "_migrations", package.parents[1] / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    raise ConfigurationError("the migrations are missing from this installation; install creditshare again")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    config.attributes["connection"] = connection
    return config


def upgrade(url: str | URL, *, seals: RowSeals, revision: str = "head") -> None:
    """Bring the schema to a revision. Takes the owner's address; processes that start together wait for each other.

    ``seals`` are those of the service's own key file: a migration that adds or changes sealed rows seals them.
    """
    engine = create_engine(driver_url(url))
    try:
        with engine.begin() as connection:
            connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            config = _config(connection)
            config.attributes["row_seals"] = seals
            command.upgrade(config, revision)
    finally:
        engine.dispose()


def downgrade(url: str | URL, *, revision: str = "-1") -> None:
    """Take the schema down, by default one step."""
    engine = create_engine(driver_url(url))
    try:
        with engine.begin() as connection:
            command.downgrade(_config(connection), revision)
    finally:
        engine.dispose()


def head() -> str:
    """Return the newest revision that this code knows."""
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    return ScriptDirectory.from_config(config).get_current_head() or ""


def knows(revision: str) -> bool:
    """Whether this code has a revision, so that it can bring a database from there to the head."""
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    return revision in {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}


def current(url: str | URL) -> str | None:
    """Return the revision that the database is at, or None for an empty one."""
    engine = create_engine(driver_url(url))
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


def drift(url: str | URL, metadata: MetaData) -> list[object]:
    """Return what autogenerate would change: empty when tables and code agree."""
    engine = create_engine(driver_url(url))
    try:
        with engine.connect() as connection:
            return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata))
    finally:
        engine.dispose()
