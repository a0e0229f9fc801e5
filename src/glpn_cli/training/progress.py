"""Who is told how a training goes.

Being told to stop, between two steps and never within one.
"""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class StepFacts:
    """What is known after a step.

    Attributes:
        step: how many are done.
        epoch: how many epochs are done, with their fraction.
        loss: mean of the last steps.
        learning_rate: of the step.
        gradient_norm: of the step, before it was clipped; 0 where nobody asks.
        samples_per_second: of this run so far.
        size: (height, width) of the step's images.
    """

    step: int
    epoch: float
    loss: float
    learning_rate: float
    gradient_norm: float
    samples_per_second: float
    size: tuple[int, int]


class TrainWatcher:
    """Hears of everything and does nothing; to be inherited from."""

    def begin(self, steps: int, first_step: int) -> None:
        """A training of so many steps begins, or goes on after some."""

    def advance(self, facts: StepFacts) -> None:
        """A step is done."""

    def validated(self, step: int, metrics: Mapping[str, float], *, best: bool) -> None:
        """The network was measured."""

    def note(self, text: str) -> None:
        """Something that the user may not expect."""

    def detail(self, text: str) -> None:
        """Something for those who want to know more."""

    def end(self) -> None:
        """The training has stopped, for whatever reason."""


QUIET = TrainWatcher()

"""For those who do not want to hear."""


_IMPATIENCE_S = 2.0


class Stop:
    """Whether it is time to stop, and why.

    Attributes:
        interrupted: by the user or the system.
    """

    def __init__(self, max_minutes: float) -> None:
        """Begin to count the time; 0 minutes are no limit."""
        self.interrupted = False
        self._until_s = time.monotonic() + 60 * max_minutes if max_minutes else float("inf")

    @property
    def asked_for(self) -> bool:
        """Whether to stop after this step."""
        return self.interrupted or time.monotonic() >= self._until_s


@contextmanager
def stop_asked_for(max_minutes: float) -> Iterator[Stop]:
    """Turn Ctrl-C and SIGTERM within the block into a wish; another Ctrl-C some seconds later is obeyed at once.

    One wish may come as several signals: a terminal sends Ctrl-C to all processes, and `torchrun` passes it on.
    """
    stop = Stop(max_minutes)
    asked_at_s = 0.0

    def on_signal(number: int, frame: Any) -> None:
        nonlocal asked_at_s
        del frame
        now_s = time.monotonic()
        if not stop.interrupted:
            stop.interrupted, asked_at_s = True, now_s
        elif number == signal.SIGINT and now_s - asked_at_s > _IMPATIENCE_S:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
