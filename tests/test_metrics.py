from __future__ import annotations

import math

import numpy as np
import pytest

from glpn_cli.metrics import (
    HIGHER_IS_BETTER,
    METRICS,
    compute_boundary_f1,
    compute_metrics,
    mean_over_images,
    replace_invalid,
)


def loop_over_pixels(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Compute all metrics pixel by pixel, without arrays."""
    pairs = [(float(p), float(t)) for p, t in zip(predicted, truth, strict=True)]
    count = len(pairs)
    logs = [math.log(p) - math.log(t) for p, t in pairs]
    ratios = [max(p / t, t / p) for p, t in pairs]
    square, mean = sum(e * e for e in logs) / count, sum(logs) / count
    return {
        "d1": sum(r < 1.25 for r in ratios) / count,
        "d2": sum(r < 1.5625 for r in ratios) / count,
        "d3": sum(r < 1.953125 for r in ratios) / count,
        "abs_rel": sum(abs(p - t) / t for p, t in pairs) / count,
        "sq_rel": sum((p - t) ** 2 / t for p, t in pairs) / count,
        "rmse": math.sqrt(sum((p - t) ** 2 for p, t in pairs) / count),
        "rmse_log": math.sqrt(square),
        "log10": sum(abs(math.log10(p) - math.log10(t)) for p, t in pairs) / count,
        "silog": math.sqrt(square - 0.5 * mean**2),
        "silog_kitti": 100 * math.sqrt(square - mean**2),
    }


def test_metrics_equal_loop_over_pixels() -> None:
    rng = np.random.default_rng(5)
    truth = rng.uniform(0.5, 9.5, 500).astype(np.float32)
    predicted = (truth * rng.lognormal(0.1, 0.4, 500)).astype(np.float32)
    expected = loop_over_pixels(predicted, truth)
    metrics = compute_metrics(predicted, truth)
    assert metrics == pytest.approx(expected, rel=1e-9)
    assert list(metrics) == list(expected)
    assert 0.1 < metrics["d1"] < metrics["d2"] < metrics["d3"] < 1  # not saturated, so the comparison means something


def test_perfect_prediction_has_no_error() -> None:
    truth = np.linspace(1, 9, 50, dtype=np.float32)
    metrics = compute_metrics(truth, truth)
    assert all(metrics[name] == (1 if metric.higher_is_better else 0) for name, metric in METRICS.items())


def test_silogs_forgive_a_constant_factor() -> None:
    truth = np.linspace(1, 9, 50)
    doubled = compute_metrics(2 * truth, truth)
    assert doubled["abs_rel"] == pytest.approx(1)
    assert doubled["log10"] == pytest.approx(math.log10(2))
    assert doubled["silog"] == pytest.approx(math.log(2) * math.sqrt(0.5))
    assert doubled["silog_kitti"] == pytest.approx(0, abs=1e-9)
    assert doubled["d3"] == 0


def test_two_pixels_computed_by_hand() -> None:
    metrics = compute_metrics(np.array([2.0, 8.0]), np.array([2.0, 4.0]))
    log_two = math.log(2)
    assert metrics == pytest.approx(
        {
            "d1": 0.5,
            "d2": 0.5,
            "d3": 0.5,
            "abs_rel": 0.5,
            "sq_rel": 2.0,
            "rmse": math.sqrt(8),
            "rmse_log": log_two / math.sqrt(2),
            "log10": math.log10(2) / 2,
            "silog": log_two * math.sqrt(1 / 2 - 1 / 8),
            "silog_kitti": 100 * log_two / 2,
        }
    )


def test_delta_thresholds_are_strict() -> None:
    metrics = compute_metrics(np.array([1.25, 4.0]), np.array([1.0, 5.0]))
    assert (metrics["d1"], metrics["d2"]) == (0.0, 1.0)


def test_invalid_values_are_replaced_and_valid_ones_not_clipped() -> None:
    predicted = np.array([[np.inf, -np.inf, np.nan], [0.0, -1.0, 55.0]], np.float32)
    values, replaced = replace_invalid(predicted, low_m=0.001, high_m=10.0)
    assert values.tolist() == [[10.0, 10.0, 0.001], [0.001, 0.001, 55.0]]
    assert replaced == 5
    assert np.isnan(predicted[0, 2])  # the argument is not modified


def test_every_image_counts_the_same() -> None:
    small = compute_metrics(np.array([2.0]), np.array([1.0]))
    large = compute_metrics(np.ones(99), np.ones(99))
    assert mean_over_images([small, large])["abs_rel"] == pytest.approx(0.5)


def box_in_front(near_m: float = 2.0, far_m: float = 4.0, shift: int = 0) -> np.ndarray:
    """Return (40, 60) depth of a box in front of a wall."""
    depth = np.full((40, 60), far_m)
    depth[10:30, 15 + shift : 45 + shift] = near_m
    return depth


def loop_over_pairs(predicted: np.ndarray, truth: np.ndarray, valid: np.ndarray) -> float:
    """Compute the boundary metric pair by pair, from ratios instead of logarithms."""
    height, width = truth.shape
    total = weight = 0.0
    for ratio in np.linspace(1.05, 1.25, 10):
        precision = recall = 0.0
        for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            found = true = both = 0
            for y in range(height):
                for x in range(width):
                    ny, nx = y + down, x + right
                    if not (0 <= ny < height and 0 <= nx < width and valid[y, x] and valid[ny, nx]):
                        continue
                    is_found = predicted[ny, nx] / predicted[y, x] > ratio
                    is_true = truth[ny, nx] / truth[y, x] > ratio
                    found, true, both = found + is_found, true + is_true, both + (is_found and is_true)
            precision += both / max(found, 1) / 4
            recall += both / max(true, 1) / 4
        total += ratio * (2 * precision * recall / (precision + recall) if precision + recall else 0)
        weight += ratio
    return total / weight


def test_boundary_f1_equals_loop_over_pairs() -> None:
    rng = np.random.default_rng(3)
    truth = rng.lognormal(1, 0.12, (40, 30))
    predicted = truth * rng.lognormal(0, 0.05, truth.shape)
    valid = rng.random(truth.shape) < 0.9
    f1 = compute_boundary_f1(predicted, truth, valid)
    assert f1 == pytest.approx(loop_over_pairs(predicted, truth, valid))
    assert f1 is not None
    assert 0.3 < f1 < 0.95


def test_boundary_f1_of_known_edges() -> None:
    truth, known = box_in_front(), np.ones((40, 60), bool)
    assert compute_boundary_f1(truth, truth, known) == 1
    assert compute_boundary_f1(7 * truth, truth, known) == 1  # the scale does not matter
    assert compute_boundary_f1(np.full_like(truth, 3), truth, known) == 0
    assert compute_boundary_f1(6 - truth, truth, known) == 0  # near and far exchanged
    shifted = compute_boundary_f1(box_in_front(shift=1), truth, known)
    assert shifted is not None
    assert 0.3 < shifted < 0.6  # only the horizontal edges agree
    gentle = compute_boundary_f1(box_in_front(far_m=2.3), truth, known)
    assert gentle is not None
    assert 0.3 < gentle < 0.6  # the edge is steep enough for half of the ratios


def test_blurred_edges_have_a_worse_boundary_f1() -> None:
    truth, known = box_in_front(), np.ones((40, 60), bool)
    blurred = truth.copy()
    for axis in (0, 1):
        blurred = sum(np.roll(blurred, step, axis) for step in range(-3, 4)) / 7
    f1 = compute_boundary_f1(blurred, truth, known)
    assert f1 is not None
    assert f1 < 0.5


def test_sparse_ground_truth_has_no_boundary_f1() -> None:
    truth, rng = box_in_front(), np.random.default_rng(0)
    assert compute_boundary_f1(truth, truth, rng.random(truth.shape) < 0.3) is None
    assert compute_boundary_f1(truth, truth, rng.random(truth.shape) < 0.8) == 1
    assert compute_boundary_f1(truth, truth, np.zeros(truth.shape, bool)) is None


def test_ground_truth_without_edges_has_no_boundary_f1() -> None:
    flat, known = np.linspace(2, 3, 2400).reshape(40, 60), np.ones((40, 60), bool)
    assert compute_boundary_f1(box_in_front(), flat, known) is None
    one_pixel = np.ones((1, 1))
    assert compute_boundary_f1(one_pixel, one_pixel, one_pixel > 0) is None


def test_unknown_pixels_have_no_edges() -> None:
    truth, known = box_in_front(), np.ones((40, 60), bool)
    known[:5] = False
    holes = truth.copy()
    holes[:5] = 0
    assert compute_boundary_f1(holes, holes, known) == 1


def test_means_are_over_images_that_have_the_metric() -> None:
    assert mean_over_images([{"a": 1.0}, {"a": 3.0, "b": 5.0}]) == {"a": 2.0, "b": 5.0}
    assert list(HIGHER_IS_BETTER) == [*METRICS, "boundary_f1"]


def test_empty_or_mismatched_arrays_are_errors() -> None:
    with pytest.raises(ValueError, match=r"\(0,\)"):
        compute_metrics(np.empty(0), np.empty(0))
    with pytest.raises(ValueError, match=r"\(2,\).*\(3,\)"):
        compute_metrics(np.ones(2), np.ones(3))
    with pytest.raises(ValueError, match="images"):
        mean_over_images([])
