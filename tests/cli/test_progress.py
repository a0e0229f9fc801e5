"""Progress displays: lines where there is no terminal, a bar on one."""

from __future__ import annotations

import io

import pytest

from glpn_cli.cli import progress
from glpn_cli.cli.console import Console
from glpn_cli.cli.progress import DownloadProgress, RunProgress, TrainProgress
from glpn_cli.settings import LoggingSettings
from glpn_cli.training.progress import StepFacts
from glpn_cli.values import ColorPolicy

PLAIN = LoggingSettings(color=ColorPolicy.NEVER)
QUIET = LoggingSettings(color=ColorPolicy.NEVER, quiet=True)


class Clock:
    """A clock that advances by a second whenever it is read."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1.0
        return self.now_s


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time that the tests control."""
    monkeypatch.setattr(progress, "monotonic", Clock())


class Terminal(io.StringIO):
    """Standard error as a terminal."""

    def isatty(self) -> bool:
        return True


def open_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Replace standard error by a terminal of 120 columns."""
    shown = Terminal()
    monkeypatch.setattr("sys.stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return shown


def test_a_pipe_gets_a_line_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    with RunProgress(Console(PLAIN), "depth", 100) as running:
        for _ in range(12):
            running.advance()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(", ") for line in lines] == [
        ["depth: 5 of 100", "1.00 per second", "2 min left"],
        ["depth: 10 of 100", "1.00 per second", "2 min left"],
    ]


@pytest.mark.parametrize("stages", [["color range", "depth"]])
def test_each_stage_counts_from_zero(stages: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    running = RunProgress(Console(PLAIN))
    for stage in stages:
        running.start(stage, 6)
        for _ in range(6):
            running.advance()
        running.stop()
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == [
        f"{stage}: 5 of 6" for stage in stages
    ]


def test_lines_can_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    with RunProgress(Console(PLAIN), "depth", 100, lines=False) as running:
        for _ in range(12):
            running.advance()
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_with_rate_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    with RunProgress(Console(), "depth", 4) as running:
        for _ in range(3):
            running.advance()
        bar = running._bar._bar
        assert bar is not None
        bar.refresh()
        shown = terminal.getvalue()
    assert all(text in shown for text in ("depth", "3/4", "per second", "0:00"))


def test_quiet_shows_neither(capsys: pytest.CaptureFixture[str]) -> None:
    with RunProgress(Console(QUIET), "depth", 100) as running:
        for _ in range(12):
            running.advance()
    download = DownloadProgress(Console(QUIET))
    download.begin("someone/x", total_bytes=100, done_bytes=0)
    for done in range(20):
        download.advance(done)
    download.end()
    assert capsys.readouterr().err == ""


def test_a_download_into_a_pipe_prints_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [0.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now_s[0])
    download = DownloadProgress(Console(PLAIN))
    download.begin("someone/x", total_bytes=245_000_000, done_bytes=45_000_000)
    for second in range(11):
        now_s[0] = float(second)
        download.advance(45_000_000 + second * 10_000_000)
    download.end()
    first, *lines = capsys.readouterr().err.splitlines()
    assert all(text in first for text in ("someone/x", "245 MB", "45 MB"))
    assert lines == [
        "someone/x: 95 MB of 245 MB, 10 MB per second, 15 s left",
        "someone/x: 145 MB of 245 MB, 10 MB per second, 10 s left",
    ]


def test_a_download_on_a_terminal_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = open_terminal(monkeypatch)
    download = DownloadProgress(Console())
    download.begin("someone/x", total_bytes=245_000_000, done_bytes=0)
    for megabytes in (50, 75, 100):
        download.advance(megabytes * 1_000_000)
        bar = download._bar._bar
        assert bar is not None
        bar.refresh()
    download.note("the connection was lost")
    download.end()
    shown = terminal.getvalue()
    assert all(text in shown for text in ("100.0/245.0 MB", "B/s", "note:", "the connection was lost"))


def test_training_prints_steps_and_validations(capsys: pytest.CaptureFixture[str]) -> None:
    training = TrainProgress(Console(PLAIN))
    training.begin(100, 0)
    for step in range(1, 7):
        training.advance(StepFacts(step, 0.1, 0.5, 1e-4, 1.0, 2.0, (32, 64)))
    training.validated(6, {"abs_rel": 0.1, "d1": 0.9, "aligned_abs_rel": 0.2, "aligned_d1": 0.8}, best=True)
    training.end()
    shown = capsys.readouterr().err
    assert all(text in shown for text in ("step 5 of 100", "0.5000", "32x64", "0.1000", "0.9000", "0.2000", "0.8000"))
