"""TIFF directories: limits before Pillow opens a file, and the pixels that Pillow reads wrong or not at all.

Pillow takes single bytes of 16-bit samples that are stored in separate planes without compression, and does not open
several bands of floats, half floats, or more than four bands of 16 bits. Of those, it still decompresses strips and
tiles: as 8-bit gray images.

Source: TIFF 6.0, and the BigTIFF design (https://www.awaresystems.be/imaging/tiff/bigtiff.html).
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

from glpn_cli.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from numpy.typing import NDArray

MAX_VALUES = 1_000_000
"""The largest number of values of a tag: of strips or tiles. Tiles of 16x16 pixels of the largest image are 700,000."""

MAX_BANDS = 64

_MAX_ENTRIES = 65_535  # as many as a directory of a TIFF below 4 GiB can have
_SMALL_PIXELS = 2**22
_SHARED_BYTES = 2**20  # how many bytes of values may belong to several tags

_BYTES_OF_TYPE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_CODES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_STORED_AS_BYTES = frozenset({1, 2, 7})  # Pillow makes no Python numbers of them

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _ORIENTATION, _BANDS, _ROWS_PER_STRIP, _STRIP_BYTES = 273, 274, 277, 278, 279
_PLANAR, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES = 284, 317, 322, 323, 324, 325
_EXTRA_SAMPLES, _SAMPLE_FORMAT, _EXIF = 338, 339, 34665

_RAW = 1
_DEFLATE = frozenset({8, 32946})
_LIBTIFF = frozenset({5, 32773, 34925, 50000})
"""Methods that work on bytes, whatever those mean; Pillow has them, libtiff permitting."""
_COMPRESSION_NAMES = {5: "LZW", 7: "JPEG", 32773: "PackBits", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP"}
_KINDS = {1: "u", 2: "i", 3: "f"}
_KIND_NAMES = {"u": "integers", "i": "signed integers", "f": "floats"}
_GRAY, _RGB = frozenset({0, 1}), 2
_ALPHA = frozenset({1, 2})
_DIFFERENCES, _FLOAT_DIFFERENCES = 2, 3


class Entry(NamedTuple):
    """A tag of a directory: the number of its type, how many values it has, and where in the file they are."""

    kind: int
    values: int
    position: int


class TiffLayout(NamedTuple):
    """How the pixels of the first page are stored.

    Attributes:
        height: of the image, pixels, before the orientation is applied.
        width: of the image, pixels, before the orientation is applied.
        bands: numbers per pixel.
        bits: of each number; 0 if they differ.
        kind: "u", "i" or "f", as in NumPy's dtypes; "" if unknown.
        compression: the number of the method.
        photometric: the number of the color space.
        planar: whether each band is stored by itself.
        predictor: what was done before compression.
        orientation: as in EXIF.
        has_alpha: whether the first band after the colors is alpha.
        segment: (height, width) of a strip or tile, in pixels.
        order: of the bytes, "<" or ">".
        tags: all tags of the directory.
    """

    height: int
    width: int
    bands: int
    bits: int
    kind: str
    compression: int
    photometric: int
    planar: bool
    predictor: int
    orientation: int
    has_alpha: bool
    segment: tuple[int, int]
    order: str
    tags: dict[int, Entry]

    @property
    def is_misread(self) -> bool:
        """Whether Pillow reads other numbers than those in the file."""
        return self.planar and self.compression == _RAW and self.bits > 8 and self.bands > 1

    def __str__(self) -> str:
        bands = f"{self.bands} band{'s' * (self.bands != 1)}"
        numbers = f"{self.bits}-bit {_KIND_NAMES.get(self.kind, 'values')}" if self.bits else "numbers of several sizes"
        method = _COMPRESSION_NAMES.get(self.compression)
        return f"a TIFF with {bands} of {numbers}{f' and {method} compression' if method else ''}"


def read_layout(stream: BinaryIO) -> TiffLayout | None:
    """Return the layout of a TIFF; None if its header is damaged, which Pillow reports better.

    Args:
        stream: the file; its position is undefined afterwards.

    Raises:
        ImageError: its tags would take excessive time or memory.
    """
    try:
        order, is_big, offset = _read_header(stream)
        tags = _read_directory(stream, offset, order, is_big=is_big)
        if _EXIF in tags:
            exif = next(iter(_read_values(stream, tags[_EXIF], order)), 0)
            _read_directory(stream, int(exif), order, is_big=is_big)

        def first(tag: int, default: int) -> int:
            return int(next(iter(_read_values(stream, tags[tag], order)), default)) if tag in tags else default

        height, width, bands = first(_HEIGHT, 0), first(_WIDTH, 0), first(_BANDS, 1)
        tile = first(_TILE_HEIGHT, 0), first(_TILE_WIDTH, 0)
        strip = min(first(_ROWS_PER_STRIP, height), height), width
        bits = _read_values(stream, tags[_BITS], order) if _BITS in tags else (1,)
        extra = tags.get(_EXTRA_SAMPLES)
        kinds = set(_read_values(stream, tags[_SAMPLE_FORMAT], order)) if _SAMPLE_FORMAT in tags else {1}
        return TiffLayout(
            height=height,
            width=width,
            bands=bands,
            bits=bits[0] if len(set(bits)) == 1 else 0,
            kind=_KINDS.get(kinds.pop(), "") if len(kinds) == 1 else "",
            compression=first(_COMPRESSION, _RAW),
            photometric=first(_PHOTOMETRIC, 0),
            planar=first(_PLANAR, 1) == 2,
            predictor=first(_PREDICTOR, 1),
            orientation=first(_ORIENTATION, 1),
            has_alpha=extra is not None and first(_EXTRA_SAMPLES, 0) in _ALPHA,
            segment=tile if _TILE_OFFSETS in tags else strip,
            order=order,
            tags=tags,
        )
    except (struct.error, KeyError, OSError, OverflowError, ValueError) as error:
        if isinstance(error, ImageError):
            raise
        return None


def has_bounded_tags(exif: bytes) -> bool:
    """Return whether an EXIF block, with or without its mark, has tags that are read in a moment."""
    stream = io.BytesIO(exif.removeprefix(b"Exif\0\0"))
    try:
        order, is_big, offset = _read_header(stream)
        tags = _read_directory(stream, offset, order, is_big=is_big)
        if _EXIF in tags:
            exif_offset = next(iter(_read_values(stream, tags[_EXIF], order)), 0)
            _read_directory(stream, int(exif_offset), order, is_big=is_big)
    except ImageError:
        return False
    except (struct.error, KeyError, OverflowError, ValueError):  # damaged; Pillow stops where it is
        return True
    return True


def read_values(stream: BinaryIO, layout: TiffLayout) -> NDArray[Any]:
    """Return the numbers of the first page.

    Returns:
        (H, W), (H, W, 3), or (H, W, 4) with alpha, in the order of the file, before its orientation is applied.
        The dtype is that of the file, in the byte order of the machine.

    Raises:
        ImageError: they are not stored in a way that is supported, or are incomplete.
    """
    import numpy as np

    colors = _choose_bands(layout)
    dtype = np.dtype(f"{layout.order}{layout.kind}{layout.bits // 8}")
    values = np.zeros((layout.height, layout.width, colors), dtype.newbyteorder("="))
    try:
        for plane, rows, columns, segment in _read_segments(stream, layout, dtype.itemsize):
            bands = 1 if layout.planar else layout.bands
            height, width = rows.stop - rows.start, columns.stop - columns.start
            is_sorted = layout.predictor == _FLOAT_DIFFERENCES
            plain = _undo_float_differences(segment, layout, bands) if is_sorted else segment
            part = np.frombuffer(plain, dtype).reshape(-1, layout.segment[1], bands)
            if layout.predictor == _DIFFERENCES:
                part = np.cumsum(part, axis=1, dtype=dtype.newbyteorder("="))
            if layout.planar:
                values[rows, columns, plane] = part[:height, :width, 0]
            else:
                values[rows, columns] = part[:height, :width, :colors]
    except (struct.error, KeyError, ValueError, IndexError, OSError, zlib.error) as error:
        raise ImageError("a truncated or damaged TIFF", hint="copy or download it again") from error
    return values[..., 0] if colors == 1 else values


def _choose_bands(layout: TiffLayout) -> int:
    """Return how many bands are the image: gray, RGB, or RGB and alpha.

    Raises:
        ImageError: the layout is not supported.
    """
    sizes = {"u": (8, 16, 32), "i": (8, 16, 32), "f": (16, 32, 64)}.get(layout.kind, ())
    is_plain = layout.compression == _RAW and layout.predictor == 1
    is_undone = layout.predictor in (1, _FLOAT_DIFFERENCES if layout.kind == "f" else _DIFFERENCES)
    is_stored = is_plain or (layout.compression in _DEFLATE | _LIBTIFF and is_undone)
    if layout.bits in sizes and is_stored and 0 < layout.bands <= MAX_BANDS and _is_plausible(layout):
        if layout.photometric in _GRAY and layout.bands <= 2:
            return 1
        if layout.photometric == _RGB and layout.bands >= 3:
            return 4 if layout.bands > 3 and layout.has_alpha else 3
        if layout.photometric in _GRAY and layout.bands == 3:
            return 3
    raise ImageError(f"{layout}, which is not supported", hint="save it as RGB or gray, with 8 or 16 bits per band")


def _is_plausible(layout: TiffLayout) -> bool:
    """Return whether strips or tiles are not much larger than the image, unless they are small."""
    height, width = layout.segment
    return min(height, width) > 0 and height * width <= max(4 * layout.height * layout.width, _SMALL_PIXELS)


def _read_header(stream: BinaryIO) -> tuple[str, bool, int]:
    """Return the byte order, whether it is a BigTIFF, and the position of the first directory."""
    stream.seek(0)
    head = stream.read(16)
    order = {b"II": "<", b"MM": ">"}[head[:2]]
    is_big = struct.unpack(order + "H", head[2:4])[0] == 43
    (offset,) = struct.unpack(order + "Q", head[8:16]) if is_big else struct.unpack(order + "I", head[4:8])
    return order, is_big, offset


def _read_directory(stream: BinaryIO, offset: int, order: str, *, is_big: bool) -> dict[int, Entry]:
    """Return the tags of a directory.

    Raises:
        ImageError: a tag has more values than `MAX_VALUES`, or several share their values.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(offset)
    count_code, entry_code, inline = ("Q", "HHQ8s", 8) if is_big else ("H", "HHI4s", 4)
    (count,) = struct.unpack(order + count_code, stream.read(struct.calcsize(order + count_code)))
    if count > _MAX_ENTRIES:
        raise _excessive(f"{count:,} tags")
    length = struct.calcsize(order + entry_code)
    data = stream.read(count * length)
    tags: dict[int, Entry] = {}
    total = 0
    for number in range(len(data) // length):
        tag, kind, values, where = struct.unpack_from(order + entry_code, data, number * length)
        if values > MAX_VALUES and kind not in _STORED_AS_BYTES:
            raise _excessive(f"{values:,} values of one tag")
        stored = values * _BYTES_OF_TYPE.get(kind, 0)
        at = offset + struct.calcsize(order + count_code) + (number + 1) * length - inline
        if stored > inline:
            at = int.from_bytes(where[:inline], "little" if order == "<" else "big")
            total += min(stored, max(0, size - at))
        tags[tag] = Entry(kind, values, at)
    if total > size + _SHARED_BYTES:
        raise _excessive("tags that share their values")
    return tags


def _excessive(what: str) -> ImageError:
    return ImageError(f"a TIFF directory with {what}", hint="cameras do not write such files; save it again")


def _read_values(stream: BinaryIO, entry: Entry, order: str) -> tuple[int, ...]:
    code = f"{order}{entry.values}{_CODES[entry.kind]}"
    stream.seek(entry.position)
    return struct.unpack(code, stream.read(struct.calcsize(code)))


def _read_segments(stream: BinaryIO, layout: TiffLayout, item_bytes: int) -> Iterator[tuple[int, slice, slice, bytes]]:
    """Yield plane, rows, columns and bytes of every strip or tile of the image.

    Raises:
        ValueError: one is incomplete, or they take more bytes than the file has.
    """
    is_tiled = _TILE_OFFSETS in layout.tags
    offsets, sizes = (
        _read_values(stream, layout.tags[tag], layout.order)
        for tag in ((_TILE_OFFSETS, _TILE_BYTES) if is_tiled else (_STRIP_OFFSETS, _STRIP_BYTES))
    )
    if sum(sizes) > stream.seek(0, os.SEEK_END):
        raise ValueError("segments overlap")
    down, across = (-(-side // part) for side, part in zip((layout.height, layout.width), layout.segment, strict=True))
    planes = min(layout.bands, 4) if layout.planar else 1
    for number in range(planes * down * across):
        plane, position = divmod(number, down * across)
        if plane and plane >= _choose_bands(layout):
            return
        top, left = (index * side for index, side in zip(divmod(position, across), layout.segment, strict=True))
        rows, columns = (
            slice(top, min(top + layout.segment[0], layout.height)),
            slice(left, min(left + layout.segment[1], layout.width)),
        )
        row_bytes = layout.segment[1] * item_bytes * (1 if layout.planar else layout.bands)
        whole = row_bytes * (layout.segment[0] if is_tiled else rows.stop - rows.start)
        stream.seek(offsets[number])
        data = stream.read(min(sizes[number], whole) if layout.compression == _RAW else sizes[number])
        if layout.compression in _LIBTIFF:
            data = _decompress(data, layout.compression, row_bytes, whole // row_bytes)
        elif layout.compression != _RAW:
            data = zlib.decompressobj().decompress(data, whole)  # not more, however much there is
        if len(data) < whole:
            raise ValueError("a segment is incomplete")
        yield plane, rows, columns, data


def _decompress(data: bytes, compression: int, row_bytes: int, rows: int) -> bytes:
    """Return the bytes of a strip or tile, which Pillow decompresses as a gray image of one strip.

    Raises:
        OSError: it is damaged, or the installed Pillow does not have the method.
    """
    from PIL import TiffImagePlugin

    tags = {_WIDTH: row_bytes, _HEIGHT: rows, _BITS: 8, _COMPRESSION: compression, _PHOTOMETRIC: 1, _BANDS: 1}
    tags |= {_ROWS_PER_STRIP: rows, _STRIP_BYTES: len(data)}
    tags[_STRIP_OFFSETS] = 8 + 2 + 12 * (len(tags) + 1) + 4
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    head += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    image = TiffImagePlugin.TiffImageFile(io.BytesIO(head + bytes(4) + data), "")
    return bytes(image.tobytes())


def _undo_float_differences(segment: bytes, layout: TiffLayout, bands: int) -> bytes:
    """Return floats whose bytes were sorted by significance in each row, and replaced by differences.

    Source: Adobe Photoshop TIFF Technical Note 3.
    """
    import numpy as np

    differences = np.frombuffer(segment, np.uint8).reshape(-1, layout.bits // 8 * layout.segment[1], bands)
    sorted_bytes = np.cumsum(differences, axis=1, dtype=np.uint8).reshape(len(differences), layout.bits // 8, -1)
    restored = sorted_bytes.transpose(0, 2, 1)
    return restored.tobytes() if layout.order == ">" else restored[..., ::-1].tobytes()
