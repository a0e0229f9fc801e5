"""Memory per pixel while reading, for the kinds of files that need most."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIDE = 4000
BYTES_PER_PIXEL = 24
READ = Path(__file__).parents[1] / "read_images.py"


def large_images() -> Iterator[tuple[str, Image.Image, dict[str, Any]]]:
    rows, columns = np.ogrid[0:SIDE, 0:SIDE]
    gray = ((rows * 3 + columns * 5) % 251).astype(np.uint8)
    rgb = Image.fromarray(np.stack([gray, gray.T, 255 - gray], axis=-1))
    turned = Image.Exif()
    turned[0x0112] = 6
    yield "turned.jpg", rgb, {"exif": turned}
    yield "progressive.jpg", rgb, {"progressive": True, "subsampling": 0}
    yield "cmyk.jpg", rgb.convert("CMYK"), {}
    yield "rgb.png", rgb, {"compress_level": 1}
    yield "alpha.png", rgb.convert("RGBA"), {"compress_level": 1}
    yield "palette.png", rgb.convert("P"), {"compress_level": 1, "transparency": 0}
    yield "wide.png", Image.fromarray(gray.astype(np.uint16) * 257), {"compress_level": 1}
    yield "float.tif", Image.fromarray(gray.astype(np.float32) / 255), {}
    yield "rgb.tif", rgb, {"compression": "tiff_lzw"}
    yield "rgb.webp", rgb, {"method": 0}
    yield "rgb.avif", rgb, {"speed": 10}
    yield "rgb.jp2", rgb, {}
    yield "rgb.gif", rgb.convert("P"), {}
    yield "rgb.bmp", rgb, {}


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="requires /proc")
def test_memory_per_pixel_is_limited(tmp_path: Path, report_figures: Callable[[str, dict[str, Any]], None]) -> None:
    bytes_per_pixel: dict[str, float] = {}
    for name, image, options in large_images():
        folder = tmp_path / name
        folder.mkdir()
        image.save(folder / name, **options)
        command = [sys.executable, str(READ), str(folder), str(SIDE * SIDE), "120"]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        result = json.loads(run.stdout)
        assert result["shape"] == [SIDE, SIDE, 3]
        bytes_per_pixel[name] = round(result["grown_mib"] * 2**20 / SIDE**2, 1)
        (folder / name).unlink()
    report_figures("bytes-per-pixel", bytes_per_pixel)
    assert max(bytes_per_pixel.values()) <= BYTES_PER_PIXEL
