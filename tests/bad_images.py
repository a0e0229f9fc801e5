"""A corpus of damaged, unusual and hostile images, derived from valid ones."""

from __future__ import annotations

import io
import random
import struct
import zlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BadImage", "bad_images", "good_images"]

BadImage = tuple[str, bytes]
"""A file name and the contents of the file."""

HEIGHT, WIDTH = 41, 59  # unlikely to occur as other values in a small file

_HUGE_SIDES = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
_FLIPS = 24


def good_images() -> Iterator[BadImage]:
    """Yield a small valid image of every variant of every format."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    rgb = Image.fromarray(np.stack([rows * 6, columns * 4, (rows * columns) % 256], axis=-1).astype(np.uint8))
    gray = rgb.convert("L")
    other = rgb.transpose(Image.Transpose.ROTATE_180)
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: list[tuple[str, Image.Image, str, dict[str, Any]]] = [
        ("baseline.jpg", rgb, "JPEG", {"exif": exif}),
        ("progressive.jpg", rgb, "JPEG", {"progressive": True}),
        ("cmyk.jpg", rgb.convert("CMYK"), "JPEG", {}),
        ("two.mpo", rgb, "MPO", {"save_all": True, "append_images": [other]}),
        ("rgb.png", rgb, "PNG", {"exif": exif}),
        ("wide.png", Image.fromarray(np.asarray(gray, np.uint16) * 257), "PNG", {}),
        ("palette.png", rgb.convert("P"), "PNG", {"transparency": 0}),
        ("lossy.webp", rgb, "WEBP", {}),
        ("lossless.webp", rgb, "WEBP", {"lossless": True, "exif": exif}),
        ("two.webp", rgb, "WEBP", {"save_all": True, "append_images": [other]}),
        ("raw.tif", rgb, "TIFF", {}),
        ("lzw.tif", rgb, "TIFF", {"compression": "tiff_lzw"}),
        ("deflate.tif", rgb, "TIFF", {"compression": "tiff_adobe_deflate"}),
        ("jpeg.tif", rgb, "TIFF", {"compression": "jpeg"}),
        ("zstd.tif", rgb, "TIFF", {"compression": "zstd"}),
        ("fax.tif", rgb.convert("1"), "TIFF", {"compression": "group4"}),
        ("float.tif", Image.fromarray(np.asarray(gray, np.float32) / 255), "TIFF", {}),
        ("rgb.bmp", rgb, "BMP", {}),
        ("one.gif", rgb, "GIF", {}),
        ("two.gif", rgb, "GIF", {"save_all": True, "append_images": [other]}),
        ("rgb.avif", rgb, "AVIF", {"exif": exif}),
        ("rgb.ppm", rgb, "PPM", {}),
        ("rgb.jp2", rgb, "JPEG2000", {}),
        ("bare.j2k", rgb, "JPEG2000", {"no_jp2": True}),
        ("rgb.qoi", rgb, "QOI", {}),
        ("rgb.dib", rgb, "DIB", {}),
        ("rgb.sgi", rgb, "SGI", {}),
        ("runs.tga", rgb, "TGA", {"compression": "tga_rle"}),
    ]
    for name, image, format_name, options in kinds:
        yield name, _encoded(image, format_name, **options)
    if find_spec("pillow_heif"):
        from pillow_heif import from_pillow

        stream = io.BytesIO()
        from_pillow(rgb).save(stream)
        yield "rgb.heic", stream.getvalue()


def bad_images() -> Iterator[BadImage]:
    """Yield the whole corpus; the name of each file says what is wrong with it."""
    for name, data in good_images():
        yield from _cut(name, data)
        yield from _flipped(name, data)
        yield from _with_other_sides(name, data)
    yield from _bombs()
    yield from _strips()
    yield from _unusual_values()
    yield from _adobe_markers()
    yield from _broken_exif()
    yield from _broken_profiles()
    yield from _animations()


def _encoded(image: Image.Image, format_name: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_name, **options)
    return stream.getvalue()


def _cut(name: str, data: bytes) -> Iterator[BadImage]:
    """Truncate within the signature, around every power of two, and near the end."""
    lengths = {0, *range(1, 20), len(data) - 1, len(data) - 2, len(data) - 12}
    for power in range(5, len(data).bit_length()):
        lengths |= {2**power - 1, 2**power, 2**power + 1}
    for length in sorted(length for length in lengths if 0 <= length < len(data)):
        yield f"cut-{length}-{name}", data[:length]


def _flipped(name: str, data: bytes) -> Iterator[BadImage]:
    """Change random bytes, most of them in the header."""
    rng = random.Random(name)
    for number in range(_FLIPS):
        changed = bytearray(data)
        for _ in range(rng.choice((1, 1, 3, 12))):
            changed[rng.randrange(min(len(data), 200) if rng.random() < 0.7 else len(data))] = rng.randrange(256)
        yield f"flipped-{number}-{name}", bytes(changed)


def _with_other_sides(name: str, data: bytes) -> Iterator[BadImage]:
    """Replace height and width in the header, in any byte order and length."""
    number = 0
    for layout in (">HH", "<HH", ">II", "<II", ">HxxxxxxxxxxH", "<HxxxxxxxxxxH", "<IxxxxxxxxI"):
        for sides in ((HEIGHT, WIDTH), (WIDTH, HEIGHT)):
            pattern = struct.pack(layout, *sides)
            at = data[:600].find(pattern)
            if at < 0 or "x" in layout:
                continue
            for side in _HUGE_SIDES:
                limited = min(side, 0xFFFF if "H" in layout else 0xFFFFFFFF)
                for replaced in ((limited, limited), (limited, sides[1]), (sides[0], limited)):
                    changed = data[:at] + struct.pack(layout, *replaced) + data[at + len(pattern) :]
                    number += 1
                    yield f"sides-{number}-{name}", _with_checksum(changed) if name.endswith(".png") else changed
    for side in (WIDTH, HEIGHT):  # one side alone, as in TIFF
        for layout in ("<I", "<H", ">H"):
            pattern = struct.pack(layout, side)
            at = data[:600].find(pattern)
            if at >= 0:
                for other in _HUGE_SIDES:
                    limited = min(other, 0xFFFF if "H" in layout else 0xFFFFFFFF)
                    number += 1
                    yield f"sides-{number}-{name}", data[:at] + struct.pack(layout, limited) + data[at + len(pattern) :]


def _with_checksum(png: bytes) -> bytes:
    return png[:29] + struct.pack(">I", zlib.crc32(png[12:29])) + png[33:]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, *chunks: bytes, pixels: bytes = b"") -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _bombs() -> Iterator[BadImage]:
    """Small files that take much memory or time to decode."""
    zeros = zlib.compress(bytes(2**24), 9)
    yield "bomb-pixels.png", _png(60_000, 60_000, pixels=zeros)
    yield "bomb-behind-a-pixel.png", _png(1, 1, pixels=zeros)
    for kind, head in ((b"zTXt", b"a\0\0"), (b"iCCP", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0")):
        yield f"bomb-{kind.decode()}.png", _png(1, 1, _chunk(kind, head + zeros), pixels=zlib.compress(b"\0\0"))
    progressive = _encoded(Image.new("L", (1000, 1000), 90), "JPEG", progressive=True)
    last_scan = progressive[progressive.rfind(b"\xff\xda") : -2]
    yield "bomb-scans.jpg", progressive[:-2] + last_scan * 20_000 + b"\xff\xd9"
    baseline = _encoded(Image.new("L", (8, 8), 90), "JPEG")
    yield "bomb-scans-of-baseline.jpg", baseline[:-2] + baseline[baseline.rfind(b"\xff\xda") : -2] * 20_000
    yield "bomb-canvas.webp", _riff(b"VP8X", b"\0\0\0\0" + b"\xff\x3f\0" * 2)
    yield "bomb-lossless.webp", _riff(b"VP8L", b"\x2f" + struct.pack("<I", (1 << 28) - 1) + bytes(8))
    yield "bomb-screen.gif", b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
    yield "bomb-frame.gif", b"GIF89a\1\0\1\0\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\2D\1\0;"
    yield "bomb.qoi", b"qoif" + struct.pack(">II", 2**31, 2**31) + b"\3\0" + b"\xfd" * 1000
    yield "bomb.ppm", b"P6\n99999999 99999999\n255\n"
    yield "bomb-digits.ppm", b"P6\n" + b"9" * 100_000
    yield "bomb-comment.ppm", b"P5\n#" + b"x" * 1_000_000
    yield "bomb-tile.tif", _tiff({256: 8, 257: 8, 258: 8, 259: 8, 262: 1, 322: 2**20, 323: 2**20, 324: 8, 325: 99})
    yield "bomb-strip.tif", _tiff({256: 8, 257: 8, 258: 8, 259: 5, 262: 1, 273: 8, 278: 2**31, 279: 2**31})
    yield "bomb-samples.tif", _tiff({256: 8, 257: 8, 258: 8, 262: 1, 273: 8, 277: 65535, 279: 64})
    yield "loop-of-pages.tif", _tiff({256: 1, 257: 1, 258: 8, 259: 1, 262: 1, 273: 8, 279: 1}, next_page=8)
    runs = b"BM" + struct.pack("<IxxxxI", 0, 54) + struct.pack("<IiiHHIIiiII", 40, 9000, 9000, 1, 8, 1, 0, 0, 0, 0, 0)
    yield "bomb-runs.bmp", runs + b"\0\2\xff\xff" * 200
    yield (
        "upside-down.bmp",
        b"BM"
        + struct.pack("<IxxxxI", 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, -(2**31), -(2**31), 1, 24, 0, 0, 0, 0, 0, 0),
    )


def _riff(kind: bytes, body: bytes) -> bytes:
    chunk = kind + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


def _tiff(tags: dict[int, int], next_page: int = 0) -> bytes:
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + struct.pack("<I", next_page) + bytes(99)


def _strips() -> Iterator[BadImage]:
    """Valid images of the largest width or height that their formats allow."""
    for width, height in ((65_535, 1), (1, 65_535), (65_535, 3)):
        image = Image.new("RGB", (width, height), (9, 99, 199))
        for suffix, format_name in (("png", "PNG"), ("tif", "TIFF"), ("gif", "GIF"), ("bmp", "BMP"), ("tga", "TGA")):
            yield f"strip-{width}x{height}.{suffix}", _encoded(image, format_name)
    for size in ((65_500, 1), (1, 65_500)):  # the limit of libjpeg
        yield f"strip-{size[0]}x{size[1]}.jpg", _encoded(Image.new("RGB", size), "JPEG")
    jpeg = bytearray(_encoded(Image.new("L", (16, 16)), "JPEG"))
    at = jpeg.find(b"\xff\xc0") + 5
    jpeg[at : at + 4] = b"\xff\xff\0\x01"
    yield "strip-1x65535.jpg", bytes(jpeg)


def _unusual_values() -> Iterator[BadImage]:
    """Float and integer images with values that are not colors."""
    plain = np.linspace(0, 1, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
    for label, value in (("nan", np.nan), ("inf", np.inf), ("minus-inf", -np.inf), ("negative", -1), ("huge", 3e38)):
        values = plain.copy()
        values[3, 4] = value
        yield f"float-{label}.tif", _encoded(Image.fromarray(values), "TIFF")
        yield f"float-all-{label}.tif", _encoded(Image.fromarray(np.full_like(plain, value)), "TIFF")
    yield "integers-negative.tif", _encoded(Image.fromarray(np.full((9, 9), -5, np.int32)), "TIFF")
    yield "integers-huge.tif", _encoded(Image.fromarray(np.full((9, 9), 2**31 - 1, np.int32)), "TIFF")
    denormal = np.full((9, 9), 1e-45, np.float32)
    yield "float-denormal.tif", _encoded(Image.fromarray(denormal), "TIFF")


def _adobe_markers() -> Iterator[BadImage]:
    """JPEGs with correct and wrong Adobe markers about the color space."""
    cmyk = _encoded(Image.new("CMYK", (32, 24), (0, 200, 100, 20)), "JPEG")
    rgb = _encoded(Image.new("RGB", (32, 24), (200, 30, 60)), "JPEG")
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
    for transform in (0, 1, 2, 255):
        at = cmyk.find(b"Adobe") + 11
        yield f"adobe-cmyk-{transform}.jpg", cmyk[:at] + bytes([transform]) + cmyk[at + 1 :]
        yield f"adobe-rgb-{transform}.jpg", rgb[:2] + adobe + bytes([transform]) + rgb[2:]
    yield "adobe-short.jpg", rgb[:2] + b"\xff\xee\x00\x07Adobe" + rgb[2:]


def _broken_exif() -> Iterator[BadImage]:
    """EXIF that is truncated, refers to itself or has invalid values."""
    image = Image.new("RGB", (32, 24), (200, 30, 60))
    entry = struct.pack("<HHII", 0x0112, 3, 1, 6)
    blocks = {
        "empty": b"",
        "cut": b"II*\0\x08\0\0\0\x01",
        "loop": b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x8769, 4, 1, 8) + struct.pack("<I", 8),
        "endless": b"II*\0\x08\0\0\0\xff\xff" + entry * 3,
        "far": b"II*\0\xff\xff\xff\xff",
        "big-count": b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x0112, 3, 2**31, 8) + bytes(4),
        "text": b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHI4s", 0x0112, 2, 4, b"six\0") + bytes(4),
        "fraction": b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x0112, 5, 1, 26) + bytes(4) + bytes(8),
        "unknown-type": b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x0112, 99, 1, 6) + bytes(4),
        "noise": bytes(random.Random(5).randrange(256) for _ in range(500)),
    }
    for label, block in blocks.items():
        for suffix, format_name in (("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP")):
            yield f"exif-{label}.{suffix}", _encoded(image, format_name, exif=b"Exif\0\0" + block)


def _broken_profiles() -> Iterator[BadImage]:
    """Invalid color profiles."""
    image = Image.new("RGB", (32, 24), (200, 30, 60))
    for label, profile in (("empty", b"\0"), ("noise", b"ICC" * 999), ("length", b"\xff" * 128)):
        for suffix, format_name in (("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP"), ("tif", "TIFF")):
            yield f"icc-{label}.{suffix}", _encoded(image, format_name, icc_profile=profile)
    parts = b"".join(b"\xff\xe2\x00\x12ICC_PROFILE\0" + bytes([number, 3]) for number in (9, 0, 255))
    jpeg = _encoded(image, "JPEG")
    yield "icc-parts-missing.jpg", jpeg[:2] + parts + jpeg[2:]


def _animations() -> Iterator[BadImage]:
    """An animation of 500 frames, complete and damaged."""
    frames = [Image.new("P", (40, 30), index % 256) for index in range(500)]
    for index, frame in enumerate(frames):
        frame.putpixel((index % 40, index % 30), 7)
    gif = _encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    yield "500-frames.gif", gif
    yield "500-frames-cut.gif", gif[: len(gif) // 2]
    yield "500-frames-noise.gif", gif[:2000] + b"\xff" * 5000
    yield "frames-without-an-end.gif", gif[:-1]
