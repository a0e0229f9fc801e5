"""One factor for an image, found from its true depth, for predictions that know shapes better than meters.

How sure a mean over images is: intervals from drawing the same number of images again and again.

What an evaluation came to, ready for JSON; docs/evaluation.md lists the fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from glpn_cli.settings import Align

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from glpn_cli.evaluation.run import Evaluation, Figure


def scale_factor(predicted: NDArray[np.float64], true: NDArray[np.float64], align: Align) -> float:
    """Find the factor that brings a prediction to the true scale.

    Args:
        predicted: (N,) float64, meters, positive: the pixels that count.
        true: (N,) float64, meters, positive.
        align: MEDIAN makes the medians equal; LEAST_SQUARES makes the sum of squared errors in meters smallest.

    Returns:
        Positive.

    Source: Zhou et al., CVPR 2017, for the ratio of medians.
    """
    if align is Align.MEDIAN:
        return float(np.median(true) / np.median(predicted))
    return float(np.dot(predicted, true) / np.dot(predicted, predicted))


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


def summarize(evaluation: Evaluation, data: str) -> dict[str, Any]:
    """Give everything but the images.

    Args:
        evaluation: finished, or without an image that could be measured.
        data: as the user named it.
    """
    predictions: dict[str, Any] = {}
    for column, figures in evaluation.figures().items():
        entry = predictions.setdefault(column.label, {})
        entry[str(column.align or "unaligned")] = _numbers(figures)
    settings, protocol = evaluation.settings, evaluation.protocol
    return {
        "status": "summary",
        "data": data,
        "images": len(evaluation.images),
        "failed": len(evaluation.failures),
        "crop": str(protocol.crop),
        "cap_m": protocol.cap_m,
        "align": None if protocol.align is None else str(protocol.align),
        "confidence_percent": settings.confidence_percent if settings.resamples else None,
        "resamples": settings.resamples,
        "seed": settings.seed,
        "ramp": evaluation.ramp,
        "predictions": predictions,
        "differences": [
            {
                "ours": item.ours.label,
                "theirs": item.theirs.label,
                "align": None if item.ours.align is None else str(item.ours.align),
                "figures": _numbers(item.figures),
            }
            for item in evaluation.differences()
        ],
        "by_depth": evaluation.profile.to_rows(),
    }


def _numbers(figures: dict[str, Figure]) -> dict[str, dict[str, float]]:
    return {
        name: {"mean": figure.mean}
        | ({} if figure.interval is None else {"low": figure.interval.low, "high": figure.interval.high})
        for name, figure in figures.items()
    }
