"""Which images there are, where they come from, and how many are in work at once."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["MAX_LIST_BYTES", "MAX_STREAM_BYTES", "BatchSettings", "FetchSettings", "SearchSettings"]

MAX_LIST_BYTES = 2**28
"""More than this is no list of images."""


MAX_STREAM_BYTES = 2**31
"""More than this from a pipe is no image within the limit of pixels."""


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """Which images are found in the folders that a user names.

    Attributes:
        recursive: also those of the folders below.
        include: patterns; if there are any, only what matches one.
        exclude: patterns; what matches one is left out.
        hidden: also hidden files and folders.
        allow_url: also fetch images from http(s) addresses.
    """

    recursive: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    hidden: bool = False
    allow_url: bool = False


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """How much patience an image from the network gets.

    Attributes:
        max_bytes: more than this is not fetched.
        timeout_s: for one image, from the first connection to the last byte, redirects included.
        silence_timeout_s: a server that says nothing for so long is given up.
        max_redirects: more than this in a row are a loop.
    """

    max_bytes: int = 256 * 2**20
    timeout_s: float = 60.0
    silence_timeout_s: float = 10.0
    max_redirects: int = 5


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """How much of a batch happens at once.

    Attributes:
        batch_size: images of one size that the network sees at once; None is as many as a GPU has memory for, and
            one on a CPU.
        workers: threads that read images, and as many that write depth.
    """

    batch_size: int | None = None
    workers: int = 4

    @classmethod
    def of(cls, *, batch_size: int | None, workers: int | None) -> BatchSettings:
        """Fill in what the user left open; no more workers than cores."""
        return cls(batch_size, workers or min(cls().workers, os.cpu_count() or 1))
