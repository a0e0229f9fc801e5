"""The pfm format: float32 meters in the plainest of all floating-point files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from glpn_cli.depth import DepthMap
from glpn_cli.errors import DepthFileError

if TYPE_CHECKING:
    from glpn_cli.settings import OutputSettings


_HEADER = re.compile(rb"Pf\s+(\d{1,9})\s+(\d{1,9})\s+([+-]?\d{1,9}(?:\.\d{0,9})?)\s")


def encode(depth: DepthMap, settings: OutputSettings) -> bytes:
    """Turn depth into a PFM: rows from bottom to top, little endian, which a scale of -1 says.

    Source: Paul Debevec, "Portable FloatMap Image Format".
    """
    values = depth.in_scale(settings.scale)
    height, width = values.shape
    return f"Pf\n{width} {height}\n-1.0\n".encode() + values[::-1].astype("<f4").tobytes()


def decode(data: bytes, name: str) -> DepthMap:
    """Read a PFM of one channel; it says nothing of where its numbers came from.

    Raises:
        DepthFileError: it is damaged or holds something else.
    """
    header = _HEADER.match(data)
    if header is None:
        raise DepthFileError(f"{name}: is a damaged PFM")
    width, height, scale = int(header[1]), int(header[2]), float(header[3])
    pixels = data[header.end() :]
    if not width * height or len(pixels) != 4 * width * height:
        raise DepthFileError(f"{name}: is a damaged PFM: {len(pixels)} bytes for {height}x{width} numbers")
    values = np.frombuffer(pixels, "<f4" if scale < 0 else ">f4").reshape(height, width)
    return DepthMap(np.ascontiguousarray(values[::-1], np.float32))


def read_facts(stream: BinaryIO) -> dict[str, Any] | None:  # noqa: ARG001 - the format has no place for them
    """Give None: a PFM says nothing of itself."""
    return None
