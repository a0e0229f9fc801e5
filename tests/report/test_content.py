"""Depth grids."""

from __future__ import annotations

import numpy as np
import pytest

from glpn_cli.output.color import curve_fraction
from glpn_cli.report.content import decode_grid, encode_grid, subsample
from glpn_cli.values import Curve
from synthetic_report import grid_of_version_0_1, random_depth


@pytest.mark.parametrize(
    ("far_m", "worst_m"), [(0.5, 0.00051), (10, 0.00051), (65, 0.00051), (80, 0.00062), (650, 0.0051)]
)
def test_grid_is_accurate_to_half_a_step(far_m: float, worst_m: float) -> None:
    meters = np.random.default_rng(0).uniform(0.3, far_m, (37, 53)).astype(np.float32)
    read = decode_grid(encode_grid(meters))
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, meters, rtol=0, atol=worst_m)


@pytest.mark.parametrize("curve", Curve)
@pytest.mark.parametrize(("low_m", "high_m"), [(0.3, 0.31), (0.05, 80), (1, 650), (5, 9), (2.5, 2.50001)])
def test_grid_is_fine_enough_for_256_colors(low_m: float, high_m: float, curve: Curve) -> None:
    even_in_depth = np.linspace(low_m, high_m, 1000)
    even_in_inverse = 1 / np.linspace(1 / low_m, 1 / high_m, 1000)
    meters = np.stack([even_in_depth, even_in_inverse]).astype(np.float32).clip(low_m, high_m)
    read = decode_grid(encode_grid(meters))
    shown, true = (curve_fraction(depth, low_m, high_m, curve) for depth in (read, meters))
    np.testing.assert_allclose(shown, true, rtol=0, atol=0.5 / 255)
    assert read.min() >= meters.min()
    assert read.max() <= meters.max()


def test_fewer_steps_are_shorter_and_still_fine_enough_for_colors() -> None:
    rows, columns = np.mgrid[0:60, 0:80].astype(np.float32)
    meters = 0.5 + 0.1 * columns + 2 * np.sin(rows / 20) ** 2 + np.random.default_rng(0).normal(0, 0.01, (60, 80))
    meters = meters.astype(np.float32)
    fine, coarse = encode_grid(meters), encode_grid(meters, max_steps=2048)
    assert len(coarse["data"]) < 0.9 * len(fine["data"])
    np.testing.assert_allclose(decode_grid(coarse), meters, rtol=0, atol=np.ptp(meters) / 1024)


def test_grids_of_version_0_1_are_decoded() -> None:
    meters = random_depth(1).meters
    np.testing.assert_allclose(decode_grid(grid_of_version_0_1(meters)), meters, atol=0.00051)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_small_and_constant_grids_are_decoded(shape: tuple[int, int]) -> None:
    meters = np.full(shape, 2.5, np.float32)
    np.testing.assert_array_equal(decode_grid(encode_grid(meters)), meters)


def test_unknown_depth_stays_unknown() -> None:
    meters = np.full((4, 5), 3, np.float32)
    meters[0, 0], meters[1, 2], meters[3, 4], meters[2, 2] = np.nan, np.inf, 0, 7
    read = decode_grid(encode_grid(meters))
    np.testing.assert_array_equal(np.isnan(read), ~np.isfinite(meters) | (meters == 0))
    assert read[2, 2] == pytest.approx(7, abs=0.001)
    assert np.isnan(decode_grid(encode_grid(np.full((2, 2), np.nan, np.float32)))).all()


def test_large_maps_are_sampled_and_small_ones_stay() -> None:
    meters = np.arange(30 * 40, dtype=np.float32).reshape(30, 40)
    assert subsample(meters, 40) is meters
    sampled = subsample(meters, 20)
    assert sampled.shape == (15, 20)
    np.testing.assert_array_equal(sampled, meters[1::2, 1::2])
    assert subsample(meters, 7).shape == (5, 7)
    assert subsample(np.ones((1, 5000), np.float32), 640).shape == (1, 640)


def test_page_reads_the_nearest_sample() -> None:
    rows, columns = np.mgrid[0:1000, 0:1500].astype(np.float32)
    for side, sampled in ((1500, subsample(columns, 640)), (1000, subsample(rows, 640).T)):
        count = sampled.shape[1]
        for pixel in range(0, side, 7):
            value = sampled[0, min(count - 1, int((pixel + 0.5) * count / side))]
            assert abs(value - pixel) <= side / count
