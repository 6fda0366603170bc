"""What changed between two OpenAPI documents, and what of it breaks a client that was written against the old one.

Pure. It knows the documents that ``openapi.py`` makes, not every OpenAPI document: references into ``components``,
``anyOf`` for optional fields, closed lists in requests and open ones in answers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Direction = Literal["request", "answer"]
Json = Mapping[str, Any]

METHODS: Final = ("get", "put", "post", "delete", "patch", "head", "options")
UPPER: Final = ("maxLength", "maxItems", "maxProperties", "maximum")
LOWER: Final = ("minLength", "minItems", "minProperties", "minimum")
FORMS: Final = ("pattern", "format", "const")
_ANSWERED: Final = 400


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """One difference: where, what, and whether a client of the old document may fail on it."""

    where: str
    what: str
    breaking: bool


def diff(old: Json, new: Json) -> list[Change]:
    """Return all changes, the breaking ones first."""
    return sorted(set(_Comparison(old, new).changes()), key=lambda change: (not change.breaking, change))


class _Comparison:
    def __init__(self, old: Json, new: Json) -> None:
        self._old = old
        self._new = new

    def changes(self) -> Iterator[Change]:
        before, after = _operations(self._old), _operations(self._new)
        for where in before.keys() - after.keys():
            yield Change(where, "operation removed", breaking=True)
        for where in after.keys() - before.keys():
            yield Change(where, "operation added", breaking=False)
        for where in before.keys() & after.keys():
            yield from self._operation(where, before[where], after[where])

    def _operation(self, where: str, old: Json, new: Json) -> Iterator[Change]:
        if _ways(old) - _ways(new):
            yield Change(where, "a way to authenticate was removed", breaking=True)
        yield from self._parameters(where, old, new)
        yield from self._bodies(where, old, new)
        yield from self._answers(where, old, new)

    def _parameters(self, where: str, old: Json, new: Json) -> Iterator[Change]:
        before, after = self._named(self._old, old), self._named(self._new, new)
        for name in before.keys() - after.keys():
            yield Change(where, f"parameter {name} removed", breaking=True)
        for name in after.keys() - before.keys():
            required = bool(after[name].get("required"))
            yield Change(where, f"{'required ' if required else ''}parameter {name} added", breaking=required)
        for name in before.keys() & after.keys():
            if after[name].get("required") and not before[name].get("required"):
                yield Change(where, f"parameter {name} is now required", breaking=True)
            yield from self._schema(
                f"{where} parameter {name}", before[name].get("schema", {}), after[name].get("schema", {}), "request"
            )

    def _bodies(self, where: str, old: Json, new: Json) -> Iterator[Change]:
        before, after = old.get("requestBody"), new.get("requestBody")
        if before is None or after is None:
            if after is not None:
                required = bool(after.get("required"))
                yield Change(where, f"{'required ' if required else ''}body added", breaking=required)
            elif before is not None:
                yield Change(where, "body removed", breaking=True)
            return
        if after.get("required") and not before.get("required"):
            yield Change(where, "body is now required", breaking=True)
        yield from self._contents(f"{where} request", before, after, "request")

    def _answers(self, where: str, old: Json, new: Json) -> Iterator[Change]:
        before = {s: _resolve(self._old, r) for s, r in old.get("responses", {}).items()}
        after = {s: _resolve(self._new, r) for s, r in new.get("responses", {}).items()}
        for status in before.keys() - after.keys():
            yield Change(where, f"answer {status} removed", breaking=_succeeds(status))
        for status in after.keys() - before.keys():
            yield Change(where, f"answer {status} added", breaking=_succeeds(status))
        for status in before.keys() & after.keys():
            here = f"{where} answer {status}"
            for code in set(after[status].get("x-codes", ())) - set(before[status].get("x-codes", ())):
                yield Change(here, f"code {code} added", breaking=False)
            for name in before[status].get("headers", {}).keys() - after[status].get("headers", {}).keys():
                yield Change(here, f"header {name} removed", breaking=True)
            yield from self._contents(here, before[status], after[status], "answer")

    def _contents(self, where: str, old: Json, new: Json, direction: Direction) -> Iterator[Change]:
        before, after = old.get("content", {}), new.get("content", {})
        for media_type in before.keys() - after.keys():
            yield Change(where, f"media type {media_type} removed", breaking=True)
        for media_type in after.keys() - before.keys():
            yield Change(where, f"media type {media_type} added", breaking=False)
        for media_type in before.keys() & after.keys():
            yield from self._schema(
                where, before[media_type].get("schema", {}), after[media_type].get("schema", {}), direction
            )

    def _schema(
        self, where: str, old: Json, new: Json, direction: Direction, seen: frozenset[tuple[str, str]] = frozenset()
    ) -> Iterator[Change]:
        pair = (str(old.get("$ref")), str(new.get("$ref")))
        if pair in seen:
            return
        if "$ref" in old or "$ref" in new:
            seen |= {pair}
        before, after = _flat(self._old, old), _flat(self._new, new)
        yield from _kinds(where, before, after, direction)
        if direction == "request":
            yield from _limits(where, before, after)
        yield from self._members(where, before, after, direction, seen)
        if "items" in before and "items" in after:
            yield from self._schema(f"{where}/*", before["items"], after["items"], direction, seen)

    def _members(
        self, where: str, old: Json, new: Json, direction: Direction, seen: frozenset[tuple[str, str]]
    ) -> Iterator[Change]:
        before, after = old.get("properties", {}), new.get("properties", {})
        needed, needs = set(old.get("required", ())), set(new.get("required", ()))
        for name in before.keys() - after.keys():
            yield Change(f"{where}/{name}", "field removed", breaking=True)
        for name in after.keys() - before.keys():
            required = direction == "request" and name in needs
            yield Change(f"{where}/{name}", "required field added" if required else "field added", breaking=required)
        for name in before.keys() & after.keys():
            here = f"{where}/{name}"
            if direction == "request" and name in needs - needed:
                yield Change(here, "field is now required", breaking=True)
            if direction == "answer" and name in needed - needs:
                yield Change(here, "field may now be missing", breaking=True)
            yield from self._schema(here, before[name], after[name], direction, seen)

    @staticmethod
    def _named(document: Json, operation: Json) -> dict[str, Json]:
        found = [_resolve(document, parameter) for parameter in operation.get("parameters", ())]
        return {f"{parameter['name']} ({parameter['in']})": parameter for parameter in found}


def _kinds(where: str, old: Json, new: Json, direction: Direction) -> Iterator[Change]:
    """Compare types and lists. A request may only become wider, an answer only narrower; open lists may grow."""
    for name, word in (("type", "type"), ("enum", "value")):
        before, after = old.get(name), new.get(name)
        if before is None and after is None:
            continue
        if before is None or after is None:
            narrowed = before is None
            yield Change(
                where,
                f"{word}s are {'now' if narrowed else 'no longer'} limited",
                breaking=narrowed == (direction == "request"),
            )
            continue
        for gone in _texts(before) - _texts(after):
            yield Change(where, f"{word} {gone} removed", breaking=direction == "request")
        for come in _texts(after) - _texts(before):
            yield Change(where, f"{word} {come} added", breaking=direction == "answer")
    for come in _texts(new.get("x-extensible-enum", ())) - _texts(old.get("x-extensible-enum", ())):
        yield Change(where, f"open value {come} added", breaking=False)


def _limits(where: str, old: Json, new: Json) -> Iterator[Change]:
    for name in (*UPPER, *LOWER):
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        lower = name in LOWER
        tighter = after is not None and (before is None or (after > before if lower else after < before))
        yield Change(where, f"{name} changed from {before} to {after}", breaking=tighter)
    for name in FORMS:
        if old.get(name) != new.get(name):
            yield Change(where, f"{name} changed from {old.get(name)} to {new.get(name)}", breaking=name in new)


def _operations(document: Json) -> dict[str, Json]:
    return {
        f"{method.upper()} {path}": operation
        for path, item in document.get("paths", {}).items()
        for method, operation in item.items()
        if method in METHODS
    }


def _flat(document: Json, schema: Json) -> dict[str, Any]:
    """Return a schema with its references resolved and the alternatives of an optional field laid over each other."""
    resolved = dict(_resolve(document, schema))
    types = _texts(resolved.get("type", ()))
    for choice in resolved.pop("anyOf", ()):
        inner = _flat(document, choice)
        types |= _texts(inner.pop("type", ()))
        resolved = {**inner, **resolved}
    if types:
        resolved["type"] = sorted(types)
    return resolved


def _resolve(document: Json, node: Json) -> Json:
    while "$ref" in node:
        found: Any = document
        for part in str(node["$ref"]).removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def _texts(value: Any) -> set[str]:
    return {value} if isinstance(value, str) else {str(item) for item in value}


def _ways(operation: Json) -> set[frozenset[str]]:
    """Return the alternatives by which an operation may be called; none named means that none is needed."""
    return {frozenset(way) for way in operation.get("security", ()) or [{}]}


def _succeeds(status: str) -> bool:
    return status.isdigit() and int(status) < _ANSWERED
