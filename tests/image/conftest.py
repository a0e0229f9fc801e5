from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Encode = Callable[..., bytes]


@pytest.fixture(scope="session")
def photo() -> NDArray[np.uint8]:
    """An RGB array (97, 131, 3) uint8, smooth with some noise."""
    rows, columns = np.mgrid[0:97, 0:131]
    smooth = np.stack([rows * 2, columns * 1.9, 255 - rows - columns], axis=-1)
    noise = np.random.default_rng(7).normal(0, 9, smooth.shape)
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def encode() -> Encode:
    """Encode a PIL image or an array as a file, with an EXIF orientation if there is one."""

    def encoded(image: Any, format_name: str, *, orientation: int | None = None, **options: Any) -> bytes:
        stream = io.BytesIO()
        if orientation is not None:
            exif = Image.Exif()
            exif[0x0112] = orientation
            options["exif"] = exif.tobytes()
        pil_image = image if isinstance(image, Image.Image) else Image.fromarray(image)
        if format_name == "HEIF":
            pillow_heif.from_pillow(pil_image).save(stream, **options)
        else:
            pil_image.save(stream, format_name, **options)
        return stream.getvalue()

    return encoded
