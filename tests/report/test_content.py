"""Depth grids."""

from __future__ import annotations

import numpy as np
import pytest

from glpn_cli.report.content import decode_grid, encode_grid, subsample


@pytest.mark.parametrize(
    ("far_m", "worst_m"), [(0.5, 0.00051), (10, 0.00051), (65, 0.00051), (80, 0.00062), (650, 0.0051)]
)
def test_grid_is_accurate_to_half_a_step(far_m: float, worst_m: float) -> None:
    meters = np.random.default_rng(0).uniform(0.3, far_m, (37, 53)).astype(np.float32)
    read = decode_grid(encode_grid(meters))
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, meters, rtol=0, atol=worst_m)


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
