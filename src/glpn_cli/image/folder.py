"""Images in folders: walking, and the patterns that include or exclude files."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from glpn_cli.errors import ImageError, UsageError
from glpn_cli.files import os_reason
from glpn_cli.image.sniffing import IMAGE_SUFFIXES, RAW_SUFFIXES, UNREAD_SUFFIXES, is_16_bit_gray_png

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from glpn_cli.settings import SearchSettings

RAW_HINT = "export raw camera files as JPEG or TIFF with a raw converter first"
CONVERT_HINT = "convert them to JPEG or PNG first"
DEPTH_HINT = "to predict one, name it"


@dataclass(slots=True)
class LeftOut:
    """What a search left out that the user may miss; counted for a note.

    Attributes:
        raw: number of raw camera files in folders.
        suffixes: their suffixes.
        unread: number of images of other formats that are not read.
        unread_suffixes: their suffixes.
        depth: number of 16-bit depth images beside photos.
        other: number of entries of a list that are not images.
    """

    raw: int = 0
    suffixes: set[str] = field(default_factory=set)
    unread: int = 0
    unread_suffixes: set[str] = field(default_factory=set)
    depth: int = 0
    other: int = 0

    def clear(self) -> None:
        """Forget everything, because the same folders are searched again."""
        self.raw = self.unread = self.depth = self.other = 0
        self.suffixes.clear()
        self.unread_suffixes.clear()

    def add(self, suffix: str) -> None:
        """Count a file of a folder by its suffix, in lower case, if it is an image that is not read."""
        if suffix in RAW_SUFFIXES:
            self.raw += 1
            self.suffixes.add(suffix)
        elif suffix in UNREAD_SUFFIXES:
            self.unread += 1
            self.unread_suffixes.add(suffix)

    def hint_since(self, before: LeftOut) -> str | None:
        """Return what to do with files that were left out since an earlier count; None if there are none."""
        if self.raw > before.raw:
            return RAW_HINT
        if self.unread > before.unread:
            return CONVERT_HINT
        return f"16-bit depth images are left out; {DEPTH_HINT}" if self.depth > before.depth else None

    def notes(self) -> Iterator[str]:
        """Yield one line for each kind."""
        if self.raw:
            yield f"left out {_count(self.raw, 'raw camera file')} ({', '.join(sorted(self.suffixes))}): {RAW_HINT}"
        if self.unread:
            suffixes = ", ".join(sorted(self.unread_suffixes))
            yield f"left out {_count(self.unread, 'image')} of formats that are not read ({suffixes}): {CONVERT_HINT}"
        if self.depth:
            yield f"left out {_count(self.depth, 'depth image')} (16-bit PNG) of photos: {DEPTH_HINT}"
        if self.other:
            noun = "entry" if self.other == 1 else "entries"
            yield f"skipped {self.other} {noun} of the list: not images"


class RecordedDepth:
    """Recognizes the depth images of RGB-D cameras and data sets, which are no photos.

    They are 16-bit gray PNGs, and the photo has the same name with another suffix, or they are in a folder named
    depth beside one named rgb or color.
    """

    def __init__(self) -> None:
        """Know no folder yet."""
        self._folder: Path | None = None
        self._shared_stems: set[str] = set()  # of that folder

    def __call__(self, path: Path) -> bool:
        """Return whether a file is such a depth image."""
        if path.suffix.lower() != ".png" or not (self._has_photo(path) or _is_in_depth_folder(path.parent)):
            return False
        try:
            with path.open("rb") as stream:
                return is_16_bit_gray_png(stream.read(32))
        except OSError:
            return False

    def _has_photo(self, path: Path) -> bool:
        if path.parent != self._folder:  # images come folder by folder
            self._folder = path.parent
            stems: set[str] = set()
            self._shared_stems = set()
            for name in image_names(self._folder):
                stem = os.path.splitext(name)[0]
                (self._shared_stems if stem in stems else stems).add(stem)
        return path.stem in self._shared_stems


def _is_in_depth_folder(folder: Path) -> bool:
    is_named = re.fullmatch(r"depths?([_-].*|\d*)", folder.name, re.IGNORECASE) is not None
    return is_named and any((folder.parent / name).is_dir() for name in ("rgb", "color", "image", "images"))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def walk_images(
    folder: Path,
    *,
    search: SearchSettings,
    is_output: Callable[[Path], bool],
    without: Path | None = None,
    left_out: LeftOut | None = None,
) -> Iterator[Path | tuple[Path, ImageError]]:
    """Yield the images of a folder, sorted by name; `SearchSettings` says which.

    A link to a folder is followed unless it leads back to a folder that contains it. Behind a link, further links are
    followed only to folders that were not visited yet. So links that form a loop end.

    Args:
        folder: where to start.
        search: what to look for.
        is_output: whether a file is a depth file; those are skipped.
        without: a folder to skip, such as the output folder, unless it is `folder` itself.
        left_out: counts raw camera files and other images that are not read.

    Yields:
        The path of an image; or a folder that cannot be listed, with the error.

    Raises:
        UsageError: a pattern in `search` is invalid.
    """
    walk = _Walk(search, PathFilter.of(search.include, search.exclude), is_output, without, left_out or LeftOut())
    # An explicit stack, because folders may be nested deeper than Python's recursion limit.
    stack = [walk.list_folder(_Folder(folder, "", frozenset(), behind_link=False))]
    while stack:
        for found in stack[-1]:
            if isinstance(found, _Folder):
                stack.append(walk.list_folder(found))
                break
            yield found
        else:
            stack.pop()


def image_names(folder: Path) -> list[str]:
    """Return the names in a folder that have an image suffix, unsorted; empty if the folder cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if is_image_name(entry.name) and _may_be_file(entry)]
    except OSError:
        return []


def is_image_name(name: str) -> bool:
    """Return whether a file name has an image suffix."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def may_be_file(path: str | Path) -> bool:
    """Return whether a path is a file, cannot be accessed, or is a broken link.

    The last two count as images, so that reading them reports the problem instead of hiding it.
    """
    return os.path.isfile(path) or not os.path.exists(path)


def _may_be_file(entry: os.DirEntry[str]) -> bool:
    """Return what `may_be_file` does, mostly without asking the file system again."""
    try:
        return entry.is_file() or not os.path.exists(entry.path)
    except OSError:  # a link to itself
        return True


def is_hidden(entry: os.DirEntry[str]) -> bool:
    """Return whether a file or folder is hidden: by a leading dot, on Windows also by its attribute."""
    if entry.name.startswith("."):
        return True
    if os.name != "nt":
        return False
    attributes: int = getattr(entry.stat(follow_symlinks=False), "st_file_attributes", 0)
    return bool(attributes & stat.FILE_ATTRIBUTE_HIDDEN)


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder to visit.

    Attributes:
        path: the folder.
        relative: its path from the first folder with a trailing slash; empty for the first one.
        ancestors: real paths of the folders that contain it on this walk.
        behind_link: whether a link led here.
    """

    path: Path
    relative: str
    ancestors: frozenset[str]
    behind_link: bool


class _Walk:
    """One walk, with the folders that it has visited."""

    def __init__(
        self,
        search: SearchSettings,
        wanted: PathFilter,
        is_output: Callable[[Path], bool],
        without: Path | None,
        left_out: LeftOut,
    ) -> None:
        self._search = search
        self._wanted = wanted
        self._is_output = is_output
        self._without = None if without is None else os.path.realpath(without)
        self._left_out = left_out
        self._visited: set[str] = set()

    def list_folder(self, folder: _Folder) -> Iterator[Path | tuple[Path, ImageError] | _Folder]:
        """Yield the images of one folder, and the subfolders to visit."""
        identity = os.path.realpath(folder.path)
        self._visited.add(identity)
        try:
            names, folders, others = self._list(folder.path)
        except OSError as error:
            yield folder.path, ImageError(f"{folder.path}: cannot be listed: {os_reason(error)}")
            return
        ancestors = folder.ancestors | {identity}
        for name in names:
            if name not in folders:
                if self._may_be_image(name, folder.relative + name):
                    path = folder.path / name
                    if (name not in others or may_be_file(path)) and not self._is_output(path):
                        yield path
            elif self._search.recursive and self._wanted.enters(folder.relative + name):
                path, is_link = folder.path / name, folders[name]
                closed = self._visited if is_link and folder.behind_link else ancestors
                target = os.path.realpath(path)
                if target not in closed and target != self._without:
                    yield _Folder(path, f"{folder.relative}{name}/", ancestors, folder.behind_link or is_link)

    def _list(self, folder: Path) -> tuple[list[str], dict[str, bool], set[str]]:
        """Return the sorted names in a folder; of the folders, whether they are links; and of what is no plain file."""
        names: list[str] = []
        folders: dict[str, bool] = {}
        others: set[str] = set()
        with os.scandir(folder) as entries:
            for entry in entries:
                if self._search.hidden or not is_hidden(entry):
                    names.append(entry.name)
                    if _is_folder(entry):
                        folders[entry.name] = entry.is_symlink()
                    elif not entry.is_file(follow_symlinks=False):
                        others.add(entry.name)
        names.sort()
        return names, folders, others

    def _may_be_image(self, name: str, relative: str) -> bool:
        """Return whether a name is that of a wanted image; counts other images."""
        if not self._wanted.wants(relative):
            return False
        self._left_out.add(os.path.splitext(name)[1].lower())
        return is_image_name(name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


# Patterns


@dataclass(frozen=True, slots=True)
class PathFilter:
    """Patterns that select files of a folder.

    A pattern without a slash is matched against the file name and the name of each folder above it. A pattern with a
    slash is matched against the path from the folder that the search started in. `*`, `?` and `[...]` match within
    one name, `**` matches any number of folders. A pattern that matches a folder applies to everything in it. Case
    is ignored, because cameras write .JPG and people .jpg.

    Attributes:
        include: if there are any, a file must match at least one.
        exclude: a file must not match any; wins over `include`.
    """

    include: tuple[re.Pattern[str], ...] = ()
    exclude: tuple[re.Pattern[str], ...] = ()

    @classmethod
    def of(cls, include: Iterable[str], exclude: Iterable[str]) -> PathFilter:
        """Parse patterns as the user writes them.

        Raises:
            UsageError: a pattern is empty or invalid, or leads out of the folder.
        """
        return cls(
            tuple(_parse(pattern, "include") for pattern in include),
            tuple(_parse(pattern, "exclude") for pattern in exclude),
        )

    def wants(self, path: str) -> bool:
        """Return whether a file is selected, by its path from the start folder, with slashes."""
        if any(pattern.match(path) for pattern in self.exclude):
            return False
        return not self.include or any(pattern.match(path) for pattern in self.include)

    def enters(self, path: str) -> bool:
        """Return whether a folder may contain selected files; an excluded folder is not even listed."""
        return not any(pattern.match(path) for pattern in self.exclude)


_ANY_FOLDERS = "(?:[^/]+/)*"
_TOKEN = re.compile(r"\*+|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)
_SPECIAL_IN_SET = re.compile(r"[\\\[\]&~|^]")


def to_regex(pattern: str) -> str:
    """Translate a pattern for a whole path: `*`, `?` and `[...]` within one name, `**` for any number of folders.

    Raises:
        re.error: a set is invalid, such as `[z-a]`.
    """
    *folders, name = pattern.split("/")
    translated = "".join(_ANY_FOLDERS if part == "**" else _name_regex(part) + "/" for part in folders)
    regex = translated + (_ANY_FOLDERS + "[^/]+" if name == "**" else _name_regex(name))
    re.compile(regex)
    return regex


def _parse(pattern: str, setting: str) -> re.Pattern[str]:
    stripped = pattern.removeprefix("./").strip("/")
    if not stripped:
        raise UsageError(
            f"{pattern!r} is not a file pattern", hint="use a pattern such as '*.jpg' or 'raw/**'", setting=setting
        )
    if ".." in stripped.split("/"):
        raise UsageError(
            f"{pattern!r} can never match: patterns apply to paths inside the folder",
            hint="remove '..'",
            setting=setting,
        )
    anywhere = "" if "/" in pattern.removesuffix("/") else "(?:.*/)?"
    try:
        # A path may continue after the match: then it is inside a folder that matched.
        return re.compile(f"{anywhere}{to_regex(stripped)}(?:/.*)?\\Z", re.IGNORECASE | re.DOTALL)
    except re.error as error:
        raise UsageError(f"{pattern!r} is not a file pattern: {error}", setting=setting) from error


def _name_regex(part: str) -> str:
    return "".join(map(_token_regex, _TOKEN.findall(part)))


def _token_regex(part: str) -> str:
    if part[0] == "*":
        return "[^/]*"
    if part == "?":
        return "[^/]"
    if len(part) > 1:
        negated = part[1] == "!"
        members = _SPECIAL_IN_SET.sub(r"\\\g<0>", part[2:-1] if negated else part[1:-1])
        return f"(?!/)[{'^' if negated else ''}{members}]"
    return re.escape(part)
