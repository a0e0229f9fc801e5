from __future__ import annotations

import pytest
import typer
from rich.table import Table

from glpn_cli.cli.console import Console, printable
from glpn_cli.errors import ReaderGoneError, WeightsError
from glpn_cli.settings import ColorPolicy


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain \u00fc \u56fe \U0001f41f", "plain \u00fc \u56fe \U0001f41f"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\rb\x07", r"a\rb\x07"),
        ("a\nb", r"a\nb"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("\udcff.jpg", r"\udcff.jpg"),
        ("[red]a[/red]", "[red]a[/red]"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_instead(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_talk_goes_to_stderr_and_is_not_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    Console(color=ColorPolicy.NEVER).say("a[red].png, 3 of 4 :smile: " + "x" * 300)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "a[red].png, 3 of 4 :smile: " + "x" * 300 + "\n"


def test_quiet_leaves_only_errors(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(color=ColorPolicy.NEVER, quiet=True, verbose=True)
    console.say("a")
    console.detail("b")
    console.note("c")
    assert capsys.readouterr().err == ""
    console.error(WeightsError("d", hint="e"))
    assert capsys.readouterr().err == "error: d\nhint: e\n"


def test_details_need_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    Console(color=ColorPolicy.NEVER).detail("a")
    assert capsys.readouterr().err == ""
    Console(color=ColorPolicy.NEVER, verbose=True).detail("a")
    assert capsys.readouterr().err == "a\n"


def test_an_error_of_ours_becomes_its_exit_code_and_a_bug_passes_through() -> None:
    console = Console(color=ColorPolicy.NEVER)
    with pytest.raises(typer.Exit) as ended, console.errors_reported():
        raise WeightsError("x")
    assert ended.value.exit_code == 3
    with pytest.raises(ZeroDivisionError), console.errors_reported():
        raise ZeroDivisionError


def test_a_table_shows_words_as_they_are_and_ends_with_its_reader(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Table("mine[v1]", title="rooms[test]")
    table.add_row("[red]a")
    Console(color=ColorPolicy.NEVER).table(table)
    shown = capfdbinary.readouterr().out.decode()
    assert all(word in shown for word in ("mine[v1]", "rooms[test]", "[red]a"))
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(ReaderGoneError):
        Console(color=ColorPolicy.NEVER).table(table)
