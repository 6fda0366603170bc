"""The same schema and the same main job on the oldest PostgreSQL that is supported."""

import psycopg
import pytest
from tests.fixtures.postgres import open_folder
from tests.fixtures.service import KEYRING, running_service, wait_for
from tests.operations.test_backup import elsewhere
from tests.stories import test_main_job as main_job

from creditshare.errors import ConfigurationError
from creditshare.operations.backup import back_up
from creditshare.operations.restoring import bring_keys, load
from creditshare.registry import metadata
from creditshare.storage import schema
from creditshare.storage.embedded import EmbeddedPostgres


@pytest.fixture(scope="module")
def oldest_template(oldest_postgres: EmbeddedPostgres) -> str:
    oldest_postgres.create_database("creditshare_template")
    schema.upgrade(oldest_postgres.url("owner", "creditshare_template"), seals=KEYRING.row_seals())
    return "creditshare_template"


def test_it_is_the_version_that_it_is_taken_for(oldest_postgres: EmbeddedPostgres) -> None:
    url = oldest_postgres.url("superuser").replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(url) as connection:
        assert connection.info.server_version // 10_000 == 15


def test_migrations_go_up_down_and_up_and_leave_nothing_to_generate(oldest_postgres: EmbeddedPostgres) -> None:
    oldest_postgres.create_database("t_migrations")
    url = oldest_postgres.url("owner", "t_migrations")
    schema.upgrade(url, seals=KEYRING.row_seals())
    assert schema.drift(url, metadata) == []
    schema.downgrade(url)
    schema.upgrade(url, seals=KEYRING.row_seals())
    assert schema.drift(url, metadata) == []
    schema.downgrade(url, revision="base")
    assert schema.current(url) is None


@pytest.mark.parametrize(
    "story",
    [
        main_job.test_a_default_reported_blind_is_seen_with_consent_and_provable,
        main_job.test_a_retry_gets_the_same_bytes_and_uses_nothing_twice,
        main_job.test_rebuilding_an_answer_from_the_version_gives_the_stored_bytes,
    ],
)
def test_the_main_job_runs_on_it(story, oldest_postgres: EmbeddedPostgres, oldest_template: str) -> None:  # type: ignore[no-untyped-def]
    with running_service(oldest_postgres, oldest_template) as service:
        story(service)


def test_a_backup_is_loaded_into_the_same_version_and_never_into_an_older_one(
    oldest_postgres: EmbeddedPostgres, oldest_template: str, postgres: EmbeddedPostgres, template: str
) -> None:
    with (
        running_service(oldest_postgres, oldest_template) as service,
        open_folder() as folder,
        elsewhere(oldest_postgres) as other,
    ):
        service.admit("Lender", region="US")
        wait_for(lambda: service.services.log_health.looked_at > 0)
        manifest = back_up(service.settings, folder / "backup", keys_to=folder / "keys")
        assert manifest.postgres_major == 15
        bring_keys(other.settings, folder / "keys")
        assert load(other.settings, folder / "backup").leaves == manifest.leaves
    with (
        running_service(postgres, template) as newer,
        open_folder() as folder,
        elsewhere(oldest_postgres) as other,
    ):
        assert back_up(newer.settings, folder / "backup", keys_to=folder / "keys").postgres_major == 18
        bring_keys(other.settings, folder / "keys")
        with pytest.raises(ConfigurationError, match="dump is of PostgreSQL 18, this server is 15"):
            load(other.settings, folder / "backup")
