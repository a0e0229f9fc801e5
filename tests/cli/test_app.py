"""The table of commands, and the look of usage errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import glpn_cli
from glpn_cli.cli.app import _COMMANDS, build_app

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]


def test_help_lists_commands_in_order(glpn: Glpn) -> None:
    for arguments in (["--help"], ["-h"]):
        run = glpn(*arguments)
        assert run.returncode == 0
        listed = [line.split()[0] for line in run.stdout.decode().splitlines() if line[:2] == "  " and line[2] != " "]
        assert listed[: len(_COMMANDS)] == list(_COMMANDS)


@pytest.mark.parametrize("arguments", [[], ["weights"]])
def test_no_arguments_show_help_as_an_error(glpn: Glpn, arguments: list[str]) -> None:
    run = glpn(*arguments)
    assert (run.returncode, run.stdout) == (2, b"")
    assert run.stderr.startswith(b"Usage: glpn")


@pytest.mark.parametrize("arguments", [["--version"], ["predict", "--version"], ["weights", "list", "--version"]])
def test_version_is_that_of_the_package(glpn: Glpn, arguments: list[str]) -> None:
    assert glpn(*arguments).stdout.decode().split() == ["glpn", glpn_cli.__version__]


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["predct", "a.jpg"], "predct", "predict"),
        (["weights", "lst"], "lst", "list"),
        (["no-such-command"], "no-such-command", "--help"),
        (["predict", "a.jpg", "--frmat", "npy"], "--frmat", "--format"),
        (["predict", "a.jpg", "--threads"], "--threads", "--help"),
        (["predict", "a.jpg", "--quiet=3"], "--quiet", "--help"),
        (["info"], "FILE", "glpn info --help"),
        (["batch", "in"], "'--output'", "glpn batch --help"),
        (["weights", "import", "w"], "'--as'", "glpn weights import --help"),
    ],
)
def test_usage_errors_look_like_ours(glpn: Glpn, arguments: list[str], error: str, hint: str) -> None:
    run = glpn(*arguments)
    assert (run.returncode, run.stdout) == (2, b"")
    first, second = run.stderr.decode().splitlines()
    assert first.startswith("error: ")
    assert error in first
    assert second.startswith("hint: ")
    assert hint in second


def test_only_the_documented_name_is_in_usage_errors(glpn: Glpn) -> None:
    assert b"--out'" not in glpn("batch", "in").stderr


def test_a_named_command_is_imported_alone() -> None:
    everything = {each.name for each in build_app().registered_commands}
    assert set(_COMMANDS) - {"weights"} == everything
    for asked in (None, "", "--version", "nonsense"):
        assert len(build_app(asked).registered_commands) == len(everything)
    alone = build_app("download-weights")
    assert [each.name for each in alone.registered_commands] == ["download-weights"]
    assert not alone.registered_groups
    assert build_app("weights").registered_groups
    assert not build_app("weights").registered_commands
