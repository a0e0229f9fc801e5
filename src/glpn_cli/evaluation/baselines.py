"""Baselines: predictions that ignore the image, which weights have to beat.

Both know the median of the ground truth of each image, which no real prediction knows. So the fair comparison is with
predictions whose scale is aligned by the median.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from glpn_cli.data.settings import Align
from glpn_cli.evaluation.statistics import scale_factor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

MEDIAN_LABEL = "median"
"""Name of the constant baseline in results."""

RAMP_LABEL = "ramp"
"""Name of the vertical gradient in results."""

_SEARCH_PIXELS = 20_000  # per image; fewer pixels rank the ramps equally well


@dataclass(frozen=True, slots=True)
class Ramp:
    """A vertical gradient of depth.

    Attributes:
        kind: what is linear from the top of the image to the bottom: "depth", "log depth" or "inverse depth". The
            last one is the depth of a flat ground plane.
        far_to_near: depth at the top divided by depth at the bottom.
    """

    kind: str
    far_to_near: float

    def at(self, heights: Values) -> Values:
        """Return depth up to a scale, (N,) float64, for heights (N,) float64: 0 at the top, 1 at the bottom."""
        top, bottom = self.far_to_near, 1.0
        if self.kind == "depth":
            return top + (bottom - top) * heights
        if self.kind == "log depth":
            return top ** (1 - heights)
        return 1 / (1 / top + (1 / bottom - 1 / top) * heights)

    def __str__(self) -> str:
        return f"{self.kind}, {self.far_to_near:.3g} : 1"


RAMPS: tuple[Ramp, ...] = tuple(
    Ramp(kind, 2.0 ** (half_steps / 2))
    for kind, half_steps in product(("depth", "log depth", "inverse depth"), range(-4, 15))
)
"""The candidates of `RampSearch`: the top is between 4 times nearer and 128 times farther than the bottom."""


def median_depth(truth: Values) -> Values:
    """Return the median of the ground truth for every pixel, (N,) float64, meters."""
    return np.full_like(truth, np.median(truth))


def ramp_depth(ramp: Ramp, truth: Values, heights: Values) -> Values:
    """Return a ramp that is scaled to the median of the ground truth, (N,) float64, meters.

    Args:
        ramp: kind and slope.
        truth: ground truth, (N,) float64, meters.
        heights: of the same pixels, (N,) float64, 0 at the top of the image, 1 at the bottom.
    """
    shape = ramp.at(heights)
    return shape * scale_factor(shape, truth, Align.MEDIAN)


class RampSearch:
    """Finds the ramp with the lowest mean AbsRel over a data set, so the ramp is fitted to the data it is scored on."""

    def __init__(self) -> None:
        self._errors = np.zeros(len(RAMPS))

    def add(self, truth: Values, heights: Values) -> None:
        """Score all ramps on the evaluated pixels of an image, or on an even subset; arguments as for `ramp_depth`."""
        step = max(1, truth.size // _SEARCH_PIXELS)
        truth, heights = truth[::step], heights[::step]
        self._errors += [np.mean(np.abs(ramp_depth(ramp, truth, heights) - truth) / truth) for ramp in RAMPS]

    def best(self) -> Ramp:
        """Return the best ramp for the images so far."""
        return RAMPS[int(np.argmin(self._errors))]
