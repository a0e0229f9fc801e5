"""The paper's measures of depth, for one image at a time.

Everything is computed in float64 from the pixels whose true depth counts; which those are is decided in `data.crops`.
A result over many images is the mean of the images' own results, so that an image with few known pixels weighs
as much as any other.

Source: arXiv 2201.07436, section 4, and the protocol of the authors' published evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Metric:
    """One measure: a row of the table.

    Attributes:
        name: as it is printed and as programs read it.
        formula: p is the predicted and t the true depth, e = ln p - ln t.
        higher_is_better: else lower is.
        compute: from predicted and true depth, (N,) float64, meters, positive, to a number.
    """

    name: str
    formula: str
    higher_is_better: bool
    compute: Callable[[Values, Values], Any]


def _share_within(factor: float) -> Callable[[Values, Values], Any]:
    return lambda p, t: np.mean(np.maximum(p / t, t / p) < factor)


def _log_error(p: Values, t: Values) -> Values:
    return np.log(p) - np.log(t)


def _silog(p: Values, t: Values) -> Any:
    error = _log_error(p, t)
    return np.sqrt(np.mean(error**2) - 0.5 * np.mean(error) ** 2)


def _silog_kitti(p: Values, t: Values) -> Any:
    return 100 * np.std(_log_error(p, t))  # the standard deviation is that root, without its cancellation


METRICS: dict[str, Metric] = {
    row.name: row
    for row in (
        Metric("d1", "share of max(p/t, t/p) < 1.25", True, _share_within(1.25)),
        Metric("d2", "share of max(p/t, t/p) < 1.25²", True, _share_within(1.25**2)),
        Metric("d3", "share of max(p/t, t/p) < 1.25³", True, _share_within(1.25**3)),
        Metric("abs_rel", "mean |p-t|/t", False, lambda p, t: np.mean(np.abs(p - t) / t)),
        Metric("sq_rel", "mean (p-t)²/t, in meters", False, lambda p, t: np.mean((p - t) ** 2 / t)),
        Metric("rmse", "√ mean (p-t)², in meters", False, lambda p, t: np.sqrt(np.mean((p - t) ** 2))),
        Metric("rmse_log", "√ mean e²", False, lambda p, t: np.sqrt(np.mean(_log_error(p, t) ** 2))),
        Metric("log10", "mean |log10 p - log10 t|", False, lambda p, t: np.mean(np.abs(np.log10(p) - np.log10(t)))),
        Metric("silog", "√(mean e² - ½ (mean e)²), the training loss", False, _silog),
        Metric("silog_kitti", "100 √(mean e² - (mean e)²), of the KITTI benchmark", False, _silog_kitti),
    )
}
"""In the order in which the paper's programs report them. There are two of the name silog: `silog` is what the
authors' training and test programs print, `silog_kitti` what the KITTI benchmark ranks by."""


def measure(predicted: NDArray[np.floating[Any]], true: NDArray[np.floating[Any]]) -> dict[str, float]:
    """Measure one prediction at the pixels that count.

    Args:
        predicted: (N,) any float dtype, meters, positive and finite; see `usable_prediction`.
        true: (N,) any float dtype, meters, positive.

    Returns:
        A number for each of `METRICS`, in that order.

    Raises:
        ValueError: there is no pixel, or the shapes differ.
    """
    if predicted.shape != true.shape or true.size == 0:
        raise ValueError(f"predicted {predicted.shape} and true {true.shape} depth are not of the same, known pixels")
    p, t = predicted.astype(np.float64), true.astype(np.float64)
    return {name: float(metric.compute(p, t)) for name, metric in METRICS.items()}


def usable_prediction(
    predicted: NDArray[np.floating[Any]], *, low_m: float, high_m: float
) -> tuple[NDArray[np.float64], int]:
    """Put something measurable in place of what is no depth; other values stay, also beyond the limits.

    As in the authors' evaluation infinite becomes `high_m` and not-a-number `low_m`. Zero and below, for which their
    logarithms would be infinite, become `low_m` too.

    Args:
        predicted: any shape and float dtype, meters.
        low_m: the smallest true depth that counts.
        high_m: the largest.

    Returns:
        The same shape in float64, meters, positive and finite; and how many values were replaced.
    """
    values = predicted.astype(np.float64)
    infinite = np.isinf(values)
    unusable = infinite | ~(values > 0)
    values[unusable] = low_m
    values[infinite] = high_m
    return values, int(np.count_nonzero(unusable))


def mean_of_images(images: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Average the numbers of several images, each image counting once.

    Raises:
        ValueError: there are none.
    """
    rows = list(images)
    if not rows:
        raise ValueError("no images to average")
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
