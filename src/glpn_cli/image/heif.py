"""HEIC images, as phones take them: read by an optional package, and only when there is one to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

from glpn_cli.errors import MissingPackageError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["open_heif"]


def open_heif(stream: BinaryIO) -> Image.Image:
    """Open a HEIC image; it is turned upright by being decoded, whatever its EXIF says, as its format wants it.

    The package is not made a part of Pillow, so that the program around us reads what it always read.

    Raises:
        MissingPackageError: the package is not installed.
        Exception: whatever the package thinks of a broken file.
    """
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise MissingPackageError(
            "a HEIC image, and the package that reads them is not installed",
            hint="pip install pillow-heif; or convert it to JPEG first",
        ) from error
    opener: Any = HeifImageFile
    image: Image.Image = opener(stream, "")
    return image
