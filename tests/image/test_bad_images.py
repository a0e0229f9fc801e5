"""Hostile images: no crash, no hang, no memory beyond the limit of pixels, and no output besides the error."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from bad_images import HEIGHT, WIDTH, bad_images, good_images
from fuzz.suffixes import suffix_of
from glpn_cli.errors import ImageError
from glpn_cli.image import decoding
from glpn_cli.image.reading import read_image
from glpn_cli.settings import MAX_IMAGE_PIXELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

TESTS = Path(__file__).parents[1]
SEEDS = TESTS / "fuzz" / "seeds"

LIMIT_S = 10.0
BYTES_PER_PIXEL = 24
"""The memory that reading takes at most; tests/image/test_reading_memory.py measures it."""
SLACK_MIB = 24
"""The memory of the decoders for any image."""


def read_all(folder: Path, images: Iterable[tuple[str, bytes]], max_pixels: int) -> dict[str, dict[str, Any]]:
    """Read images in a separate process and return the result of each, by name."""
    folder.mkdir()
    names = []
    for name, data in images:
        (folder / name).write_bytes(data)
        names.append(name)
    command = [sys.executable, "-W", "ignore", str(TESTS / "read_images.py"), str(folder), str(max_pixels)]
    run = subprocess.run([*command, str(LIMIT_S)], capture_output=True, text=True, check=False)
    results = {result["name"]: result for result in map(json.loads, run.stdout.splitlines())}
    assert run.returncode == 0, f"after {list(results)[-1:]}: {run.stderr}"
    assert run.stderr == ""
    assert results.keys() == set(names)
    return results


def check_limits(results: dict[str, dict[str, Any]], max_pixels: int) -> None:
    for name, result in results.items():
        assert ("error" in result) != ("shape" in result)
        assert "\n" not in result.get("error", "")
        if "shape" in result:
            height, width, channels = result["shape"]
            assert channels == 3, name
            assert 0 < height * width <= max_pixels, name
        assert result["grown_mib"] <= max_pixels * BYTES_PER_PIXEL / 2**20 + SLACK_MIB, name


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The result of each image of the corpus."""
    return read_all(tmp_path_factory.mktemp("corpus") / "in", bad_images(), 10**6)


def test_corpus_stays_within_the_limits(results: dict[str, dict[str, Any]]) -> None:
    assert len(results) > 2500
    check_limits(results, 10**6)
    assert sum("shape" in result for result in results.values()) > 300  # not everything is refused


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bomb-pixels.png", "60000x60000 pixels"),
        ("bomb-scans.jpg", "100 scans"),
        ("bomb-scans-of-baseline.jpg", "100 scans"),
        ("bomb-canvas.webp", "16384x16384 pixels"),
        ("bomb-lossless.webp", "16384x16384 pixels"),
        ("bomb-screen.gif", "65535x65535 pixels"),
        ("bomb.qoi", "2147483648x2147483648 pixels"),
        ("bomb-digits.ppm", "PPM"),
        ("bomb-tile.tif", "TIFF"),
        ("float-nan.tif", "NaN or infinite"),
        ("float-inf.tif", "NaN or infinite"),
        ("float-negative.tif", "float values range from -1"),
        ("float-huge.tif", "to 3e+38"),
        ("integers-negative.tif", "integer values range from -5"),
        ("cut-0-rgb.png", "empty"),
        ("cut-1-rgb.png", "not an image"),
        ("strip-1x65535.jpg", "JPEG"),
    ],
)
def test_hostile_image_is_refused_with_a_reason(results: dict[str, dict[str, Any]], name: str, reason: str) -> None:
    assert reason in results[name]["error"]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("strip-65535x1.png", [1, 65_535, 3]),
        ("strip-1x65535.gif", [65_535, 1, 3]),
        ("strip-65535x3.tif", [3, 65_535, 3]),
        ("strip-1x65535.bmp", [65_535, 1, 3]),
        ("strip-65500x1.jpg", [1, 65_500, 3]),
        ("adobe-cmyk-2.jpg", [24, 32, 3]),
        ("adobe-cmyk-0.jpg", [24, 32, 3]),
        ("adobe-rgb-255.jpg", [24, 32, 3]),
        ("exif-loop.jpg", [24, 32, 3]),
        ("exif-text.png", [24, 32, 3]),
        ("exif-noise.webp", [24, 32, 3]),
        ("icc-noise.jpg", [24, 32, 3]),
        ("icc-parts-missing.jpg", [24, 32, 3]),
        ("500-frames.gif", [30, 40, 3]),
        ("500-frames-cut.gif", [30, 40, 3]),
        ("frames-without-an-end.gif", [30, 40, 3]),
        ("bomb-behind-a-pixel.png", [1, 1, 3]),
        ("float-denormal.tif", [9, 9, 3]),
    ],
)
def test_unusual_image_is_read(results: dict[str, dict[str, Any]], name: str, shape: list[int]) -> None:
    assert results[name].get("shape") == shape, results[name]


def test_originals_of_the_corpus_are_readable() -> None:
    for name, data in good_images():
        assert read_image(data, name=name).rgb.shape in {(HEIGHT, WIDTH, 3), (WIDTH, HEIGHT, 3)}


def test_seeds_of_the_fuzzer_stay_within_the_limits(tmp_path: Path) -> None:
    seeds = sorted(SEEDS.iterdir())
    assert len(seeds) >= 40
    assert sum(seed.stat().st_size for seed in seeds) < 300_000
    named = [(seed.name + suffix_of(seed.read_bytes()[0]), seed.read_bytes()[1:]) for seed in seeds]
    check_limits(read_all(tmp_path / "in", named, 2**20), 2**20)


@pytest.mark.parametrize("number", [100, 101])
def test_jpeg_is_limited_to_100_scans(number: int) -> None:
    (_, data), *_ = (good for good in good_images() if good[0] == "progressive.jpg")
    last_scan = data[data.rfind(b"\xff\xda") : -2]
    made = data[:-2] + last_scan * (number - data.count(b"\xff\xda")) + b"\xff\xd9"
    behind_the_end = last_scan * 500
    if number == 100:
        assert read_image(made + behind_the_end).rgb.shape == (HEIGHT, WIDTH, 3)
    else:
        with pytest.raises(ImageError, match="100 scans"):
            read_image(made)


def tiny_parts(kind: str, number: int) -> bytes:
    """Return an image with a number of tiny parts that its format allows, and that Pillow reads one by one."""
    if kind == "space":
        return b"P5" + b" " * number + b"\n4 4 255\n" + bytes(16)
    image = io.BytesIO()
    Image.new("L", (32, 32), 128).save(image, "GIF" if kind == "GIF" else "PNG")
    data = image.getvalue()
    part, before = {
        "PNG chunk": (b"\0\0\0\0abCd" + zlib.crc32(b"abCd").to_bytes(4, "big"), b"\0\0\0\x00IEND"),
        "PNG data": (b"\0\0\0\0IDAT" + zlib.crc32(b"IDAT").to_bytes(4, "big"), b"\0\0\0\x00IEND"),
        "GIF": (b"!\xfe\x01a\0", b","),
    }[kind]
    at = data.index(before)
    return data[:at] + part * number + data[at:]


@pytest.mark.parametrize("kind", ["space", "PNG chunk", "PNG data", "GIF"])
def test_tiny_parts_are_limited(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_READS", 10_000)
    assert read_image(tiny_parts(kind, 1000)).rgb.shape[2] == 3
    with pytest.raises(ImageError, match="tiny parts"):
        read_image(tiny_parts(kind, 20_000))


def test_runs_of_a_large_bmp_are_not_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_READS", 100)
    side = 64  # each pixel is a run, of a length and a value
    runs = (b"".join(b"\1%c" % at for at in range(side)) + b"\0\0") * side
    palette = b"".join(bytes((at, at, at, 0)) for at in range(256))
    sizes = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(runs), 0, 0, 256, 0)
    start = 14 + len(sizes) + len(palette)
    head = b"BM" + struct.pack("<IHHI", start + len(runs), 0, 0, start)
    assert read_image(head + sizes + palette + runs).rgb[-1, :, 0].tolist() == list(range(side))


@pytest.mark.soak
def test_corpus_stays_within_the_default_limit(
    tmp_path: Path, report_figures: Callable[[str, dict[str, Any]], None]
) -> None:
    results = read_all(tmp_path / "in", bad_images(), MAX_IMAGE_PIXELS)
    check_limits(results, MAX_IMAGE_PIXELS)
    slowest = max(results.values(), key=lambda result: float(result["elapsed_s"]))
    report_figures(
        "bad-images",
        {
            "images": len(results),
            "read": sum("shape" in result for result in results.values()),
            "refused": sum("error" in result for result in results.values()),
            "slowest": slowest["name"],
            "slowest_s": round(slowest["elapsed_s"], 2),
            "memory_grown_mib": round(max(result["grown_mib"] for result in results.values())),
        },
    )
