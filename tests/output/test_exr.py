"""The exr format."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

import glpn_cli
from glpn_cli.errors import DepthFileError, MissingPackageError
from glpn_cli.output.exr import EXR
from glpn_cli.settings import OutputSettings

if TYPE_CHECKING:
    from pathlib import Path

    from glpn_cli.depth import DepthMap

openexr = pytest.importorskip("OpenEXR")


def write_channels(path: Path, **channels: np.ndarray) -> None:
    header = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage}
    openexr.File(header, channels).write(str(path))


def test_openexr_reads_depth_in_both_channels(tmp_path: Path, depth_map: DepthMap) -> None:
    depth_map.save(tmp_path / "x.exr")
    with openexr.File(str(tmp_path / "x.exr")) as file:
        assert sorted(file.channels()) == ["Y", "Z"]
        for name in "YZ":
            np.testing.assert_array_equal(file.channels()[name].pixels, depth_map.meters)
        assert "meters = Z * 1" in file.header()["comments"]


def test_opencv_reads_meters(tmp_path: Path, depth_map: DepthMap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENCV_IO_ENABLE_OPENEXR", "1")  # OpenCV looks when it opens the first EXR file
    cv2 = pytest.importorskip("cv2")
    depth_map.save(tmp_path / "x.exr")
    try:
        image = cv2.imread(str(tmp_path / "x.exr"), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None:
        pytest.skip("this OpenCV is built without EXR")
    assert (image.shape, image.dtype) == ((20, 30), np.float32)
    np.testing.assert_array_equal(image, depth_map.meters)


def test_blender_reads_meters(tmp_path: Path, depth_map: DepthMap) -> None:
    bpy = pytest.importorskip("bpy")
    depth_map.save(tmp_path / "x.exr")
    image = bpy.data.images.load(str(tmp_path / "x.exr"))
    pixels = np.array(image.pixels[:]).reshape(20, 30, 4)[::-1]
    for channel in range(3):
        np.testing.assert_allclose(pixels[..., channel], depth_map.meters, rtol=1e-6)


def test_file_of_version_0_1_is_read(tmp_path: Path, depth_map: DepthMap) -> None:
    """Version 0.1 wrote the channel Z only."""
    depth_map.save(tmp_path / "new.exr")
    with openexr.File(str(tmp_path / "new.exr")) as file:
        header = {"compression": openexr.ZIP_COMPRESSION, "glpn": file.header()["glpn"]}
    openexr.File(header, {"Z": depth_map.meters}).write(str(tmp_path / "old.exr"))
    back = glpn_cli.read(tmp_path / "old.exr")
    np.testing.assert_array_equal(back.meters, depth_map.meters)
    assert back.provenance == depth_map.provenance


def test_foreign_channel_z_is_read(tmp_path: Path) -> None:
    meters = np.linspace(1, 2, 12, dtype=np.float32).reshape(3, 4)
    write_channels(tmp_path / "x.exr", Z=meters, A=meters)
    back = glpn_cli.read(tmp_path / "x.exr")
    np.testing.assert_array_equal(back.meters, meters)
    write_channels(tmp_path / "y.exr", A=meters)
    with pytest.raises(DepthFileError, match=r"y\.exr"):
        glpn_cli.read(tmp_path / "y.exr")


def test_missing_package_is_named(depth_map: DepthMap, monkeypatch: pytest.MonkeyPatch) -> None:
    data = EXR().encode(depth_map, OutputSettings())
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    for attempt in (lambda: EXR().encode(depth_map, OutputSettings()), lambda: EXR().decode(data, "x.exr")):
        with pytest.raises(MissingPackageError, match="OpenEXR") as caught:
            attempt()
        assert caught.value.hint == "pip install OpenEXR"
    assert EXR().read_metadata(io.BytesIO(data)) is None
