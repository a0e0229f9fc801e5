"""Coverage-guided fuzzing of the image reader: `make fuzz`.

Every input must become an image within the limit of pixels, or an ImageError with a message of one line. Coverage
includes our code and Pillow's Python code, but not its decoders in C. The arguments are those of libFuzzer.
"""

from __future__ import annotations

import sys

import atheris
from suffixes import suffix_of

with atheris.instrument_imports(include=["PIL", "glpn_cli.image"]):
    from PIL import Image

    Image.init()
    from glpn_cli.errors import ImageError
    from glpn_cli.image.reading import read_image

MAX_PIXELS = 2**20


def read_one(data: bytes) -> None:
    """Read an input of the fuzzer; its first byte selects the suffix of the file name."""
    if not data:
        return
    name = "a" + suffix_of(data[0])
    try:
        image = read_image(data[1:], name=name, max_pixels=MAX_PIXELS)
    except ImageError as error:
        if "\n" in error.message or not error.message.startswith(f"{name}: "):
            raise AssertionError(error.message) from error
    else:
        height, width, channels = image.rgb.shape
        if channels != 3 or not 0 < height * width <= MAX_PIXELS:
            raise AssertionError(image.rgb.shape)


if __name__ == "__main__":
    atheris.Setup(sys.argv, read_one)
    atheris.Fuzz()
