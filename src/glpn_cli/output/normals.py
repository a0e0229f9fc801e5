"""The PNG formats of surface normals: normals (8-bit) and normals16 (16-bit)."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL.PngImagePlugin import PngInfo

from glpn_cli.geometry.normals import iter_normals
from glpn_cli.output.metadata import KEYWORD, build_metadata, describe_origin, metadata_to_json
from glpn_cli.output.png import PNG
from glpn_cli.values import NormalMap

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from glpn_cli.depth import DepthMap
    from glpn_cli.settings import OutputSettings

_UP = 2
"""The filter of PNG rows that stores the difference to the row above."""


class NormalsPNG:
    """8-bit RGB."""

    name = "normals"
    dtype: np.dtype[Any] = np.dtype(np.uint8)

    def encode(self, depth: DepthMap, settings: OutputSettings) -> bytes:
        """Return an RGB PNG: x, y and z of the normals, whose range [-1, 1] is mapped to all values of a channel.

        X is right, Z towards the viewer, and Y up, or down for DirectX. A wall that faces the camera, and unknown
        depth, is the usual light blue.

        Raises:
            OutputError: the image is a panorama.
        """
        highest = np.float32(np.iinfo(self.dtype).max)
        down = np.array([1, 1 if settings.normal_map is NormalMap.OPENGL else -1, 1], np.float32)
        strips = (
            np.rint((normals * down + 1) / 2 * highest).astype(self.dtype) for normals in iter_normals(depth, settings)
        )
        metadata = build_metadata(self.name, depth, normal_map=str(settings.normal_map))
        text = PngInfo()
        text.add_text(KEYWORD, metadata_to_json(metadata))
        text.add_text("Description", f"surface normals ({settings.normal_map}), {describe_origin(depth)}")
        text.add_text("Software", depth.provenance.tool or "glpn-cli")
        height, width = depth.meters.shape
        return _write_rgb((height, width), self.dtype, strips, text, settings.png_compression)

    def read_metadata(self, stream: BinaryIO) -> dict[str, Any] | None:
        """Return the metadata, without reading the pixels."""
        return PNG().read_metadata(stream)


class Normals16PNG(NormalsPNG):
    """16-bit RGB: smooth in programs that compute light from it."""

    name = "normals16"
    dtype = np.dtype(np.uint16)


def _write_rgb(
    size: tuple[int, int], dtype: np.dtype[Any], strips: Iterable[NDArray[Any]], text: PngInfo, compression: int
) -> bytes:
    """Return a PNG of (h, W, 3) strips of rows. Pillow writes no RGB of 16 bits.

    Source: the PNG specification, W3C, sections 5 and 9.
    """
    height, width = size
    header = struct.pack(">IIBBBBB", width, height, 8 * dtype.itemsize, 2, 0, 0, 0)  # color type 2 is RGB
    compressor = zlib.compressobj(compression)
    packed = bytearray()
    above = np.zeros(3 * dtype.itemsize * width, np.uint8)
    for strip in strips:
        rows = strip.astype(dtype.newbyteorder(">")).reshape(len(strip), -1).view(np.uint8)
        filtered = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
        filtered[:, 0] = _UP
        filtered[:, 1:] = rows - np.concatenate([above[None], rows[:-1]])  # bytes wrap around
        above = rows[-1]
        packed += compressor.compress(filtered.tobytes())
    packed += compressor.flush()
    chunks = [(b"IHDR", header), *((kind, data) for kind, data, *_ in text.chunks), (b"IDAT", bytes(packed))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in (*chunks, (b"IEND", b"")))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
