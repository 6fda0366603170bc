"""The names that events have are those of the protocol: each operation by its own, nothing beside the list."""

import ast
from collections.abc import Iterator
from pathlib import Path

from creditshare.app import openapi_document
from creditshare.wire.actions import AGAIN, EXCHANGES, OWN_ACTS

SOURCES = Path(__file__).parents[2] / "src" / "creditshare"


def _named_in_code() -> Iterator[str]:
    """Yield every text that an ``Entry`` is made with, or that is passed on to a function that makes one."""
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in {"Entry", "_entry"}:
                    yield str(node.args[0].value)
            if isinstance(node, ast.Call):
                for keyword in node.keywords:
                    if keyword.arg == "action" and isinstance(keyword.value, ast.Constant):
                        yield str(keyword.value.value)


def test_every_event_that_the_code_writes_is_named_by_the_protocol() -> None:
    known = {*EXCHANGES, *OWN_ACTS, *(name + AGAIN for name in EXCHANGES)}
    proposals = {"admission"}  # the same word names a kind of proposal
    assert set(_named_in_code()) - known - proposals == set()


def test_exchanges_are_named_like_their_operations() -> None:
    operations = {
        operation["operationId"]: f"{method.upper()} {path}"
        for path, methods in openapi_document()["paths"].items()
        for method, operation in methods.items()
    }
    assert {name: operations.get(name) for name in EXCHANGES} == dict(EXCHANGES)


def test_every_operation_that_changes_something_is_named() -> None:
    changing = {
        operation["operationId"]
        for methods in openapi_document()["paths"].values()
        for method, operation in methods.items()
        if method != "get"
    }
    assert changing - set(EXCHANGES) == set()
