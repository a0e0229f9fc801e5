"""Point clouds: opened by trimesh, true in size, and telling what they are."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import trimesh

import glpn_cli
from cube import SIDE_M, see_cube
from glpn_cli.errors import GLPNError, OutputError
from glpn_cli.geometry.camera import choose_camera
from glpn_cli.output import ply
from glpn_cli.settings import CameraSettings, OutputSettings, ValidRange

if TYPE_CHECKING:
    from pathlib import Path

    from glpn_cli.depth import DepthMap

SIZE = (240, 320)
CAMERAS = [CameraSettings(fov_deg=50), CameraSettings(focal_px=400), CameraSettings(focal_mm_35=35), CameraSettings()]


def points_of(path: Path) -> trimesh.PointCloud:
    cloud = trimesh.load(path)
    assert isinstance(cloud, trimesh.PointCloud)
    return cloud


@pytest.mark.parametrize("settings", CAMERAS, ids=str)
@pytest.mark.parametrize("wall_m", [0.0, 6.0])
def test_a_cube_comes_out_with_its_true_size_and_place(settings: CameraSettings, wall_m: float, tmp_path: Path) -> None:
    camera = choose_camera(settings, SIZE)
    cube = see_cube(camera, wall_m=wall_m)
    cube.depth.save(tmp_path / "cube.ply", settings=OutputSettings(valid_range=ValidRange(far_m=5.0)))
    points = cube.in_its_own_axes(points_of(tmp_path / "cube.ply").vertices)
    pixel_m = 2.5 / camera.focal_px
    np.testing.assert_allclose(np.ptp(points, axis=0), SIDE_M, atol=3 * pixel_m)
    np.testing.assert_allclose(points.max(axis=0), SIDE_M / 2, atol=3 * pixel_m)
    # Every point lies on a face, to within the rounding of float32.
    np.testing.assert_allclose(np.abs(points).max(axis=1), SIDE_M / 2, atol=1e-4)


def test_another_camera_makes_another_size(tmp_path: Path) -> None:
    """That the size is true is the camera's doing, so with the wrong camera it must be wrong."""
    cube = see_cube(choose_camera(CameraSettings(fov_deg=50), SIZE))
    wrong = replace(cube.depth, camera=choose_camera(CameraSettings(fov_deg=70), SIZE))
    wrong.save(tmp_path / "cube.ply")
    points = cube.in_its_own_axes(points_of(tmp_path / "cube.ply").vertices)
    assert np.ptp(points, axis=0).max() > 1.2 * SIDE_M


def test_points_have_the_colors_of_their_pixels(tmp_path: Path) -> None:
    cube = see_cube(choose_camera(CameraSettings(fov_deg=50), SIZE))
    cube.depth.save(tmp_path / "cube.ply")
    cloud = points_of(tmp_path / "cube.ply")
    assert len(cloud.vertices) == (cube.depth.meters > 0).sum()
    assert set(map(tuple, np.asarray(cloud.colors)[:, :3].tolist())) == {(200, 30, 60)}


def test_the_file_is_binary_little_endian_float32_and_says_what_it_is(depth_map: DepthMap) -> None:
    data = ply.encode(depth_map, OutputSettings(edge_filter=0))
    header = data[: data.index(b"end_header\n")].decode("ascii")
    assert header.startswith("ply\nformat binary_little_endian 1.0\n")
    assert re.findall(r"property (.*)", header) == ["float x", "float y", "float z"]
    assert "meters" in header
    assert len(data) == len(header) + len("end_header\n") + 20 * 30 * 12
    facts = ply.read_facts(io.BytesIO(data))
    assert facts is not None
    assert facts["format"] == "ply"
    assert facts["provenance"]["weights"] == "tiny"
    assert facts["camera"]["source"].startswith("assumed: 55°")


def test_a_name_with_a_line_break_breaks_no_header(depth_map: DepthMap, tmp_path: Path) -> None:
    odd = replace(depth_map, provenance=replace(depth_map.provenance, source="a\nend_header\nélan.jpg"))
    odd.save(tmp_path / "odd.ply", settings=OutputSettings(edge_filter=0))
    assert len(points_of(tmp_path / "odd.ply").vertices) == 600
    with (tmp_path / "odd.ply").open("rb") as stream:
        facts = ply.read_facts(stream)
    assert facts is not None
    assert facts["provenance"]["source"] == "a\nend_header\nélan.jpg"


def test_without_a_point_there_is_no_file(depth_map: DepthMap, tmp_path: Path) -> None:
    nothing = replace(depth_map, meters=np.zeros_like(depth_map.meters))
    with pytest.raises(OutputError, match=r"photo\.jpg: no point is left"):
        nothing.save(tmp_path / "nothing.ply")
    assert not (tmp_path / "nothing.ply").exists()


def test_a_point_cloud_is_not_read_back_and_says_why(depth_map: DepthMap, tmp_path: Path) -> None:
    depth_map.save(tmp_path / "a.ply")
    with pytest.raises(GLPNError, match="is a ply file: "):
        glpn_cli.read(tmp_path / "a.ply")


@pytest.mark.parametrize("data", [b"", b"ply\n", b"ply\ncomment glpn {", b"ply\ncomment glpn []\nend_header\n"])
def test_what_is_not_ours_says_nothing(data: bytes) -> None:
    assert ply.read_facts(io.BytesIO(data)) is None
