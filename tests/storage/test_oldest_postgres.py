"""The same schema and the same main job on the oldest PostgreSQL that is supported."""

import psycopg
import pytest
from tests.fixtures.service import running_service
from tests.stories import test_main_job as main_job

from creditshare.registry import metadata
from creditshare.storage import schema
from creditshare.storage.embedded import EmbeddedPostgres


@pytest.fixture(scope="module")
def oldest_template(oldest_postgres: EmbeddedPostgres) -> str:
    oldest_postgres.create_database("creditshare_template")
    schema.upgrade(oldest_postgres.url("owner", "creditshare_template"))
    return "creditshare_template"


def test_it_is_the_version_that_it_is_taken_for(oldest_postgres: EmbeddedPostgres) -> None:
    url = oldest_postgres.url("superuser").replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(url) as connection:
        assert connection.info.server_version // 10_000 == 15


def test_migrations_go_up_down_and_up_and_leave_nothing_to_generate(oldest_postgres: EmbeddedPostgres) -> None:
    oldest_postgres.create_database("t_migrations")
    url = oldest_postgres.url("owner", "t_migrations")
    schema.upgrade(url)
    assert schema.drift(url, metadata) == []
    schema.downgrade(url)
    schema.upgrade(url)
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
