"""From every kind of pixel that Pillow knows to 8-bit RGB, saying what was done.

Embedded colour profiles are not applied: the reference takes the numbers as they are, the network was trained on
such numbers, and depth that differs from the reference's for every photo of a phone would help nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from glpn_cli.errors import PictureError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["to_rgb", "wide_to_8_bits"]

_WHITE = (255, 255, 255)
_MAX_8 = 255
_MAX_16 = 65535
_STEP_16 = _MAX_16 // _MAX_8
"""257: how many 16-bit values share one 8-bit value."""

_WIDE_INTEGER_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
_COLOUR_SPACES = frozenset({"CMYK", "YCbCr", "LAB", "HSV"})

# Files whose numbers Pillow gives as mode I although they have at most 16 bits, scaled to all of them.
_SIXTEEN_BIT_FORMATS = frozenset({"PPM", "PNG", "JPEG2000"})


def to_rgb(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """Convert to 8-bit RGB; the orientation is left as it is.

    Alpha is put over white. 16-bit values are scaled from their full range. 32-bit integers and floats, which have
    no range of their own, are judged by the largest value: floats up to 1 mean [0, 1], up to 255 mean [0, 255] and
    up to 65535 mean [0, 65535]; integers likewise from the second on.

    Args:
        image: of any mode.

    Returns:
        The same image if it is plain RGB, else a new one; and a short line for each thing worth telling.

    Raises:
        PictureError: it cannot be decoded, or the values are negative, not finite or beyond 65535.
    """
    try:
        return _convert(image)
    except PictureError:
        raise
    except Exception as error:  # Pillow and its decoders raise anything
        raise PictureError(f"cannot be converted from {image.mode} to RGB: {_one_line(error)}") from error


def wide_to_8_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale integers in [0, 65535] to [0, 255], rounded: 65535/255 is 257 exactly."""
    return ((values.astype(np.uint32) + _STEP_16 // 2) // _STEP_16).astype(np.uint8)


def _convert(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    image.load()
    if image.mode in _WIDE_INTEGER_MODES or image.mode in {"I", "F"}:
        return _convert_numbers(image)
    if image.has_transparency_data:
        return _put_over_white(image)
    if image.mode == "RGB":
        return image, ()
    notes = (f"{image.mode} converted to RGB without a colour profile",) if image.mode in _COLOUR_SPACES else ()
    return image.convert("RGB"), notes


def _put_over_white(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    alpha = rgba.getchannel("A")
    if alpha.getextrema() == (_MAX_8, _MAX_8):
        return rgba.convert("RGB"), ()
    rgb = Image.new("RGB", rgba.size, _WHITE)
    rgb.paste(rgba, mask=alpha)
    return rgb, ("alpha put over white",)


def _convert_numbers(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    values = np.asarray(image)
    if image.mode in _WIDE_INTEGER_MODES:
        grey, note = wide_to_8_bits(values), "16-bit grey scaled to 8 bits"
    elif image.mode == "I":
        grey, note = _scale_integers(values, sixteen_bit=image.format in _SIXTEEN_BIT_FORMATS)
    else:
        grey, note = _scale_floats(values)
    notes = [note]
    transparent = image.info.get("transparency")
    if isinstance(transparent, int) and (values == transparent).any():
        grey[values == transparent] = _MAX_8
        notes.append("alpha put over white")
    return Image.fromarray(grey).convert("RGB"), tuple(notes)


def _scale_integers(values: NDArray[Any], *, sixteen_bit: bool) -> tuple[NDArray[np.uint8], str]:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > _MAX_16:
        raise _unusable_range("integer", low, high)
    if high <= _MAX_8 and not sixteen_bit:
        return values.astype(np.uint8), "32-bit grey taken as 0 to 255"
    return wide_to_8_bits(values), "16-bit grey scaled to 8 bits"


def _scale_floats(values: NDArray[Any]) -> tuple[NDArray[np.uint8], str]:
    if not np.isfinite(values).all():
        raise PictureError("its float values are not all finite")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > _MAX_16:
        raise _unusable_range("float", low, high)
    full = 1 if high <= 1 else _MAX_8 if high <= _MAX_8 else _MAX_16
    return np.rint(values * (_MAX_8 / full)).astype(np.uint8), f"float grey taken as 0 to {full}"


def _unusable_range(kind: str, low: float, high: float) -> PictureError:
    return PictureError(
        f"its {kind} values go from {low:g} to {high:g}, which is the range of no picture",
        hint=f"scale them to 0 to {_MAX_8} first",
    )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
