"""The policy of the tests; the fixtures themselves stand in ``fixtures/``, one file per matter.

- ``tests/`` mirrors ``src/creditshare/``. Rules and pure code use no database.
- The database is always a real PostgreSQL: one embedded server per session, made by the migrations.
- Service tests roll back; stories and faults get a fresh database from a template and really commit.
- The other side is simulated in memory, never mocked call by call. Warnings are errors.
- What takes more than a few seconds is marked ``slow``. No test measures time, so no example has a deadline.
"""

from pathlib import Path

import pytest
from hypothesis import settings
from tests.fixtures.browser import browser
from tests.fixtures.postgres import postgres
from tests.fixtures.service import service, shared_service, template
from tests.fixtures.system_postgres import oldest_postgres

from creditshare.composition import spare_the_collector

settings.register_profile("here", deadline=None)
settings.load_profile("here")


def seconds_of(item: pytest.Item) -> float:
    """Return about how long a test takes: by its mark, and whether it is given a service of its own."""
    if item.get_closest_marker("slow"):
        return 8.0
    given = getattr(item, "fixturenames", ())
    return 3.0 if "service" in given else 0.5 if "postgres" in given else 0.02


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that at the end no process has one of them alone."""
    seconds: dict[Path, float] = {}
    for item in items:
        seconds[item.path] = seconds.get(item.path, 0.0) + seconds_of(item)
    items.sort(key=lambda item: -seconds[item.path])


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Do once what each process of a service does when it starts."""
    spare_the_collector()


__all__ = ["browser", "oldest_postgres", "postgres", "service", "shared_service", "template"]
