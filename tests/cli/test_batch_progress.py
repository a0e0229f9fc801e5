from __future__ import annotations

import io
from typing import TYPE_CHECKING

from glpn_cli.cli.batch_progress import BatchProgress

from glpn_cli.cli import batch_progress
from glpn_cli.cli.console import Console
from glpn_cli.settings import ColorPolicy

if TYPE_CHECKING:
    import pytest


class _Clock:
    """A clock that goes on by a second whenever it is asked."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        self.now_s += 1.0
        return self.now_s


def test_without_a_terminal_there_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_progress, "time", _Clock())
    with BatchProgress(Console(color=ColorPolicy.NEVER), 100) as progress:
        for _ in range(12):
            progress.advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["5 of 100, 1.00 per second, 2 min left", "10 of 100, 1.00 per second, 2 min left"]


def test_on_a_terminal_there_is_a_bar_with_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    console = Console()
    with BatchProgress(console, 4) as progress:
        for _ in range(3):
            progress.advance()
        progress._bar.refresh()
        shown = terminal.getvalue()
    assert "3/4" in shown
    assert "per second" in shown
    assert "0:00" in shown


def test_quiet_shows_neither(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_progress, "time", _Clock())
    with BatchProgress(Console(color=ColorPolicy.NEVER, quiet=True), 100) as progress:
        for _ in range(12):
            progress.advance()
    assert capsys.readouterr().err == ""
