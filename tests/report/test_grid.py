from __future__ import annotations

import numpy as np
import pytest

from glpn_cli.report.index import decode_grid, encode_grid, sample


@pytest.mark.parametrize(
    ("far_m", "worst_m"), [(0.5, 0.00051), (10, 0.00051), (65, 0.00051), (80, 0.00062), (650, 0.0051)]
)
def test_a_grid_keeps_millimeters_or_a_sixty_thousandth_of_the_span(far_m: float, worst_m: float) -> None:
    meters = np.random.default_rng(0).uniform(0.3, far_m, (37, 53)).astype(np.float32)
    read = decode_grid(encode_grid(meters))
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, meters, rtol=0, atol=worst_m)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2)])
def test_small_and_flat_grids_come_back(shape: tuple[int, int]) -> None:
    meters = np.full(shape, 2.5, np.float32)
    np.testing.assert_array_equal(decode_grid(encode_grid(meters)), meters)


def test_what_is_unknown_stays_unknown() -> None:
    meters = np.full((4, 5), 3, np.float32)
    meters[0, 0], meters[1, 2], meters[3, 4], meters[2, 2] = np.nan, np.inf, 0, 7
    read = decode_grid(encode_grid(meters))
    np.testing.assert_array_equal(np.isnan(read), ~np.isfinite(meters) | (meters == 0))
    assert read[2, 2] == pytest.approx(7, abs=0.001)
    assert np.isnan(decode_grid(encode_grid(np.full((2, 2), np.nan, np.float32)))).all()


def test_a_small_map_is_kept_as_it_is_and_a_large_one_gives_depths_that_are_in_it() -> None:
    meters = np.arange(30 * 40, dtype=np.float32).reshape(30, 40)
    assert sample(meters, 40) is meters
    thinned = sample(meters, 20)
    assert thinned.shape == (15, 20)
    np.testing.assert_array_equal(thinned, meters[1::2, 1::2])
    assert sample(meters, 7).shape == (5, 7)
    assert sample(np.ones((1, 5000), np.float32), 640).shape == (1, 640)


def test_a_place_on_the_page_finds_the_depth_that_was_taken_nearest_to_it() -> None:
    rows, columns = np.mgrid[0:1000, 0:1500].astype(np.float32)
    for side, picked in ((1500, sample(columns, 640)), (1000, sample(rows, 640).T)):
        count = picked.shape[1]
        for pixel in range(0, side, 7):
            taken = picked[0, min(count - 1, int((pixel + 0.5) * count / side))]
            assert abs(taken - pixel) <= side / count
