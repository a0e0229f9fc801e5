"""What the depth files of an image are called, judged from the folder that the image lies in."""

from __future__ import annotations

import unicodedata
from pathlib import PurePath
from typing import TYPE_CHECKING

from glpn_cli.output.formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from glpn_cli.output.formats import DepthFormat


class SiblingNames:
    """The names of all images of one folder, and so what each one's depth is to be called.

    An image is known by its stem (`a` for `a.jpg`) where no other image there has it, and by its whole name where
    one does, so that no two images of a folder can ask for the same file. Names that differ only in case or in
    Unicode form count as the same, because on some file systems they are.
    """

    def __init__(self, names: Iterable[str], *, is_output: Callable[[str], bool]) -> None:
        """Take the names of the files in the folder that may be images.

        Args:
            names: file names.
            is_output: tells whether a name belongs to a depth file, which is no image's rival. It may be slow and
                is asked only about names that clash.
        """
        self._is_output = is_output
        self._taken: dict[str, set[str]] = {}
        for name in names:
            # The whole name is a claim too: beside a.jpg and a.png, an image a.jpg.png may not be called a.jpg.
            for claim in (PurePath(name).stem, name):
                self._taken.setdefault(_folded(claim), set()).add(name)

    def output_name(self, image_name: str, depth_format: DepthFormat) -> str:
        """Give the file name of an image's depth, such as `a.depth.png` for `a.jpg`."""
        stem = PurePath(image_name).stem
        rivals = self._taken.get(_folded(stem), set()) - {image_name}
        alone = all(self._is_output(rival) for rival in rivals)
        return (stem if alone else image_name) + depth_format.ending


def ends_like_an_output(name: str) -> bool:
    """Tell whether a file name is one that this program gives to depth files, and nobody gives to images."""
    return name.lower().endswith(tuple(row.ending for row in FORMATS.values() if row.ending_is_proof))


def may_be_an_output(name: str) -> bool:
    """Tell whether a depth file might have this name; only its contents say whether it is one."""
    return PurePath(name).suffix.lower() in {row.suffix for row in FORMATS.values()}


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
