"""The size of a WebP image from its header, because its decoder takes the memory for it as soon as it is opened."""

from __future__ import annotations

__all__ = ["webp_size"]

_SIDE_BITS = 14


def webp_size(head: bytes) -> tuple[int, int] | None:
    """Read (height, width) in pixels from the first 30 bytes of a file; None if they do not say it.

    Source: RFC 9649, section 2.
    """
    side = (1 << _SIDE_BITS) - 1
    kind = head[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        width, height = (bits & side) + 1, ((bits >> _SIDE_BITS) & side) + 1
    elif kind == b"VP8 ":
        width, height = (int.from_bytes(head[at : at + 2], "little") & side for at in (26, 28))
    else:
        return None
    return height, width
