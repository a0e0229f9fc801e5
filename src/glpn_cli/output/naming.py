"""Names of depth files: the name for an image among its siblings, and how to recognize such names."""

from __future__ import annotations

import unicodedata
from functools import cache
from pathlib import PurePath
from typing import TYPE_CHECKING

from glpn_cli.output.formats import FORMATS, canonical_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from glpn_cli.output.formats import DepthFormat


class SiblingNames:
    """The names of all images in one folder, from which the names of their depth files follow.

    The depth file is named after the stem of the image (`a` for `a.jpg`). If another image in the folder has the same
    stem, it is named after the whole name, so that no two images get the same file. Names that differ only in case or
    in Unicode normalization count as equal, because they are equal on some file systems.
    """

    def __init__(self, names: Iterable[str], *, is_output: Callable[[str], bool]) -> None:
        """Store the names.

        Args:
            names: of the files in the folder that may be images.
            is_output: returns whether a name belongs to a depth file, which does not count as an image. It may be slow:
                it is called only for names that conflict.
        """
        self._is_output = is_output
        names = list(dict.fromkeys(names))
        stems: set[int] = set()  # hashes, which take a third of the memory
        contested: set[int] = set()
        for name in names:
            stem = hash(_normalize(PurePath(name).stem))
            (contested if stem in stems else stems).add(stem)
        # The whole name is a claim, too: beside a.jpg and a.png, the image a.jpg.png must not be called a.jpg.
        contested.update(claim for claim in (hash(_normalize(name)) for name in names) if claim in stems)
        self._claims: dict[str, set[str]] = {}
        for name in names if contested else ():
            for claim in {_normalize(PurePath(name).stem), _normalize(name)}:
                if hash(claim) in contested:
                    self._claims.setdefault(claim, set()).add(name)

    def output_name(self, image_name: str, depth_format: DepthFormat) -> str:
        """Return the name of the depth file of an image, such as `a.depth.png` for `a.jpg`."""
        stem = PurePath(image_name).stem
        others = self._claims.get(_normalize(stem), set()) - {image_name} if self._claims else ()
        is_unique = all(self._is_output(other) for other in others)
        return (stem if is_unique else image_name) + depth_format.ending


def has_output_ending(name: str) -> bool:
    """Return whether a file name has an ending that only depth files have."""
    return canonical_name(name).endswith(_endings())


def may_be_output(name: str) -> bool:
    """Return whether a depth file could have this name; only its contents can tell whether it is one."""
    canonical = canonical_name(name)
    dot = canonical.rfind(".")
    return dot > 0 and canonical[dot:] in _suffixes()


@cache
def _endings() -> tuple[str, ...]:
    return tuple(row.ending for row in FORMATS.values())


@cache
def _suffixes() -> frozenset[str]:
    return frozenset(row.suffix for row in FORMATS.values())


def _normalize(name: str) -> str:
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()
