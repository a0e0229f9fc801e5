"""Metadata of photos: focal length and orientation in EXIF, and the projection of panoramas in XMP."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glpn_cli.image.tiff import has_bounded_tags

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

    from PIL import Image

_ORIENTATION = 0x0112
_EXIF_IFD = 0x8769
_FOCAL_LENGTH_MM = 0x920A
_FOCAL_LENGTH_IN_35_MM_FILM = 0xA405
_PIXEL_X_DIMENSION = 0xA002
_PIXEL_Y_DIMENSION = 0xA003
_FOCAL_PLANE_X_RESOLUTION = 0xA20E
_FOCAL_PLANE_RESOLUTION_UNIT = 0xA210

_MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
_INCH = 2

# From fisheye lenses to telescopes; values outside are mistakes or placeholders.
_MM_35_RANGE = (5.0, 10_000.0)
_RELATIVE_RANGE = (0.1, 300.0)  # focal length / longer side

_XMP = 0x02BC
_XMP_BYTES = 2**20
_PROJECTION = re.compile(rb"GPano:ProjectionType\s*(?:=\s*[\"']|>)\s*([A-Za-z-]{1,40})")
_FLAT_PROJECTIONS = frozenset({"rectilinear", "perspective", "none"})


@dataclass(frozen=True, slots=True)
class ExifFocal:
    """A focal length from EXIF, in up to two forms.

    Attributes:
        mm_35: the 35 mm equivalent in millimeters, or None.
        px: in pixels of the image at its present size, from focal length and sensor resolution, or None.
    """

    mm_35: float | None = None
    px: float | None = None


def read_focal(image: Image.Image) -> ExifFocal | None:
    """Return the focal length of an image, or None if EXIF has no plausible one.

    The orientation does not matter: pixels are assumed to be square, and sizes are compared by their longer sides.
    """
    try:
        return _focal_of(_bounded_exif(image), max(image.size))
    except Exception:  # noqa: BLE001 - EXIF is untrusted input, and its parsers raise anything
        return None


def read_tiff_lens(stream: BinaryIO, longer_side_px: int) -> tuple[ExifFocal | None, str | None]:
    """Return the focal length and the projection of a TIFF that Pillow does not open, as the other functions do.

    Args:
        stream: the file, whose directories `read_layout` has accepted; its position is undefined afterwards.
        longer_side_px: of the image.
    """
    from PIL import Image

    try:
        stream.seek(0)
        exif = Image.Exif()
        exif.load_from_fp(stream)
        return _focal_of(exif, longer_side_px), _find_projection(exif.get(_XMP))
    except Exception:  # noqa: BLE001 - EXIF is untrusted input, and its parsers raise anything
        return None, None


def _focal_of(exif: Image.Exif, longer_side_px: int) -> ExifFocal | None:
    tags = exif.get_ifd(_EXIF_IFD)
    mm_35 = _in_range(_positive_number(tags, _FOCAL_LENGTH_IN_35_MM_FILM), _MM_35_RANGE)
    relative = _in_range(_relative_focal(tags, longer_side_px), _RELATIVE_RANGE)
    return ExifFocal(mm_35, None if relative is None else relative * longer_side_px) if mm_35 or relative else None


def read_panorama(image: Image.Image) -> str | None:
    """Return the projection of a panorama, such as "equirectangular"; None if the image does not say it is one.

    Only the XMP that is part of the header is searched.

    Source: Google's Photo Sphere XMP metadata, GPano:ProjectionType.
    """
    try:
        return _find_projection(image.info.get("xmp") or getattr(image, "tag_v2", {}).get(_XMP))
    except Exception:  # noqa: BLE001 - XMP is untrusted input, and its parsers raise anything
        return None


def _find_projection(xmp: Any) -> str | None:
    text = xmp.encode("utf-8", "replace") if isinstance(xmp, str) else bytes(xmp or b"")
    found = _PROJECTION.search(text[:_XMP_BYTES])
    projection = "" if found is None else found[1].decode("ascii").lower()
    return projection if projection and projection not in _FLAT_PROJECTIONS else None


def find_upright_transpose(image: Image.Image) -> tuple[int | None, tuple[str, ...]]:
    """Return how to turn a loaded image upright.

    Pillow turns a TIFF upright while loading it and resets the orientation.

    Returns:
        A `PIL.Image.Transpose`, or None if the image is upright or its orientation is unknown; and notes for the user.

    Source: EXIF 2.32, Orientation.
    """
    try:
        orientation = _bounded_exif(image).get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - EXIF is untrusted input, and its parsers raise anything
        return None, ("EXIF orientation unreadable, ignored",)
    return upright_transpose(orientation), ()


def upright_transpose(orientation: object) -> int | None:
    """Return the `PIL.Image.Transpose` that turns an image of an EXIF orientation upright, or None."""
    from PIL.Image import Transpose

    transposes: dict[object, int] = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return transposes.get(orientation) if isinstance(orientation, int) else None


def _bounded_exif(image: Image.Image) -> Image.Exif:
    """Return the EXIF tags of an image.

    Raises:
        ValueError: reading them would take excessive time or memory.
    """
    block = image.info.get("exif")
    if isinstance(block, bytes) and not has_bounded_tags(block):
        raise ValueError("too many values")
    return image.getexif()


def _relative_focal(tags: Mapping[int, object], longer_side: int) -> float | None:
    """Return focal length / longer side.

    The sensor resolution refers to the image as the camera wrote it. EXIF also stores the size at that time, in case
    the image was resized since.

    Source: EXIF 2.32, FocalPlaneXResolution and FocalPlaneResolutionUnit.
    """
    focal_mm = _positive_number(tags, _FOCAL_LENGTH_MM)
    px_per_unit = _positive_number(tags, _FOCAL_PLANE_X_RESOLUTION)
    mm_per_unit = _MM_PER_UNIT.get(int(_positive_number(tags, _FOCAL_PLANE_RESOLUTION_UNIT) or _INCH))
    if focal_mm is None or px_per_unit is None or mm_per_unit is None:
        return None
    original_side = max(_positive_number(tags, tag) or 0.0 for tag in (_PIXEL_X_DIMENSION, _PIXEL_Y_DIMENSION))
    return focal_mm * px_per_unit / mm_per_unit / (original_side or longer_side)


def _positive_number(tags: Mapping[int, object], tag: int) -> float | None:
    """Return a tag's value, or None if it is 0, which means unknown, or not a number."""
    value = tags.get(tag)
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    try:
        number = float(value)  # type: ignore[arg-type]  # anything but a number raises
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _in_range(number: float | None, limits: tuple[float, float]) -> float | None:
    return number if number is not None and limits[0] <= number <= limits[1] else None
