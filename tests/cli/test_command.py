"""The decorator: from settings classes to options, help and completion."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from every_command import COMMANDS, parse
from glpn_cli.cli.command import add_command, command
from glpn_cli.cli.console import Console  # noqa: TC001 - the decorator resolves annotations
from glpn_cli.cli.options import INPUT, OPTIONS, OUTPUT, PANELS, Argument, Option
from glpn_cli.convert import Settings
from glpn_cli.output.formats import FORMATS
from glpn_cli.values import Near

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from typer.testing import Result

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]

LONGEST_HELP = 78


@dataclass(frozen=True)
class Pair(Settings):
    """Two settings, of which only one is required to be a number."""

    first: int = 1
    near: Near | None = None
    many: tuple[str, ...] = ()


@pytest.fixture(autouse=True)
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options for the fields of `Pair`."""
    table = {
        "first": Option("First.", INPUT, "N"),
        "near": Option("Near.", INPUT, flag="--close"),
        "many": Option("Many.", INPUT, "TEXT", rare=True),
    }
    monkeypatch.setitem(OPTIONS, Pair, table)


def run(decorated: Any, *arguments: str) -> Result:
    app = typer.Typer(pretty_exceptions_enable=False)
    add_command(app, decorated)
    return CliRunner(env={"NO_COLOR": "1", "COLUMNS": "80"}).invoke(app, list(arguments))


def test_settings_and_values_arrive_converted() -> None:
    received: list[Any] = []

    @command(arguments={"names": Argument("Names.", "NAME...")}, options={"factor": Option("Factor.", OUTPUT, "X")})
    def example(console: Console, names: tuple[str, ...], *, pair: Pair, factor: float = 2.0, overwrite: bool) -> None:
        """Do something."""
        received.append((names, pair, factor, overwrite))

    assert run(example, "a", "b").exit_code == 0
    assert run(example, "a", "--first", "5", "--close", "DARK", "--many", "x", "--many", "y").exit_code == 0
    assert run(example, "a", "--factor", "3", "--overwrite").exit_code == 0
    assert received == [
        (("a", "b"), Pair(), 2.0, False),
        (("a",), Pair(5, Near.DARK, ("x", "y")), 2.0, False),
        (("a",), Pair(), 3.0, True),
    ]
    assert run(example).exit_code == 2


def test_a_command_can_receive_only_what_was_given() -> None:
    received: list[dict[str, Any]] = []

    @command()
    def example(console: Console, *, pair: Annotated[dict[str, Any], Pair]) -> None:
        """Do something."""
        received.append(pair)

    assert run(example, "--first", "5").exit_code == 0
    assert received == [{"first": "5"}]


def test_a_field_can_be_left_out() -> None:
    @command(without=("near",))
    def example(console: Console, *, pair: Pair) -> None:
        """Do something."""

    assert run(example, "--first", "5").exit_code == 0
    assert run(example, "--close", "dark").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--first", "x"), "--first"),
        (("--close", "drk"), "--close"),
        (("--color", "sometimes"), "--color"),
    ],
)
def test_invalid_values_name_their_flag(arguments: tuple[str, ...], named: str) -> None:
    @command()
    def example(console: Console, *, pair: Pair) -> None:
        """Do something."""

    result = run(example, *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {named}: ")


def test_a_wrong_choice_gets_the_closest() -> None:
    @command()
    def example(console: Console, *, pair: Pair) -> None:
        """Do something."""

    assert "'dark'" in run(example, "--close", "drk").stderr.splitlines()[1]


@pytest.mark.parametrize(
    ("given", "formats"),
    [
        (("-f", "png"), ["png"]),
        (("-f", "png16,npz"), ["png16", "npz"]),
        (("-f", "PNG16, npz", "--format", "glb"), ["png16", "npz", "glb"]),
    ],
)
def test_formats_are_split_at_commas(given: tuple[str, ...], formats: list[str]) -> None:
    received: list[tuple[str, ...]] = []

    @command()
    def example(console: Console, *, formats: tuple[str, ...]) -> None:
        """Do something."""
        received.append(formats)

    assert run(example, *given).exit_code == 0
    assert received == [tuple(formats)]


@pytest.mark.parametrize("given", ["pgn", "png,pgn", ","])
def test_an_unknown_format_is_refused(given: str) -> None:
    @command()
    def example(console: Console, *, formats: tuple[str, ...]) -> None:
        """Do something."""

    result = run(example, "-f", given)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --format: ")
    if "pgn" in given:
        assert "'png'" in result.stderr.splitlines()[1]


def test_own_flags_are_used_in_messages() -> None:
    from glpn_cli.errors import UsageError

    @command(options={"name": Option("Name.", OUTPUT, "NAME", flag="--as")})
    def example(console: Console, *, name: str = "") -> None:
        """Do something."""
        raise UsageError("is taken", setting="name", hint="another `name` or `weights`")

    assert run(example).stderr.splitlines() == ["error: --as: is taken", "hint: another --as or --weights"]


# Help


def help_of(glpn: Glpn, *arguments: str, columns: int = 80) -> str:
    ended = glpn(*arguments, COLUMNS=str(columns))
    assert ended.returncode == 0
    return ended.stdout.decode()


def options_in(text: str) -> set[str]:
    return {name for line in text.splitlines() for name in re.findall(r"^  (?:-\w, )?(--[a-z0-9[\]-]+)", line)}


def words(text: str) -> list[str]:
    """Return the words of a help text, as they are without line breaks."""
    return re.sub(r" \\\n", "\n", text).replace("|", " ").split()


EVERY_HELP = [(), ("weights",), *COMMANDS]


@pytest.mark.parametrize("path", EVERY_HELP, ids=" ".join)
def test_help_fits_every_width(path: tuple[str, ...], glpn: Glpn) -> None:
    which = "--help-all" if path in COMMANDS else "--help"
    wide = help_of(glpn, *path, which, columns=100)
    for columns in (40, 57, 80):
        text = help_of(glpn, *path, which, columns=columns)
        assert max(map(len, text.splitlines())) <= columns
        assert words(text) == words(wide)
    assert "<" not in wide
    assert max(map(len, help_of(glpn, *path, which, columns=0).splitlines())) <= 80
    assert help_of(glpn, *path, which, columns=5) == help_of(glpn, *path, which, columns=40)
    assert help_of(glpn, *path, which, columns=500) == wide


@pytest.mark.parametrize("path", EVERY_HELP, ids=" ".join)
def test_help_is_short(path: tuple[str, ...], glpn: Glpn) -> None:
    assert len(help_of(glpn, *path, "--help").splitlines()) <= LONGEST_HELP


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_panels_are_in_order(path: tuple[str, ...], glpn: Glpn) -> None:
    text = help_of(glpn, *path, "--help-all")
    headings = re.findall(r"^([A-Z][a-z]+):$", text, flags=re.MULTILINE)
    order = ["Arguments", *PANELS, "Formats", "Help", "Examples"]
    assert headings == [name for name in order if name in headings]
    assert headings[-2:] == ["Help", "Examples"]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_rare_options_are_only_in_help_all(path: tuple[str, ...], glpn: Glpn) -> None:
    brief, whole = help_of(glpn, *path, "--help"), help_of(glpn, *path, "--help-all")
    assert options_in(brief) < options_in(whole)
    assert "--help-all" in options_in(brief)
    assert {"--debug", "--color"} == {"--debug", "--color"} & (options_in(whole) - options_in(brief))


def test_required_options_are_marked(glpn: Glpn) -> None:
    text = help_of(glpn, "batch", "--help")
    assert "--output" in text.splitlines()[0]
    assert "Required." in text


def test_help_all_lists_formats(glpn: Glpn) -> None:
    text = help_of(glpn, "predict", "--help-all").partition("Formats:")[2]
    assert all(f"NAME{row.ending}:" in text for row in FORMATS.values())


def examples() -> Iterator[str]:
    for path, each in COMMANDS.items():
        context = each.make_context(" ".join(path), [], resilient_parsing=True)
        text = re.sub(r"\x1b\[[0-9;]*m", "", each.get_help(context)).partition("Examples:")[2]
        yield from re.sub(r" \\\n\s*", " ", text).strip().splitlines()


@pytest.mark.parametrize("line", list(examples()))
def test_every_example_is_a_valid_command(line: str) -> None:
    (glpn_part,) = (part for part in line.split("|") if part.strip().startswith("glpn"))
    assert parse(*shlex.split(glpn_part.partition(">")[0])[1:])


def test_every_command_has_an_example() -> None:
    assert {path[0] for path in COMMANDS} <= {line.split("glpn ")[1].split()[0] for line in examples()}


def test_rare_options_work(glpn: Glpn) -> None:
    assert glpn("predict", "missing.jpg", "--png-compression", "3", "--precision", "float32").returncode == 4


# Completion


def complete(glpn_process: Glpn, line: str) -> set[str]:
    """Return what bash offers at the end of a command line."""
    environment = {"_GLPN_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    return set(glpn_process(**environment, program="glpn").stdout.decode().split())


@pytest.mark.skipif(os.name == "nt", reason="bash")
def test_commands_and_options_are_completed(glpn_process: Glpn) -> None:
    assert "predict" in complete(glpn_process, "glpn pre")
    assert {"--precision", "--png-compression"} <= complete(glpn_process, "glpn predict --")  # the second is rare


@pytest.mark.skipif(os.name == "nt", reason="bash")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("predict --weights n", {"nyu"}),
        ("predict --device c", {"cpu", "cuda", "cuda:0"}),
        ("batch --colormap ma", {"magma"}),
        ("predict --format png", {"png", "png16"}),
        ("predict --format png,np", {"png,npy", "png,npz"}),
        ("predict --precision b", {"bfloat16"}),
        ("weights path t", {"tiny"}),
    ],
)
def test_values_are_completed(glpn_process: Glpn, line: str, offered: set[str]) -> None:
    assert complete(glpn_process, f"glpn {line}") == offered
