"""Which image of folders or a list becomes which files of another folder, in the light of what was done before."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli.errors import GLPNError, OutputError, OutputExistsError, UsageError
from glpn_cli.files import refuse_outside
from glpn_cli.image.fetching import Address, is_address
from glpn_cli.image.folder import is_image_name, walk_images
from glpn_cli.inference.listed import PlacedImage, place_listed
from glpn_cli.inference.manifest import Record, file_mark
from glpn_cli.inference.plan import is_depth_file, names_in, names_of
from glpn_cli.settings import SearchSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from glpn_cli.image.discovery import ImageList, Source
    from glpn_cli.output.formats import DepthFormat
    from glpn_cli.output.naming import SiblingNames


_SEARCH = SearchSettings(recursive=True)
_REMEMBERED_FOLDERS = 32


@dataclass(frozen=True, slots=True)
class MirroredImage:
    """One image of a batch and what is to become of it.

    Attributes:
        source: absolute path, or an address.
        outputs: a path for each format.
        done: it was done before, and its outputs are there.
        overwrite: the user allowed its outputs to be replaced, whatever they are.
        record: what was known of its outputs, which may be replaced as long as they are what the record says.
        failure: why it cannot be done, known beforehand; or None.
    """

    source: Source
    outputs: tuple[tuple[DepthFormat, Path], ...] = ()
    done: bool = False
    overwrite: bool = False
    record: Record | None = None
    failure: GLPNError | None = None

    def may_replace(self, row: DepthFormat, path: Path) -> bool:
        """Tell whether an output may be replaced if it is there."""
        return self.overwrite or (self.record is not None and self.record.matches(row.name, path))


def mirror_folders(
    folders: Sequence[str],
    out: Path,
    *,
    formats: Sequence[DepthFormat],
    records: Mapping[str, Record],
    overwrite: bool = False,
    search: SearchSettings = _SEARCH,
    listed: ImageList | None = None,
) -> Iterator[MirroredImage]:
    """Give every image of the folders, and of all folders below them unless told otherwise, its outputs.

    One folder is mirrored into `out` itself, several into folders of their own names inside it. The place of a
    image of a list is that of `place_listed`. An image that has a record keeps the names that it has there,
    whatever other images appeared since.

    Args:
        folders: as the user wrote them.
        out: the folder for depth, which may be inside one of them.
        formats: what to write.
        records: what was done before, by absolute source path.
        overwrite: whether files that are in the way may be replaced.
        search: what is looked for in the folders.
        listed: more images.

    Raises:
        UsageError: a folder is none, two have the same name, there are none at all, or an address is not allowed.
    """
    if not (folders or listed):
        raise UsageError("no folders are named", hint="glpn batch FOLDER --out DIR, or --from-list FILE")
    prefixes = _prefixes(folders)
    placed = list(place_listed(listed, search=search, is_output=is_depth_file)) if listed else []
    return _Mirror(out, formats, records, overwrite=overwrite, search=search, placed=placed).images(prefixes)


def _prefixes(folders: Sequence[str]) -> dict[Path, Path]:
    """Give the place of each folder inside the output folder."""
    for named in folders:
        if not named:
            raise UsageError("a folder's name is empty", hint="is a variable of the shell not set?")
        if not os.path.isdir(named):
            single = os.path.exists(named) or is_address(named)
            hint = "glpn predict and --from-list take single images" if single else None
            raise UsageError(f"{named}: is no folder", hint=hint)
    absolute = list(dict.fromkeys(Path(os.path.realpath(folder)) for folder in folders))
    if len(absolute) == 1:
        return {absolute[0]: Path()}
    names = [folder.name for folder in absolute]
    for folder in absolute:
        if names.count(folder.name) > 1:
            raise UsageError(
                f"two folders are called {folder.name!r}", hint="run one batch for each, with its own --out"
            )
    return {folder: Path(folder.name) for folder in absolute}


class _Mirror:
    """Plans images one by one and remembers whose each output is."""

    def __init__(
        self,
        out: Path,
        formats: Sequence[DepthFormat],
        records: Mapping[str, Record],
        *,
        overwrite: bool,
        search: SearchSettings,
        placed: Sequence[PlacedImage],
    ) -> None:
        self._out = out
        self._formats = formats
        self._records = records
        self._overwrite = overwrite
        self._search = search
        self._owners = {path: source for source, record in records.items() for path in record.outputs.values()}
        self._placed = placed
        self._folders: list[Path] = []
        self._siblings: dict[Path, SiblingNames] = {}
        # An image that is named may have a name that a folder's listing would pass over.
        self._named: dict[Path, list[str]] = {}
        addresses: dict[Path, list[Address]] = {}
        for image in placed:
            if isinstance(image.source, Address):
                addresses.setdefault(image.place, []).append(image.source)
            elif image.failure is None:
                self._named.setdefault(image.source.parent, []).append(image.source.name)
        self._fetched = {place: names_of(found) for place, found in addresses.items()}

    def images(self, prefixes: Mapping[Path, Path]) -> Iterator[MirroredImage]:
        """Plan all images of all folders and of the list, each image once."""
        seen: set[Source] = set()
        self._folders = list(prefixes)
        for folder, prefix in prefixes.items():
            for found in walk_images(folder, search=self._search, is_output=is_depth_file, without=self._out):
                if isinstance(found, tuple):
                    yield MirroredImage(found[0], failure=found[1])
                elif found not in seen:
                    seen.add(found)
                    yield self._plan(found, prefix / found.parent.relative_to(folder))
        for image in self._placed:
            if image.source not in seen:
                seen.add(image.source)
                if image.failure is not None:
                    yield MirroredImage(image.source, failure=image.failure)
                else:
                    yield self._plan(image.source, image.place)

    def _plan(self, source: Source, place: Path) -> MirroredImage:
        record = self._records.get(str(source))
        if record is not None and record.outputs.keys() >= {row.name for row in self._formats}:
            outputs = tuple((row, self._out / record.outputs[row.name]) for row in self._formats)
        else:
            names = self._fetched[place] if isinstance(source, Address) else self._names_in(source.parent)
            outputs = tuple((row, self._out / place / names.output_name(source.name, row)) for row in self._formats)
        if record is not None and self._is_done(record, source, outputs):
            return MirroredImage(source, outputs, done=True)
        image = MirroredImage(source, outputs, overwrite=self._overwrite, record=record or self._inherited(outputs))
        for row, path in outputs:
            failure = self._clash(image, row, path)
            if failure is not None:
                return replace(image, failure=failure)
        return image

    def _inherited(self, outputs: tuple[tuple[DepthFormat, Path], ...]) -> Record | None:
        """Give the record of an image that is gone and had the same outputs, such as a.jpg where now is a.png."""
        for _, path in outputs:
            owner = self._owners.get(self._key(path))
            if owner is not None and not _is_there(owner):
                return self._records.get(owner)
        return None

    def _is_done(self, record: Record, source: Source, outputs: tuple[tuple[DepthFormat, Path], ...]) -> bool:
        return (
            record.is_done
            and record.source_mark == file_mark(source)
            and all(os.path.isfile(path) for _, path in outputs)
        )

    def _clash(self, image: MirroredImage, row: DepthFormat, path: Path) -> GLPNError | None:
        source = str(image.source)
        owner = self._owners.get(self._key(path), source)
        if owner != source and _is_there(owner):
            return OutputError(f"{path}: is already the output of {owner}", hint="choose another --out")
        self._owners[self._key(path)] = source
        try:
            refuse_outside(path.parent, self._out)
        except OutputError as error:
            return error
        if not os.path.lexists(path):
            return None
        photo = self._is_image(path)
        if replace(image, overwrite=image.overwrite and not photo).may_replace(row, path):
            return None
        if photo:
            return OutputError(f"{path}: is one of the images and will not be replaced", hint="choose another --out")
        return OutputExistsError(f"{path}: is there already, and not from this batch", hint="--overwrite replaces it")

    def _is_image(self, path: Path) -> bool:
        """Tell whether a file that is in the way is one that the batch is made from: those are never replaced."""
        real = Path(os.path.realpath(path))
        if real.name in self._named.get(real.parent, ()):
            return True
        below = any(map(real.is_relative_to, self._folders))
        return below and is_image_name(real.name) and not is_depth_file(real)

    def _key(self, path: Path) -> str:
        return path.relative_to(self._out).as_posix()

    def _names_in(self, folder: Path) -> SiblingNames:
        if folder not in self._siblings:
            if len(self._siblings) >= _REMEMBERED_FOLDERS:  # images come mostly folder by folder
                self._siblings.clear()
            self._siblings[folder] = names_in(folder, also=self._named.get(folder, ()))
        return self._siblings[folder]


def _is_there(source: str) -> bool:
    """Tell whether what a record calls its source is there; an address is never known to be gone."""
    return is_address(source) or os.path.lexists(source)
