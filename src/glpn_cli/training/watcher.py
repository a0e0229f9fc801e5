"""Who is told how a training goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["QUIET", "StepFacts", "TrainWatcher"]


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
