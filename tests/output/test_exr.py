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


def test_openexr_reads_the_channel_z(tmp_path: Path, depth_map: DepthMap) -> None:
    depth_map.save(tmp_path / "x.exr")
    with openexr.File(str(tmp_path / "x.exr")) as file:
        assert list(file.channels()) == ["Z"]
        np.testing.assert_array_equal(file.channels()["Z"].pixels, depth_map.meters)
        assert "meters = Z * 1" in file.header()["comments"]


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
