from __future__ import annotations

import math

import numpy as np
import pytest

from glpn_cli.metrics import METRICS, mean_of_images, measure, usable_prediction


def straight(predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Compute the same pixel by pixel, without arrays."""
    pairs = [(float(p), float(t)) for p, t in zip(predicted, true, strict=True)]
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


def test_the_measures_are_those_of_a_straight_count_over_pixels() -> None:
    chance = np.random.default_rng(5)
    true = chance.uniform(0.5, 9.5, 500).astype(np.float32)
    predicted = (true * chance.lognormal(0.1, 0.4, 500)).astype(np.float32)
    expected = straight(predicted, true)
    measured = measure(predicted, true)
    assert measured == pytest.approx(expected, rel=1e-9)
    assert list(measured) == list(expected)
    assert 0.1 < measured["d1"] < measured["d2"] < measured["d3"] < 1  # none of them was saturated


def test_a_perfect_prediction_has_no_error() -> None:
    true = np.linspace(1, 9, 50, dtype=np.float32)
    perfect = measure(true, true)
    assert all(perfect[name] == (1 if metric.higher_is_better else 0) for name, metric in METRICS.items())


def test_a_constant_factor_is_what_the_two_silogs_forgive_in_part_and_in_full() -> None:
    true = np.linspace(1, 9, 50)
    doubled = measure(2 * true, true)
    assert doubled["abs_rel"] == pytest.approx(1)
    assert doubled["log10"] == pytest.approx(math.log10(2))
    assert doubled["silog"] == pytest.approx(math.log(2) * math.sqrt(0.5))
    assert doubled["silog_kitti"] == pytest.approx(0, abs=1e-9)
    assert doubled["d3"] == 0


def test_by_hand_two_pixels_of_which_one_is_twice_too_far() -> None:
    measured = measure(np.array([2.0, 8.0]), np.array([2.0, 4.0]))
    log_two = math.log(2)
    assert measured == pytest.approx(
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


def test_the_bounds_of_the_shares_are_strict() -> None:
    at_the_bound = measure(np.array([1.25, 4.0]), np.array([1.0, 5.0]))
    assert (at_the_bound["d1"], at_the_bound["d2"]) == (0.0, 1.0)


def test_what_is_no_depth_is_replaced_and_counted_and_the_rest_is_not_limited() -> None:
    predicted = np.array([[np.inf, -np.inf, np.nan], [0.0, -1.0, 55.0]], np.float32)
    values, replaced = usable_prediction(predicted, low_m=0.001, high_m=10.0)
    assert values.tolist() == [[10.0, 10.0, 0.001], [0.001, 0.001, 55.0]]
    assert replaced == 5
    assert np.isnan(predicted[0, 2])  # the given array stays


def test_a_image_counts_once_however_many_pixels_it_has() -> None:
    small = measure(np.array([2.0]), np.array([1.0]))
    large = measure(np.ones(99), np.ones(99))
    assert mean_of_images([small, large])["abs_rel"] == pytest.approx(0.5)


def test_no_pixels_and_no_images_are_errors_and_not_numbers() -> None:
    with pytest.raises(ValueError, match="known pixels"):
        measure(np.empty(0), np.empty(0))
    with pytest.raises(ValueError, match="known pixels"):
        measure(np.ones(2), np.ones(3))
    with pytest.raises(ValueError, match="no images"):
        mean_of_images([])
