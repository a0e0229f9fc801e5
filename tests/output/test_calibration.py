"""The formats of cameras."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from glpn_cli.depth import Camera, DepthMap
from glpn_cli.errors import OutputError
from glpn_cli.geometry.calibration import read_calibration

if TYPE_CHECKING:
    from pathlib import Path

CAMERA = Camera(525.25, "file: c.yaml", focal_y_px=520.0, center_x_px=17.125, center_y_px=1e-05)
ENDINGS = [".camera.json", ".camera_info.yaml"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_cameras_are_read_back(ending: str, depth_map: DepthMap, tmp_path: Path) -> None:
    path = tmp_path / ("x" + ending)
    replace(depth_map, camera=CAMERA).save(path)
    calibration = read_calibration(path)
    assert calibration.size == (20, 30)
    assert not calibration.is_distorted
    assert replace(calibration.camera_of((20, 30)), source=CAMERA.source) == CAMERA


def test_json_has_plain_names_and_the_matrix_of_open3d(depth_map: DepthMap, tmp_path: Path) -> None:
    replace(depth_map, camera=CAMERA).save(tmp_path / "x.camera.json")
    values = json.loads((tmp_path / "x.camera.json").read_text())
    assert [values[name] for name in ("fx", "fy", "cx", "cy", "width", "height")] == [
        525.25,
        520,
        17.125,
        1e-05,
        30,
        20,
    ]
    assert values["intrinsic_matrix"] == [525.25, 0, 0, 0, 520, 0, 17.125, 1e-05, 1]


def test_open3d_reads_the_json(depth_map: DepthMap, tmp_path: Path) -> None:
    open3d = pytest.importorskip("open3d")
    replace(depth_map, camera=CAMERA).save(tmp_path / "x.camera.json")
    camera = open3d.io.read_pinhole_camera_intrinsic(str(tmp_path / "x.camera.json"))
    assert (camera.width, camera.height) == (30, 20)
    np.testing.assert_allclose(camera.intrinsic_matrix, [[525.25, 0, 17.125], [0, 520, 1e-05], [0, 0, 1]])
    open3d.io.write_pinhole_camera_intrinsic(str(tmp_path / "back.json"), camera)
    assert read_calibration(tmp_path / "back.json").focal_px == (525.25, 520)


def test_yaml_has_the_keys_of_ros(depth_map: DepthMap, tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    replace(depth_map, camera=CAMERA).save(tmp_path / "x.camera_info.yaml")
    values = yaml.safe_load((tmp_path / "x.camera_info.yaml").read_text())
    assert (values["image_width"], values["image_height"], values["distortion_model"]) == (30, 20, "plumb_bob")
    shapes = {
        name: (matrix["rows"], matrix["cols"], len(matrix["data"]))
        for name, matrix in values.items()
        if isinstance(matrix, dict)
    }
    assert shapes == {
        "camera_matrix": (3, 3, 9),
        "distortion_coefficients": (1, 5, 5),
        "rectification_matrix": (3, 3, 9),
        "projection_matrix": (3, 4, 12),
    }


@pytest.mark.parametrize("ending", ENDINGS)
def test_panorama_has_no_intrinsics(ending: str, depth_map: DepthMap, tmp_path: Path) -> None:
    panorama = replace(depth_map, camera=Camera(5.0, "GPano", projection="equirectangular"))
    with pytest.raises(OutputError, match=r"photo\.jpg.*panorama"):
        panorama.save(tmp_path / ("x" + ending))
    assert not list(tmp_path.iterdir())
