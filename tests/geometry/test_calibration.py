"""Camera files, as other programs write them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from glpn_cli.errors import ImageError, InputError
from glpn_cli.geometry.calibration import Calibration, read_calibration

if TYPE_CHECKING:
    from pathlib import Path

ROS = """image_width: 640
image_height: 480
camera_name: narrow_stereo
camera_matrix:
  rows: 3
  cols: 3
  data: [438.783367, 0.000000, 305.593336, 0.000000, 437.302876, 243.738352, 0.000000, 0.000000, 1.000000]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.361976, 0.110510, 0.001014, 0.000505, 0.000000]
projection_matrix:
  rows: 3
  cols: 4
  data: [393.653800, 0.000000, 322.797939, 0.000000, 0.000000, 393.653800, 241.090902, 0.0, 0.0, 0.0, 1.0, 0.0]
"""
MESSAGE = """header: {stamp: {sec: 0, nanosec: 0}, frame_id: camera}
height: 480
width: 640
distortion_model: plumb_bob
d: [0.0, 0.0, 0.0, 0.0, 0.0]
k:
- 438.783367
- 0.0
- 305.593336
- 0.0
- 437.302876
- 243.738352
- 0.0
- 0.0
- 1.0
---
"""
OPENCV = """%YAML:1.0
---
image_width: 640
image_height: 480
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 438.783367, 0., 305.593336, 0., 437.302876, 243.738352, 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 5
   cols: 1
   dt: d
   data: [ 0., 0., 0., 0., 0. ]
"""
COLUMNS = [438.783367, 0, 0, 0, 437.302876, 0, 305.593336, 243.738352, 1]
PLAIN = {"fx": 438.783367, "fy": 437.302876, "cx": 305.593336, "cy": 243.738352, "width": 640, "height": 480}
OPEN3D = {"width": 640, "height": 480, "intrinsic_matrix": COLUMNS}
TRAJECTORY = {"class_name": "PinholeCameraParameters", "extrinsic": [1.0] * 16, "intrinsic": OPEN3D}


def write(tmp_path: Path, content: str | dict[str, Any]) -> Path:
    path = tmp_path / "camera"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "content",
    [
        ROS,
        MESSAGE,
        OPENCV,
        PLAIN,
        OPEN3D,
        TRAJECTORY,
        {"source": "a.jpg", "camera": PLAIN},
        "\ufeff" + json.dumps(PLAIN),
    ],
    ids=["ros", "message", "opencv", "plain", "open3d", "trajectory", "record", "byte order mark"],
)
def test_every_kind_of_file_gives_the_same_camera(tmp_path: Path, content: str | dict[str, Any]) -> None:
    calibration = read_calibration(write(tmp_path, content))
    assert calibration.focal_px == (438.783367, 437.302876)
    assert calibration.center_px == (305.593336, 243.738352)
    assert calibration.size == (480, 640)
    assert calibration.is_distorted == (content is ROS)
    camera = calibration.camera_of((480, 640))
    assert (camera.focal_px, camera.focal_y_px) == calibration.focal_px
    assert (camera.center_x_px, camera.center_y_px) == calibration.center_px
    assert camera.source.startswith("file: camera")
    assert ("distortion" in camera.source) == (content is ROS)
    assert not camera.is_assumed


def test_focal_length_alone_means_square_pixels_and_the_center(tmp_path: Path) -> None:
    for content in ({"fx": 500}, {"focal_px": 500}):
        camera = read_calibration(write(tmp_path, content)).camera_of((99, 201))
        assert (camera.focal_px, camera.focal_y_px, camera.center_px((99, 201))) == (500, 500, (100, 49))


def test_intrinsics_are_scaled_with_the_image() -> None:
    calibration = Calibration("c", (400.0, 410.0), (319.5, 200.0), (480, 640))
    half = calibration.camera_of((240, 320))
    assert (half.focal_px, half.focal_y_px) == (200, 205)
    # The center of the image stays the center; the corner at -0.5 stays the corner.
    assert half.center_x_px == pytest.approx(159.5)
    assert half.center_y_px == pytest.approx(99.75)
    assert "640 x 480" in half.source
    rounded = calibration.camera_of((333, 444 - 1))
    assert rounded.focal_px == pytest.approx(400 * 443 / 640)
    assert calibration.camera_of((960, 1281)).focal_px == pytest.approx(400 * 1281 / 640)


@pytest.mark.parametrize("size", [(480, 480), (640, 480), (240, 340), (100, 640)])
def test_another_shape_is_an_error(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match=r"a\.jpg.*`camera`.*640 x 480") as caught:
        Calibration("c", (400.0, 400.0), None, (480, 640)).camera_of(size, "a.jpg")
    assert caught.value.hint


@pytest.mark.parametrize(
    "content",
    [
        "",
        "just text",
        "{",
        "[1, 2]",
        "a: [1",
        "a: &a [*a]",
        "x: !!python/object:os.system {}",
        {},
        {"fx": "long"},
        {"fx": -5},
        {"fx": None},
        {"fx": 1e400},
        {"fx": 500, "cx": 3},
        {"fx": 500, "width": 640},
        {"fx": 500, "width": 0, "height": 480},
        {"fx": 500, "width": 640.5, "height": 480},
        {"intrinsic_matrix": [1, 2, 3]},
        {"intrinsic_matrix": [500, 0, 0, 3, 500, 0, 320, 240, 1]},
        {"k": [0.0] * 9, "width": 640, "height": 480},
        {"camera_matrix": {"rows": 3}},
        "[" * 100_000,
    ],
    ids=lambda content: str(content)[:30],
)
def test_invalid_files_are_an_error(tmp_path: Path, content: str | dict[str, Any]) -> None:
    with pytest.raises(InputError, match="camera"):
        read_calibration(write(tmp_path, content))


def test_missing_and_endless_files_are_an_error(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.json", tmp_path, "/dev/zero"):
        with pytest.raises(InputError) as caught:
            read_calibration(path)
        assert str(path) in str(caught.value)


def test_fingerprint_depends_on_the_numbers_only() -> None:
    one = Calibration("a.yaml", (400.0, 400.0), (1.0, 2.0), (480, 640))
    assert str(one) == str(Calibration("b.yaml", (400.0, 400.0), (1.0, 2.0), (480, 640), (0.1,)))
    assert str(one) != str(Calibration("a.yaml", (400.0, 400.5), (1.0, 2.0), (480, 640)))
