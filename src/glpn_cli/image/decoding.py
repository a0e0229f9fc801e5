"""Decode an opened PIL image to upright 8-bit RGB, within limits and with errors that say what is wrong."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from glpn_cli.errors import ImageError
from glpn_cli.image.exif import find_upright_transpose, read_focal, read_panorama

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from glpn_cli.image.exif import ExifFocal

MAX_SIDE_PX = 1_000_000
"""Longer images are refused: Pillow needs memory for each row, whatever its width."""

_PNG_TEXT_LIMIT = "MAX_TEXT_"  # in Pillow's messages

_TRUNCATED = re.compile(
    r"truncat|not enough|not large enough|incomplete|\beof\b|unexpected end|expected to read", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, eq=False)
class LoadedImage:
    """An image in memory.

    Attributes:
        rgb: (H, W, 3) uint8, in [0, 255], upright, contiguous.
        name: how messages call it, or None.
        format: Pillow's name of the file format, or None for an array.
        notes: one short line per conversion that the user may want to know about.
        focal: the focal length from EXIF, or None.
        panorama: the projection, such as "equirectangular", of an image that says it is a panorama; else None.
    """

    rgb: NDArray[np.uint8]
    name: str | None = None
    format: str | None = None
    notes: tuple[str, ...] = ()
    focal: ExifFocal | None = None
    panorama: str | None = None


def check_size(height: int, width: int, max_pixels: int) -> None:
    """Refuse an image that is too large.

    Raises:
        ImageError: it has more pixels than allowed, or a side is longer than `MAX_SIDE_PX`.
    """
    if height * width > max_pixels:
        raise ImageError(
            f"{height}x{width} pixels ({height * width:,}) exceed the limit of {max_pixels:,}",
            hint="resize it, or allow more with `max_pixels` if you trust the file (decoding needs much memory)",
        )
    if max(height, width) > MAX_SIDE_PX:
        raise ImageError(
            f"{height}x{width} pixels: a side exceeds the limit of {MAX_SIDE_PX:,}", hint="cut it into parts"
        )


def decode(image: Image.Image, max_pixels: int, stretch: bool) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Return an image as (H, W, 3) uint8, upright, and a note for each conversion.

    Raises:
        ImageError: it is damaged, too large, or of a mode without a meaning as color.
    """
    import numpy as np
    from PIL import Image

    from glpn_cli.image.conversion import to_rgb

    # Pillow reads 16 bits per color as 8; after decoding it does not tell.
    is_wide = any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))
    load_pixels(image, max_pixels)
    try:
        rgb, notes = to_rgb(image, stretch=stretch, is_wide=is_wide)
        transpose, orientation_notes = find_upright_transpose(image)
        if transpose is not None:
            rgb = rgb.transpose(Image.Transpose(transpose))
        return np.array(rgb), (*notes, *orientation_notes)
    except MemoryError as error:
        raise translate(error, image.format or "image") from error


def load_pixels(image: Image.Image, max_pixels: int) -> Image.Image:
    """Decode an image, after a look at its size."""
    if 0 in image.size:
        raise ImageError(f"{image.height}x{image.width}: has no pixels")
    check_size(image.height, image.width, max_pixels)
    try:
        _avoid_size_warning(image)
        image.load()
    except Exception as error:  # Pillow's decoders raise anything
        raise translate(error, image.format or "image") from error
    return image


def _avoid_size_warning(image: Image.Image) -> None:
    """Allocate the pixels of a large TIFF; if Pillow does it, it warns about the size."""
    from PIL import Image

    stored_size = getattr(image, "_tile_size", None)  # as in the file, before the orientation is applied
    limit = Image.MAX_IMAGE_PIXELS
    if stored_size is not None and limit is not None and image.width * image.height > limit:
        image.im = Image.new(image.mode, stored_size).im


def has_several_frames(image: Image.Image) -> bool:
    """Return whether an image has more frames or pages than the one that was read."""
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # noqa: BLE001 - a damaged frame follows the first one
        return True


def read_lens_early(image: Image.Image) -> tuple[ExifFocal | None, str | None]:
    """Read a TIFF's focal length and projection before decoding, after which Pillow has closed its file.

    Other formats are read after decoding, because some, such as PNG, may store metadata after the pixels.
    """
    return (read_focal(image), read_panorama(image)) if image.format == "TIFF" else (None, None)


def with_lens(loaded: LoadedImage, image: Image.Image, focal: ExifFocal | None, panorama: str | None) -> LoadedImage:
    """Return a loaded image with what its metadata says of the lens, and a note if it is a panorama."""
    panorama = panorama or read_panorama(image)
    notes = loaded.notes
    if panorama is not None:
        notes = (*notes, f"a panorama ({panorama}): depth is rough, because the weights expect an ordinary lens")
    return replace(loaded, notes=notes, focal=focal or read_focal(image), panorama=panorama)


class LargeTextError(ImageError):
    """Pillow refuses a PNG for its texts or its color profile."""


def translate(error: Exception, format_name: str) -> ImageError:
    """Return the error that says what a decoder's exception means."""
    from PIL.Image import DecompressionBombError

    # The text of a LookupError or TypeError is about Python code, not about the image.
    detail = "" if isinstance(error, LookupError | TypeError) else " ".join(str(error).split())
    if format_name == "PNG" and _PNG_TEXT_LIMIT in detail:
        return LargeTextError(detail)
    if isinstance(error, DecompressionBombError):
        translated = ImageError(f"too large to decode: {detail}", hint="resize it first")
    elif isinstance(error, MemoryError):
        translated = ImageError(f"not enough memory to decode this {format_name}", hint="resize it first")
    elif _ran_out_of_bytes(error) or _TRUNCATED.search(detail):
        translated = ImageError(f"a truncated {format_name}", hint="copy or download it again")
    else:
        what = f"a damaged or incomplete {format_name}"
        translated = ImageError(f"{what}: {detail}" if detail else what, hint="copy or download it again")
    translated.__cause__ = error
    return translated


def _ran_out_of_bytes(error: BaseException | None) -> bool:
    """Return whether a parser reached the end of the file, also in an error that caused this one."""
    return error is not None and (
        isinstance(error, EOFError | IndexError | struct.error) or _ran_out_of_bytes(error.__cause__)
    )
