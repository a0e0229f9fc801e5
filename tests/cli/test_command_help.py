"""Help that fits one screen, and the rest of it one option further."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from glpn_cli.cli.app import build_app

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    import typer

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]

SCREEN_LINES = 48
SCREEN = {"COLUMNS": "100", "NO_COLOR": "1"}


def commands_of(group: typer.Typer, *before: str) -> list[tuple[str, ...]]:
    found = []
    for command in group.registered_commands:
        function: Any = command.callback
        found.append((*before, command.name or function.__name__.replace("_", "-")))
    for below in group.registered_groups:
        inner: Any = below.typer_instance
        found += [(inner.info.name,), *commands_of(inner, inner.info.name)]
    return found


COMMANDS = commands_of(build_app())


def help_of(glpn: Glpn, *arguments: str) -> str:
    run = glpn(*arguments, **SCREEN)
    assert run.returncode == 0
    return run.stdout.decode()


def options_in(text: str) -> set[str]:
    return set(re.findall(r"^│ [* ]*(--[a-z0-9-]+)", text, flags=re.MULTILINE))


@pytest.mark.parametrize("command", [(), *COMMANDS], ids=" ".join)
def test_the_help_of_every_command_fits_one_screen(command: tuple[str, ...], glpn: Glpn) -> None:
    text = help_of(glpn, *command, "--help")
    assert len(text.splitlines()) <= SCREEN_LINES
    assert all(len(line) <= 100 for line in text.splitlines())


@pytest.mark.parametrize("command", [("predict",), ("batch",), ("measure",), ("evaluate",), ("train",)], ids=" ".join)
def test_what_the_short_help_leaves_out_is_in_the_whole(command: tuple[str, ...], glpn: Glpn) -> None:
    brief, whole = help_of(glpn, *command, "--help"), help_of(glpn, *command, "--help-all")
    assert "--help-all" in options_in(brief)
    assert options_in(brief) < options_in(whole)
    assert "--debug" in options_in(whole)


def test_a_command_without_a_whole_help_leaves_nothing_out(glpn: Glpn) -> None:
    assert {"--debug", "--color", "--json"} <= options_in(help_of(glpn, "weights", "list", "--help"))


def test_the_short_help_says_one_sentence_and_the_whole_all_of_them(glpn: Glpn) -> None:
    brief, whole = help_of(glpn, "predict", "--help"), help_of(glpn, "predict", "--help-all")
    assert "GLPN_WEIGHTS" not in brief
    assert "GLPN_WEIGHTS" in whole


def test_options_that_the_short_help_leaves_out_work(glpn: Glpn) -> None:
    run = glpn("predict", "nothing-here.jpg", "--png-compression", "3", "--precision", "float32")
    assert run.returncode == 4
