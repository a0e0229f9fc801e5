"""Patterns of file names, as `--include` and `--exclude` take them and as shells know them.

The images of a folder, and of the folders below it if that is asked for.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glpn_cli.errors import ImageError, UsageError
from glpn_cli.image.reading import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from glpn_cli.settings import SearchSettings


@dataclass(frozen=True, slots=True)
class PathFilter:
    """Which paths of a folder are wanted.

    A pattern without a slash is held against every name on the way to a file, its own and those of its folders; one
    with a slash against the path from the folder that was named. `*`, `?` and `[...]` stay within one name, `**`
    stands for any folders. What matches a folder goes for all that is in it. Case does not count, because cameras
    write .JPG and people .jpg.

    Attributes:
        include: if there are any, only what matches one is wanted.
        exclude: what matches one is not wanted, whatever includes it.
    """

    include: tuple[re.Pattern[str], ...] = ()
    exclude: tuple[re.Pattern[str], ...] = ()

    @classmethod
    def of(cls, include: Iterable[str], exclude: Iterable[str]) -> PathFilter:
        """Read the patterns as a user writes them.

        Raises:
            UsageError: a pattern is empty, or leads out of the folder.
        """
        return cls(tuple(map(_parse, include)), tuple(map(_parse, exclude)))

    def wants(self, path: str) -> bool:
        """Tell whether a file is wanted, by its path from the named folder, with slashes."""
        if any(pattern.match(path) for pattern in self.exclude):
            return False
        return not self.include or any(pattern.match(path) for pattern in self.include)

    def enters(self, path: str) -> bool:
        """Tell whether a folder may hold what is wanted; one that is left out is not even listed."""
        return not any(pattern.match(path) for pattern in self.exclude)


def to_regex(pattern: str) -> str:
    """Translate a pattern of a whole path: `*`, `?` and `[...]` within one name, `**` for any folders.

    Raises:
        re.error: a set makes no sense, such as `[z-a]`.
    """
    *folders, name = pattern.split("/")
    translated = "".join(_ANY_FOLDERS if part == "**" else _name_regex(part) + "/" for part in folders)
    regex = translated + (_ANY_FOLDERS + "[^/]+" if name == "**" else _name_regex(name))
    re.compile(regex)
    return regex


_ANY_FOLDERS = "(?:[^/]+/)*"

_TOKEN = re.compile(r"\*+|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)

_MEANS_MORE_IN_A_SET = re.compile(r"[\\\[\]&~|^]")


def _parse(pattern: str) -> re.Pattern[str]:
    stripped = pattern.removeprefix("./").strip("/")
    if not stripped:
        raise UsageError(f"{pattern!r} is no pattern of file names", hint="for example '*.jpg' or 'raw/**'")
    if ".." in stripped.split("/"):
        raise UsageError(f"{pattern!r}: a pattern is held against paths inside the folder, so '..' matches nothing")
    anywhere = "" if "/" in pattern.removesuffix("/") else "(?:.*/)?"
    try:
        # What follows a match is inside a folder that matched.
        return re.compile(f"{anywhere}{to_regex(stripped)}(?:/.*)?\\Z", re.IGNORECASE | re.DOTALL)
    except re.error as error:
        raise UsageError(f"{pattern!r} is no pattern of file names: {error}") from error


def _name_regex(part: str) -> str:
    """Translate a pattern within one name."""
    return "".join(map(_token_regex, _TOKEN.findall(part)))


def _token_regex(part: str) -> str:
    if part[0] == "*":
        return "[^/]*"
    if part == "?":
        return "[^/]"
    if len(part) > 1:
        negated = part[1] == "!"
        members = _MEANS_MORE_IN_A_SET.sub(r"\\\g<0>", part[2:-1] if negated else part[1:-1])
        return f"(?!/)[{'^' if negated else ''}{members}]"
    return re.escape(part)


def walk_images(
    folder: Path, *, search: SearchSettings, is_output: Callable[[Path], bool], without: Path | None = None
) -> Iterator[Path | tuple[Path, ImageError]]:
    """Yield the images of a folder in the order of their names; see `SearchSettings` for which.

    A link to a folder is followed, unless it leads to a folder that we are in. Behind a link, further links are
    followed only to folders that were not entered yet, so that links that lead to each other end.

    Args:
        folder: where to begin.
        search: what is looked for.
        is_output: tells whether a file is a depth file; those are left out.
        without: a folder that is not entered, such as the one that depth is written to; unless it is `folder` itself.

    Yields:
        The path of an image; or a folder that cannot be listed, with the reason.

    Raises:
        UsageError: a pattern of the settings is none.
    """
    walk = _Walk(search, PathFilter.of(search.include, search.exclude), is_output, without)
    # Not by recursion: folders may lie deeper in each other than Python's stack is.
    stack = [walk.entries(_Folder(folder, "", frozenset(), behind_link=False))]
    while stack:
        for found in stack[-1]:
            if isinstance(found, _Folder):
                stack.append(walk.entries(found))
                break
            yield found
        else:
            stack.pop()


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder on the way, its path from the first one (ending in a slash, or empty), and how we came there."""

    path: Path
    place: str
    ancestors: frozenset[str]
    behind_link: bool


class _Walk:
    """One walk, and the folders that it has been in."""

    def __init__(
        self, search: SearchSettings, wanted: PathFilter, is_output: Callable[[Path], bool], without: Path | None
    ) -> None:
        self._search = search
        self._wanted = wanted
        self._is_output = is_output
        self._left_out = None if without is None else os.path.realpath(without)
        self._entered: set[str] = set()

    def entries(self, folder: _Folder) -> Iterator[Path | tuple[Path, ImageError] | _Folder]:
        """Yield the images of one folder, and the folders to go on with."""
        identity = os.path.realpath(folder.path)
        self._entered.add(identity)
        try:
            with os.scandir(folder.path) as entries:
                visible = [entry for entry in entries if self._search.hidden or not is_hidden(entry)]
                found = sorted((entry.name, _is_folder(entry), entry.is_symlink()) for entry in visible)
        except OSError as error:
            yield folder.path, ImageError(f"{folder.path}: cannot be listed: {error.strerror}")
            return
        ancestors = folder.ancestors | {identity}
        for name, is_folder, is_link in found:
            path = folder.path / name
            if not is_folder:
                if self._is_wanted(path, folder.place + name):
                    yield path
            elif self._search.recursive and self._wanted.enters(folder.place + name):
                been = self._entered if is_link and folder.behind_link else ancestors
                target = os.path.realpath(path)
                if target not in been and target != self._left_out:
                    yield _Folder(path, f"{folder.place}{name}/", ancestors, folder.behind_link or is_link)

    def _is_wanted(self, path: Path, place: str) -> bool:
        return (
            is_image_name(path.name)
            and self._wanted.wants(place)
            and is_file_or_was(path)
            and not self._is_output(path)
        )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def is_hidden(entry: os.DirEntry[str]) -> bool:
    """Tell whether a file or folder is hidden: by a dot, on Windows also by its attribute."""
    if entry.name.startswith("."):
        return True
    if os.name != "nt":
        return False
    attributes: int = getattr(entry.stat(follow_symlinks=False), "st_file_attributes", 0)
    return bool(attributes & stat.FILE_ATTRIBUTE_HIDDEN)


def image_names(folder: Path) -> list[str]:
    """List the files of a folder that have the suffix of an image, unsorted; empty if it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if is_image_name(entry.name) and is_file_or_was(entry.path)]
    except OSError:
        return []


def is_file_or_was(path: str | Path) -> bool:
    """Tell whether a path leads to a file, may not be asked about, or is a link to a file that is gone.

    The last two are taken as images, so that reading them says what is wrong; leaving them out would hide it.
    """
    return os.path.isfile(path) or not os.path.exists(path)


def is_image_name(name: str) -> bool:
    """Tell whether a name ends as those of images do."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES
