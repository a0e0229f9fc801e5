"""Lists of images: one path on each line, or NUL characters between them.

From what a user names to images: files, folders, patterns, lists, addresses and standard input.
"""

from __future__ import annotations

import codecs
import glob
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from glpn_cli.errors import ImageError, InputError, UsageError
from glpn_cli.files import read_bounded
from glpn_cli.image.fetching import Address, is_address
from glpn_cli.image.folder import is_file_or_was, is_image_name, to_regex, walk_images
from glpn_cli.image.reading import missing_image
from glpn_cli.settings import MAX_LIST_BYTES, SearchSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO


_IMAGES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")

"""What the usual images begin with, and no list does: the slip would bring thousands of errors."""


@dataclass(frozen=True, slots=True)
class ImageList:
    """A list of images.

    Attributes:
        entries: paths or addresses as they stand there; relative ones count from the current folder.
        folder: where the list lies, or None if it came from standard input.
    """

    entries: tuple[str, ...]
    folder: str | None = None


def read_list(source: str | BinaryIO) -> ImageList:
    """Read a list of images; see `parse_list`.

    Args:
        source: a path, or a stream of bytes such as standard input.

    Raises:
        InputError: it cannot be read, is endless, an image itself, or names nothing.
    """
    name = source if isinstance(source, str) else "the list on standard input"
    try:
        if isinstance(source, str):
            with open(source, "rb") as stream:
                data = read_bounded(stream, MAX_LIST_BYTES)
        else:
            data = read_bounded(source, MAX_LIST_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"{name}: cannot be read as a list: {getattr(error, 'strerror', None) or error}") from error
    if data is None:
        raise InputError(f"{name}: endless, or longer than {MAX_LIST_BYTES >> 20} MiB")
    if data.startswith(_IMAGES) or data[4:8] == b"ftyp":
        raise InputError(f"{name}: is an image, not a list of images", hint="name it without --from-list")
    entries = parse_list(data)
    if not entries:
        raise InputError(f"{name}: names no images")
    return ImageList(tuple(entries), os.path.dirname(source) if isinstance(source, str) else None)


def parse_list(data: bytes) -> list[str]:
    """Split a list into its entries.

    If there is a NUL, entries end with NULs and hold anything else (`find -print0`). Otherwise each line is one,
    and empty lines are none. Nothing else has a meaning: no comments, no quotes, no patterns; blanks are part of a
    name. UTF-16 with its mark, as PowerShell writes it, is understood; other bytes are names as the system has them.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = data.decode("utf-16", errors="replace")
    else:
        text = os.fsdecode(data.removeprefix(codecs.BOM_UTF8))
    if "\0" in text:
        return [entry for entry in text.split("\0") if entry]
    return [line for line in (line.removesuffix("\r") for line in text.split("\n")) if line]


Source: TypeAlias = "Path | Address"

"""Where an image comes from; `str` of it may be shown."""

STDIN = Path("-")

"""Stands for the image on standard input. Compare with `is`: a file may have this name."""

_DEFAULTS = SearchSettings()


@dataclass(slots=True)
class FoundImages:
    """What the arguments of a command came to.

    Attributes:
        images: in the order of the arguments, each once; `STDIN` for standard input.
        failures: arguments that gave no image, with the reason.
        skipped_outputs: how many files of folders and patterns were left out because they are depth files.
    """

    images: list[Source] = field(default_factory=list)
    failures: list[tuple[str, ImageError]] = field(default_factory=list)
    skipped_outputs: int = 0


def find_images(
    arguments: Iterable[str],
    *,
    is_output: Callable[[Path], bool],
    search: SearchSettings = _DEFAULTS,
    listed: ImageList | None = None,
) -> FoundImages:
    """Expand arguments into images; what a file really holds is found out when it is read.

    A file is taken whatever its name; a depth file only when it is the one argument. A folder gives the images
    in it, by suffix, sorted by name. A pattern (`*`, `?`, `[...]`, `**` for any folders) that is no existing file is
    expanded here, so that it may be quoted. "-" is standard input. What begins with http:// or https:// is an
    address. In a list, patterns and "-" are names of files.

    Args:
        arguments: as the user wrote them.
        is_output: tells whether a file is a depth file.
        search: what is looked for in folders; of patterns, only whether hidden files count.
        listed: more images.

    Raises:
        UsageError: an argument is empty, a pattern of `search` is none, or there is an address that `search` does
            not allow.
    """
    arguments = list(arguments)
    finder = _Finder(is_output, search)
    alone = len(arguments) + (len(listed.entries) if listed else 0) == 1
    for argument in arguments:
        if not argument:
            raise UsageError("an argument is empty", hint="is a variable of the shell not set?")
        finder.take(argument, alone=alone)
    if listed is not None:
        for entry in listed.entries:
            finder.take_listed(entry, listed, alone=alone)
    return finder.found


def address_of(text: str, *, search: SearchSettings) -> Address | ImageError:
    """Read an address, or say why it is none.

    Raises:
        UsageError: addresses are not allowed.
    """
    try:
        address = Address.parse(text)
    except ImageError as error:
        return error
    if not search.allow_url:
        raise UsageError(f"{address}: is an address, and nothing is fetched unasked", hint="--allow-url fetches it")
    return address


def missing_listed(entry: str, listed: ImageList) -> ImageError:
    """Say that an entry of a list leads to no file, and where it was perhaps looked for in vain."""
    error = missing_image(entry)
    if listed.folder and os.path.lexists(os.path.join(listed.folder, entry)):
        hint = f"paths in a list count from the current folder; this one is there from {listed.folder}"
        return ImageError(error.message, hint=hint)
    return error


class _Finder:
    """What was found so far, and what of it was seen before."""

    def __init__(self, is_output: Callable[[Path], bool], search: SearchSettings) -> None:
        self.found = FoundImages()
        self._is_output = is_output
        self._search = search
        self._seen: set[str] = set()

    def take(self, argument: str, *, alone: bool) -> None:
        """Add the images that one argument stands for."""
        path = Path(argument)
        if argument == "-":
            self._add([STDIN])
        elif is_address(argument):
            self._take_address(argument)
        elif os.path.isdir(argument):
            self._add(self._without_outputs(self._in_folder(path, argument)))
        elif not _exists(path):
            if glob.has_magic(argument):
                self._add(self._without_outputs(self._matches(argument)))
            else:
                self.found.failures.append((argument, missing_image(argument)))
        else:
            # Several files are mostly a pattern that the shell expanded.
            self._add([path] if alone else self._without_outputs([path]))

    def take_listed(self, entry: str, listed: ImageList, *, alone: bool) -> None:
        """Add the images that one entry of a list stands for."""
        path = Path(entry)
        if is_address(entry):
            self._take_address(entry)
        elif os.path.isdir(entry):
            self._add(self._without_outputs(self._in_folder(path, entry)))
        elif not _exists(path):
            self.found.failures.append((entry, missing_listed(entry, listed)))
        else:
            self._add([path] if alone else self._without_outputs([path]))

    def _take_address(self, text: str) -> None:
        address = address_of(text, search=self._search)
        if isinstance(address, ImageError):
            self.found.failures.append(("an address", address))
        else:
            self._add([address])

    def _add(self, candidates: Iterable[Source]) -> None:
        for candidate in candidates:
            if isinstance(candidate, Address):
                identity = candidate.url
            else:
                identity = os.path.realpath(candidate) if candidate is not STDIN else "-"
            if identity not in self._seen:
                self._seen.add(identity)
                self.found.images.append(candidate)

    def _without_outputs(self, paths: Iterable[Path]) -> Iterator[Path]:
        for path in paths:
            if self._is_output(path):
                self.found.skipped_outputs += 1
            else:
                yield path

    def _in_folder(self, folder: Path, argument: str) -> Iterator[Path]:
        any_found = False
        for found in walk_images(folder, search=self._search, is_output=lambda _: False):
            any_found = True
            if isinstance(found, tuple):
                self.found.failures.append((str(found[0]), found[1]))
            else:
                yield found
        if not any_found:
            self.found.failures.append((argument, self._nothing_in(argument)))

    def _nothing_in(self, argument: str) -> ImageError:
        if self._search.include or self._search.exclude:
            return ImageError(f"{argument}: no images that --include and --exclude leave")
        if self._search.recursive:
            return ImageError(f"{argument}: no images in this folder and those below it")
        return ImageError(f"{argument}: no images in this folder", hint="--recursive looks into its sub-folders")

    def _matches(self, pattern: str) -> Iterator[Path]:
        any_found = False
        for path in _expand(pattern, hidden=self._search.hidden):
            any_found = True
            yield path
        if not any_found:
            self.found.failures.append((pattern, ImageError(f"{pattern}: no image matches")))


def _expand(pattern: str, *, hidden: bool) -> Iterator[Path]:
    """Yield the images that a pattern matches, sorted."""
    parts = pattern.replace(os.sep, "/").split("/")
    plain = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    if "**" not in parts or ".." in parts[plain:]:
        names = glob.glob(pattern, recursive=True, include_hidden=hidden)
        yield from (path for path in sorted(map(Path, names)) if is_image_name(path.name) and is_file_or_was(path))
        return
    # The library would follow links in circles.
    root = Path("/".join(parts[:plain]) + "/" if plain else ".")
    try:
        matching = re.compile(to_regex("/".join(parts[plain:])) + r"\Z", re.DOTALL)
    except re.error:
        return
    search = SearchSettings(recursive=True, hidden=hidden)
    for found in walk_images(root, search=search, is_output=lambda _: False):
        if isinstance(found, Path) and matching.match(found.relative_to(root).as_posix()):
            yield found


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return False
    return True
