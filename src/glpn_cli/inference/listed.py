"""The images of a list, and the place that each gets below a batch's output folder."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli.errors import ImageError
from glpn_cli.image.discovery import address_of, missing_listed
from glpn_cli.image.fetching import is_address
from glpn_cli.image.folder import walk_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from glpn_cli.image.discovery import ImageList, Source
    from glpn_cli.settings import SearchSettings


@dataclass(frozen=True, slots=True)
class PlacedImage:
    """An image of a list.

    Attributes:
        source: absolute path, its folder without links; or an address.
        place: relative path of the folder for its depth, without "..".
        failure: why there is no such image, or None.
    """

    source: Source
    place: Path
    failure: ImageError | None = None


def place_listed(
    listed: ImageList, *, search: SearchSettings, is_output: Callable[[Path], bool]
) -> Iterator[PlacedImage]:
    """Yield the images of a list in its order.

    What lies below the current folder keeps its path from there. Anything else, reached by an absolute path, by ".."
    or through a link, gets its whole path without the root. What comes from an address gets a folder named after its
    host. So nothing in a list can lead out of the output folder.

    Args:
        listed: the list.
        search: what is looked for in folders that it names, and whether addresses are allowed.
        is_output: tells whether a file is a depth file; those are left out.

    Raises:
        UsageError: there is an address, and they are not allowed.
    """
    here = Path(os.path.realpath("."))
    real = lru_cache(maxsize=1024)(os.path.realpath)  # many images share a folder
    for number, entry in enumerate(listed.entries, start=1):
        if is_address(entry):
            address = address_of(entry, search=search)
            if isinstance(address, ImageError):
                yield PlacedImage(Path(f"entry {number} of the list"), Path(), address)
            else:
                yield PlacedImage(address, Path(*address.folders))
        elif os.path.isdir(entry):
            yield from _of_folder(Path(os.path.realpath(entry)), here, search, is_output)
        else:
            folder, name = os.path.split(entry)  # the name may be that of a link, which has a depth of its own
            source = Path(real(folder or ".")) / name
            if not os.path.lexists(entry):
                yield PlacedImage(source, Path(), missing_listed(entry, listed))
            elif not is_output(source):
                yield PlacedImage(source, _place(source.parent, here))


def _of_folder(
    folder: Path, here: Path, search: SearchSettings, is_output: Callable[[Path], bool]
) -> Iterator[PlacedImage]:
    place = _place(folder, here)
    for found in walk_images(folder, search=search, is_output=is_output):
        if isinstance(found, tuple):
            yield PlacedImage(found[0], place, found[1])
        else:
            yield PlacedImage(found, place / found.parent.relative_to(folder))


def _place(folder: Path, here: Path) -> Path:
    if folder.is_relative_to(here):
        return folder.relative_to(here)
    drive = re.sub(r"\W+", "_", folder.drive).strip("_")  # of Windows: C:, or \\server\share
    return Path(drive, *folder.parts[1:])
