"""Commands by name, each loaded when it is named: a client's command starts without loading the service."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

Command = TyperCommand | TyperGroup


class _Commands(Mapping[str, Command]):
    def __init__(self, present: Mapping[str, Command], places: Mapping[str, str]) -> None:
        self._loaded = dict(present)
        self._places = places
        self._names: Final = [*present, *places]

    def __getitem__(self, name: str) -> Command:
        if name not in self._loaded:
            module, _, attribute = self._places[name].partition(":")
            self._loaded[name] = _command(name, getattr(import_module(module), attribute))
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _command(name: str, found: Any) -> Any:
    if isinstance(found, typer.Typer):
        group = get_group(found)
        group.name = name
        return group
    alone = typer.Typer(add_completion=False)
    alone.command(name)(found)
    return get_command(alone)


def commands_at(places: Mapping[str, str]) -> type[TyperGroup]:
    """Return a group, for ``typer.Typer(cls=…)``, that has further commands at ``module:name``.

    What stands there is a function or a ``typer.Typer``; its module is loaded when the command, or the help of all, is
    asked for.
    """

    class Group(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            self.commands: Any = _Commands(self.commands, places)

    return Group
