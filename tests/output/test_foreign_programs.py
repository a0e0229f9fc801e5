"""Every format is opened by a program that is not ours, and the meters are read back there."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from glpn_cli.output.formats import FORMATS
from glpn_cli.settings import OutputSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from glpn_cli.depth import DepthMap

    Write = Callable[..., str]

cv2 = pytest.importorskip("cv2")
tifffile = pytest.importorskip("tifffile")
openexr = pytest.importorskip("OpenEXR")


@pytest.fixture
def write(tmp_path: Path, depth_map: DepthMap) -> Write:
    """Write the depth map in a format and give the path."""

    def write(name: str, depth: DepthMap = depth_map) -> str:
        path = tmp_path / ("x" + FORMATS[name].ending)
        depth.save(path, overwrite=True)
        return str(path)

    return write


def test_opencv_reads_the_meters_of_png16_by_the_benchmarks_scales(write: Write, depth_map: DepthMap) -> None:
    indoors = replace(depth_map, provenance=replace(depth_map.provenance, depth_limit_m=10.0))
    for depth, factor in ((indoors, 1000), (depth_map, 256)):
        values = cv2.imread(write("png16", depth), cv2.IMREAD_UNCHANGED)
        assert (values.dtype, values.shape) == (np.uint16, (20, 30))
        np.testing.assert_allclose(values / factor, depth_map.meters, atol=0.51 / factor)


def test_pillow_reads_what_png16_says(write: Write) -> None:
    with Image.open(write("png16")) as image:
        assert image.mode == "I;16"
        said, facts = image.info["Description"], json.loads(image.info["glpn"])
    assert said == (
        f"depth of photo.jpg by the weights tiny (sha256 {'ab' * 32}), approximate: meters = value / 256; 0 is unknown"
    )
    assert (facts["values_per_meter"], facts["unit"], facts["unknown"]) == (256, "meter", 0)
    assert facts["provenance"]["tool"] == "glpn-cli 0"


def test_tifffile_and_opencv_read_the_meters_of_tiff(write: Write, depth_map: DepthMap) -> None:
    path = write("tiff")
    with tifffile.TiffFile(path) as file:
        np.testing.assert_array_equal(file.asarray(), depth_map.meters)
        assert "meters = value * 1" in file.pages[0].description
        assert file.pages[0].software == "glpn-cli 0"
    np.testing.assert_array_equal(cv2.imread(path, cv2.IMREAD_UNCHANGED), depth_map.meters)


def test_opencv_reads_pfm_the_right_way_up(write: Write, depth_map: DepthMap) -> None:
    np.testing.assert_array_equal(cv2.imread(write("pfm"), cv2.IMREAD_UNCHANGED), depth_map.meters)


def test_openexr_reads_the_channel_z(write: Write, depth_map: DepthMap) -> None:
    with openexr.File(write("exr")) as file:
        assert list(file.channels()) == ["Z"]
        np.testing.assert_array_equal(file.channels()["Z"].pixels, depth_map.meters)
        assert "meters = Z * 1" in file.header()["comments"]


def test_numpy_reads_npz_without_pickle(depth_map: DepthMap) -> None:
    unsure = replace(depth_map, uncertainty_m=depth_map.meters / 10)
    with np.load(io.BytesIO(FORMATS["npz"].load_codec().encode(unsure, OutputSettings()))) as arrays:
        assert set(arrays) == {"metadata", "depth", "uncertainty"}
        np.testing.assert_array_equal(arrays["depth"], depth_map.meters)
        np.testing.assert_array_equal(arrays["uncertainty"], depth_map.meters / 10)
        assert json.loads(str(arrays["metadata"]))["provenance"]["weights"] == "tiny"


def test_opencv_sees_the_colors(write: Write) -> None:
    image = cv2.imread(write("color"), cv2.IMREAD_UNCHANGED)
    assert (image.shape, image.dtype) == ((20, 30, 3), np.uint8)
