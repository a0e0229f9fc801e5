"""The TIFF formats: tiff and uncertainty."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from glpn_cli.errors import DepthFileError, UsageError
from glpn_cli.output.tiff import TIFF, UncertaintyTIFF
from glpn_cli.settings import OutputSettings

if TYPE_CHECKING:
    from pathlib import Path

    from glpn_cli.depth import DepthMap


def test_tifffile_and_opencv_read_the_meters(tmp_path: Path, depth_map: DepthMap) -> None:
    cv2, tifffile = pytest.importorskip("cv2"), pytest.importorskip("tifffile")
    path = tmp_path / "x.tiff"
    depth_map.save(path)
    with tifffile.TiffFile(path) as file:
        np.testing.assert_array_equal(file.asarray(), depth_map.meters)
        assert "meters = value * 1" in file.pages[0].description
        assert file.pages[0].software == "glpn-cli 0"
    np.testing.assert_array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), depth_map.meters)


def test_tiff_without_floating_point_is_refused() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "TIFF")
    with pytest.raises(DepthFileError, match=r"x\.tiff"):
        TIFF().decode(buffer.getvalue(), "x.tiff")


def test_uncertainty_file_contains_the_uncertainty(depth_map: DepthMap) -> None:
    data = UncertaintyTIFF().encode(depth_map, OutputSettings())
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(np.asarray(image), depth_map.uncertainty_m)
    metadata = UncertaintyTIFF().read_metadata(io.BytesIO(data))
    assert metadata is not None
    assert (metadata["format"], metadata["unit"]) == ("uncertainty", "meter")


def test_uncertainty_file_needs_an_uncertainty(depth_map: DepthMap) -> None:
    with pytest.raises(UsageError):
        UncertaintyTIFF().encode(replace(depth_map, uncertainty_m=None), OutputSettings())
