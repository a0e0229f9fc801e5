"""Which image of folders or a list becomes which files of one output folder, and which are done already."""

from __future__ import annotations

import hashlib
import os
import re
from array import array
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli.convert import EMPTY_HINT
from glpn_cli.errors import GLPNError, ImageError, OutputError, OutputExistsError, UsageError
from glpn_cli.files import path_of_url, refuse_outside
from glpn_cli.image.discovery import address_of, describe_other_file, missing_listed
from glpn_cli.image.fetching import Address, is_address
from glpn_cli.image.folder import LeftOut, RecordedDepth, is_image_name, walk_images
from glpn_cli.inference.history import History
from glpn_cli.inference.plan import OutputNames, Task, is_depth_file
from glpn_cli.inference.record import Record, is_same_image
from glpn_cli.settings import SearchSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from glpn_cli.image.discovery import ImageList, Source
    from glpn_cli.output.formats import DepthFormat
    from glpn_cli.values import Shard

_SEARCH = SearchSettings(recursive=True)


@dataclass(frozen=True, slots=True)
class _Placed:
    """An image of a folder or a list.

    Attributes:
        source: absolute path, its folder without links; or a URL.
        place: path of the folder of its depth, relative to the output folder, without "..".
        failure: why there is no such image, or None.
    """

    source: Source
    place: Path
    failure: ImageError | None = None


def plan_mirrored(
    folders: Sequence[str],
    out: Path,
    *,
    formats: Sequence[DepthFormat],
    records: Mapping[str, Record],
    overwrite: bool = False,
    search: SearchSettings = _SEARCH,
    listed: ImageList | None = None,
    left_out: LeftOut | None = None,
    shard: Shard | None = None,
) -> Iterator[Task]:
    """Plan the outputs of all images of folders and their subfolders.

    One folder is mirrored into `out` itself, several into subfolders of their names. An image of a list that lies below
    the current folder keeps its path from there. Any other gets its whole path without the root, and a URL gets a
    folder named after its host, so that no entry of a list leads out of `out`. An image that has a record keeps its
    file names, whatever images appeared since. Depth images of RGB-D cameras beside their photos are left out.

    Args:
        folders: as the user wrote them.
        out: the output folder, which may be inside one of them.
        formats: what to write.
        records: what earlier runs wrote, by source.
        overwrite: whether existing files may be replaced.
        search: what is found in the folders.
        listed: more images; entries that are not images are left out.
        left_out: counts what is left out.
        shard: only plan the images of this part; None plans all.

    Raises:
        UsageError: an argument is not a folder, two folders have the same name, there are no folders, or a URL is not
            allowed.
    """
    if not (folders or listed):
        raise UsageError("no folders are named", hint="glpn batch FOLDER, or set `from_list`")
    left_out = left_out or LeftOut()
    left_out.clear()
    prefixes = _prefixes([path_of_url(folder) or folder for folder in folders])
    is_depth = _DepthFilter(left_out)
    placed = _Listed(_place_listed(listed, search, is_depth) if listed else ())
    mirror = _Mirror(
        out,
        formats,
        records,
        overwrite=overwrite,
        search=search,
        placed=placed,
        is_depth=is_depth,
        shard=shard,
        any_folders=bool(prefixes),
    )
    return mirror.tasks(prefixes)


class _Listed:
    """The images of a list, in little memory."""

    def __init__(self, images: Iterable[_Placed]) -> None:
        self._folders: dict[tuple[Path, Path], int] = {}  # of images and outputs
        self._folder = array("I")
        self._names: list[str] = []
        self._others: dict[int, _Placed] = {}  # URLs and failures, by index
        for index, image in enumerate(images):
            key, name = (Path(), Path()), ""
            if image.failure is not None or isinstance(image.source, Address):
                self._others[index] = image
            else:
                key, name = (image.source.parent, image.place), image.source.name
            self._folder.append(self._folders.setdefault(key, len(self._folders)))
            self._names.append(name)

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[_Placed]:
        folders = list(self._folders)
        for index, name in enumerate(self._names):
            if index in self._others:
                yield self._others[index]
            else:
                folder, place = folders[self._folder[index]]
                yield _Placed(folder / name, place)


class _DepthFilter:
    """Returns whether a file of a folder is depth, ours or of a camera; counts those of cameras."""

    def __init__(self, left_out: LeftOut) -> None:
        self.left_out = left_out
        self.is_recorded = RecordedDepth()

    def __call__(self, path: Path) -> bool:
        if is_depth_file(path):
            return True
        recorded = self.is_recorded(path)
        self.left_out.depth += recorded
        return recorded


def _prefixes(folders: Sequence[str]) -> dict[Path, Path]:
    """Return where each folder is mirrored, relative to the output folder."""
    for named in folders:
        if not named:
            raise UsageError("the name of a folder is empty", hint=EMPTY_HINT)
        if not os.path.isdir(named):
            single = os.path.exists(named) or is_address(named)
            hint = "use `predict` for single images" if single else None
            raise UsageError(f"{named}: is not a folder", hint=hint)
    absolute = list(dict.fromkeys(Path(os.path.realpath(folder)) for folder in folders))
    if len(absolute) == 1:
        return {absolute[0]: Path()}
    names = [folder.name for folder in absolute]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"two folders have the name {name!r}", hint="run one batch for each, with its own `output`"
            )
    return {folder: Path(folder.name) for folder in absolute}


def _place_listed(listed: ImageList, search: SearchSettings, is_depth: _DepthFilter) -> Iterator[_Placed]:
    """Yield the images of a list in its order; see `plan_mirrored`."""
    here = Path(os.path.realpath("."))
    real = lru_cache(maxsize=1024)(os.path.realpath)  # many images share a folder
    for number, given in enumerate(listed.entries, start=1):
        entry = path_of_url(given) or given
        if is_address(entry):
            address = address_of(entry, search=search)
            if isinstance(address, ImageError):
                yield _Placed(Path(f"entry {number} of {listed.name}"), Path(), address)
            else:
                yield _Placed(address, Path(*address.folders))
        elif os.path.isdir(entry):
            yield from _placed_of_folder(Path(os.path.realpath(entry)), here, search, is_depth)
        else:
            folder, name = os.path.split(entry)  # a link is an image of its own, so only its folder is resolved
            source = Path(real(folder or ".")) / name
            if not os.path.lexists(entry):
                yield _Placed(source, Path(), missing_listed(entry, listed))
            elif describe_other_file(entry):
                is_depth.left_out.other += 1
            elif not is_depth_file(source):
                yield _Placed(source, _place(source.parent, here))


def _placed_of_folder(folder: Path, here: Path, search: SearchSettings, is_depth: _DepthFilter) -> Iterator[_Placed]:
    place = _place(folder, here)
    for found in walk_images(folder, search=search, is_output=is_depth, left_out=is_depth.left_out):
        if isinstance(found, tuple):
            yield _Placed(found[0], place, found[1])
        else:
            yield _Placed(found, place / found.parent.relative_to(folder))


def _place(folder: Path, here: Path) -> Path:
    if folder.is_relative_to(here):
        return folder.relative_to(here)
    drive = re.sub(r"\W+", "_", folder.drive).strip("_")  # on Windows: C:, or \\server\share
    return Path(drive, *folder.parts[1:])


class _Mirror:
    """Plans images one by one and remembers the owner of each output."""

    def __init__(
        self,
        out: Path,
        formats: Sequence[DepthFormat],
        records: Mapping[str, Record],
        *,
        overwrite: bool,
        search: SearchSettings,
        placed: _Listed,
        is_depth: _DepthFilter,
        shard: Shard | None,
        any_folders: bool,
    ) -> None:
        self._out = out
        self._formats = formats
        self._records = records
        self._overwrite = overwrite
        self._search = search
        self._known = records if isinstance(records, History) else History.of(records.values())
        self._owners: dict[str, str] = {}  # of the outputs in contested places
        self._contested = _contested_places(placed, any_folders=any_folders)
        self._outside: dict[str, OutputError | None] = {}  # of the last folder
        self._place: Path | None = None
        self._target, self._prefix = out, ""  # of this place
        self._placed = placed
        self._is_depth = is_depth
        self._shard = shard
        self._folders: list[Path] = []
        self._names = OutputNames(
            (image.source for image in placed if image.failure is None),
            {image.source.url: image.place for image in placed if isinstance(image.source, Address)},
            is_depth=lambda path: is_depth_file(path) or is_depth.is_recorded(path),
        )

    def tasks(self, prefixes: Mapping[Path, Path]) -> Iterator[Task]:
        """Plan all images of all folders and of the list, each once."""
        # One folder has each image once, and remembering a million of them takes as much memory as the plan.
        seen = _Seen() if len(prefixes) + len(self._placed) > 1 else None
        self._folders = list(prefixes)
        for image in chain(self._found(prefixes), self._placed):
            if (seen is not None and image.source in seen) or not self._is_ours(image.source, image.place):
                continue
            if image.failure is not None:
                yield Task(image.source, failure=image.failure)
                continue
            if seen is not None:
                seen.add(image.source)
            yield self._task(image.source, image.place)

    def _found(self, prefixes: Mapping[Path, Path]) -> Iterator[_Placed]:
        """Yield the images of folders."""
        left_out = self._is_depth.left_out
        for folder, prefix in prefixes.items():
            walk = walk_images(
                folder, search=self._search, is_output=self._is_depth, without=self._out, left_out=left_out
            )
            last, place = "", prefix
            for found in walk:
                path, failure = found if isinstance(found, tuple) else (found, None)
                parent = os.path.dirname(path)
                if parent != last:  # images come folder by folder
                    last, place = parent, prefix / Path(parent).relative_to(folder)
                yield _Placed(path, place, failure)

    def _is_ours(self, source: Source, place: Path) -> bool:
        """Return whether an image is in the shard; the same wherever the folders are."""
        if self._shard is None:
            return True
        return self._shard.has(source.url if isinstance(source, Address) else (place / source.name).as_posix())

    def _task(self, source: Source, place: Path) -> Task:
        record = self._records.get(str(source))
        if record is not None and record.outputs.keys() >= {row.name for row in self._formats}:
            keys = [record.outputs[row.name] for row in self._formats]
            outputs = tuple((row, self._out / key) for row, key in zip(self._formats, keys, strict=True))
        else:
            self._enter(place)
            names = [self._names.output_name(source, row) for row in self._formats]
            keys = [self._prefix + name for name in names]
            outputs = tuple((row, self._target / name) for row, name in zip(self._formats, names, strict=True))
        if record is not None and _is_done(record, source, outputs):
            return Task(source, outputs, done=True)
        owners = [self._known.owner(key) for key in keys]
        task = Task(source, outputs, overwrite=self._overwrite, record=record or _inherited(owners))
        for (row, path), key, owner in zip(outputs, keys, owners, strict=True):
            conflict = self._conflict(task, row, path, self._owner(source, place, key, owner))
            if conflict is not None:
                return replace(task, failure=conflict)
        return task

    def _enter(self, place: Path) -> None:
        """Take the folder of the next outputs; images come folder by folder."""
        if place is not self._place:
            self._place = place
            self._target = self._out / place
            self._prefix = "" if place == Path() else f"{place.as_posix()}/"

    def _owner(self, source: Source, place: Path, key: str, recorded: Record | None) -> str:
        """Return the source of an output, which becomes this one if no image has it."""
        if recorded is not None and recorded.source != str(source) and _exists(recorded.source):
            return recorded.source
        if not self._contested or place not in self._contested:
            return str(source)
        return self._owners.setdefault(key, str(source))

    def _conflict(self, task: Task, row: DepthFormat, path: Path, owner: str) -> GLPNError | None:
        if owner != str(task.source):
            return OutputError(f"{path}: is already the output of {owner}", hint="choose another `output`")
        outside = self._refuse_outside(path)
        if outside is not None:
            return outside
        if not os.path.lexists(path):
            return None
        is_input = self._is_input(path)
        if replace(task, overwrite=task.overwrite and not is_input).may_replace(row, path):
            return None
        if is_input:
            return OutputError(f"{path}: is one of the images and is never replaced", hint="choose another `output`")
        return OutputExistsError(
            f"{path}: already exists and is not from this batch", hint="set `overwrite` to replace it"
        )

    def _refuse_outside(self, path: Path) -> OutputError | None:
        """Return the error of an output folder that a link leads out of; remembered for the last one."""
        folder = os.path.dirname(path)
        if folder not in self._outside:
            self._outside = {folder: None}
            try:
                refuse_outside(Path(folder), self._out)
            except OutputError as error:
                self._outside[folder] = error
        return self._outside[folder]

    def _is_input(self, path: Path) -> bool:
        """Return whether an existing file is an image of this batch: those are never replaced."""
        real = Path(os.path.realpath(path))
        if self._names.is_named(real):
            return True
        below = any(map(real.is_relative_to, self._folders))
        return below and is_image_name(real.name) and not is_depth_file(real)


class _Seen:
    """The images that were planned, as hashes of 128 bits."""

    def __init__(self) -> None:
        self._hashes: set[bytes] = set()

    def __contains__(self, source: Source) -> bool:
        return self._hash(source) in self._hashes

    def add(self, source: Source) -> None:
        self._hashes.add(self._hash(source))

    @staticmethod
    def _hash(source: Source) -> bytes:
        # By its own type: a file may have the name of a URL. The text of a URL does not have all of it.
        text = (
            f"url {source.userinfo} {source.url}" if isinstance(source, Address) else f"file {os.path.normcase(source)}"
        )
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _contested_places(placed: _Listed, *, any_folders: bool) -> set[Path]:
    """Return the output folders that images of several folders may share.

    The images of one folder have different outputs, and each folder that is mirrored has an output folder of its own.
    URLs may differ only in what is not in the names of their outputs.
    """
    sources: dict[Path, Path] = {}
    contested = set()
    for image in placed:
        parent = Path() if isinstance(image.source, Address) else image.source.parent
        if any_folders or parent == Path() or sources.setdefault(image.place, parent) != parent:
            contested.add(image.place)
    return contested


def _inherited(owners: Sequence[Record | None]) -> Record | None:
    """Return the record of a removed image that had the same outputs, such as a.jpg where now is a.png."""
    return next((owner for owner in owners if owner is not None and not _exists(owner.source)), None)


def _is_done(record: Record, source: Source, outputs: tuple[tuple[DepthFormat, Path], ...]) -> bool:
    return record.is_done and all(os.path.isfile(path) for _, path in outputs) and is_same_image(record, source)


def _exists(source: str) -> bool:
    """Return whether the source of a record still exists; a URL is never known to be gone."""
    return is_address(source) or os.path.lexists(source)
