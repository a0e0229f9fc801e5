"""The learning rate over a training."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Schedule"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Up to a peak and down again, both by a power, over the steps that there really are.

    The authors' program counts in steps of one data set and one batch size, so that with others its rate falls below
    the lowest and at last below zero. Here it never leaves [end, peak].

    Attributes:
        steps: of the whole training.
        peak: the highest rate.
        end: the rate before the first and after the last step.
        peak_at: where the peak is, as a share of the steps; 0 begins there.
        power: 0.9 in the paper.

    Source: arXiv 2201.07436, section 4.1.
    """

    steps: int
    peak: float
    end: float
    peak_at: float = 0.5
    power: float = 0.9

    def __call__(self, step: int) -> float:
        """Give the rate of a step; the first is step 0."""
        done = min(1.0, (step + 1) / self.steps)
        if done < self.peak_at:
            height = (done / self.peak_at) ** self.power
        else:
            falling = (done - self.peak_at) / (1 - self.peak_at) if self.peak_at < 1 else 0.0
            height = 1 - falling**self.power
        return min(self.peak, max(self.end, self.end + (self.peak - self.end) * float(height)))
