"""The tree keeps the promises that its contracts make: no concept without a private door, no suppressed contract."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "creditshare"
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def test_each_concept_with_tables_has_a_private_door() -> None:
    concepts = {path.parent.name for path in SOURCE.glob("*/models.py")}
    doors = {c["id"].removeprefix("door-"): c for c in CONTRACTS if c["id"].startswith("door-")}
    assert doors.keys() == concepts
    for concept, door in doors.items():
        assert f"creditshare.{concept}.models" in door["protected_modules"]
        assert door["allowed_importers"] == [f"creditshare.{concept}", "creditshare.registry"]


def test_pure_modules_are_all_listed() -> None:
    listed = {module for c in CONTRACTS if c["id"] == "rules" for module in c["source_modules"]}
    found = {f"creditshare.{path.parent.name}.rules" for path in SOURCE.glob("*/rules.py")}
    assert found <= listed


def test_no_contract_ignores_an_import_but_the_fence() -> None:
    assert [c["id"] for c in CONTRACTS if c.get("ignore_imports")] == ["fence"]


def test_every_concept_explains_itself() -> None:
    for init in SOURCE.glob("*/__init__.py"):
        assert init.read_text().startswith('"""'), init
