"""Progress of a run: callbacks that report it, and requests to stop it between two steps."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SAME_REQUEST_S = 2.0
"""Signals within this time are one request: a terminal sends Ctrl-C to all processes, and `torchrun` forwards it."""


@dataclass(frozen=True, slots=True)
class StepFacts:
    """What is known after a step.

    Attributes:
        step: steps done.
        epoch: epochs done, with their fraction.
        loss: mean over the last steps.
        learning_rate: of the step.
        gradient_norm: of the step, before clipping; None without clipping, which measures it.
        samples_per_second: mean since the command started.
        size: (height, width) of the step's images.
    """

    step: int
    epoch: float
    loss: float
    learning_rate: float
    gradient_norm: float | None
    samples_per_second: float
    size: tuple[int, int]


class TrainWatcher:
    """Callbacks during a run. Each does nothing; subclasses override what they need."""

    def begin(self, steps: int, first_step: int) -> None:
        """Training starts, or resumes after `first_step` of all steps."""

    def advance(self, facts: StepFacts) -> None:
        """A step is done."""

    def validated(self, step: int, metrics: Mapping[str, float], *, best: bool) -> None:
        """The weights after a step were validated; `best` if they are the best ones so far."""

    def note(self, text: str) -> None:
        """Something happened that the user may not expect."""

    def detail(self, text: str) -> None:
        """Information for verbose output."""

    def end(self) -> None:
        """Training has ended, finished or not."""


QUIET = TrainWatcher()
"""Callbacks that do nothing."""


class StopRequest:
    """Whether and why to stop after the current step.

    Args:
        max_minutes: time limit, from now; 0 for none.

    Attributes:
        interrupted: whether the user or the system requested it with a signal.
    """

    def __init__(self, max_minutes: float) -> None:
        self.interrupted = False
        self._until_s = time.monotonic() + 60 * max_minutes if max_minutes else float("inf")

    @property
    def is_set(self) -> bool:
        """Whether to stop after the current step."""
        return self.interrupted or time.monotonic() >= self._until_s


@contextmanager
def stop_on_signals(max_minutes: float) -> Iterator[StopRequest]:
    """Turn Ctrl-C and SIGTERM within the block into a request to stop; a second Ctrl-C interrupts immediately.

    A signal that the parent process has ignored, as a shell does for background jobs, stays ignored. Outside the main
    thread, where Python allows no signal handlers, only the time limit counts.

    Args:
        max_minutes: time limit; 0 for none.
    """
    stop = StopRequest(max_minutes)
    requested_s = 0.0

    def on_signal(number: int, frame: Any) -> None:
        nonlocal requested_s
        del frame
        now_s = time.monotonic()
        if not stop.interrupted:
            stop.interrupted, requested_s = True, now_s
        elif number == signal.SIGINT and now_s - requested_s > _SAME_REQUEST_S:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    heard = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    handlers = {number: signal.signal(number, on_signal) for number in heard}
    try:
        yield stop
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
