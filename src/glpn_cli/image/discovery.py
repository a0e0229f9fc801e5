"""From what a user names on the command line to pictures: files, folders, patterns and standard input."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli.errors import PictureError, UsageError
from glpn_cli.image.reading import PICTURE_SUFFIXES, missing_picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["STDIN", "FoundPictures", "find_pictures", "picture_names", "walk_pictures"]

STDIN = Path("-")
"""Stands for the picture on standard input. Compare with `is`: a file may have this name."""


@dataclass(slots=True)
class FoundPictures:
    """What the arguments of a command came to.

    Attributes:
        pictures: in the order of the arguments, each once; `STDIN` for standard input.
        failures: arguments that gave no picture, with the reason.
        skipped_outputs: how many files of folders and patterns were left out because they are depth files.
    """

    pictures: list[Path] = field(default_factory=list)
    failures: list[tuple[str, PictureError]] = field(default_factory=list)
    skipped_outputs: int = 0


def find_pictures(arguments: Iterable[str], *, is_output: Callable[[Path], bool]) -> FoundPictures:
    """Expand arguments into pictures; what a file really holds is found out when it is read.

    A file is taken whatever its name; a depth file only when it is the one argument. A folder gives the pictures
    directly inside it, by suffix, sorted by name, without hidden files. A pattern (`*`, `?`, `[...]`, `**` for any
    folders) that is no existing file is expanded here, so that it may be quoted. "-" is standard input.

    Args:
        arguments: as the user wrote them.
        is_output: tells whether a file is a depth file.

    Raises:
        UsageError: an argument is empty.
    """
    found = FoundPictures()
    seen: set[str] = set()
    arguments = list(arguments)
    for argument in arguments:
        if not argument:
            raise UsageError("an argument is empty", hint="is a variable of the shell not set?")
        path = Path(argument)
        if argument == "-":
            candidates: list[Path] = [STDIN]
        elif os.path.isdir(argument):
            candidates = list(_without_outputs(_pictures_in(path, found, argument), found, is_output))
        elif not _exists(path):
            candidates = []
            if glob.has_magic(argument):
                candidates = list(_without_outputs(_matches(argument, found), found, is_output))
            else:
                found.failures.append((argument, missing_picture(argument)))
        elif len(arguments) > 1:
            # Several files are mostly a pattern that the shell expanded.
            candidates = list(_without_outputs([path], found, is_output))
        else:
            candidates = [path]
        for candidate in candidates:
            identity = os.path.realpath(candidate) if candidate is not STDIN else "-"
            if identity not in seen:
                seen.add(identity)
                found.pictures.append(candidate)
    return found


def picture_names(folder: Path) -> list[str]:
    """List the files of a folder that have the suffix of a picture, unsorted; empty if it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if _is_picture_name(entry.name) and _is_file_or_was(entry.path)]
    except OSError:
        return []


def walk_pictures(
    folder: Path, *, is_output: Callable[[Path], bool], without: Path
) -> Iterator[Path | tuple[Path, PictureError]]:
    """Yield the pictures of a folder and of all folders below it, in the order of their names.

    Hidden files and folders are left out. A link to a folder is followed, unless the folder is one that we are in.

    Args:
        folder: where to begin.
        is_output: tells whether a file is a depth file; those are left out.
        without: a folder that is not entered, such as the one that depth is written to.

    Yields:
        The path of a picture; or a folder that cannot be listed, with the reason.
    """
    left_out = os.path.realpath(without)

    def walk(folder: Path, ancestors: frozenset[str]) -> Iterator[Path | tuple[Path, PictureError]]:
        identity = os.path.realpath(folder)
        if identity in ancestors or identity == left_out:
            return
        try:
            with os.scandir(folder) as entries:
                visible = sorted((entry.name, entry.is_dir()) for entry in entries if entry.name[0] != ".")
        except OSError as error:
            yield folder, PictureError(f"{folder}: cannot be listed: {error.strerror}")
            return
        for name, is_folder in visible:
            path = folder / name
            if is_folder:
                yield from walk(path, ancestors | {identity})
            elif _is_picture_name(name) and _is_file_or_was(path) and not is_output(path):
                yield path

    if os.path.realpath(folder) == left_out:
        left_out = ""  # the folder that was named is entered even if depth goes into it
    yield from walk(folder, frozenset())


def _pictures_in(folder: Path, found: FoundPictures, argument: str) -> list[Path]:
    try:
        os.listdir(folder)
    except OSError as error:
        found.failures.append((argument, PictureError(f"{argument}: cannot be listed: {error.strerror}")))
        return []
    names = sorted(name for name in picture_names(folder) if not name.startswith("."))
    if not names:
        hint = "pictures in its sub-folders are found with a pattern: " + str(folder / "**" / "*.jpg")
        found.failures.append((argument, PictureError(f"{argument}: no pictures in this folder", hint=hint)))
    return [folder / name for name in names]


def _matches(pattern: str, found: FoundPictures) -> list[Path]:
    paths = sorted(Path(match) for match in glob.glob(pattern, recursive=True))
    pictures = [path for path in paths if _is_picture_name(path.name) and _is_file_or_was(path)]
    if not pictures:
        found.failures.append((pattern, PictureError(f"{pattern}: no picture matches")))
    return pictures


def _without_outputs(paths: list[Path], found: FoundPictures, is_output: Callable[[Path], bool]) -> Iterator[Path]:
    for path in paths:
        if is_output(path):
            found.skipped_outputs += 1
        else:
            yield path


def _is_file_or_was(path: str | Path) -> bool:
    """Tell whether a path leads to a file, may not be asked about, or is a link to a file that is gone.

    The last two are taken as pictures, so that reading them says what is wrong; leaving them out would hide it.
    """
    return os.path.isfile(path) or not os.path.exists(path)


def _is_picture_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return False
    return True
