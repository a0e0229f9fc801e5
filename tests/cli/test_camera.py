"""Cameras on the command line: files in and out, and panoramas."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import glpn_cli
from glpn_cli.output.mesh import PLY

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]

CAMERA = {"fx": 70.0, "fy": 72.0, "cx": 40.0, "cy": 20.0, "width": 64, "height": 48}
XMP = b'<rdf:Description GPano:ProjectionType="equirectangular"/>'


@pytest.fixture
def camera_file(tmp_path: Path) -> str:
    (tmp_path / "camera.json").write_text(json.dumps(CAMERA))
    return "camera.json"


def test_a_camera_file_reaches_every_output(
    glpn: Glpn, make_image: Callable[..., Path], tmp_path: Path, camera_file: str
) -> None:
    make_image("a.jpg")
    formats = "npz,ply,camera,camera-info"
    run = glpn("predict", "a.jpg", "-w", "tiny", "--camera", camera_file, "-f", formats, "--json", "-v")
    assert run.returncode == 0, run.stderr
    record = json.loads(run.stdout)
    assert record["camera"].items() >= CAMERA.items()
    assert record["camera"]["source"] == "file: camera.json"
    assert b"no lens data" not in run.stderr
    camera = glpn_cli.read(tmp_path / "a.depth.npz").camera
    assert camera is not None
    assert camera.to_dict((48, 64)) == record["camera"]
    assert json.loads((tmp_path / "a.camera.json").read_text()).items() >= CAMERA.items()
    with (tmp_path / "a.ply").open("rb") as stream:
        metadata = PLY().read_metadata(stream)
    assert metadata is not None
    assert metadata["camera"] == record["camera"]
    # A camera that glpn wrote is one that it reads.
    for name in ("a.camera.json", "a.camera_info.yaml"):
        again = glpn("predict", "a.jpg", "-w", "tiny", "--camera", name, "-o", name + ".npz", "--json")
        assert json.loads(again.stdout)["camera"].items() >= CAMERA.items()


def test_images_of_another_shape_fail_one_by_one(
    glpn: Glpn, make_image: Callable[..., Path], tmp_path: Path, camera_file: str
) -> None:
    make_image("half.png", height=24, width=32)
    make_image("wide.png", height=24, width=48)
    run = glpn("predict", "half.png", "wide.png", "-w", "tiny", "--camera", camera_file, "-f", "npz")
    assert run.returncode == 7
    assert b"wide.png" in run.stderr
    assert b"--camera" in run.stderr
    camera = glpn_cli.read(tmp_path / "half.depth.npz").camera
    assert camera is not None
    assert (camera.focal_px, camera.focal_y_px) == (35, 36)
    assert (camera.center_x_px, camera.center_y_px) == pytest.approx((19.75, 9.75))
    assert not (tmp_path / "wide.depth.npz").exists()


def test_distortion_is_noted_once(glpn: Glpn, make_image: Callable[..., Path], tmp_path: Path) -> None:
    make_image("a.png")
    make_image("b.png")
    (tmp_path / "c.json").write_text(json.dumps({"k": [70, 0, 31, 0, 70, 23, 0, 0, 1], "d": [0.1, 0, 0, 0, 0]}))
    run = glpn("predict", "a.png", "b.png", "-w", "tiny", "--camera", "c.json", "-f", "npy")
    assert run.returncode == 0
    assert run.stderr.count(b"distortion") == 1
    assert b"c.json" in run.stderr


@pytest.mark.parametrize(
    ("content", "more", "code"),
    [
        ("{}", [], 4),
        (None, [], 4),
        (json.dumps(CAMERA), ["--fov-deg", "60"], 2),
        (json.dumps(CAMERA), ["--camera="], 2),
    ],
)
def test_invalid_cameras_name_the_option(
    glpn: Glpn, make_image: Callable[..., Path], tmp_path: Path, content: str | None, more: list[str], code: int
) -> None:
    make_image("a.png")
    if content is not None:
        (tmp_path / "c.json").write_text(content)
    run = glpn("predict", "a.png", "--camera", "c.json", *more)
    assert run.returncode == code
    assert b"--camera" in run.stderr
    assert b"Traceback" not in run.stderr


def test_panoramas_have_depth_and_no_points(glpn: Glpn, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (32, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "sphere.jpg", xmp=XMP)
    run = glpn("predict", "sphere.jpg", "-w", "tiny", "-f", "png,npz")
    assert run.returncode == 0
    assert b"panorama" in run.stderr
    camera = glpn_cli.read(tmp_path / "sphere.depth.npz").camera
    assert camera is not None
    assert camera.projection == "equirectangular"
    for name in ("ply", "glb", "normals", "camera"):
        run = glpn("predict", "sphere.jpg", "-w", "tiny", "-f", name)
        assert run.returncode == 6
        assert b"equirectangular" in run.stderr
    assert glpn("predict", "sphere.jpg", "-w", "tiny", "-f", "ply", "--fov-deg", "70").returncode == 0


@pytest.mark.parametrize(
    ("setting", "users"),
    [(["--axes", "opencv"], b"ply"), (["--png16-scale", "256"], b"png16"), (["--normal-map", "directx"], b"normals")],
)
def test_settings_of_formats_that_are_not_written_are_refused(
    glpn: Glpn, make_image: Callable[..., Path], setting: list[str], users: bytes
) -> None:
    make_image("a.png")
    run = glpn("predict", "a.png", "-f", "glb,npy", *setting)
    assert run.returncode == 2
    assert users in run.stderr
