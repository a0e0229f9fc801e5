"""libtiff's own lines on standard error, switched off: what is wrong with a picture, its error says."""

from __future__ import annotations

import ctypes
from functools import cache

__all__ = ["silence_libtiff"]


@cache
def silence_libtiff() -> None:
    """Take away the function with which libtiff prints errors; Pillow has taken away the one for warnings.

    Where libtiff cannot be reached through Pillow, as on Windows, it goes on printing.
    """
    from PIL import Image

    try:
        set_handler = ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler  # found in the libraries that it loaded
    except (AttributeError, OSError):
        return
    set_handler.argtypes = [ctypes.c_void_p]
    set_handler.restype = ctypes.c_void_p
    set_handler(None)
