"""The formats of surface normals: read by Pillow, OpenCV and OpenEXR."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from glpn_cli.depth import Camera, DepthMap
from glpn_cli.output.formats import FORMATS
from glpn_cli.output.normals import NormalsPNG
from glpn_cli.settings import OutputSettings

if TYPE_CHECKING:
    from pathlib import Path

CAMERA = Camera(40.0, "user: focal length 40 pixels")


def floor(height: int = 40, width: int = 30) -> DepthMap:
    """Return a floor 1 m below the camera, which looks at it by 45 degrees: its normal is (0, 0.7, 0.7)."""
    down = (np.arange(height) - (height - 1) / 2) / CAMERA.focal_px
    meters = np.broadcast_to((np.sqrt(2) / (1 + down))[:, None], (height, width))
    return DepthMap(np.ascontiguousarray(meters, np.float32), camera=CAMERA)


def read(name: str, depth: DepthMap, **settings: Any) -> np.ndarray:
    cv2 = pytest.importorskip("cv2")
    data = FORMATS[name].load_codec().encode(depth, OutputSettings(**settings))
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1]  # BGR


@pytest.mark.parametrize(("name", "dtype", "highest"), [("normals", np.uint8, 255), ("normals16", np.uint16, 65535)])
def test_opencv_reads_the_normals(name: str, dtype: type, highest: int) -> None:
    pixels = read(name, floor(), edge_filter=0)
    assert (pixels.shape, pixels.dtype) == ((40, 30, 3), dtype)
    decoded = pixels / highest * 2 - 1
    np.testing.assert_allclose(decoded, np.broadcast_to([0, 0.5**0.5, 0.5**0.5], decoded.shape), atol=1.2 / 255)


def test_directx_inverts_green() -> None:
    one, two = (read("normals16", floor(), normal_map=kind).astype(int) for kind in ("opengl", "DirectX"))
    np.testing.assert_array_equal(one[..., ::2], two[..., ::2])
    np.testing.assert_allclose(one[..., 1] + two[..., 1], 65535, atol=1)
    assert one[20, 15, 1] > 50_000


@pytest.mark.parametrize("name", ["normals", "normals16"])
def test_pillow_reads_every_row(name: str) -> None:
    random = np.random.default_rng(0)
    depth = DepthMap((2 + 0.05 * random.random((50, 33))).astype(np.float32), camera=CAMERA)
    data = FORMATS[name].load_codec().encode(depth, OutputSettings(edge_filter=0))
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert (image.mode, image.size) == ("RGB", (33, 50))
        if name == "normals":
            np.testing.assert_array_equal(np.asarray(image), read(name, depth, edge_filter=0))


def test_unknown_depth_is_light_blue() -> None:
    data = NormalsPNG().encode(DepthMap(np.zeros((3, 4), np.float32)), OutputSettings())
    with Image.open(io.BytesIO(data)) as image:
        assert image.getcolors() == [(12, (128, 128, 255))]


@pytest.mark.parametrize("name", ["normals", "normals16"])
def test_compression_changes_only_the_file_size(name: str) -> None:
    codec = FORMATS[name].load_codec()
    small, large = (codec.encode(floor(), OutputSettings(png_compression=level)) for level in (9, 0))
    assert len(small) < len(large)
    images = [np.asarray(Image.open(io.BytesIO(data))) for data in (small, large)]
    np.testing.assert_array_equal(*images)


@pytest.mark.parametrize(("kind", "up"), [("opengl", 1), ("directx", -1)])
def test_exr_contains_unit_vectors(tmp_path: Path, kind: str, up: int) -> None:
    openexr = pytest.importorskip("OpenEXR")
    settings = OutputSettings(normal_map=kind, edge_filter=0)  # type: ignore[arg-type]  # text is converted
    floor().save(tmp_path / "x.normals.exr", settings=settings)
    with openexr.File(str(tmp_path / "x.normals.exr"), separate_channels=True) as file:
        channels = [file.channels()[name].pixels for name in "RGB"]
    assert {channel.dtype for channel in channels} == {np.dtype(np.float32)}
    np.testing.assert_allclose(np.stack(channels, -1)[20, 15], [0, up * 0.5**0.5, 0.5**0.5], atol=1e-4)
