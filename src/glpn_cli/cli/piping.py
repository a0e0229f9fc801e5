"""An image from a pipe."""

from __future__ import annotations

import sys

from glpn_cli.errors import ImageError, UsageError
from glpn_cli.files import read_bounded
from glpn_cli.settings import MAX_STREAM_BYTES


def check_stdin(command: str) -> None:
    """Refuse to wait for an image where none can come from.

    Raises:
        UsageError: standard input is closed, or a person's keyboard.
    """
    if sys.stdin is None:
        raise UsageError("standard input is closed")
    if sys.stdin.isatty():
        raise UsageError("standard input is a terminal", hint=f"pipe an image in: cat photo.jpg | glpn {command} -")


def read_stdin() -> bytes:
    """Read all of standard input.

    Raises:
        ImageError: it is longer than any image, or cannot be read.
    """
    try:
        data = read_bounded(sys.stdin.buffer, MAX_STREAM_BYTES)
    except OSError as error:
        raise ImageError(f"standard input: cannot be read: {error.strerror or error}") from error
    if data is None:
        raise ImageError(f"standard input: more than {MAX_STREAM_BYTES} bytes, which no image needs")
    return data
