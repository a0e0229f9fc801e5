"""Which images the arguments of a command mean: files, folders, patterns, lists, URLs and standard input."""

from __future__ import annotations

import codecs
import glob
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from glpn_cli.convert import EMPTY_HINT
from glpn_cli.errors import ImageError, InputError, UsageError
from glpn_cli.files import os_reason, path_of_url, read_bounded
from glpn_cli.image.fetching import Address, is_address
from glpn_cli.image.folder import LeftOut, RecordedDepth, is_image_name, may_be_file, to_regex, walk_images
from glpn_cli.image.reading import missing_image
from glpn_cli.image.sniffing import HEAD_BYTES, may_be_image
from glpn_cli.settings import MAX_LIST_BYTES, SearchSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

Source: TypeAlias = "Path | Address"
"""Where an image comes from; `str` of it is safe to show."""

STDIN = Path("-")
"""Stands for the image on standard input. Compare with `is`, because a file may have the same name."""

_DEFAULTS = SearchSettings()
_STDIN_LIST = "the list on standard input"
_CHUNK_BYTES = 2**16

# How common image files start, and text does not.
_IMAGE_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")


@dataclass(slots=True)
class FoundImages:
    """The images that arguments mean.

    Attributes:
        images: in the order of the arguments, without duplicates; `STDIN` for standard input.
        failures: arguments that mean no image, with the error.
        skipped: entries of a list that are not images, with what they are.
        skipped_outputs: the number of files that were skipped in folders and patterns because they are depth files.
        left_out: what else was left out of folders.
    """

    images: list[Source] = field(default_factory=list)
    failures: list[tuple[str, ImageError]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    skipped_outputs: int = 0
    left_out: LeftOut = field(default_factory=LeftOut)


@dataclass(frozen=True, slots=True)
class ImageList:
    """A list of images.

    Attributes:
        entries: paths or URLs as listed; relative paths start at the current folder. An iterator if they arrive one
            by one, as from another program.
        folder: the folder of the list, or None if it came from standard input.
        name: how messages call it.
    """

    entries: tuple[str, ...] | Iterator[str]
    folder: str | None = None
    name: str = "the list"

    @property
    def is_arriving(self) -> bool:
        """Whether entries are read one by one, each when it is needed."""
        return not isinstance(self.entries, tuple)

    @property
    def known_entries(self) -> tuple[str, ...]:
        """The entries of a list that was read; none if they are still arriving."""
        return self.entries if isinstance(self.entries, tuple) else ()


def find_images(
    arguments: Iterable[str],
    *,
    is_output: Callable[[Path], bool],
    search: SearchSettings = _DEFAULTS,
    listed: ImageList | None = None,
) -> FoundImages:
    """Expand arguments into images, without opening any.

    - A file is used whatever its name; a depth file only if it is the only argument.
    - A folder stands for the images in it, by suffix, sorted by name.
    - A pattern (`*`, `?`, `[...]`, `**` for any folders) that is not an existing file is expanded here, so that it
      may be quoted in the shell.
    - "-" is standard input. What starts with http:// or https:// is a URL; file:// stands for a path.
    - In a list, patterns and "-" are file names. Entries that are not images are skipped.

    Args:
        arguments: as the user wrote them.
        is_output: whether a file is a depth file.
        search: how folders are searched; for patterns only `hidden` counts.
        listed: more images; not those that are still arriving, see `find_arriving`.

    Raises:
        UsageError: an argument is empty, a pattern in `search` is invalid, or there is a URL and `search` does not
            allow them.
    """
    arguments = list(arguments)
    finder = _Finder(is_output, search)
    entries = listed.known_entries if listed is not None else ()
    alone = len(arguments) + len(entries) == 1 and not (listed is not None and listed.is_arriving)
    for argument in arguments:
        if not argument:
            raise UsageError("an argument is empty", hint=EMPTY_HINT)
        finder.add_argument(argument, alone=alone)
    for entry in entries:
        finder.add_listed(entry, listed, alone=alone)  # type: ignore[arg-type]  # there are entries, so there is a list
    return finder.found


def find_arriving(
    listed: ImageList, *, is_output: Callable[[Path], bool], search: SearchSettings = _DEFAULTS
) -> Iterator[FoundImages]:
    """Yield what each entry of a list means, as soon as it arrives; see `find_images`.

    A file that is listed again is found again, because it may have a new image; a file that was found in a folder of
    the list is not.

    Raises:
        InputError: the list cannot be read, is itself an image, or is empty.
        UsageError: there is a URL, and `search` does not allow them.
    """
    finder = _Finder(is_output, search)
    for entry in listed.entries:
        finder.found = FoundImages()
        finder.add_listed(entry, listed, alone=False, again=True)
        yield finder.found


def address_of(text: str, *, search: SearchSettings) -> Address | ImageError:
    """Parse a URL, or return the error if it is invalid.

    Raises:
        UsageError: `search` does not allow URLs.
    """
    try:
        address = Address.parse(text)
    except ImageError as error:
        return error
    if not search.allow_url:
        raise UsageError(f"{address}: is a URL", hint="set `allow_url` to download images")
    return address


# Lists


def read_list(source: str | BinaryIO) -> ImageList:
    """Read a list of images; see `parse_list`.

    Args:
        source: a path, or a binary stream such as standard input.

    Raises:
        InputError: the list cannot be read, is endless, is itself an image, or is empty.
    """
    name = source if isinstance(source, str) else _STDIN_LIST
    try:
        if isinstance(source, str):
            with open(source, "rb") as stream:
                data = read_bounded(stream, MAX_LIST_BYTES)
        else:
            data = read_bounded(source, MAX_LIST_BYTES)
    except (OSError, ValueError) as error:  # ValueError: the name contains a NUL
        raise InputError(f"{name}: cannot be read as a list: {os_reason(error)}") from error
    if data is None:
        raise _endless_list(name)
    _refuse_image(data, name)
    entries = parse_list(data)
    if not entries:
        raise InputError(f"{name}: names no images")
    return ImageList(tuple(entries), os.path.dirname(source) if isinstance(source, str) else None, name)


def read_arriving_list(stream: BinaryIO) -> ImageList:
    """Return a list whose entries are yielded as soon as they can be read; see `parse_list`.

    Whether lines or NULs separate entries is decided by what arrives first.
    """
    return ImageList(_arriving_entries(stream), None, _STDIN_LIST)


def _arriving_entries(stream: BinaryIO) -> Iterator[str]:
    left, separator, any_entry, silent_bytes = b"", b"", False, 0
    for index, chunk in enumerate(_chunks(stream)):
        data = left + chunk
        if index == 0:
            _refuse_image(data, _STDIN_LIST)
            data = data.removeprefix(codecs.BOM_UTF8)
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and not separator:
            # Windows PowerShell sends its whole list at once, and half a character may end a chunk.
            yield from parse_list(data + b"".join(_chunks(stream)))
            return
        if not separator and b"\0" in data:
            separator = b"\0"
        separator = separator or (b"\n" if b"\n" in data else b"")
        *complete, left = data.split(separator) if separator else [data]
        silent_bytes += len(chunk)
        for entry in complete:
            if text := _entry_text(entry, separator):
                any_entry, silent_bytes = True, 0
                yield text
        if silent_bytes > MAX_LIST_BYTES:
            raise _endless_list(_STDIN_LIST)
    if text := _entry_text(left, separator):
        yield text
    elif not any_entry:
        raise InputError(f"{_STDIN_LIST}: names no images")


def _entry_text(entry: bytes, separator: bytes) -> str:
    return os.fsdecode(entry if separator == b"\0" else entry.removesuffix(b"\r"))


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    """Yield what a stream has, without waiting for more than there is."""
    try:
        # The file itself, because a thread that waits in a buffered stream would block Python's exit.
        number = stream.fileno()
    except OSError:  # not a file
        number = None
    try:
        while chunk := stream.read(_CHUNK_BYTES) if number is None else os.read(number, _CHUNK_BYTES):
            yield chunk
    except (OSError, ValueError) as error:
        raise InputError(f"{_STDIN_LIST}: cannot be read as a list: {os_reason(error)}") from error


def _endless_list(name: str) -> InputError:
    return InputError(f"{name}: endless, or longer than {MAX_LIST_BYTES >> 20} MiB")


def _refuse_image(data: bytes, name: str) -> None:
    """Refuse an image in place of a list: read as a list, it would cause thousands of errors."""
    if data.startswith(_IMAGE_SIGNATURES) or data[4:8] == b"ftyp":
        raise InputError(f"{name}: is an image, not a list of images", hint="pass it as an image, not as a list")


def parse_list(data: bytes) -> list[str]:
    """Split a list into its entries.

    If the list contains a NUL, entries end with NULs (`find -print0`). Otherwise each line is one entry, and empty
    lines are skipped. There is no other syntax: no comments, quotes or patterns, and spaces are part of a name. UTF-16
    with a byte order mark, as PowerShell writes it, is decoded; other bytes are file names of the system.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = data.decode("utf-16", errors="replace")
    else:
        text = os.fsdecode(data.removeprefix(codecs.BOM_UTF8))
    if "\0" in text:
        return [entry for entry in text.split("\0") if entry]
    return [line for line in (line.removesuffix("\r") for line in text.split("\n")) if line]


def missing_listed(entry: str, listed: ImageList) -> ImageError:
    """Return the error for an entry that is not a file; the hint says if it exists relative to the list."""
    error = missing_image(entry)
    message = f"{error.message} (in {listed.name})"
    if listed.folder and os.path.lexists(os.path.join(listed.folder, entry)):
        hint = f"paths in a list are relative to the current folder; this one exists in {listed.folder}"
        return ImageError(message, hint=hint)
    return ImageError(message, hint=error.hint)


def describe_other_file(path: str) -> str:
    """Return "not an image" if a file is none by name and content; empty if it may be one.

    A file with the suffix of an image counts as one, so that a damaged image is an error. What cannot be opened
    counts as one too.
    """
    if is_image_name(path):
        return ""
    try:
        if not os.path.isfile(path):
            return ""
        with open(path, "rb") as stream:
            return "" if may_be_image(stream.read(HEAD_BYTES)) else "not an image"
    except (OSError, ValueError):
        return ""


# Arguments


class _Finder:
    """Collects images and remembers which were seen."""

    def __init__(self, is_output: Callable[[Path], bool], search: SearchSettings) -> None:
        self.found = FoundImages()
        self._is_output = is_output
        self._recorded = RecordedDepth()
        self._search = search
        self._seen: set[str] = set()

    def add_argument(self, argument: str, *, alone: bool) -> None:
        argument = path_of_url(argument) or argument
        path = Path(argument)
        if argument == "-":
            self._add([STDIN])
        elif is_address(argument):
            self._add_address(argument)
        elif os.path.isdir(argument):
            self._add(self._without_outputs(self._in_folder(path, argument)))
        elif _exists(path):
            self._add_file(path, alone=alone)
        elif glob.has_magic(argument):
            self._add(self._without_outputs(self._matches(argument)))
        else:
            self.found.failures.append((argument, missing_image(argument)))

    def add_listed(self, entry: str, listed: ImageList, *, alone: bool, again: bool = False) -> None:
        """Add an entry of a list; `again` also adds a file that was listed before."""
        entry = path_of_url(entry) or entry
        path = Path(entry)
        if is_address(entry):
            self._add_address(entry)
        elif os.path.isdir(entry):
            # `find` also lists folders, so one without images is no error.
            self._add(self._without_outputs(self._in_folder(path, entry, listed=True)))
        elif not _exists(path):
            self.found.failures.append((entry, missing_listed(entry, listed)))
        elif other := describe_other_file(entry):
            self.found.skipped.append((entry, other))
        elif not alone and self._is_output(path):
            self.found.skipped.append((entry, "a depth file"))
        elif again and os.path.realpath(path) not in self._seen:
            self.found.images.append(path)
        else:
            self._add([path])

    def _add_address(self, text: str) -> None:
        address = address_of(text, search=self._search)
        if isinstance(address, ImageError):
            self.found.failures.append(("a URL", address))
        else:
            self._add([address])

    def _add_file(self, path: Path, *, alone: bool) -> None:
        # Several files are usually a pattern that the shell expanded.
        self._add([path] if alone else self._without_outputs([path]))

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

    def _in_folder(self, folder: Path, argument: str, *, listed: bool = False) -> Iterator[Path]:
        any_found = False
        before = replace(self.found.left_out)
        for found in walk_images(
            folder,
            search=self._search,
            is_output=lambda path: self._is_recorded(path, listed=listed),
            left_out=self.found.left_out,
        ):
            any_found = True
            if isinstance(found, tuple):
                self.found.failures.append((str(found[0]), found[1]))
            else:
                yield found
        if not any_found and listed:
            self.found.skipped.append((argument, "a folder without images"))
        elif not any_found:
            hint = self.found.left_out.hint_since(before)
            self.found.failures.append((argument, self._no_images(argument, hint)))

    def _is_recorded(self, path: Path, *, listed: bool) -> bool:
        """Return whether a file is depth of an RGB-D camera; count it unless a list may name it later."""
        recorded = self._recorded(path)
        self.found.left_out.depth += recorded and not listed
        return recorded

    def _no_images(self, argument: str, hint: str | None) -> ImageError:
        if hint is not None:
            return ImageError(f"{argument}: no images in this folder that can be read", hint=hint)
        if self._search.include or self._search.exclude:
            return ImageError(f"{argument}: no images match `include` and `exclude`")
        if self._search.recursive:
            return ImageError(f"{argument}: no images in this folder and its subfolders")
        return ImageError(f"{argument}: no images in this folder", hint="set `recursive` to search subfolders")

    def _matches(self, pattern: str) -> Iterator[Path]:
        any_found = False
        for found in _expand(pattern, hidden=self._search.hidden):
            any_found = True
            if isinstance(found, tuple):
                self.found.failures.append((str(found[0]), found[1]))
            else:
                yield found
        if not any_found:
            self.found.failures.append((pattern, ImageError(f"{pattern}: no image matches this pattern")))


def _expand(pattern: str, *, hidden: bool) -> Iterator[Path | tuple[Path, ImageError]]:
    """Yield the images that a pattern matches, sorted; and folders that may contain some but cannot be listed."""
    parts = pattern.replace(os.sep, "/").split("/")
    plain = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    if "**" not in parts or ".." in parts[plain:]:
        names = glob.glob(pattern, recursive=True, include_hidden=hidden)
        yield from (path for path in sorted(map(Path, names)) if is_image_name(path.name) and may_be_file(path))
        return
    # `glob` would follow links in loops.
    root = Path("/".join(parts[:plain]) + "/" if plain else ".")
    parts = parts[plain:]
    try:
        matching = re.compile(to_regex("/".join(parts)) + r"\Z", re.DOTALL)
    except re.error:
        return
    if not os.path.isdir(root):
        return
    first_names = [re.compile(to_regex(part) + r"\Z", re.DOTALL) for part in parts[: parts.index("**")]]
    search = SearchSettings(recursive=True, hidden=hidden)
    for found in walk_images(root, search=search, is_output=lambda _: False):
        if isinstance(found, tuple):
            folders = found[0].relative_to(root).parts
            if all(wanted.match(folder) for wanted, folder in zip(first_names, folders, strict=False)):
                yield found
        elif matching.match(found.relative_to(root).as_posix()):
            yield found


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except (OSError, ValueError):  # ValueError: the name contains a NUL
        return False
    return True
