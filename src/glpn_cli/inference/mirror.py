"""Which image of folders or a list becomes which files of one output folder, and which are done already."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli.convert import EMPTY_HINT
from glpn_cli.errors import GLPNError, ImageError, OutputError, OutputExistsError, UsageError
from glpn_cli.files import path_of_url, refuse_outside
from glpn_cli.image.discovery import address_of, describe_other_file, missing_listed
from glpn_cli.image.fetching import Address, is_address
from glpn_cli.image.folder import LeftOut, RecordedDepth, is_image_name, walk_images
from glpn_cli.inference.manifest import Record, is_same_image
from glpn_cli.inference.plan import OutputNames, Task, is_depth_file
from glpn_cli.settings import SearchSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from glpn_cli.image.discovery import ImageList, Source
    from glpn_cli.output.formats import DepthFormat
    from glpn_cli.values import Shard

_SEARCH = SearchSettings(recursive=True)


@dataclass(frozen=True, slots=True)
class _Placed:
    """An image of a list.

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
    placed = list(_place_listed(listed, search, is_depth)) if listed else []
    mirror = _Mirror(
        out, formats, records, overwrite=overwrite, search=search, placed=placed, is_depth=is_depth, shard=shard
    )
    return mirror.tasks(prefixes)


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
        placed: Sequence[_Placed],
        is_depth: _DepthFilter,
        shard: Shard | None,
    ) -> None:
        self._out = out
        self._formats = formats
        self._records = records
        self._overwrite = overwrite
        self._search = search
        self._owners = {path: source for source, record in records.items() for path in record.outputs.values()}
        self._placed = placed
        self._is_depth = is_depth
        self._shard = shard
        self._folders: list[Path] = []
        usable = [image for image in placed if image.failure is None]
        self._names = OutputNames(
            [image.source for image in usable],
            {image.source.url: image.place for image in usable if isinstance(image.source, Address)},
            is_depth=lambda path: is_depth_file(path) or is_depth.is_recorded(path),
        )

    def tasks(self, prefixes: Mapping[Path, Path]) -> Iterator[Task]:
        """Plan all images of all folders and of the list, each once."""
        seen: set[Source] = set()
        self._folders = list(prefixes)
        for folder, prefix in prefixes.items():
            for found in walk_images(
                folder,
                search=self._search,
                is_output=self._is_depth,
                without=self._out,
                left_out=self._is_depth.left_out,
            ):
                path = found[0] if isinstance(found, tuple) else found
                place = prefix / path.parent.relative_to(folder)
                if path in seen or not self._is_ours(path, place):
                    continue
                if isinstance(found, tuple):
                    yield Task(path, failure=found[1])
                else:
                    seen.add(path)
                    yield self._task(path, place)
        for image in self._placed:
            if image.source not in seen and self._is_ours(image.source, image.place):
                seen.add(image.source)
                if image.failure is not None:
                    yield Task(image.source, failure=image.failure)
                else:
                    yield self._task(image.source, image.place)

    def _is_ours(self, source: Source, place: Path) -> bool:
        """Return whether an image is in the shard; the same wherever the folders are."""
        if self._shard is None:
            return True
        return self._shard.has(source.url if isinstance(source, Address) else (place / source.name).as_posix())

    def _task(self, source: Source, place: Path) -> Task:
        record = self._records.get(str(source))
        if record is not None and record.outputs.keys() >= {row.name for row in self._formats}:
            outputs = tuple((row, self._out / record.outputs[row.name]) for row in self._formats)
        else:
            outputs = tuple((row, self._out / place / self._names.output_name(source, row)) for row in self._formats)
        if record is not None and _is_done(record, source, outputs):
            return Task(source, outputs, done=True)
        task = Task(source, outputs, overwrite=self._overwrite, record=record or self._inherited(outputs))
        conflicts = (self._conflict(task, row, path) for row, path in outputs)
        return replace(task, failure=next((conflict for conflict in conflicts if conflict is not None), None))

    def _inherited(self, outputs: tuple[tuple[DepthFormat, Path], ...]) -> Record | None:
        """Return the record of a removed image that had the same outputs, such as a.jpg where now is a.png."""
        for _, path in outputs:
            owner = self._owners.get(self._key(path))
            if owner is not None and not _exists(owner):
                return self._records.get(owner)
        return None

    def _conflict(self, task: Task, row: DepthFormat, path: Path) -> GLPNError | None:
        source = str(task.source)
        owner = self._owners.get(self._key(path), source)
        if owner != source and _exists(owner):
            return OutputError(f"{path}: is already the output of {owner}", hint="choose another `output`")
        self._owners[self._key(path)] = source
        try:
            refuse_outside(path.parent, self._out)
        except OutputError as error:
            return error
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

    def _is_input(self, path: Path) -> bool:
        """Return whether an existing file is an image of this batch: those are never replaced."""
        real = Path(os.path.realpath(path))
        if self._names.is_named(real):
            return True
        below = any(map(real.is_relative_to, self._folders))
        return below and is_image_name(real.name) and not is_depth_file(real)

    def _key(self, path: Path) -> str:
        return path.relative_to(self._out).as_posix()


def _is_done(record: Record, source: Source, outputs: tuple[tuple[DepthFormat, Path], ...]) -> bool:
    return record.is_done and all(os.path.isfile(path) for _, path in outputs) and is_same_image(record, source)


def _exists(source: str) -> bool:
    """Return whether the source of a record still exists; a URL is never known to be gone."""
    return is_address(source) or os.path.lexists(source)
