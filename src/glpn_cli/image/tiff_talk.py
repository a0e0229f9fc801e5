"""What libtiff and Pillow print by themselves of damaged TIFFs, switched off: what is wrong, our error says."""

from __future__ import annotations

import ctypes
import logging
from functools import cache

__all__ = ["silence_tiff"]


@cache
def silence_tiff() -> None:
    """Take away the function with which libtiff prints errors; Pillow has taken away the one for warnings.

    Where libtiff cannot be reached through Pillow, as on Windows, it goes on printing.
    """
    from PIL import _imaging

    # Without any handler, Python prints what is logged as an error; a handler that somebody set up still gets it.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    try:
        set_handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler  # found in the libraries that it loaded
    except (AttributeError, OSError):
        return
    set_handler.argtypes = [ctypes.c_void_p]
    set_handler.restype = ctypes.c_void_p
    set_handler(None)
