"""How sure a mean over images is: intervals from drawing the same number of images again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["Bootstrap", "Interval"]

_AT_ONCE = 2_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A range of values.

    Attributes:
        low: the lower end.
        high: the upper end.
    """

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero is outside."""
        return self.low > 0 or self.high < 0


class Bootstrap:
    """Draws images with replacement; every question gets the same draws, so that answers can be compared.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993: percentile intervals.
    """

    def __init__(self, *, images: int, resamples: int, confidence: float, seed: int) -> None:
        """Draw.

        Args:
            images: how many there are.
            resamples: how often as many are drawn.
            confidence: the share of the draws that lies within an interval, such as 0.95.
            seed: of the draws.
        """
        chance = np.random.default_rng(seed)
        self._counts = np.empty((resamples, images), np.uint16)
        for rows in self._row_blocks():
            drawn = chance.integers(0, images, (rows.stop - rows.start, images))
            flat = drawn + np.arange(len(drawn))[:, None] * images
            self._counts[rows] = np.bincount(flat.ravel(), minlength=drawn.size).reshape(drawn.shape)
        self._ends = (50 * (1 - confidence), 50 * (1 + confidence))

    def interval(self, values: NDArray[np.float64]) -> Interval:
        """Give the interval of a mean.

        Args:
            values: (images,) float64, one for each image; for a comparison, the differences of two.
        """
        images = self._counts.shape[1]
        means = np.concatenate([self._counts[rows] @ values for rows in self._row_blocks()]) / images
        low, high = np.percentile(means, self._ends)
        return Interval(float(low), float(high))

    def _row_blocks(self) -> Iterator[slice]:
        resamples, images = self._counts.shape
        step = max(1, _AT_ONCE // images)
        return (slice(start, min(start + step, resamples)) for start in range(0, resamples, step))
