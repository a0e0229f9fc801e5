"""What an image says of the lens that took it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL import Image


_EXIF_IFD = 0x8769

_FOCAL_LENGTH_MM = 0x920A

_FOCAL_LENGTH_IN_35_MM_FILM = 0xA405

_PIXEL_X_DIMENSION = 0xA002

_PIXEL_Y_DIMENSION = 0xA003

_FOCAL_PLANE_X_RESOLUTION = 0xA20E

_FOCAL_PLANE_RESOLUTION_UNIT = 0xA210

_MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}

_INCH = 2

# What lies beyond is a slip or a placeholder: from fish-eyes to telescopes, in 35 mm terms and as shares of a side.
_MM_35_LIMITS = (5.0, 10_000.0)

_SHARE_LIMITS = (0.1, 300.0)


@dataclass(frozen=True, slots=True)
class ExifFocal:
    """A focal length as a camera wrote it down, in up to two ways.

    Attributes:
        mm_35: its 35 mm equivalent, or None.
        px: in pixels of the image as it is now, from the lens and the resolution of the sensor, or None.
    """

    mm_35: float | None = None
    px: float | None = None


def read_focal(image: Image.Image) -> ExifFocal | None:
    """Read the focal length of an image; None if it does not say one that can be.

    Turning an image does not change it: pixels are taken as square, and sizes are compared by their longer sides.
    """
    try:
        tags = image.getexif().get_ifd(_EXIF_IFD)
        mm_35 = _within(_number(tags, _FOCAL_LENGTH_IN_35_MM_FILM), _MM_35_LIMITS)
        longer_side = max(image.size)
        share = _within(_share_of_longer_side(tags, longer_side), _SHARE_LIMITS)
    except Exception:  # noqa: BLE001 - EXIF is parsed from whatever a camera or an attacker wrote
        return None
    return ExifFocal(mm_35, None if share is None else share * longer_side) if mm_35 or share else None


def _share_of_longer_side(tags: Mapping[int, object], longer_side: int) -> float | None:
    """Give the focal length as a share of the image's longer side.

    The resolution counts pixels as the camera wrote them; EXIF says how many there were, in case it is fewer now.

    Source: EXIF 2.32, FocalPlaneXResolution and FocalPlaneResolutionUnit.
    """
    focal_mm = _number(tags, _FOCAL_LENGTH_MM)
    per_unit = _number(tags, _FOCAL_PLANE_X_RESOLUTION)
    mm_per_unit = _MM_PER_UNIT.get(int(_number(tags, _FOCAL_PLANE_RESOLUTION_UNIT) or _INCH))
    if focal_mm is None or per_unit is None or mm_per_unit is None:
        return None
    taken_with = max(_number(tags, tag) or 0.0 for tag in (_PIXEL_X_DIMENSION, _PIXEL_Y_DIMENSION))
    return focal_mm * per_unit / mm_per_unit / (taken_with or longer_side)


def _number(tags: Mapping[int, object], tag: int) -> float | None:
    """Give a positive number, or None for 0, which means unknown, and for anything odd."""
    value = tags.get(tag)
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    try:
        number = float(value)  # type: ignore[arg-type]  # what is no number raises
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _within(number: float | None, limits: tuple[float, float]) -> float | None:
    return number if number is not None and limits[0] <= number <= limits[1] else None
