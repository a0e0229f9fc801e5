"""Surface normals, against surfaces whose normals are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from glpn_cli.depth import Camera, DepthMap, Provenance
from glpn_cli.errors import OutputError
from glpn_cli.geometry import normals as module
from glpn_cli.geometry.camera import ray_slopes
from glpn_cli.geometry.normals import iter_normals
from glpn_cli.settings import OutputSettings
from glpn_cli.values import ValidRange

SIZE = (60, 80)
CAMERA = Camera(90.0, "user", focal_y_px=100.0, center_x_px=50.0, center_y_px=20.5)


def rays(camera: Camera = CAMERA, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return the (H, W, 3) points at a depth of 1 m."""
    right, down = ray_slopes(camera, size, np.arange(size[0]), np.arange(size[1]))
    return np.stack(np.broadcast_arrays(right.astype(float), -down[:, None].astype(float), -1.0), axis=-1)


def plane(normal: np.ndarray, distance_m: float, camera: Camera = CAMERA) -> DepthMap:
    """Return the depth of a plane that is at a distance from the camera."""
    return DepthMap((-distance_m / (rays(camera) @ normal)).astype(np.float32), camera=camera)


def normals_of(depth: DepthMap, **settings: object) -> np.ndarray:
    return np.concatenate(list(iter_normals(depth, OutputSettings(**settings))))  # type: ignore[arg-type]


def degrees_between(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip((one * two).sum(axis=-1), -1, 1)))


@pytest.mark.parametrize("towards", [(0, 0, 1), (0.5, 0, 1), (-0.3, 0.2, 1), (0, 1, 0.5), (0.4, -0.6, 1)], ids=str)
def test_plane_has_its_normal_everywhere(towards: tuple[float, float, float]) -> None:
    normal = np.array(towards) / np.linalg.norm(towards)
    depth = plane(normal, 3.0)
    assert (depth.meters > 0).all()
    found = normals_of(depth, edge_filter=0)
    assert (found.shape, found.dtype) == ((*SIZE, 3), np.float32)
    assert degrees_between(found, normal).max() < 0.1


def test_wrong_center_tilts_the_plane() -> None:
    """The test above would prove nothing if the camera did not matter."""
    depth = plane(np.array([0.0, 0.0, 1.0]), 3.0)
    tilted = plane(np.array([0.6, 0.0, 0.8]), 3.0)
    centered = Camera(90.0, "user", focal_y_px=100.0)
    assert degrees_between(normals_of(replace(tilted, camera=centered)), np.array([0.6, 0, 0.8])).max() > 2
    assert degrees_between(normals_of(replace(depth, camera=centered)), np.array([0, 0, 1.0])).max() < 0.1


def test_sphere_has_its_normals() -> None:
    middle, radius = np.array([0.1, -0.05, -2.0]), 0.5
    lines = rays()
    a, b, c = (lines**2).sum(-1), lines @ middle, middle @ middle - radius**2
    hits = b**2 > a * c
    meters = np.where(hits, (b - np.sqrt(np.where(hits, b**2 - a * c, 0))) / a, 0).astype(np.float32)
    expected = (lines * meters[..., None] - middle) / radius
    found = normals_of(DepthMap(meters, camera=CAMERA))
    facing = hits & (expected[..., 2] > 0.4)
    inside = facing.copy()
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        inside &= np.roll(facing, step, axis)
    assert inside.sum() > 1000
    difference_deg = degrees_between(found[inside], expected[inside])
    assert difference_deg.max() < 2.5, "at the rim, where the surface bends away within a pixel"
    assert np.median(difference_deg) < 0.3
    assert (found[~hits] == (0, 0, 1)).all(), "unknown depth is neutral"


def test_normals_at_a_step_are_those_of_the_two_walls() -> None:
    meters = np.full(SIZE, 2.0, np.float32)
    meters[:, 40:] = 4.0
    found = normals_of(DepthMap(meters, camera=CAMERA))
    assert degrees_between(found, np.array([0, 0, 1.0])).max() < 0.1
    assert degrees_between(normals_of(DepthMap(meters, camera=CAMERA), edge_filter=0), np.array([0, 0, 1])).max() > 60


@pytest.mark.parametrize("axis", [0, 1])
def test_pixels_between_two_surfaces_get_a_neighbor_s_normal(axis: int) -> None:
    side = SIZE[axis]
    ramp = np.interp(np.arange(side), [side // 2, side // 2 + 4], [2.0, 4.0]).astype(np.float32)
    meters = np.broadcast_to(ramp[:, None] if axis == 0 else ramp, SIZE).copy()
    depth = DepthMap(meters, Provenance(network_size=(SIZE[0] // 3, SIZE[1] // 3)), camera=CAMERA)
    assert degrees_between(normals_of(depth), np.array([0, 0, 1.0])).max() < 0.1


def test_unknown_and_excluded_depth_is_neutral() -> None:
    normal = np.array([0.6, 0, 0.8])
    depth = plane(normal, 3.0)
    depth.meters[:5] = [[0], [np.nan], [np.inf], [-1], [0]]
    found = normals_of(depth)
    assert (found[:5] == (0, 0, 1)).all()
    assert degrees_between(found[5:], normal).max() < 0.1
    far = depth.meters > 3.5
    assert 0 < far.mean() < 1
    assert (normals_of(depth, valid_range=ValidRange(far_m=3.5))[far] == (0, 0, 1)).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1), (2, 2), (3, 3)])
def test_small_images_have_normals(size: tuple[int, int]) -> None:
    provenance = Provenance(network_size=(32, 32))
    for network_size in ((32, 32), (1, 1)):
        depth = DepthMap(np.full(size, 2.0, np.float32), replace(provenance, network_size=network_size))
        np.testing.assert_allclose(normals_of(depth), np.broadcast_to([0, 0, 1.0], (*size, 3)), atol=1e-6)


def test_strips_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    meters = (2 + np.cumsum(random.normal(0, 0.02, (300, 40)), axis=0)).astype(np.float32)
    meters[random.random(meters.shape) < 0.05] = 0
    meters[:, 20:] += 3
    depth = DepthMap(meters, Provenance(network_size=(100, 20)), camera=Camera(50.0, "user"))
    whole = normals_of(depth)
    monkeypatch.setattr(module, "_STRIP_PIXELS", 1)
    assert len(list(iter_normals(depth))) == 5
    np.testing.assert_array_equal(normals_of(depth), whole)


def test_panorama_has_no_normals() -> None:
    depth = DepthMap(np.ones((4, 8), np.float32), camera=Camera(8.0, "GPano", projection="equirectangular"))
    with pytest.raises(OutputError, match="panorama"):
        normals_of(depth)
