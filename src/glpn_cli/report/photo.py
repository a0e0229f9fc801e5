"""The copies of a photo that a page keeps."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from PIL import Image
from PIL.Image import Resampling

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LARGE_PX", "THUMBNAIL_PX", "to_jpegs"]

LARGE_PX = 1024
"""The longest side of the copy that a click shows."""

THUMBNAIL_PX = 240
"""The longest side of the copy in the overview."""

_LARGE_QUALITY = 82
_THUMBNAIL_QUALITY = 75


def to_jpegs(rgb: NDArray[np.uint8]) -> tuple[str, str]:
    """Make the large and the small copy of a photo, as addresses that hold the JPEG themselves.

    As files of their own they would be images below the folder of a batch, and the next batch would take them in.

    Args:
        rgb: (H, W, 3) uint8, in [0, 255], upright.
    """
    image = Image.fromarray(rgb)
    image.thumbnail((LARGE_PX, LARGE_PX), Resampling.BILINEAR, reducing_gap=2.0)
    large = _to_address(image, _LARGE_QUALITY)
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Resampling.BILINEAR, reducing_gap=1.5)
    return large, _to_address(image, _THUMBNAIL_QUALITY)


def _to_address(image: Image.Image, quality: int) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
