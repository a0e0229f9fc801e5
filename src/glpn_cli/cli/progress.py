"""Progress displays: a bar on a terminal, elsewhere a line every few seconds."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Self

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from glpn_cli.cli.console import format_bytes, format_duration, format_size
from glpn_cli.inference.progress import BatchProgress
from glpn_cli.training.progress import StepFacts, TrainWatcher
from glpn_cli.weights.store import ProgressCallback

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from rich.progress import Progress, Task

    from glpn_cli.cli.console import Console

_SECONDS_BETWEEN_LINES = 5.0


class _Bar:
    """A progress bar, and lines where there is no terminal."""

    def __init__(self, console: Console, *columns: ProgressColumn) -> None:
        self._console = console
        self._columns = columns
        self._bar: Progress | None = None
        self._total = self._first = 0
        self._start_s = self._last_line_s = 0.0

    def start(self, what: str, total: int, done: int = 0) -> None:
        self.stop()
        self._total, self._first = total, done
        self._start_s = self._last_line_s = monotonic()
        self._bar = self._console.bar(*self._columns)
        self._bar.start()
        self._bar.add_task(what, total=total, completed=done)

    def update(
        self, done: int, line: Callable[[float, str], str], what: str | None = None, *, lines: bool = True
    ) -> None:
        """Show the amount that is done.

        Args:
            done: of the total.
            line: returns the line to print, from the rate per second and the remaining time.
            what: a new description of the bar.
            lines: whether to print it at all.
        """
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done, description=what)
        now_s = monotonic()
        if not lines or self._console.has_terminal or now_s - self._last_line_s < _SECONDS_BETWEEN_LINES:
            return
        self._last_line_s = now_s
        rate = max(done - self._first, 1e-9) / (now_s - self._start_s)
        self._console.info(line(rate, format_duration((self._total - done) / rate)))

    def expect(self, total: int) -> None:
        self._total = total
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], total=total)

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class RunProgress(BatchProgress):
    """Counts images, and prints what a batch reports; also a context manager for one stage."""

    def __init__(self, console: Console, what: str = "", total: int = 0, *, lines: bool = True) -> None:
        """Prepare for the stages of a batch, or for one stage that the context starts.

        Args:
            console: shows it.
            what: name of the stage.
            total: number of images of the stage.
            lines: whether to print lines where there is no terminal.
        """
        self._console = console
        self._lines = lines
        self._what, self._total, self._done = what, total, 0
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _RateColumn())
        self._bar = _Bar(console, *columns, TimeRemainingColumn())

    def __enter__(self) -> Self:
        """Start the stage."""
        self.start(self._what, self._total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove the bar."""
        self.stop()

    def start(self, what: str, total: int) -> None:
        """Show the bar of a stage."""
        self._what, self._total, self._done = what, total, 0
        self._bar.start(what, total)

    def expect(self, total: int) -> None:
        """Change the total of the stage."""
        self._total = total
        self._bar.expect(total)

    def advance(self) -> None:
        """Count one more image."""
        self._done += 1
        self._bar.update(
            self._done,
            lambda rate, left: f"{self._what}: {self._done} of {self._total}, {rate:.2f} per second, {left} left",
            lines=self._lines,
        )

    def stop(self) -> None:
        """Remove the bar."""
        self._bar.stop()

    def info(self, text: str) -> None:
        """Print a message above the bar."""
        self._console.info(text)

    def detail(self, text: str) -> None:
        """Print a message above the bar, if messages are verbose."""
        self._console.detail(text)

    def note(self, text: str) -> None:
        """Print a note above the bar."""
        self._console.note(text)


class DownloadProgress(ProgressCallback):
    """Shows size, rate and remaining time of a download."""

    def __init__(self, console: Console) -> None:
        """Show nothing until a download starts."""
        self._console = console
        self._what, self._total_bytes = "", 0
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._bar = _Bar(console, *columns, TimeRemainingColumn())

    def begin(self, what: str, *, total_bytes: int, done_bytes: int) -> None:
        """Show the bar and print the size."""
        self._what, self._total_bytes = what, total_bytes
        resumed = f", resuming at {format_bytes(done_bytes)}" if done_bytes else ""
        self._console.info(f"{what}: downloading {format_bytes(total_bytes)}{resumed}")
        self._bar.start(what, total_bytes, done_bytes)

    def advance(self, done_bytes: int) -> None:
        """Show how much has arrived."""
        self._bar.update(
            done_bytes,
            lambda rate, left: (
                f"{self._what}: {format_bytes(done_bytes)} of {format_bytes(self._total_bytes)}, "
                f"{format_bytes(rate)} per second, {left} left"
            ),
        )

    def end(self) -> None:
        """Remove the bar."""
        self._bar.stop()

    def note(self, text: str) -> None:
        """Print a note above the bar."""
        self._console.note(text)

    def detail(self, text: str) -> None:
        """Print a message if messages are verbose."""
        self._console.detail(text)


class TrainProgress(TrainWatcher):
    """Shows steps, loss, rate and remaining time, and prints every validation."""

    def __init__(self, console: Console) -> None:
        """Show nothing until the training starts."""
        self._console = console
        self._steps = 0
        self._bar = _Bar(
            console, TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        )

    def begin(self, steps: int, first_step: int) -> None:
        """Show the bar and print where training starts."""
        self._steps = steps
        self._console.info(f"resuming after step {first_step} of {steps}" if first_step else f"{steps} steps")
        self._bar.start("training", steps, first_step)

    def advance(self, facts: StepFacts) -> None:
        """Show loss and rate."""
        rate = f"{facts.samples_per_second:.1f} samples per second at {format_size(facts.size)}"
        text = f"loss {facts.loss:.4f}, {rate}"
        self._bar.update(facts.step, lambda _, left: f"step {facts.step} of {self._steps}, {text}, {left} left", text)

    def validated(self, step: int, metrics: Mapping[str, float], *, best: bool) -> None:
        """Print the metrics."""
        self._console.info(
            f"step {step}: abs_rel {metrics['abs_rel']:.4f}, d1 {metrics['d1']:.4f}; "
            f"scale-aligned {metrics['aligned_abs_rel']:.4f} and {metrics['aligned_d1']:.4f}"
            f"{', best so far' if best else ''}"
        )

    def note(self, text: str) -> None:
        """Print a note above the bar."""
        self._console.note(text)

    def detail(self, text: str) -> None:
        """Print a detail above the bar, if verbose."""
        self._console.detail(f"  {text}")

    def end(self) -> None:
        """Remove the bar."""
        self._bar.stop()


class _RateColumn(ProgressColumn):
    """Images per second."""

    def render(self, task: Task) -> Text:
        """Return the recent rate, or nothing yet."""
        return Text("" if task.speed is None else f"{task.speed:.2f} per second")
