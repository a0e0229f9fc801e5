"""Lists of images: one path on each line, or NUL characters between them."""

from __future__ import annotations

import codecs
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glpn_cli.errors import InputError
from glpn_cli.image.bounded import read_bounded
from glpn_cli.settings.inputs import MAX_LIST_BYTES

if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ["ImageList", "parse_list", "read_list"]

_IMAGES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
"""What the usual images begin with, and no list does: the slip would bring thousands of errors."""


@dataclass(frozen=True, slots=True)
class ImageList:
    """A list of images.

    Attributes:
        entries: paths or addresses as they stand there; relative ones count from the current folder.
        folder: where the list lies, or None if it came from standard input.
    """

    entries: tuple[str, ...]
    folder: str | None = None


def read_list(source: str | BinaryIO) -> ImageList:
    """Read a list of images; see `parse_list`.

    Args:
        source: a path, or a stream of bytes such as standard input.

    Raises:
        InputError: it cannot be read, is endless, an image itself, or names nothing.
    """
    name = source if isinstance(source, str) else "the list on standard input"
    try:
        if isinstance(source, str):
            with open(source, "rb") as stream:
                data = read_bounded(stream, MAX_LIST_BYTES)
        else:
            data = read_bounded(source, MAX_LIST_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"{name}: cannot be read as a list: {getattr(error, 'strerror', None) or error}") from error
    if data is None:
        raise InputError(f"{name}: endless, or longer than {MAX_LIST_BYTES >> 20} MiB")
    if data.startswith(_IMAGES) or data[4:8] == b"ftyp":
        raise InputError(f"{name}: is an image, not a list of images", hint="name it without --from-list")
    entries = parse_list(data)
    if not entries:
        raise InputError(f"{name}: names no images")
    return ImageList(tuple(entries), os.path.dirname(source) if isinstance(source, str) else None)


def parse_list(data: bytes) -> list[str]:
    """Split a list into its entries.

    If there is a NUL, entries end with NULs and hold anything else (`find -print0`). Otherwise each line is one,
    and empty lines are none. Nothing else has a meaning: no comments, no quotes, no patterns; blanks are part of a
    name. UTF-16 with its mark, as PowerShell writes it, is understood; other bytes are names as the system has them.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = data.decode("utf-16", errors="replace")
    else:
        text = os.fsdecode(data.removeprefix(codecs.BOM_UTF8))
    if "\0" in text:
        return [entry for entry in text.split("\0") if entry]
    return [line for line in (line.removesuffix("\r") for line in text.split("\n")) if line]
