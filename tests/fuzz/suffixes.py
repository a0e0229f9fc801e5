"""File suffixes by the first byte of a fuzzing input. Only append, because stored seeds use the indices."""

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
    """Return the suffix for a first byte; empty if the byte has none."""
    return _SUFFIXES[number] if number < len(_SUFFIXES) else ""
