"""How far a batch is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from glpn_cli.cli.wording import say_duration

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Task

    from glpn_cli.cli.console import Console


_SECONDS_BETWEEN_LINES = 5.0


class BatchProgress:
    """Counts images and tells the rate and the time left; a context manager."""

    def __init__(self, console: Console, total: int, *, doing: str = "depth") -> None:
        """Begin to count to `total`, calling it what is being done."""
        self._console = console
        self._total = total
        self._done = 0
        self._start_s = self._last_line_s = time.monotonic()
        self._bar = console.bar(
            TextColumn(doing), BarColumn(), MofNCompleteColumn(), _RateColumn(), TimeRemainingColumn()
        )
        self._task = self._bar.add_task(doing, total=total)

    def __enter__(self) -> Self:
        """Show the bar, if there is a terminal."""
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the bar away."""
        self._bar.stop()

    def advance(self) -> None:
        """Count one more image."""
        self._done += 1
        self._bar.advance(self._task)
        now_s = time.monotonic()
        if not self._console.has_terminal and now_s - self._last_line_s >= _SECONDS_BETWEEN_LINES:
            self._last_line_s = now_s
            rate = self._done / (now_s - self._start_s)
            left = say_duration((self._total - self._done) / rate)
            self._console.say(f"{self._done} of {self._total}, {rate:.2f} per second, {left} left")


class _RateColumn(ProgressColumn):
    """Images per second."""

    def render(self, task: Task) -> Text:
        """Give the rate of the last while, or nothing yet."""
        return Text("" if task.speed is None else f"{task.speed:.2f} per second")
