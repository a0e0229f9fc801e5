"""A picture from a pipe."""

from __future__ import annotations

import sys

from glpn_cli.errors import PictureError, UsageError
from glpn_cli.settings.inputs import MAX_STREAM_BYTES

__all__ = ["check_stdin", "read_stdin"]


def check_stdin(command: str) -> None:
    """Refuse to wait for a picture where none can come from.

    Raises:
        UsageError: standard input is closed, or a person's keyboard.
    """
    if sys.stdin is None:
        raise UsageError("standard input is closed")
    if sys.stdin.isatty():
        raise UsageError("standard input is a terminal", hint=f"pipe a picture in: cat photo.jpg | glpn {command} -")


def read_stdin() -> bytes:
    """Read all of standard input.

    Raises:
        PictureError: it is longer than any picture.
    """
    data = sys.stdin.buffer.read(MAX_STREAM_BYTES + 1)
    if len(data) > MAX_STREAM_BYTES:
        raise PictureError(f"standard input: more than {MAX_STREAM_BYTES} bytes, which no picture needs")
    return data
