"""How far a download is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from glpn_cli.cli.wording import say_bytes, say_duration
from glpn_cli.weights.store import Watcher

if TYPE_CHECKING:
    from rich.progress import Progress

    from glpn_cli.cli.console import Console


_SECONDS_BETWEEN_LINES = 5.0


class DownloadProgress(Watcher):
    """Shows size, rate and time left, and passes notes on."""

    def __init__(self, console: Console) -> None:
        """Wait for something to come; nothing is shown until then."""
        self._console = console
        self._bar: Progress | None = None
        self._what = ""
        self._total_bytes = self._begun_bytes = 0
        self._start_s = self._last_line_s = 0.0

    def begin(self, what: str, *, total_bytes: int, done_bytes: int) -> None:
        """Show the bar, or say what comes."""
        self._what, self._total_bytes, self._begun_bytes = what, total_bytes, done_bytes
        self._start_s = self._last_line_s = monotonic()
        begun = f", of which {say_bytes(done_bytes)} are here" if done_bytes else ""
        self._console.say(f"{what}: downloading {say_bytes(total_bytes)}{begun}")
        self._bar = self._console.bar(
            TextColumn(what), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
        )
        self._bar.start()
        self._bar.add_task(what, total=total_bytes, completed=done_bytes)

    def advance(self, done_bytes: int) -> None:
        """Move the bar, or say how far it is if that was long ago."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done_bytes)
        now_s = monotonic()
        if self._console.has_terminal or now_s - self._last_line_s < _SECONDS_BETWEEN_LINES:
            return
        self._last_line_s = now_s
        rate = max(done_bytes - self._begun_bytes, 1) / (now_s - self._start_s)
        self._console.say(
            f"{self._what}: {say_bytes(done_bytes)} of {say_bytes(self._total_bytes)}, {say_bytes(rate)} per second, "
            f"{say_duration((self._total_bytes - done_bytes) / rate)} left"
        )

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def note(self, text: str) -> None:
        """Say it above the bar."""
        self._console.note(text)
