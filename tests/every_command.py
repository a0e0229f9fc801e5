"""Every command of the program, for tests of all of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer

from glpn_cli.cli.app import build_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from glpn_cli.cli.command import _Parameter


def commands(group: Any = None, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command as Click knows it, with its path."""
    group = group or typer.main.get_command(build_app())
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *path, name)
        else:
            yield (*path, name), command


COMMANDS = dict(commands())


def parameters(path: tuple[str, ...]) -> list[_Parameter]:
    """Return the options and arguments of a command."""
    module = import_module(f"glpn_cli.cli.commands.{path[0].replace('-', '_')}")
    found = [each for each in vars(module).values() if getattr(each, "command_name", None) == path[-1]]
    return list(found[0].parameters)


def parse(*arguments: str) -> dict[str, Any]:
    """Return the values of a command line as Typer passes them on."""
    path = tuple(arguments[: 2 if arguments[0] == "weights" else 1])
    context = COMMANDS[path].make_context(path[-1], list(arguments[len(path) :]))
    values: dict[str, Any] = context.params
    return values
