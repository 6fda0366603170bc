"""docs/operate.md and the files beside it name what there is: metrics, commands, settings, roles."""

import re
from pathlib import Path

import psycopg
import pytest
from prometheus_client import REGISTRY
from typer.main import get_command

from creditshare.cli import app
from creditshare.settings import Settings
from creditshare.storage.embedded import GROUPS, LOGINS, EmbeddedPostgres

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "operate.md").read_text()
UNITS = sorted((DOCS / "systemd").glob("*.service"))


def test_each_metric_of_an_alarm_is_measured() -> None:
    measured = {metric.name for metric in REGISTRY.collect()}
    named = set(re.findall(r"\bcreditshare_(?:request|refusals|log|key|database)_[a-z_]+", GUIDE))
    assert len(named) > 5
    for name in named:
        assert re.sub(r"_(bucket|count|sum|total)$", "", name) in measured, name


def test_each_command_exists() -> None:
    command = get_command(app)
    texts = [GUIDE, *(unit.read_text() for unit in UNITS)]
    found = {words for text in texts for words in re.findall(r"(?:\bcs|cs-admin|bin/creditshare) ([a-z]+)\b", text)}
    assert {"doctor", "backup", "restore", "db", "operator", "serve", "worker"} <= found
    assert found <= set(command.commands)  # type: ignore[attr-defined]  # a group, as typer builds it


def test_each_setting_exists() -> None:
    known = {f"CREDITSHARE_{name.upper()}" for name in Settings.model_fields}
    named = set(re.findall(r"\bCREDITSHARE_[A-Z_]+\b", GUIDE))
    passwords = {name for name in named if name.endswith("_PASSWORD")}
    assert named - passwords - {"CREDITSHARE_"} <= known


def test_the_roles_are_those_that_the_embedded_server_has() -> None:
    statements = (DOCS / "roles.sql").read_text()
    assert set(re.findall(r"^CREATE ROLE (\w+) NOLOGIN", statements, re.MULTILINE)) == set(GROUPS.values())
    made = set(re.findall(r"^CREATE ROLE (\w+) LOGIN", statements, re.MULTILINE))
    assert made == {LOGINS[role] for role in ("owner", "app", "worker", "eraser")}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_each_unit_runs_unprivileged(unit: Path) -> None:
    text = unit.read_text()
    for line in ("User=creditshare", "NoNewPrivileges=yes", "ProtectSystem=strict", "UMask=0077"):
        assert line in text


def test_the_database_keeps_borrowers_out_of_the_servers_log(postgres: EmbeddedPostgres) -> None:
    """Each setting of roles.sql is one that a PostgreSQL knows and takes."""
    settings = re.findall(r"^ALTER DATABASE creditshare SET (.+);$", (DOCS / "roles.sql").read_text(), re.MULTILINE)
    assert len(settings) == 6
    url = postgres.url("superuser").replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(url) as connection:
        for setting in settings:
            connection.execute(f"SET LOCAL {setting}".encode())
