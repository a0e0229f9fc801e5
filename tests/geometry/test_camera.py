"""Cameras, points and triangles."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from glpn_cli.depth import Camera, DepthMap, Provenance
from glpn_cli.errors import OutputError, UsageError
from glpn_cli.geometry.camera import (
    PointGrid,
    choose_camera,
    find_stray,
    find_valid,
    focal_px_of_fov,
    focal_px_of_mm_35,
    fov_deg_of,
    in_axes,
    to_points,
    to_triangles,
)
from glpn_cli.settings import CameraSettings, OutputSettings
from glpn_cli.values import Axes, ValidRange

ALL_POINTS = OutputSettings(edge_filter=0, max_points=0)


# Camera


def test_focal_length_of_90_degrees_is_half_the_side() -> None:
    assert focal_px_of_fov(90, 640) == pytest.approx(320)
    assert fov_deg_of(320, 640) == pytest.approx(90)


def test_50_mm_lens_has_the_textbook_field_of_view() -> None:
    focal_px = focal_px_of_mm_35(50, (2400, 3600))
    assert focal_px == pytest.approx(5000)
    assert fov_deg_of(focal_px, 3600) == pytest.approx(math.degrees(2 * math.atan(18 / 50)))


def test_35_mm_equivalent_refers_to_the_diagonal() -> None:
    for size in ((3000, 4000), (4000, 3000), (1080, 1920), (1000, 1000)):
        focal_px = focal_px_of_mm_35(26, size)
        assert math.hypot(*size) / focal_px == pytest.approx(math.hypot(36, 24) / 26)


@pytest.mark.parametrize(
    ("settings", "focal_px", "source"),
    [
        (CameraSettings(fov_deg=90), 200.0, "user: horizontal field of view 90 degrees"),
        (CameraSettings(focal_px=321.5), 321.5, "user: focal length 321.5 pixels"),
        (CameraSettings(focal_mm_35=43.2666153), 500.0, "user: 35 mm equivalent focal length 43.2666 mm"),
    ],
)
def test_settings_come_before_exif(settings: CameraSettings, focal_px: float, source: str) -> None:
    camera = choose_camera(settings, (300, 400), exif_mm_35=28, exif_focal_px=1000)
    assert camera.focal_px == pytest.approx(focal_px)
    assert camera.source == source
    assert not camera.is_assumed


def test_equivalent_focal_length_comes_before_sensor_data() -> None:
    both = choose_camera(CameraSettings(), (300, 400), exif_mm_35=43.2666153, exif_focal_px=1000)
    assert both.focal_px == pytest.approx(500)
    lens = choose_camera(CameraSettings(), (300, 400), exif_focal_px=1000)
    assert lens.focal_px == 1000
    assert "EXIF" in both.source
    assert "EXIF" in lens.source


def test_assumed_camera_has_55_degrees_along_the_long_side() -> None:
    landscape = choose_camera(CameraSettings(), (300, 400))
    portrait = choose_camera(CameraSettings(), (400, 300))
    assert landscape.is_assumed
    assert landscape.source == "assumed: 55° horizontal"
    assert fov_deg_of(landscape.focal_px, 400) == pytest.approx(55)
    assert portrait.source == "assumed: 55° vertical, along the long side"
    assert portrait.focal_px == pytest.approx(landscape.focal_px)


@pytest.mark.parametrize(
    "settings",
    [{"fov_deg": 60.0, "focal_px": 500.0}, {"focal_px": 1.0, "focal_mm_35": 28.0}, {"fov_deg": 60, "camera": "c.json"}],
)
def test_settings_must_not_state_the_camera_twice(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        CameraSettings(**settings)
    assert all(f"`{name}`" in caught.value.message for name in settings)


@pytest.mark.parametrize(
    "settings",
    [{"fov_deg": 0.0}, {"fov_deg": 180.0}, {"focal_px": -1.0}, {"focal_mm_35": math.nan}, {"focal_px": math.inf}],
)
def test_impossible_cameras_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        CameraSettings(**settings)


# Points


def wall(height: int = 4, width: int = 6, meters: float = 2.0) -> DepthMap:
    return DepthMap(np.full((height, width), meters, np.float32), camera=Camera(3.0, "user: focal length 3 pixels"))


def test_point_is_on_the_ray_through_its_pixel_center() -> None:
    grid = to_points(wall(), ALL_POINTS)
    assert grid.xyz.shape == (4, 6, 3)
    assert grid.xyz.dtype == np.float32
    np.testing.assert_allclose(grid.xyz[0, 0], [2 * -2.5 / 3, 2 * 1.5 / 3, -2], rtol=1e-6)
    np.testing.assert_allclose(grid.xyz[3, 5], [2 * 2.5 / 3, 2 * -1.5 / 3, -2], rtol=1e-6)
    np.testing.assert_allclose(grid.xyz.sum(axis=(0, 1))[:2], 0, atol=1e-5)


def test_axes_are_those_of_gltf() -> None:
    grid = to_points(wall(), ALL_POINTS)
    assert (np.diff(grid.xyz[..., 0], axis=1) > 0).all()
    assert (np.diff(grid.xyz[..., 1], axis=0) < 0).all()
    assert (grid.xyz[..., 2] < 0).all()


def test_camera_is_assumed_if_it_is_unknown() -> None:
    grid = to_points(replace(wall(), camera=None), ALL_POINTS)
    assert grid.camera.is_assumed


def test_points_follow_the_center_and_both_focal_lengths() -> None:
    camera = Camera(3.0, "file: c.yaml", focal_y_px=4.0, center_x_px=1.0, center_y_px=3.0)
    grid = to_points(replace(wall(), camera=camera), ALL_POINTS)
    np.testing.assert_allclose(grid.xyz[3, 1], [0, 0, -2], atol=1e-6)
    np.testing.assert_allclose(grid.xyz[0, 4], [2 * 3 / 3, 2 * 3 / 4, -2], rtol=1e-6)


@pytest.mark.parametrize("axes", Axes)
def test_axes_are_turned_and_not_mirrored(axes: Axes) -> None:
    turned = in_axes(np.eye(3, dtype=np.float32), axes)
    assert np.linalg.det(turned) == pytest.approx(1)
    assert (turned[0] == (1, 0, 0)).all()


def test_panorama_has_no_points() -> None:
    camera = choose_camera(CameraSettings(), (4, 8), exif_mm_35=28, panorama="equirectangular")
    assert (camera.projection, camera.focal_px) == ("equirectangular", pytest.approx(8 / math.tau))
    assert not camera.is_assumed
    with pytest.raises(OutputError, match=r"a\.jpg.*equirectangular") as caught:
        to_points(DepthMap(np.ones((4, 8), np.float32), Provenance(source="a.jpg"), camera=camera))
    assert "`fov_deg`" in str(caught.value.hint)
    stated = choose_camera(CameraSettings(fov_deg=70), (4, 8), panorama="equirectangular")
    assert stated.projection == "pinhole"


def test_unknown_depth_has_no_points() -> None:
    depth = wall()
    depth.meters[0, :3] = [0, np.nan, np.inf]
    depth.meters[1, 0] = -1
    kept = to_points(depth, ALL_POINTS).kept
    assert kept.sum() == 24 - 4
    assert not kept[0, :3].any()


def test_depth_at_the_limit_needs_a_valid_range() -> None:
    depth = replace(wall(), provenance=Provenance(depth_limit_m=10.0))
    depth.meters[0] = [9.4, 9.6, 10, 10, 0.2, 3]
    assert find_valid(depth)[0].tolist() == [True, False, False, False, True, True]
    assert find_valid(depth, ValidRange(0.5, None))[0].tolist() == [True, False, False, False, False, True]
    assert find_valid(depth, ValidRange(None, 9.6))[0].tolist() == [True, True, False, False, True, True]
    assert find_valid(depth, ValidRange(3, 10))[0].tolist() == [True, True, True, True, False, True]


def test_points_between_two_surfaces_are_stray() -> None:
    row = np.array([[2, 2, 2, 3.3, 5, 5, 5]], np.float32)
    stray = find_stray(row.repeat(3, axis=0), jump=0.1)
    assert stray.all(axis=0).tolist() == [False, False, False, True, False, False, False]
    np.testing.assert_array_equal(stray, find_stray(row[:, ::-1].repeat(3, axis=0), jump=0.1)[:, ::-1])
    np.testing.assert_array_equal(stray.T, find_stray(row.repeat(3, axis=0).T.copy(), jump=0.1))


def test_sharp_edges_and_slopes_have_no_stray_points() -> None:
    step = np.repeat(np.array([[2, 2, 6, 6]], np.float32), 3, axis=0)
    slope = np.linspace(2, 3, 40, dtype=np.float32)[None].repeat(3, axis=0)
    assert not find_stray(step, jump=0.1).any()
    assert not find_stray(slope, jump=0.1).any()


def test_unknown_pixels_are_not_neighbors() -> None:
    row = np.array([[0, 2, 0, 2, np.nan, np.inf, 2]], np.float32)
    assert not find_stray(row, jump=0.1).any()


def test_stray_points_are_found_at_interpolated_edges() -> None:
    """Depth between two pixels of the network is interpolated, so neighboring pixels of the image hardly differ."""
    network = np.repeat(np.array([[2, 2, 2.6, 3.4, 3.4]], np.float32), 3, axis=0)
    meters = np.stack([np.interp(np.linspace(0, 4, 100), range(5), row) for row in network]).astype(np.float32)
    small_steps = DepthMap(meters)
    assert to_points(small_steps, OutputSettings(max_points=0)).kept.all()
    known = replace(small_steps, provenance=Provenance(network_size=(3, 5)))
    assert not to_points(known, OutputSettings(max_points=0)).kept[:, 50].any()


def test_large_images_are_subsampled_evenly() -> None:
    depth = wall(height=90, width=120)
    grid = to_points(depth, OutputSettings(max_points=1000))
    assert grid.kept.size <= 1000
    assert grid.kept.size > 500
    assert set(np.diff(grid.rows)) == set(np.diff(grid.columns)) == {4}
    full = to_points(depth, ALL_POINTS)
    np.testing.assert_array_equal(grid.xyz, full.xyz[np.ix_(grid.rows, grid.columns)])


def test_one_row_of_pixels_has_points() -> None:
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
def test_valid_range_may_be_open_at_one_end(text: str, expected: ValidRange) -> None:
    assert ValidRange.parse(text) == expected
    assert ValidRange.parse(str(expected)) == expected


@pytest.mark.parametrize("text", ["", ":", "3", "3:2", "2:2", "a:3", "nan:3", "-1:3", "1:inf", "1:2:3"])
def test_invalid_valid_range_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"valid.range"):
        ValidRange.parse(text)


# Triangles


def grid_of(rows: list[list[float]]) -> PointGrid:
    depth = DepthMap(np.array(rows, np.float32), camera=Camera(10.0, "user: focal length 10 pixels"))
    return to_points(depth, OutputSettings(edge_filter=0))


def test_square_is_two_triangles_facing_the_camera() -> None:
    grid = grid_of([[2, 2, 2], [2, 2, 2]])
    triangles = to_triangles(grid, jump=0.1)
    assert triangles.shape == (4, 3)
    corners = grid.xyz.reshape(-1, 3)[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (normals[:, 2] > 0).all()
    np.testing.assert_allclose(normals[:, 2].sum() / 2, 2 * 0.2 * 0.2, rtol=1e-5)


def test_square_is_split_along_the_flatter_diagonal() -> None:
    fold = to_triangles(grid_of([[2, 2], [2, 2.1]]), jump=0.1)  # one corner is farther
    assert {frozenset(triangle) for triangle in fold.tolist()} == {frozenset({0, 1, 2}), frozenset({1, 2, 3})}
    other = to_triangles(grid_of([[2, 2.1], [2, 2]]), jump=0.1)
    assert {frozenset(triangle) for triangle in other.tolist()} == {frozenset({0, 2, 3}), frozenset({0, 1, 3})}


def test_three_points_of_a_square_are_one_triangle() -> None:
    for gone in range(4):
        meters = [2.0, 2.0, 2.0, 2.0]
        meters[gone] = 0.0
        triangles = to_triangles(grid_of([meters[:2], meters[2:]]), jump=0.1)
        assert [set(triangle) for triangle in triangles.tolist()] == [{0, 1, 2, 3} - {gone}]


def test_no_triangle_crosses_a_depth_edge() -> None:
    rows = [[2.0, 2.0, 5.0, 5.0]] * 3
    cut = to_triangles(grid_of(rows), jump=0.1)
    assert len(cut) == 8
    assert all(len({column in (0, 1) for column in triangle % 4}) == 1 for triangle in cut)
    assert len(to_triangles(grid_of(rows), jump=0)) == 12


def test_too_few_points_have_no_triangles() -> None:
    assert to_triangles(grid_of([[2, 2, 2]]), jump=0.1).shape == (0, 3)
    assert to_triangles(grid_of([[2, 0], [0, 2]]), jump=0.1).shape == (0, 3)
