"""Reading what may be endless."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ["read_bounded"]

_CHUNK_BYTES = 2**20


def read_bounded(stream: BinaryIO, limit: int) -> bytes | None:
    """Read a stream to its end, in pieces: asked for its limit at once, Python sets that much memory aside.

    Args:
        stream: from where it is.
        limit: how many bytes it may have.

    Returns:
        None if it has more.

    Raises:
        OSError: it cannot be read.
    """
    data = bytearray()
    while chunk := stream.read(min(_CHUNK_BYTES, limit + 1 - len(data))):
        data += chunk
        if len(data) > limit:
            return None
    return bytes(data)
