"""How often a JPEG goes over its pixels, counted without decoding it.

Each scan of a progressive JPEG costs the decoder a pass over all pixels and the file a dozen bytes, so a file of one
megabyte can keep a decoder busy for hours. Cameras and optimizers use about ten scans.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ["MAX_SCANS", "has_too_many_scans"]

MAX_SCANS = 100
"""More scans than any encoder makes."""

_CHUNK_BYTES = 2**16
_END_OF_IMAGE, _START_OF_SCAN = 0xD9, 0xDA
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
# In the pixels' data, 0xff before 0x00, a restart marker or another 0xff begins nothing.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)


def has_too_many_scans(stream: BinaryIO) -> bool:
    """Tell whether a JPEG has more than `MAX_SCANS` scans; what stands behind its end does not count.

    Args:
        stream: from its beginning; it is left anywhere.

    Source: ITU-T T.81, annex B.
    """
    scans = 0
    stream.seek(2)
    after_scan = False
    # A segment follows the one before at once; only behind the pixels of a scan the next has to be looked for.
    while (marker := _next_marker(stream, _CHUNK_BYTES if after_scan else 2)) not in (None, _END_OF_IMAGE):
        after_scan = marker == _START_OF_SCAN
        if after_scan:
            scans += 1
            if scans > MAX_SCANS:
                return True
        elif marker not in _WITHOUT_LENGTH:
            length = int.from_bytes(stream.read(2), "big")
            stream.seek(max(0, length - 2), 1)
    return False


def _next_marker(stream: BinaryIO, first_bytes: int) -> int | None:
    """Go behind the next marker and give its code; None if there is none. Reads few bytes first, then more."""
    position = stream.tell()
    size = first_bytes
    while chunk := stream.read(size):
        size = min(_CHUNK_BYTES, 32 * size)
        found = _MARKER.search(chunk)
        if found is not None:
            stream.seek(position + found.end())
            return chunk[found.end() - 1]
        if len(chunk) == 1:
            return None
        position += len(chunk) - 1  # the last byte may begin a marker
        stream.seek(position)
    return None
