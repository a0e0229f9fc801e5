"""TIFF files that Pillow reads wrong or not at all, and limits of their directories."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from glpn_cli.errors import ImageError
from glpn_cli.image.exif import find_upright_transpose
from glpn_cli.image.reading import read_image
from glpn_cli.image.tiff import MAX_VALUES, has_bounded_tags, read_layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

GRAY, RGB = 1, 2
LZW, DEFLATE, PACKBITS, LZMA, ZSTANDARD = 5, 8, 32773, 34925, 50000
NAMES = {LZW: "tiff_lzw", PACKBITS: "packbits", LZMA: "lzma", ZSTANDARD: "zstd"}


def compress(data: bytes, rows: int, compression: int) -> bytes:
    """Compress a strip or tile, with the help of Pillow: as a gray image."""
    if compression not in NAMES:
        return zlib.compress(data) if compression == DEFLATE else data
    buffer = io.BytesIO()
    gray = Image.frombytes("L", (len(data) // rows, rows), data)
    gray.save(buffer, "TIFF", compression=NAMES[compression])
    with Image.open(buffer) as saved:
        (start,), (length,) = saved.tag_v2[273], saved.tag_v2[279]
    return buffer.getvalue()[start : start + length]


def differences_of_bytes(part: NDArray[Any]) -> bytes:
    """Return the bytes of floats sorted by significance in each row, as differences."""
    rows, width, bands = part.shape
    pixels = np.frombuffer(part.astype(part.dtype.newbyteorder(">")).tobytes(), np.uint8)
    by_significance = pixels.reshape(rows, width * bands, -1).transpose(0, 2, 1).reshape(rows, -1, bands)
    return np.diff(by_significance, axis=1, prepend=np.zeros((rows, 1, bands), np.uint8)).astype(np.uint8).tobytes()


def tiff(
    values: NDArray[Any],
    *,
    planar: bool = False,
    photometric: int = RGB,
    order: str = "<",
    compression: int = 1,
    predictor: int = 1,
    rows: int = 7,
    tile: tuple[int, int] | None = None,
    more: tuple[tuple[int, int, int, int], ...] = (),
) -> bytes:
    """Encode (H, W, C) as a TIFF of strips or tiles; `more` are entries: tag, type, count, value."""
    height, width, bands = values.shape
    planes = [values[..., band : band + 1] for band in range(bands)] if planar else [values]
    segments = []
    for plane in planes:
        down, across = (rows, width) if tile is None else tile
        for top in range(0, height, down):
            for left in range(0, width, across):
                part = plane[top : top + down, left : left + across]
                if tile is not None:
                    whole = np.zeros((*tile, plane.shape[2]), values.dtype)
                    whole[: part.shape[0], : part.shape[1]] = part
                    part = whole
                part = part.astype(values.dtype.newbyteorder(order))
                data = differences_of_bytes(part) if predictor == 3 else part.tobytes()
                segments.append(compress(data, len(part), compression))
    data, offsets = b"", []
    for segment in segments:
        offsets.append(8 + len(data))
        data += segment
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    numbers = [(258, 3, [8 * values.dtype.itemsize] * bands), (339, 3, [kind] * bands)]
    numbers += [(273, 4, offsets), (279, 4, [len(segment) for segment in segments])]
    if tile is not None:
        numbers[2:] = [(324, 4, offsets), (325, 4, [len(segment) for segment in segments])]
        numbers += [(322, 4, [tile[1]]), (323, 4, [tile[0]])]
    entries = {256: (4, 1, width), 257: (4, 1, height), 259: (3, 1, compression), 262: (3, 1, photometric)}
    entries |= {277: (3, 1, bands), 278: (4, 1, rows), 284: (3, 1, 2 if planar else 1), 317: (3, 1, predictor)}
    entries |= {tag: (kind, count, value) for tag, kind, count, value in more}
    for tag, code, listed in numbers:
        stored = b"".join(struct.pack(order + {3: "H", 4: "I"}[code], number) for number in listed)
        if len(stored) > 4:
            entries[tag] = (code, len(listed), 8 + len(data))
            data += stored
        else:
            entries[tag] = (code, len(listed), struct.unpack(order + "I", stored.ljust(4, b"\0"))[0])
    directory = struct.pack(order + "H", len(entries))
    for tag, (code, count, value) in sorted(entries.items()):
        inline = struct.pack(order + "HH", value, 0) if (code, count) == (3, 1) else struct.pack(order + "I", value)
        directory += struct.pack(order + "HHI", tag, code, count) + inline
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(data))
    return head + data + directory + b"\0" * 4


@pytest.fixture(scope="module")
def colors() -> NDArray[np.uint8]:
    rows, columns = np.mgrid[0:41, 0:59]
    return np.stack([rows * 6, columns * 4, (rows * columns) % 256], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("options", [{}, {"tile": (16, 32)}, {"compression": DEFLATE}, {"rows": 41}], ids=str)
def test_planes_of_16_bits_are_the_image(colors: NDArray[np.uint8], order: str, options: dict[str, Any]) -> None:
    data = tiff(colors.astype(np.uint16) * 257, planar=True, order=order, **options)
    loaded = read_image(data)
    assert (loaded.rgb == colors).all()
    assert loaded.format == "TIFF"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("planar", [False, True])
def test_float_colors_are_read(colors: NDArray[np.uint8], dtype: Any, planar: bool) -> None:
    loaded = read_image(tiff((colors / 255).astype(dtype), planar=planar))
    assert np.abs(loaded.rgb.astype(int) - colors).max() <= (1 if dtype == np.float16 else 0)
    assert any("float RGB taken as 0 to 1" in note for note in loaded.notes)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [LZW, DEFLATE, PACKBITS, LZMA, ZSTANDARD])
@pytest.mark.parametrize("options", [{"predictor": 3}, {"planar": True, "predictor": 3, "tile": (16, 32)}, {}], ids=str)
def test_compressed_float_colors_are_read(
    colors: NDArray[np.uint8], order: str, compression: int, options: dict[str, Any]
) -> None:
    data = tiff((colors / 255).astype(np.float32), compression=compression, order=order, **options)
    assert (read_image(data).rgb == colors).all()


@pytest.mark.parametrize("compression", [LZW, LZMA, ZSTANDARD])
def test_damaged_compression_is_an_error(colors: NDArray[np.uint8], compression: int) -> None:
    data = bytearray(tiff((colors / 255).astype(np.float32), compression=compression, rows=41))
    data[8:2000] = bytes(range(7)) * 284 + bytes(4)
    with pytest.raises(ImageError, match="damaged"):
        read_image(bytes(data))


def test_focal_length_of_float_colors_is_used(colors: NDArray[np.uint8]) -> None:
    data = tiff((colors / 255).astype(np.float32))
    exif = struct.pack("<HHHIHHI", 1, 0xA405, 3, 1, 35, 0, 0)  # one tag, and no further directory
    offset = len(data) - len(data) % 2
    data = tiff((colors / 255).astype(np.float32), more=((0x8769, 4, 1, offset + 64),))
    loaded = read_image(data.ljust(offset + 64, b"\0") + exif)
    assert loaded.focal is not None
    assert loaded.focal.mm_35 == 35
    assert (loaded.rgb == colors).all()


def test_half_gray_is_read(colors: NDArray[np.uint8]) -> None:
    loaded = read_image(tiff((colors[..., :1] / 255).astype(np.float16), photometric=GRAY))
    assert np.abs(loaded.rgb[..., 2].astype(int) - colors[..., 0]).max() <= 1


def test_stretch_uses_the_range_of_float_colors(colors: NDArray[np.uint8]) -> None:
    kelvin = (colors.astype(np.float32) / 100 + 290).astype(np.float32)
    assert read_image(tiff(kelvin)).rgb.max() < 2
    assert np.ptp(read_image(tiff(kelvin), stretch=True).rgb) == 255


def test_alpha_and_orientation_are_applied(colors: NDArray[np.uint8]) -> None:
    alpha = np.zeros((*colors.shape[:2], 1), np.uint8)
    alpha[:20] = 255
    rgba = np.concatenate([colors, alpha], axis=2).astype(np.uint16) * 257
    data = tiff(rgba, planar=True, more=((338, 3, 1, 2), (274, 3, 1, 6)))
    upright = read_image(data).rgb
    assert upright.shape == (59, 41, 3)
    assert (upright[:, -20:] == np.rot90(colors[:20], -1)).all()
    assert (upright[:, :-20] == 255).all()


@pytest.mark.parametrize("bands", [5, 6])
def test_bands_that_are_no_colors_are_named(bands: int) -> None:
    data = tiff(np.zeros((8, 9, bands), np.uint16), photometric=GRAY)
    with pytest.raises(ImageError, match=f"{bands} bands of 16-bit") as caught:
        read_image(data)
    assert "copy" not in str(caught.value.hint)


def test_truncated_planes_are_an_error(colors: NDArray[np.uint8]) -> None:
    data = bytearray(tiff(colors.astype(np.uint16), planar=True, rows=41))
    layout = read_layout(io.BytesIO(data))
    assert layout is not None
    where = layout.tags[273].position
    data[where : where + 4] = struct.pack("<I", len(data) - 10)
    with pytest.raises(ImageError, match="truncated"):
        read_image(bytes(data))


# Limits


def strips(count: int) -> bytes:
    """A 4x4 TIFF that says it has so many strips; both tags have the same values."""
    data = b"\0" * (4 * count)
    entries = [(256, 4, 1, 4), (257, 4, 1, 4), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, count, 8)]
    entries += [(277, 3, 1, 1), (278, 4, 1, 1), (279, 4, count, 8)]
    directory = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<I", 8 + len(data))
    return head + data + struct.pack("<H", len(entries)) + directory + b"\0\0\0\0"


@pytest.mark.parametrize("count", [MAX_VALUES + 1, 5_000_000])
def test_excessive_strips_cost_neither_time_nor_memory(count: int) -> None:
    data = strips(count)
    tracemalloc.start()
    start_s = time.perf_counter()
    with pytest.raises(ImageError, match="values"):
        read_image(data)
    elapsed_s, (_, peak_bytes) = time.perf_counter() - start_s, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert elapsed_s < 1
    assert peak_bytes < 2**20


def test_tags_that_share_their_values_are_refused() -> None:
    size = 100_000
    entries = b"".join(struct.pack("<HHII", 1000 + number, 7, size, 8) for number in range(200))
    directory = struct.pack("<H", 200) + entries + b"\0" * 4
    data = b"II*\0" + struct.pack("<I", 8 + size) + b"\0" * size + directory
    with pytest.raises(ImageError, match="share"):
        read_image(data)
    assert not has_bounded_tags(b"Exif\0\0" + data)


def test_exif_of_other_formats_is_bounded() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (8, 8))
    image.info["exif"] = exif.tobytes()
    assert find_upright_transpose(image)[0] == Image.Transpose.ROTATE_270
    image.info["exif"] = b"Exif\0\0" + strips(MAX_VALUES + 1)
    assert find_upright_transpose(image) == (None, ("EXIF orientation unreadable, ignored",))
