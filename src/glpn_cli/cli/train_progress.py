"""How a training goes: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from glpn_cli.cli.wording import say_duration
from glpn_cli.training.progress import StepFacts, TrainWatcher

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.progress import Progress

    from glpn_cli.cli.console import Console


_SECONDS_BETWEEN_LINES = 10.0


class TrainProgress(TrainWatcher):
    """Shows steps, loss, rate and time left, and every measurement as a line that stays."""

    def __init__(self, console: Console) -> None:
        """Wait for a training to begin."""
        self._console = console
        self._bar: Progress | None = None
        self._steps = self._first_step = 0
        self._start_s = self._last_line_s = 0.0

    def begin(self, steps: int, first_step: int) -> None:
        """Show the bar, or say what comes."""
        self._steps, self._first_step = steps, first_step
        self._start_s = self._last_line_s = monotonic()
        self._console.say(f"going on after {first_step} of {steps} steps" if first_step else f"{steps} steps")
        self._bar = self._console.bar(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        )
        self._bar.start()
        self._bar.add_task("training", total=steps, completed=first_step)

    def advance(self, facts: StepFacts) -> None:
        """Move the bar, or say how far it is if that was long ago."""
        told = f"loss {facts.loss:.4f}, {facts.samples_per_second:.1f} per second at {facts.size[0]}x{facts.size[1]}"
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=facts.step, description=told)
        now_s = monotonic()
        if self._console.has_terminal or now_s - self._last_line_s < _SECONDS_BETWEEN_LINES:
            return
        self._last_line_s = now_s
        per_step_s = (now_s - self._start_s) / (facts.step - self._first_step)
        left = say_duration(per_step_s * (self._steps - facts.step))
        self._console.say(f"step {facts.step} of {self._steps}, {told}, {left} left")

    def validated(self, step: int, metrics: Mapping[str, float], *, best: bool) -> None:
        """Say what was measured."""
        self._console.say(
            f"step {step}: abs_rel {metrics['abs_rel']:.4f}, d1 {metrics['d1']:.4f}; "
            f"scale-aligned {metrics['aligned_abs_rel']:.4f} and {metrics['aligned_d1']:.4f}"
            f"{', the best so far' if best else ''}"
        )

    def note(self, text: str) -> None:
        """Say it above the bar."""
        self._console.note(text)

    def detail(self, text: str) -> None:
        """Say it, if verbose."""
        self._console.detail(f"  {text}")

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
