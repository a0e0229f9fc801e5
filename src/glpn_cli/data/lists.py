"""Lists of samples: an image and its depth in each line, as the authors and others write them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glpn_cli.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["ListedPair", "find_listed", "read_list"]

_NO_DEPTH = "none"


@dataclass(frozen=True, slots=True)
class ListedPair:
    """One line of a list.

    Attributes:
        image: a path as it is written, without a slash in front.
        depth: likewise, or None where the line says that there is none.
    """

    image: str
    depth: str | None


def read_list(path: str | os.PathLike[str]) -> list[ListedPair]:
    """Read a list of samples.

    A line is an image and a depth file, with tabs between them or else spaces; what follows (some lists have a
    focal length there) is ignored, as are empty lines and those that begin with #. Paths may begin with a slash, as
    in the authors' lists, and are below the root of the data all the same. "None" stands for depth that is not there.

    Raises:
        InputError: it cannot be read, a line holds no pair, or no line does.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            lines = stream.read().splitlines()
    except (OSError, ValueError) as error:  # ValueError: bytes that are no UTF-8
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(f"{path}: cannot be read: {reason or error}") from error
    pairs = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        fields = [field.strip() for field in line.split("\t")] if "\t" in line else line.split()
        if len(fields) < 2 or not (fields[0] and fields[1]):
            raise InputError(f"{path}: line {number} is no pair of an image and its depth")
        depth = None if fields[1].lower() == _NO_DEPTH else _relative(fields[1])
        pairs.append(ListedPair(_relative(fields[0]), depth))
    if not pairs:
        raise InputError(f"{path}: lists nothing")
    return pairs


def find_listed(relative: str, bases: Iterable[Path]) -> Path:
    """Find a listed file below the first of several folders that has it; below the first of all if none has."""
    candidates = [base / relative for base in bases]
    return next((candidate for candidate in candidates if os.path.exists(candidate)), candidates[0])


def _relative(written: str) -> str:
    return written.lstrip("/\\")
