"""The table of commands, and the look of usage errors."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

import glpn_cli
from glpn_cli.cli.app import _COMMANDS, build_app, main

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

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


def test_an_image_as_first_word_is_predicted(glpn: Glpn, tmp_path: Path, make_image: Callable[..., Path]) -> None:
    make_image("in/a b.jpg")
    for words in (["in/a b.jpg", "-f", "npy"], ["in"], ["in/*.jpg", "-f", "npz"]):
        run = glpn(*words)
        assert run.returncode == 0, run.stderr
    assert {path.name for path in (tmp_path / "in").glob("*.depth.*")} == {
        "a b.depth.npy", "a b.depth.png", "a b.depth.npz"
    }  # fmt: skip
    (tmp_path / "doctor").mkdir()
    assert b"torch" in glpn("doctor").stdout  # a command wins over a folder


@pytest.mark.parametrize(
    ("word", "code", "named"),
    [
        ("phto.jpg", 4, b"photo.jpg"),
        ("*.webp", 4, b"*.webp"),
        ("https://h/a.jpg", 2, b"--allow-url"),
        ("file:///none/a.jpg", 4, b"/none/a.jpg"),
    ],
)
def test_a_first_word_that_means_images_is_no_unknown_command(
    glpn: Glpn, make_image: Callable[..., Path], word: str, code: int, named: bytes
) -> None:
    make_image("photo.jpg")
    run = glpn(word)
    assert (run.returncode, named in run.stderr) == (code, True), run.stderr


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


@pytest.mark.parametrize("late", [KeyboardInterrupt, ImportError])  # torch turns an interrupt of its import into both
def test_interrupt_while_starting_is_no_traceback(monkeypatch: pytest.MonkeyPatch, late: type[BaseException]) -> None:
    def interrupted(_: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as error:
            raise late from error

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setattr("glpn_cli.cli.app.build_app", interrupted)
    try:
        with pytest.raises(SystemExit) as caught:
            main()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert caught.value.code == 130


def test_broken_import_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise ImportError("no such module")

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setattr("glpn_cli.cli.app.build_app", broken)
    try:
        with pytest.raises(ImportError):
            main()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_hint_for_a_file_whose_name_starts_with_a_dash(glpn: Glpn, tmp_path: Path) -> None:
    (tmp_path / "-dash.jpg").touch()
    run = glpn("predict", "-dash.jpg")
    assert run.returncode == 2
    assert b"./-dash.jpg" in run.stderr


def test_no_option_is_suggested_that_only_shares_dashes(glpn: Glpn) -> None:
    run = glpn("predict", "a.jpg", "--workers", "2")
    assert b"glpn predict --help" in run.stderr
