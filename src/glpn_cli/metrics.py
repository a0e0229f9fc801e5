"""The metrics of the paper, and one of depth edges, computed per image.

Metrics are computed in float64 from the evaluated pixels; `data.sample.valid_pixels` selects those. The result of a
data set is the mean over images, so that images with few known pixels count as much as any other.

Source: arXiv 2201.07436, section 4, and the evaluation program that the authors published.
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
    """One metric: a row of `METRICS`.

    Attributes:
        name: as in tables and JSON.
        formula: for people; p is the predicted depth, t the ground truth, e = ln p - ln t.
        higher_is_better: False if lower is better.
        compute: takes predicted depth and ground truth, each (N,) float64, meters, positive; returns a number.
    """

    name: str
    formula: str
    higher_is_better: bool
    compute: Callable[[Values, Values], Any]


def _fraction_within(factor: float) -> Callable[[Values, Values], Any]:
    return lambda p, t: np.mean(np.maximum(p / t, t / p) < factor)


def _log_error(p: Values, t: Values) -> Values:
    return np.log(p) - np.log(t)


def _silog(p: Values, t: Values) -> Any:
    error = _log_error(p, t)
    return np.sqrt(np.mean(error**2) - 0.5 * np.mean(error) ** 2)


def _silog_kitti(p: Values, t: Values) -> Any:
    return 100 * np.std(_log_error(p, t))  # the same root, without the cancellation of the formula


METRICS: dict[str, Metric] = {
    row.name: row
    for row in (
        Metric("d1", "fraction of max(p/t, t/p) < 1.25", True, _fraction_within(1.25)),
        Metric("d2", "fraction of max(p/t, t/p) < 1.25²", True, _fraction_within(1.25**2)),
        Metric("d3", "fraction of max(p/t, t/p) < 1.25³", True, _fraction_within(1.25**3)),
        Metric("abs_rel", "mean |p-t|/t", False, lambda p, t: np.mean(np.abs(p - t) / t)),
        Metric("sq_rel", "mean (p-t)²/t, in meters", False, lambda p, t: np.mean((p - t) ** 2 / t)),
        Metric("rmse", "√ mean (p-t)², in meters", False, lambda p, t: np.sqrt(np.mean((p - t) ** 2))),
        Metric("rmse_log", "√ mean e²", False, lambda p, t: np.sqrt(np.mean(_log_error(p, t) ** 2))),
        Metric("log10", "mean |log10 p - log10 t|", False, lambda p, t: np.mean(np.abs(np.log10(p) - np.log10(t)))),
        Metric("silog", "√(mean e² - ½ (mean e)²), the training loss", False, _silog),
        Metric("silog_kitti", "100 √(mean e² - (mean e)²), of the KITTI benchmark", False, _silog_kitti),
    )
}
"""All metrics by name, in the order of the authors' program.

Two are called SILog in the literature: `silog` is what the authors' training and test programs print, `silog_kitti`
is what the KITTI benchmark ranks by.
"""


BOUNDARY_F1 = "boundary_f1"
"""Name of the metric of depth edges; see `compute_boundary_f1`. Not every image has it."""

HIGHER_IS_BETTER: dict[str, bool] = {name: row.higher_is_better for name, row in METRICS.items()} | {BOUNDARY_F1: True}
"""Every metric of an evaluation, in the order of tables: `METRICS` and `BOUNDARY_F1`."""

_BOUNDARY_RATIOS = np.linspace(1.05, 1.25, 10)
_MIN_KNOWN_NEIGHBORS = 0.5
_MIN_BOUNDARY_PAIRS = 20


def compute_metrics(predicted: NDArray[np.floating[Any]], truth: NDArray[np.floating[Any]]) -> dict[str, float]:
    """Return all metrics of one prediction.

    Args:
        predicted: (N,) any float dtype, meters, positive and finite; see `replace_invalid`.
        truth: ground truth at the same pixels, (N,) any float dtype, meters, positive.

    Returns:
        The value of each of `METRICS` by name, in that order.

    Raises:
        ValueError: the arrays are empty, or their shapes differ.
    """
    if predicted.shape != truth.shape or truth.size == 0:
        raise ValueError(f"prediction {predicted.shape} and ground truth {truth.shape} must have one shape and pixels")
    p, t = predicted.astype(np.float64), truth.astype(np.float64)
    return {name: float(metric.compute(p, t)) for name, metric in METRICS.items()}


def compute_boundary_f1(
    predicted: NDArray[np.floating[Any]], truth: NDArray[np.floating[Any]], valid: NDArray[np.bool_]
) -> float | None:
    """Return how well the depth edges of a prediction agree with those of the ground truth: 0 to 1, higher is better.

    Two neighboring pixels have an edge between them if one is farther by more than a ratio. For each of ten ratios from
    1.05 to 1.25, precision and recall count the pairs of pixels with an edge in the same direction in both maps, and
    the result is the weighted mean of F1, with the ratios as weights. An edge must be in exactly the right place, and
    as steep. The scale of the prediction does not matter.

    Args:
        predicted: (H, W) any float dtype, meters; positive and finite where `valid`.
        truth: ground truth, (H, W) any float dtype, meters.
        valid: which pixels are evaluated, (H, W) bool.

    Returns:
        None if the ground truth is too sparse (fewer than half of the neighbors of its pixels are known, as in
        projected lidar), or has hardly any edges.

    Source: Bochkovskii et al., Depth Pro, ICLR 2025, and its published evaluation code (the variant for true depth).
    """
    both = [valid[1:] & valid[:-1], valid[:, 1:] & valid[:, :-1]]
    if sum(map(np.count_nonzero, both)) < _MIN_KNOWN_NEIGHBORS * 2 * np.count_nonzero(valid):
        return None
    p, t = (np.log(depth.astype(np.float64), out=np.zeros(depth.shape), where=valid) for depth in (predicted, truth))
    pairs = [(np.diff(p, axis=axis)[both[axis]], np.diff(t, axis=axis)[both[axis]]) for axis in (0, 1)]
    # The logarithm of a ratio and that of its inverse differ in sign: one for each direction.
    directions = [(sign * found, sign * true) for found, true in pairs for sign in (1, -1)]
    if sum(np.count_nonzero(true > np.log(_BOUNDARY_RATIOS[-1])) for _, true in directions) < _MIN_BOUNDARY_PAIRS:
        return None
    scores = [_edge_f1(directions, float(np.log(ratio))) for ratio in _BOUNDARY_RATIOS]
    return float(np.average(scores, weights=_BOUNDARY_RATIOS))


def _edge_f1(directions: list[tuple[Values, Values]], step: float) -> float:
    """Return F1 of edges; precision and recall are means over the directions.

    Args:
        directions: for each direction, the log ratio of neighboring pixels in prediction and ground truth, (N,) each.
        step: the smallest log ratio of an edge.
    """
    precision = recall = 0.0
    for found, true in directions:
        counts = (int(np.count_nonzero(edge)) for edge in (found > step, true > step, (found > step) & (true > step)))
        in_prediction, in_truth, in_both = counts
        precision += in_both / max(in_prediction, 1) / len(directions)
        recall += in_both / max(in_truth, 1) / len(directions)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def replace_invalid(
    predicted: NDArray[np.floating[Any]], *, low_m: float, high_m: float
) -> tuple[NDArray[np.float64], int]:
    """Replace predicted values that are not a depth; valid values stay, also outside the limits.

    As in the authors' program, infinite values become `high_m`, and NaN becomes `low_m`. Zero and negative values,
    whose logarithms are undefined, become `low_m` too.

    Args:
        predicted: any shape and float dtype, meters.
        low_m: the smallest ground truth that is evaluated.
        high_m: the largest one.

    Returns:
        The values, same shape, float64, meters, positive and finite; and the number of replaced ones.
    """
    values = predicted.astype(np.float64)
    infinite = np.isinf(values)
    invalid = infinite | ~(values > 0)
    values[invalid] = low_m
    values[infinite] = high_m
    return values, int(np.count_nonzero(invalid))


def mean_over_images(images: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each metric; every image that has the metric counts the same.

    Raises:
        ValueError: there are no images.
    """
    rows = list(images)
    if not rows:
        raise ValueError("no images to average")
    names = dict.fromkeys(name for row in rows for name in row)  # an ordered set
    return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}
