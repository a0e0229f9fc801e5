"""Points in space: where they lie, and which are left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from glpn_cli.depth import Camera, DepthMap, Provenance
from glpn_cli.errors import UsageError
from glpn_cli.geometry.camera import find_flying, find_valid, to_points
from glpn_cli.settings import OutputSettings, ValidRange

EVERYTHING = OutputSettings(edge_filter=0, max_points=0)


def wall(height: int = 4, width: int = 6, meters: float = 2.0) -> DepthMap:
    return DepthMap(np.full((height, width), meters, np.float32), camera=Camera(3.0, "--focal-px 3"))


def test_a_point_lies_on_the_ray_through_the_middle_of_its_pixel() -> None:
    grid = to_points(wall(), EVERYTHING)
    assert grid.xyz.shape == (4, 6, 3)
    assert grid.xyz.dtype == np.float32
    np.testing.assert_allclose(grid.xyz[0, 0], [2 * -2.5 / 3, 2 * 1.5 / 3, -2], rtol=1e-6)
    np.testing.assert_allclose(grid.xyz[3, 5], [2 * 2.5 / 3, 2 * -1.5 / 3, -2], rtol=1e-6)
    np.testing.assert_allclose(grid.xyz.sum(axis=(0, 1))[:2], 0, atol=1e-5)


def test_right_is_x_up_is_y_and_the_camera_looks_along_minus_z() -> None:
    grid = to_points(wall(), EVERYTHING)
    assert (np.diff(grid.xyz[..., 0], axis=1) > 0).all()
    assert (np.diff(grid.xyz[..., 1], axis=0) < 0).all()
    assert (grid.xyz[..., 2] < 0).all()


def test_depth_without_a_camera_gets_the_assumed_one() -> None:
    grid = to_points(replace(wall(), camera=None), EVERYTHING)
    assert grid.camera.is_assumed


def test_what_is_unknown_is_left_out() -> None:
    depth = wall()
    depth.meters[0, :3] = [0, np.nan, np.inf]
    depth.meters[1, 0] = -1
    kept = to_points(depth, EVERYTHING).kept
    assert kept.sum() == 24 - 4
    assert not kept[0, :3].any()


def test_depth_at_the_limit_of_the_weights_is_left_out_unless_a_range_says_otherwise() -> None:
    depth = replace(wall(), provenance=Provenance(depth_limit_m=10.0))
    depth.meters[0] = [9.4, 9.6, 10, 10, 0.2, 3]
    assert find_valid(depth)[0].tolist() == [True, False, False, False, True, True]
    assert find_valid(depth, ValidRange(0.5, None))[0].tolist() == [True, False, False, False, False, True]
    assert find_valid(depth, ValidRange(None, 9.6))[0].tolist() == [True, True, False, False, True, True]
    assert find_valid(depth, ValidRange(3, 10))[0].tolist() == [True, True, True, True, False, True]


def test_only_what_hangs_between_two_surfaces_flies() -> None:
    row = np.array([[2, 2, 2, 3.3, 5, 5, 5]], np.float32)
    flying = find_flying(row.repeat(3, axis=0), jump=0.1)
    assert flying.all(axis=0).tolist() == [False, False, False, True, False, False, False]
    np.testing.assert_array_equal(flying, find_flying(row[:, ::-1].repeat(3, axis=0), jump=0.1)[:, ::-1])
    np.testing.assert_array_equal(flying.T, find_flying(row.repeat(3, axis=0).T.copy(), jump=0.1))


def test_a_clean_edge_loses_nothing_and_a_slope_neither() -> None:
    step = np.repeat(np.array([[2, 2, 6, 6]], np.float32), 3, axis=0)
    slope = np.linspace(2, 3, 40, dtype=np.float32)[None].repeat(3, axis=0)
    assert not find_flying(step, jump=0.1).any()
    assert not find_flying(slope, jump=0.1).any()


def test_unknown_pixels_are_nobodys_neighbors() -> None:
    row = np.array([[0, 2, 0, 2, np.nan, np.inf, 2]], np.float32)
    assert not find_flying(row, jump=0.1).any()


def test_an_edge_that_was_interpolated_is_judged_by_what_the_network_saw() -> None:
    """Four pixels of the image for each that the network saw: between two neighbors hardly anything changes."""
    seen = np.repeat(np.array([[2, 2, 2.6, 3.4, 3.4]], np.float32), 3, axis=0)
    meters = np.stack([np.interp(np.linspace(0, 4, 100), range(5), row) for row in seen]).astype(np.float32)
    small_steps = DepthMap(meters)
    assert to_points(small_steps, OutputSettings(max_points=0)).kept.all()
    known = replace(small_steps, provenance=Provenance(network_size=(3, 5)))
    assert not to_points(known, OutputSettings(max_points=0)).kept[:, 50].any()


def test_large_images_are_thinned_evenly() -> None:
    depth = wall(height=90, width=120)
    grid = to_points(depth, OutputSettings(max_points=1000))
    assert grid.kept.size <= 1000
    assert grid.kept.size > 500
    assert set(np.diff(grid.rows)) == set(np.diff(grid.columns)) == {4}
    full = to_points(depth, EVERYTHING)
    np.testing.assert_array_equal(grid.xyz, full.xyz[np.ix_(grid.rows, grid.columns)])


def test_one_row_of_pixels_is_no_problem() -> None:
    assert to_points(wall(1, 5), OutputSettings(max_points=2)).kept.all()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.5:8", ValidRange(0.5, 8)),
        (":8", ValidRange(None, 8)),
        ("1:", ValidRange(1, None)),
        ("0:1", ValidRange(0, 1)),
    ],
)
def test_a_range_may_be_open_at_one_end(text: str, expected: ValidRange) -> None:
    assert ValidRange.parse(text) == expected
    assert ValidRange.parse(str(expected)) == expected


@pytest.mark.parametrize("text", ["", ":", "3", "3:2", "2:2", "a:3", "nan:3", "-1:3", "1:inf", "1:2:3"])
def test_other_ranges_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--valid-range"):
        ValidRange.parse(text)
