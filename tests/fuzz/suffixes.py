"""How a seed of the fuzzer says which suffix its file has: by its first byte, an index here. Append only."""

from __future__ import annotations

__all__ = ["suffix_of"]

_SUFFIXES = (
    "",
    ".jpg",
    ".mpo",
    ".png",
    ".webp",
    ".tif",
    ".bmp",
    ".gif",
    ".avif",
    ".ppm",
    ".jp2",
    ".qoi",
    ".dib",
    ".sgi",
    ".tga",
)


def suffix_of(number: int) -> str:
    """Give the suffix that a first byte stands for; none for the many bytes that stand for nothing."""
    return _SUFFIXES[number] if number < len(_SUFFIXES) else ""
