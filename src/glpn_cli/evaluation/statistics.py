"""Statistics of an evaluation: scale alignment, confidence intervals, and errors by depth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from glpn_cli.data.settings import Align

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Values = NDArray[np.float64]

_BLOCK_VALUES = 2_000_000  # of the resampled images; limits memory
_NEAREST_EDGE_M = 0.25
_BINS_PER_DOUBLING = 2


def scale_factor(predicted: Values, truth: Values, align: Align) -> float:
    """Return the positive factor that aligns a prediction to the ground truth.

    Args:
        predicted: at the evaluated pixels, (N,) float64, meters, positive.
        truth: ground truth at the same pixels, (N,) float64, meters, positive.
        align: MEDIAN makes the medians equal; LEAST_SQUARES minimizes the sum of squared errors in meters.

    Source: Zhou et al., CVPR 2017, for the ratio of medians.
    """
    if align is Align.MEDIAN:
        return float(np.median(truth) / np.median(predicted))
    return float(np.dot(predicted, truth) / np.dot(predicted, predicted))


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval.

    Attributes:
        low: lower end.
        high: upper end.
    """

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero is outside the interval."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over images.

    Attributes:
        mean: the mean.
        interval: its confidence interval, or None.
    """

    mean: float
    interval: Interval | None

    def to_dict(self) -> dict[str, float]:
        """Return the values for JSON."""
        ends = {} if self.interval is None else {"low": self.interval.low, "high": self.interval.high}
        return {"mean": self.mean} | ends


class Bootstrap:
    """Confidence intervals of means, from resampling images with replacement.

    All intervals use the same resamples, so that predictions of the same images can be compared.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993: percentile intervals.
    """

    def __init__(self, *, images: int, resamples: int, confidence: float, seed: int) -> None:
        """Sample the images.

        Args:
            images: number of images.
            resamples: how often that many images are sampled.
            confidence: fraction of the resampled means inside an interval, such as 0.95.
            seed: random seed.
        """
        rng = np.random.default_rng(seed)
        self._counts = np.empty((resamples, images), np.uint16)
        for rows in self._row_blocks():
            sampled = rng.integers(0, images, (rows.stop - rows.start, images))
            flat = sampled + np.arange(len(sampled))[:, None] * images
            self._counts[rows] = np.bincount(flat.ravel(), minlength=sampled.size).reshape(sampled.shape)
        self._percentiles = (50 * (1 - confidence), 50 * (1 + confidence))

    def interval(self, values: Values) -> Interval:
        """Return the confidence interval of a mean.

        Args:
            values: (images,) float64, one per image; for a comparison, the differences of two predictions. NaN where
                an image has no value: the mean is over the others, at least one.
        """
        has_value = np.isfinite(values)
        known = np.where(has_value, values, 0.0)
        sums = np.concatenate([self._counts[rows] @ known for rows in self._row_blocks()])
        counts = np.concatenate([self._counts[rows] @ has_value.astype(np.float64) for rows in self._row_blocks()])
        low, high = np.percentile(sums[counts > 0] / counts[counts > 0], self._percentiles)
        return Interval(float(low), float(high))

    def _row_blocks(self) -> Iterator[slice]:
        resamples, images = self._counts.shape
        step = max(1, _BLOCK_VALUES // images)
        return (slice(start, min(start + step, resamples)) for start in range(0, resamples, step))


class DepthProfile:
    """Errors of several predictions by ground truth, over the pixels of all images together.

    Attributes:
        edges_m: bin edges, (bins + 1,) float64, meters. Each bin ends √2 times farther than the one before. The first
            bin also contains everything nearer.
    """

    def __init__(self, cap_m: float) -> None:
        """Start without pixels; `cap_m` is the far end of the last bin, meters."""
        nearest_m = min(_NEAREST_EDGE_M, cap_m / 2)
        bins = math.ceil(_BINS_PER_DOUBLING * math.log2(cap_m / nearest_m))
        self.edges_m: Values = np.append(nearest_m * 2 ** (np.arange(bins) / _BINS_PER_DOUBLING), cap_m)
        self._pixels: Values = np.zeros(len(self.edges_m) - 1)
        self._relative: dict[str, Values] = {}
        self._signed: dict[str, Values] = {}

    def add(self, truth: Values, predicted: dict[str, Values], *, again: bool = False) -> None:
        """Add the evaluated pixels of one image.

        Args:
            truth: ground truth, (N,) float64, meters.
            predicted: by name, (N,) float64, meters.
            again: whether the pixels of this image were added before, with other predictions.
        """
        bins = len(self._pixels)
        which = np.clip(np.searchsorted(self.edges_m, truth, side="right") - 1, 0, bins - 1)
        if not again:
            self._pixels += np.bincount(which, minlength=bins)
        for name, values in predicted.items():
            relative = (values - truth) / truth
            for sums, errors in ((self._relative, np.abs(relative)), (self._signed, relative)):
                sums[name] = sums.get(name, np.zeros(bins)) + np.bincount(which, errors, minlength=bins)

    @property
    def pixel_fraction(self) -> Values:
        """Fraction of all pixels per bin, (bins,) float64."""
        fraction: Values = self._pixels / max(float(self._pixels.sum()), 1.0)
        return fraction

    @property
    def abs_rel(self) -> dict[str, Values]:
        """Mean |p-t|/t per bin for each prediction, (bins,) float64; NaN for empty bins."""
        return {name: self._mean(sums) for name, sums in self._relative.items()}

    def to_rows(self) -> list[dict[str, Any]]:
        """Return the bins that are not empty, for JSON; docs/evaluation.md lists the fields."""
        relative = self.abs_rel
        signed = {name: self._mean(sums) for name, sums in self._signed.items()}
        return [
            {
                "from_m": float(self.edges_m[index]),
                "to_m": float(self.edges_m[index + 1]),
                "pixel_fraction": float(self.pixel_fraction[index]),
                "abs_rel": {name: float(values[index]) for name, values in relative.items()},
                "mean_relative_error": {name: float(values[index]) for name, values in signed.items()},
            }
            for index in np.flatnonzero(self._pixels)
        ]

    def _mean(self, sums: Values) -> Values:
        means: Values = np.divide(sums, self._pixels, out=np.full_like(sums, np.nan), where=self._pixels > 0)
        return means
