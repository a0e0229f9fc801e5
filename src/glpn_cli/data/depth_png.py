"""True depth as data sets keep it: 16-bit PNG files of whole units, 0 where nothing is known."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from glpn_cli.errors import DepthFileError
from glpn_cli.settings.prediction import MAX_IMAGE_PIXELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["read_depth_png"]

_SIXTEEN_BITS = frozenset({"I;16", "I;16B", "I;16L", "I"})


def read_depth_png(path: str | os.PathLike[str], *, units_per_meter: float) -> NDArray[np.float32]:
    """Read a 16-bit gray PNG.

    Args:
        path: the file.
        units_per_meter: what a meter is in the file: 1000 where it counts millimeters, 256 in KITTI.

    Returns:
        (H, W) float32, meters, 0 where nothing is known.

    Raises:
        DepthFileError: the file is missing, damaged or no such PNG.
    """
    path = os.fspath(path)
    try:
        with open(path, "rb") as stream:
            data = stream.read()
    except FileNotFoundError as error:
        raise DepthFileError(f"{path}: no such file") from error
    except OSError as error:
        raise DepthFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    # One division, as the authors do it: a product with 1/1000 would round other values.
    return _decode(data, path).astype(np.float32) / np.float32(units_per_meter)


def _decode(data: bytes, path: str) -> NDArray[Any]:
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            mode, pixels = image.mode, image.width * image.height
            if mode in _SIXTEEN_BITS and pixels <= MAX_IMAGE_PIXELS:
                return np.asarray(image)
    except Exception as error:  # Pillow raises whatever its parsers raise
        raise DepthFileError(f"{path}: is a damaged PNG, or none") from error
    if pixels > MAX_IMAGE_PIXELS:
        raise DepthFileError(f"{path}: {pixels} pixels are more than the limit of {MAX_IMAGE_PIXELS}")
    raise DepthFileError(
        f"{path}: holds {mode} pixels, not 16-bit gray",
        hint="true depth is a 16-bit PNG; an 8-bit image of depth has lost what it meant",
    )
