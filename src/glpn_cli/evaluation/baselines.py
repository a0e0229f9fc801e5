"""What one can say of depth without looking: the least that weights have to beat.

Both baselines are told the median of each image's true depth, which no prediction knows, so a fair comparison is
with predictions whose scale is aligned by the median.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from glpn_cli.evaluation.statistics import scale_factor
from glpn_cli.settings import Align

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]


_SEARCH_PIXELS = 20_000


@dataclass(frozen=True, slots=True)
class Ramp:
    """Depth that depends on nothing but the height in the image.

    Attributes:
        kind: what runs evenly from the upper edge to the lower: "depth", "log depth" or "inverse depth", which is
            what a flat ground looks like.
        far_to_near: depth at the upper edge in multiples of that at the lower.
    """

    kind: str
    far_to_near: float

    def at(self, heights: Values) -> Values:
        """Give depth without a scale at (N,) heights, from 0 at the upper edge to 1 at the lower."""
        upper, lower = self.far_to_near, 1.0
        if self.kind == "depth":
            return upper + (lower - upper) * heights
        if self.kind == "log depth":
            return upper ** (1 - heights)
        return 1 / (1 / upper + (1 / lower - 1 / upper) * heights)

    def __str__(self) -> str:
        return f"{self.kind}, {self.far_to_near:.3g} : 1"


RAMPS: tuple[Ramp, ...] = tuple(
    Ramp(kind, 2.0 ** (half_steps / 2))
    for kind, half_steps in product(("depth", "log depth", "inverse depth"), range(-4, 15))
)
"""Those that are tried: from four times nearer above to 128 times farther above."""


def median_depth(true: Values) -> Values:
    """Predict the median of the true depth for every pixel: (N,) to (N,), meters."""
    return np.full_like(true, np.median(true))


def ramp_depth(ramp: Ramp, true: Values, heights: Values) -> Values:
    """Predict a ramp that has the median of the true depth: (N,) and (N,) to (N,), meters."""
    shape = ramp.at(heights)
    return shape * scale_factor(shape, true, Align.MEDIAN)


class RampSearch:
    """Finds the ramp that is best for a whole data set, by the mean AbsRel; so it is chosen in hindsight."""

    def __init__(self) -> None:
        self._errors = np.zeros(len(RAMPS))

    def add(self, true: Values, heights: Values) -> None:
        """Try every ramp on the pixels of one image that count, or on an even selection of them."""
        step = max(1, true.size // _SEARCH_PIXELS)
        true, heights = true[::step], heights[::step]
        self._errors += [np.mean(np.abs(ramp_depth(ramp, true, heights) - true) / true) for ramp in RAMPS]

    def best(self) -> Ramp:
        """Give the best for all that was added."""
        return RAMPS[int(np.argmin(self._errors))]
