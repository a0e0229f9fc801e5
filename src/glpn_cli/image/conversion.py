"""Convert images and arrays of any pixel format to RGB, with notes on what was done.

Embedded color profiles are not applied. The reference uses the stored values, and the network was trained on such
values; applying profiles would make depth differ from the reference for every photo from a phone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from glpn_cli.errors import ImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FIRST, LAST, NONE = "channels_first", "channels_last", "none"
"""Positions of the channel axis, as the reference calls them."""

_WHITE = (255, 255, 255)
_MAX_8 = 255
_MAX_16 = 65535
_STEP_16 = _MAX_16 // _MAX_8
"""257: the number of 16-bit values per 8-bit value."""

_LOW_CONTRAST = 0.25
"""An image of more than 8 bits that uses at most this fraction of its range gets a note: 14 bits in 16 are 0.25."""
_STRETCHED_PERCENTILES = (0.5, 99.5)
_SAMPLED_PIXELS = 1_000_000

_UNIT_TOLERANCE = 1e-3
"""How far floats may be outside of [0, 1]: resizing overshoots by that much, and it is no visible step of 8 bits."""

_CHANNELS_WITHOUT_ALPHA = frozenset({1, 3})
_CHANNELS_WITH_ALPHA = frozenset({2, 4})

_WIDE_INTEGER_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
_COLOR_SPACES = frozenset({"CMYK", "YCbCr", "LAB", "HSV"})

# Pillow reads these as mode I, although their values have at most 16 bits. It scales them to the full 16 bits.
_SIXTEEN_BIT_FORMATS = frozenset({"PPM", "PNG", "JPEG2000"})


def to_rgb(image: Image.Image, *, stretch: bool = False, is_wide: bool = False) -> tuple[Image.Image, tuple[str, ...]]:
    """Convert a PIL image to 8-bit RGB; the EXIF orientation is not applied.

    Alpha is composited over white, unless it is 0 everywhere: then it is ignored. 16-bit values are scaled from their
    full range. For floats and 32-bit integers the largest value determines the range: floats up to 1 are in [0, 1],
    floats and integers up to 255 in [0, 255], and larger ones in [0, 65535].

    Args:
        image: any mode.
        stretch: scale 16-bit, 32-bit and float values from the 0.5th to the 99.5th percentile of the image instead;
            NaN becomes black.
        is_wide: whether the file has 16 bits per color, of which Pillow keeps 8.

    Returns:
        The same object if the image is plain RGB, else a new image; and one note per conversion.

    Raises:
        ImageError: the image cannot be decoded, or values are negative, NaN, infinite or above 65535.
    """
    try:
        rgb, notes = _convert(image, stretch)
        return _stretch_colors(rgb, notes, stretch) if is_wide and not _is_numbers(image) else (rgb, notes)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # Pillow and its decoders raise anything
        raise ImageError(f"cannot be converted from {image.mode} to RGB: {_one_line(error)}") from error


def array_to_rgb(values: NDArray[Any], *, stretch: bool = False) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Convert an array from a Python user to 8-bit RGB.

    The dtype decides what the values mean: uint8 is 0 to 255, uint16 is 0 to 65535, floats are 0 to 1, and False and
    True are black and white. Other integers must be 0 to 255. What could mean two things is refused.

    Args:
        values: (H, W), or (H, W, C) with 1 (gray), 2 (gray and alpha), 3 (RGB) or 4 (RGBA) channels.
        stretch: scale numbers of more than 8 bits, whatever they mean, as `to_rgb` does; alpha is left out then.

    Returns:
        (H, W, 3) uint8, contiguous, the same array if it already is; and one note per conversion.

    Raises:
        ImageError: the array has another shape or dtype, or values outside of its range.
    """
    channels = _count_channels(values)
    if stretch and values.dtype != np.uint8 and values.dtype.kind in "uif":
        if channels in _CHANNELS_WITH_ALPHA:
            values, channels = values[..., :-1], channels - 1
        eight_bits, note = _stretch(values)
        notes: tuple[str, ...] = (note,)
    else:
        eight_bits, notes = _array_to_8_bits(values)
        if values.dtype.kind in "uf" and values.dtype != np.uint8:
            notes = (*notes, *_notes_on_contrast(eight_bits))
    if channels in _CHANNELS_WITH_ALPHA:
        image, alpha_notes = to_rgb(Image.fromarray(np.ascontiguousarray(eight_bits)))
        return np.array(image), (*notes, *alpha_notes)
    if channels == 1:
        eight_bits = eight_bits.reshape(*eight_bits.shape[:2], 1).repeat(3, axis=2)
    return np.ascontiguousarray(eight_bits), notes


def numbers_to_rgb(values: NDArray[Any], *, stretch: bool = False) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Convert the numbers of a file, of any type, to 8-bit RGB by the rules of `to_rgb`.

    Args:
        values: (H, W), (H, W, 3), or (H, W, 4) with alpha: 8-bit, 16-bit or 32-bit integers, or floats.
        stretch: see `to_rgb`; alpha is left out then.

    Raises:
        ImageError: values are negative, NaN, infinite or above 65535.
    """
    has_alpha = values.ndim == 3 and values.shape[2] in _CHANNELS_WITH_ALPHA
    what = "RGB" if values.ndim == 3 else "gray"
    colors = values[..., :-1] if has_alpha else values
    notes: tuple[str, ...] = ()
    if stretch and values.dtype != np.uint8:
        eight_bits, note = _stretch(colors)
        notes = (note,)
    elif values.dtype == np.uint8:
        eight_bits = values
    elif values.dtype == np.uint16:
        eight_bits = _wide_to_8_bits(values)
        notes = (
            f"16-bit {what} scaled to 8 bits",
            *_notes_on_contrast(eight_bits[..., :-1] if has_alpha else eight_bits),
        )
    else:
        is_exact = values.dtype.itemsize <= 4 and values.dtype.kind == "f"
        eight_bits, note = _scale_floats(colors.astype(np.float32 if is_exact else np.float64), what)
        notes = (note, *_notes_on_contrast(eight_bits))
    if has_alpha and eight_bits.shape == values.shape:
        image, alpha_notes = to_rgb(Image.fromarray(np.ascontiguousarray(eight_bits)))
        return np.array(image), (*notes, *alpha_notes)
    if has_alpha:
        notes = (*notes, "alpha is ignored")
    if eight_bits.ndim == 2:
        eight_bits = eight_bits[..., np.newaxis].repeat(3, axis=2)
    return np.ascontiguousarray(eight_bits), notes


def to_rgb_array(image: Image.Image | NDArray[Any], layout: str | None = None) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Convert an image to an RGB array in its own range; an RGB array is returned unchanged.

    Args:
        image: a PIL image; or (H, W, C), (C, H, W) or (H, W) integers or floats, with 1 to 4 channels.
        layout: position of the channels of an array; None infers it from the shape.

    Returns:
        (H, W, 3), and one note per conversion. The dtype is uint8 in [0, 255] for PIL images and uint16 values above
        255; float32 in [0, 1] for fractions with alpha, uint8 for other values with alpha; else that of the array.

    Raises:
        ImageError: the PIL image cannot be decoded or converted.
        ValueError: the array is not an image.
    """
    if isinstance(image, Image.Image):
        return _image_to_array(image)
    values = _to_channels_last(image, layout)
    notes = []
    if values.dtype == np.uint16 and int(values.max()) > _MAX_8:
        values = _wide_to_8_bits(values)
        notes.append("16-bit values scaled to 8 bits")
    if values.shape[2] in _CHANNELS_WITH_ALPHA:
        values = _composite_array_over_white(values)
        notes.append("alpha composited over white")
    elif values.shape[2] == 1:
        values = values.repeat(3, axis=2)
        notes.append("gray converted to RGB")
    return values, tuple(notes)


def is_unit_range(values: NDArray[Any]) -> bool:
    """Return whether values of another dtype than uint8 are all in [0, 1]."""
    return values.dtype != np.uint8 and bool(values.min() >= 0) and bool(values.max() <= 1)


def to_8_bits(values: NDArray[Any]) -> tuple[NDArray[np.uint8], bool]:
    """Convert values to uint8 as the reference does, which truncates instead of rounding.

    Returns:
        uint8 of the same shape, and whether the values were fractions in [0, 1].

    Raises:
        ValueError: the values are neither whole numbers in [0, 255] nor all in [0, 1].
    """
    if values.dtype == np.uint8:
        return values, False
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(low + high) or low < 0 or high > _MAX_8:
        raise ValueError(f"values range from {low:g} to {high:g}; must be in [0, 255] or in [0, 1]")
    if np.allclose(values, values.astype(np.int64)):
        return values.astype(np.uint8), False
    if high > 1:
        raise ValueError(f"values are fractions from {low:g} to {high:g}; round them, or scale them to [0, 1]")
    return (values.astype(np.float64) * _MAX_8).astype(np.float32).astype(np.uint8), True


def to_unit_range(values: NDArray[Any]) -> NDArray[np.float32]:
    """Multiply values in [0, 255] by 1/255 in float64, and round once to float32 in [0, 1]."""
    return (values.astype(np.float64) * (1 / _MAX_8)).astype(np.float32)


def _convert(image: Image.Image, stretch: bool) -> tuple[Image.Image, tuple[str, ...]]:
    image.load()
    if _is_numbers(image):
        return _convert_numbers(image, stretch)
    if image.has_transparency_data:
        return _composite_over_white(image)
    if image.mode == "RGB":
        return image, ()
    notes = (f"{image.mode} converted to RGB without a color profile",) if image.mode in _COLOR_SPACES else ()
    return image.convert("RGB"), notes


def _composite_over_white(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    alpha = rgba.getchannel("A")
    if alpha.getextrema() == (_MAX_8, _MAX_8):
        return rgba.convert("RGB"), ()
    if alpha.getextrema() == (0, 0):  # nothing but white would be left
        return rgba.convert("RGB"), ("alpha is 0 everywhere, so it is ignored",)
    rgb = Image.new("RGB", rgba.size, _WHITE)
    rgb.paste(rgba, mask=alpha)
    return rgb, ("alpha composited over white",)


def _is_numbers(image: Image.Image) -> bool:
    return image.mode in _WIDE_INTEGER_MODES or image.mode in {"I", "F"}


def _convert_numbers(image: Image.Image, stretch: bool) -> tuple[Image.Image, tuple[str, ...]]:
    values = np.asarray(image)
    if stretch:
        gray, note = _stretch(values)
    elif image.mode in _WIDE_INTEGER_MODES:
        gray, note = _wide_to_8_bits(values), "16-bit gray scaled to 8 bits"
    elif image.mode == "I":
        gray, note = _scale_integers(values, sixteen_bit=image.format in _SIXTEEN_BIT_FORMATS)
    else:
        gray, note = _scale_floats(values)
    notes = [note]
    if not stretch:
        notes += _notes_on_contrast(gray)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int) and (values == transparent).any():
        gray[values == transparent] = _MAX_8
        notes.append("alpha composited over white")
    return Image.fromarray(gray).convert("RGB"), tuple(notes)


def _scale_integers(values: NDArray[Any], *, sixteen_bit: bool) -> tuple[NDArray[np.uint8], str]:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > _MAX_16:
        raise _unusable_range("integer", low, high)
    if high <= _MAX_8 and not sixteen_bit:
        return values.astype(np.uint8), "32-bit gray taken as 0 to 255"
    return _wide_to_8_bits(values), "16-bit gray scaled to 8 bits"


def _scale_floats(values: NDArray[Any], what: str = "gray") -> tuple[NDArray[np.uint8], str]:
    if not np.isfinite(values).all():
        hint = f"use finite values from 0 to {_MAX_8}, or set `stretch`, which shows them black"
        raise ImageError("float values are NaN or infinite", hint=hint)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > _MAX_16:
        raise _unusable_range("float", low, high)
    full = 1 if high <= 1 else _MAX_8 if high <= _MAX_8 else _MAX_16
    return np.rint(values * (_MAX_8 / full)).astype(np.uint8), f"float {what} taken as 0 to {full}"


def _unusable_range(kind: str, low: float, high: float) -> ImageError:
    return ImageError(
        f"{kind} values range from {low:g} to {high:g}, outside of 0 to {_MAX_16}",
        hint=f"scale them to 0 to {_MAX_8} first, or set `stretch`",
    )


def _stretch(values: NDArray[Any]) -> tuple[NDArray[np.uint8], str]:
    """Scale numbers from the range that most of them are in to [0, 255]; NaN and infinite ones are left out of it."""
    low, high = _spread(values)
    if not np.isfinite(low + high):
        raise ImageError("float values are NaN or infinite")
    scaled = (values.astype(np.float64) - low) * (_MAX_8 / ((high - low) or 1))
    gray = np.rint(np.nan_to_num(scaled, posinf=_MAX_8, neginf=0).clip(0, _MAX_8)).astype(np.uint8)
    return gray, f"values from {low:g} to {high:g} stretched to 8 bits"


def _stretch_colors(rgb: Image.Image, notes: tuple[str, ...], stretch: bool) -> tuple[Image.Image, tuple[str, ...]]:
    """Stretch the colors of a file with 16 bits, or note that they need it."""
    values = np.asarray(rgb)
    if not stretch:
        return rgb, (*notes, *_notes_on_contrast(values))
    stretched, note = _stretch(values)
    return Image.fromarray(stretched), (*notes, note)


def _notes_on_contrast(values: NDArray[np.uint8]) -> list[str]:
    """Return a note if an image uses so little of [0, 255] that the network sees next to nothing."""
    low, high = _spread(values)
    fraction = (high - low) / _MAX_8
    if not 0 < fraction <= _LOW_CONTRAST:
        return []
    used = f"{100 * fraction:.2g} %"
    return [f"only {used} of the value range is used, so the network sees little; `stretch` uses all of it"]


def _spread(values: NDArray[Any]) -> tuple[float, float]:
    """Return the range that most numbers of an image are in; that of all if most are equal, NaN if none is finite."""
    step = max(1, int((values.size / _SAMPLED_PIXELS) ** 0.5))
    sample = values[::step, ::step]
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return float("nan"), float("nan")
    low, high = (float(value) for value in np.percentile(sample, _STRETCHED_PERCENTILES))
    return (low, high) if low < high else (float(sample.min()), float(sample.max()))


# Arrays


def _count_channels(values: NDArray[Any]) -> int:
    """Return the number of channels of an array that may be an image.

    Raises:
        ImageError: its shape is not that of an image.
    """
    shape, channel_counts = values.shape, _CHANNELS_WITHOUT_ALPHA | _CHANNELS_WITH_ALPHA
    if values.dtype.kind not in "buif":
        several = "; pass several images as a list" if values.dtype.kind == "O" else ""
        raise ImageError(
            f"an array of dtype {values.dtype} is not an image", hint=f"use uint8, uint16 or float32{several}"
        )
    if values.size == 0:
        raise ImageError(f"an array of shape {shape} has no pixels")
    if len(shape) == 2:
        return 1
    if len(shape) == 3 and shape[2] in channel_counts:
        return int(shape[2])
    hint = "expected (height, width), or (height, width, channels) with 1 to 4 channels"
    if len(shape) == 3 and shape[0] in channel_counts:
        hint = "its channels come first: use array.transpose(1, 2, 0)"
    elif len(shape) == 4:
        hint = "use array[0]" if shape[0] == 1 else "pass several images as a list: list(array)"
    raise ImageError(f"an array of shape {shape} is not an image", hint=hint)


def _array_to_8_bits(values: NDArray[Any]) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Scale values to 8 bits by their dtype; see `array_to_rgb`."""
    if values.dtype == np.uint8:
        return values, ()
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * np.uint8(_MAX_8), ()
    if values.dtype.kind == "f":
        return _unit_floats_to_8_bits(values), ("float values taken as 0 to 1",)
    low, high = int(values.min()), int(values.max())
    if values.dtype == np.uint16:
        if 0 < high <= _MAX_8:
            raise ImageError(
                f"uint16 values up to {high} may be 8-bit or very dark 16-bit values",
                hint="use array.astype(np.uint8) for 8-bit values, or array * 257",
            )
        return _wide_to_8_bits(values), ("16-bit values scaled to 8 bits",)
    if low < 0 or high > _MAX_8:
        raise ImageError(
            f"{values.dtype} values range from {low} to {high}, outside of 0 to {_MAX_8}",
            hint="use array.astype(np.uint16) if they are 16-bit values, from 0 to 65535",
        )
    return values.astype(np.uint8), ()


def _unit_floats_to_8_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    if not np.isfinite(values).all():
        raise ImageError("float values are NaN or infinite", hint="use finite values from 0 to 1")
    low, high = float(values.min()), float(values.max())
    if low < -_UNIT_TOLERANCE or high > 1 + _UNIT_TOLERANCE:
        eight_bits = low >= 0 and high <= _MAX_8
        hint = "use array / 255, or array.astype(np.uint8)" if eight_bits else "undo their normalization first"
        raise ImageError(f"float values range from {low:g} to {high:g}, outside of 0 to 1", hint=hint)
    scaled = np.multiply(values, _MAX_8, dtype=np.float32)
    rounded: NDArray[np.uint8] = np.rint(scaled, out=scaled).clip(0, _MAX_8, out=scaled).astype(np.uint8)
    return rounded


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _image_to_array(image: Image.Image) -> tuple[NDArray[Any], tuple[str, ...]]:
    mode = image.mode
    try:
        image.load()
    except Exception as error:  # Pillow's decoders raise anything
        raise ImageError(f"the {image.format or mode} image cannot be decoded: {_one_line(error)}") from error
    if mode == "RGB":  # not `to_rgb`, because the reference ignores a transparent color of RGB images
        return np.array(image), ()
    rgb, notes = to_rgb(image)
    return np.array(rgb), notes or (f"mode {mode} converted to RGB",)


def _to_channels_last(array: NDArray[Any], layout: str | None) -> NDArray[Any]:
    if array.dtype.kind not in "buif":
        raise ValueError(f"an array of dtype {array.dtype} is not an image; expected integers or floats")
    if array.size == 0:
        raise ValueError(f"an array of shape {array.shape} has no pixels")
    if array.ndim == 2 and layout in {None, NONE}:
        return array[:, :, None]
    if array.ndim != 3 or layout == NONE:
        expected = "(H, W)" if layout == NONE else "(H, W, C) or (C, H, W), with a leading batch axis for several"
        raise ValueError(f"an array of shape {array.shape} is not an image; expected {expected}")
    layout = layout or _find_channels(array.shape)
    values = array.transpose(1, 2, 0) if layout == FIRST else array
    if values.shape[2] > max(_CHANNELS_WITH_ALPHA):
        raise ValueError(f"input_data_format={layout!r} means {values.shape[2]} channels for shape {array.shape}")
    return values


def _find_channels(shape: tuple[int, ...]) -> str:
    """Infer the channel axis as the reference does, first or last; if it finds none, look for alpha too."""
    for channel_counts in (_CHANNELS_WITHOUT_ALPHA, _CHANNELS_WITH_ALPHA):
        first, last = shape[0] in channel_counts, shape[2] in channel_counts
        if first and last and channel_counts is _CHANNELS_WITH_ALPHA:
            raise ValueError(f"shape {shape} may be channels first or last; pass input_data_format")
        if first or last:
            return FIRST if first else LAST
    raise ValueError(f"shape {shape} has no channel axis; expected (H, W, 3) or (3, H, W)")


def _composite_array_over_white(values: NDArray[Any]) -> NDArray[Any]:
    """Composite (H, W, 2 or 4) over white, which is 1 if the values are fractions in [0, 1], else 255."""
    eight_bits, was_unit_range = to_8_bits(values)
    image, _ = to_rgb(Image.fromarray(np.ascontiguousarray(eight_bits)))
    rgb = np.array(image)
    return to_unit_range(rgb) if was_unit_range else rgb


def _wide_to_8_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale integers in [0, 65535] to [0, 255] with rounding; 65535 / 255 is exactly 257."""
    return ((values.astype(np.uint32) + _STEP_16 // 2) // _STEP_16).astype(np.uint8)
