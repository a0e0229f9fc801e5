"""Where errors are: near or far."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

__all__ = ["DepthProfile"]

_NEAREST_M = 0.25
_BINS_PER_DOUBLING = 2


class DepthProfile:
    """Collects the errors of several predictions by true depth, over the pixels of all images together.

    Attributes:
        edges_m: (bins + 1,) meters; each bin reaches √2 times as far as the one before. What is nearer than the
            first edge belongs to the first bin.
    """

    def __init__(self, cap_m: float) -> None:
        """Begin with nothing.

        Args:
            cap_m: where the last bin ends.
        """
        nearest_m = min(_NEAREST_M, cap_m / 2)
        bins = math.ceil(_BINS_PER_DOUBLING * math.log2(cap_m / nearest_m))
        self.edges_m: Values = np.append(nearest_m * 2 ** (np.arange(bins) / _BINS_PER_DOUBLING), cap_m)
        self._pixels: Values = np.zeros(len(self.edges_m) - 1)
        self._relative: dict[str, Values] = {}
        self._signed: dict[str, Values] = {}

    def add(self, true: Values, predicted: dict[str, Values], *, again: bool = False) -> None:
        """Add the pixels of one image that count, (N,) meters, in each of several predictions.

        Args:
            true: of these pixels.
            predicted: by name.
            again: that image was added before, with other predictions.
        """
        bins = len(self._pixels)
        which = np.clip(np.searchsorted(self.edges_m, true, side="right") - 1, 0, bins - 1)
        if not again:
            self._pixels += np.bincount(which, minlength=bins)
        for name, values in predicted.items():
            relative = (values - true) / true
            for sums, errors in ((self._relative, np.abs(relative)), (self._signed, relative)):
                sums[name] = sums.get(name, np.zeros(bins)) + np.bincount(which, errors, minlength=bins)

    @property
    def pixel_share(self) -> Values:
        """(bins,) share of all pixels."""
        share: Values = self._pixels / max(float(self._pixels.sum()), 1.0)
        return share

    @property
    def abs_rel(self) -> dict[str, Values]:
        """For each prediction (bins,) mean |p-t|/t; not a number where a bin is empty."""
        return {name: self._mean(sums) for name, sums in self._relative.items()}

    def to_rows(self) -> list[dict[str, Any]]:
        """Give every bin that is not empty, ready for JSON."""
        relative = self.abs_rel
        signed = {name: self._mean(sums) for name, sums in self._signed.items()}
        return [
            {
                "from_m": float(self.edges_m[index]),
                "to_m": float(self.edges_m[index + 1]),
                "pixel_share": float(self.pixel_share[index]),
                "abs_rel": {name: float(values[index]) for name, values in relative.items()},
                "mean_relative_error": {name: float(values[index]) for name, values in signed.items()},
            }
            for index in np.flatnonzero(self._pixels)
        ]

    def _mean(self, sums: Values) -> Values:
        means: Values = np.divide(sums, self._pixels, out=np.full_like(sums, np.nan), where=self._pixels > 0)
        return means
