"""Messages on standard error and data on standard output."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import typer
from rich.table import Table

from glpn_cli.cli.console import Console, conclude, format_bytes, format_duration, format_size, printable
from glpn_cli.errors import OutputError, PartialFailureError, UsageError, WeightsError
from glpn_cli.settings import LoggingSettings
from glpn_cli.values import ColorPolicy

PLAIN = LoggingSettings(color=ColorPolicy.NEVER)
LONG = "images/with/a/long/path/of/more/than/forty/columns.png: cannot be read, `max_pixels` allows more " * 3


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
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("`max_pixels` allows more", "--max-pixels allows more"),
        ("set `tta='flip'`", "set --tta flip"),
        ("set `overwrite=True`", "set --overwrite"),
        ("`formats=png` and `format`", "--format png and --format"),
        ("`name` and `onnx`", "--as and --onnx"),
        ("run `glpn download-weights nyu`", "run `glpn download-weights nyu`"),
        ("`no_such_setting`", "`no_such_setting`"),
        ("max_pixels", "max_pixels"),
    ],
)
def test_settings_are_shown_as_flags(text: str, shown: str) -> None:
    assert Console(PLAIN, {"name": "--as", "onnx": "--onnx"}).in_flags(text) == shown


def test_all_messages_have_flags(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(PLAIN)
    console.info("`range`")
    console.note("`range`", about="a.png")
    console.warn("`range`")
    console.error(UsageError("is invalid", setting="range", hint="set `near`"))
    console.failures([("`range`", "set `near`")], at_most=1)
    shown = capsys.readouterr().err
    assert "`" not in shown
    assert (shown.count("--range"), shown.count("--near")) == (5, 2)
    assert console.error_record(UsageError("is invalid", setting="range", hint="set `near`")) == {
        "message": "--range: is invalid",
        "hint": "set --near",
        "exit_code": 2,
    }


def test_messages_are_not_markup_and_one_line_when_piped(capsys: pytest.CaptureFixture[str]) -> None:
    Console(PLAIN).info("a[red].png, 3 of 4 :smile: " + "x" * 300)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "a[red].png, 3 of 4 :smile: " + "x" * 300 + "\n"


@pytest.mark.parametrize("columns", [*range(10, 60, 7), 80, 120])
def test_terminal_lines_break_between_words(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    console = Console(LoggingSettings(color=ColorPolicy.ALWAYS))
    console.info(LONG)
    console.failure(LONG)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().err)
    expected = LONG.replace("`max_pixels`", "--max-pixels").split()
    assert shown.split() == [*expected, "error:", *expected]
    for line in shown.splitlines():
        assert len(line.rstrip()) <= columns or " " not in line.strip()


def test_zero_columns_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "0")
    assert Console(PLAIN).width == 80


def test_quiet_prints_only_errors(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(LoggingSettings(color=ColorPolicy.NEVER, quiet=True, verbose=True))
    console.info("a")
    console.detail("b")
    console.note("c")
    console.warn("d")
    assert capsys.readouterr().err == ""
    console.error(WeightsError("e", hint="f"))
    assert capsys.readouterr().err == "error: e\nhint: f\n"


def test_details_need_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    Console(PLAIN).detail("a")
    assert capsys.readouterr().err == ""
    Console(LoggingSettings(color=ColorPolicy.NEVER, verbose=True)).detail("a")
    assert capsys.readouterr().err == "a\n"


def test_debug_prints_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    for debug in (False, True):
        console = Console(LoggingSettings(color=ColorPolicy.NEVER, debug=debug))
        with pytest.raises(typer.Exit), console.errors_reported():
            raise WeightsError("x")
        assert ("Traceback" in capsys.readouterr().err) is debug


def test_errors_become_exit_codes_and_bugs_pass_through() -> None:
    console = Console(PLAIN)
    with pytest.raises(typer.Exit) as ended, console.errors_reported():
        raise WeightsError("x")
    assert ended.value.exit_code == 3
    with pytest.raises(ZeroDivisionError), console.errors_reported():
        raise ZeroDivisionError


def test_many_failures_are_cut_and_share_their_hint(capsys: pytest.CaptureFixture[str]) -> None:
    Console(PLAIN).failures([(f"{number}.png: bad", "copy it again") for number in range(5)], at_most=3)
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("error: ")] == [
        f"error: {number}.png: bad" for number in range(3)
    ]
    assert [line for line in lines if line.startswith("hint: ")] == ["hint: copy it again"]
    assert "2" in lines[-1]


def test_conclude_chooses_the_exit_code() -> None:
    conclude(3, [])
    with pytest.raises(typer.Exit) as ended:
        conclude(2, [4, 4])
    assert ended.value.exit_code == 4
    for total, codes in ((3, [4, 4]), (2, [4, 6])):
        with pytest.raises(PartialFailureError):
            conclude(total, codes)


def test_tables_are_not_markup_and_need_a_reader(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Table("mine[v1]", title="rooms[test]")
    table.add_row("[red]a")
    Console(PLAIN).table(table)
    shown = capfdbinary.readouterr().out.decode()
    assert all(word in shown for word in ("mine[v1]", "rooms[test]", "[red]a"))
    monkeypatch.setattr("sys.stdout", None)
    with pytest.raises(OutputError):
        Console(PLAIN).table(table)
    with pytest.raises(OutputError):
        Console(PLAIN).data("a")


def test_undecodable_paths_are_data(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    Console(PLAIN).data("\udcff.png")
    assert capfdbinary.readouterr().out == b"\xff.png\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's full device")
def test_a_full_standard_output_is_one_error() -> None:
    program = (
        "from glpn_cli.cli.console import Console\nfrom glpn_cli.errors import OutputError\n"
        "try:\n    Console().data('a')\nexcept OutputError:\n    print('lost')\n    raise SystemExit(6)"
    )
    with open("/dev/full", "w") as full:
        run = subprocess.run([sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, check=False)
    assert (run.returncode, run.stderr) == (6, b"")


def test_numbers_have_the_unit_that_fits() -> None:
    assert [format_duration(seconds) for seconds in (0.4, 59, 90, 7200)] == ["0 s", "59 s", "2 min", "2.0 h"]
    assert [format_bytes(count) for count in (12, 289_000, 245e6, 3e9)] == ["12 bytes", "289 kB", "245 MB", "3 GB"]
    assert (format_size((48, 64)), format_size(None)) == ("48x64", "")
