"""Which image becomes which files, decided before anything is computed.

`plan_beside` (here) and `plan_mirrored` (`inference.mirror`) both return tasks: `glpn predict` puts depth beside its
image or into one folder, `glpn batch` mirrors a tree of folders.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glpn_cli.convert import EMPTY_HINT
from glpn_cli.errors import GLPNError, InputError, OutputError, OutputExistsError, UsageError
from glpn_cli.image.discovery import STDIN, find_images
from glpn_cli.image.fetching import Address
from glpn_cli.image.folder import image_names
from glpn_cli.output.formats import (
    DEFAULT_FORMAT,
    FORMATS,
    check_settings,
    find_formats,
    format_of_name,
    unwritten_users,
)
from glpn_cli.output.naming import SiblingNames, has_output_ending, may_be_output
from glpn_cli.settings import SearchSettings, Tta

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from glpn_cli.image.discovery import FoundImages, ImageList, Source
    from glpn_cli.inference.manifest import Record
    from glpn_cli.output.formats import DepthFormat
    from glpn_cli.settings import OutputSettings, PredictionSettings

STDOUT = Path("-")
"""Standard output, as the path of an output. Compare with `is`: a file may have this name."""

_STDIN_NAME = "stdin"
_SEARCH = SearchSettings()
_CACHED_FOLDERS = 32


@dataclass(frozen=True, slots=True, eq=False)
class MemoryImage:
    """An image that a Python user gave, in any form that `read_image` takes.

    Attributes:
        image: the image.
    """

    image: Any

    def __str__(self) -> str:
        return str(self.image) if isinstance(self.image, str | os.PathLike) else "the image"


@dataclass(frozen=True, slots=True)
class Task:
    """One image and the files that its depth is written to.

    Attributes:
        source: the image; `STDIN` for standard input. The text of an argument that gave no image.
            A `MemoryImage` for `Predictor.predict`.
        outputs: a path for each format; `STDOUT` for standard output.
        done: an earlier run wrote these outputs, and nothing has changed since.
        overwrite: the outputs may be replaced, whatever they are.
        record: what an earlier run wrote; its outputs may be replaced as long as they are unchanged.
        failure: why the image cannot be processed, if that is known beforehand.
    """

    source: Source | str | MemoryImage
    outputs: tuple[tuple[DepthFormat, Path], ...] = ()
    done: bool = False
    overwrite: bool = False
    record: Record | None = None
    failure: GLPNError | None = None

    @property
    def to_stdout(self) -> bool:
        """Whether the depth is written to standard output."""
        return any(path is STDOUT for _, path in self.outputs)

    def may_replace(self, row: DepthFormat, path: Path) -> bool:
        """Return whether an output may be replaced if it exists."""
        return self.overwrite or (self.record is not None and self.record.matches(row.name, path))


@dataclass(frozen=True, slots=True)
class Plan:
    """The tasks of a run.

    Attributes:
        tasks: one for each image, and one for each argument that gave none.
        formats: the formats of every image.
        folder: the folder of all outputs, which is created; or None.
        named_file: the only output is a file that the user named, so a link there is followed.
        skipped_outputs: number of depth files that were skipped when folders and patterns were expanded.
    """

    tasks: tuple[Task, ...]
    formats: tuple[DepthFormat, ...]
    folder: Path | None = None
    named_file: bool = False
    skipped_outputs: int = 0

    @property
    def to_stdout(self) -> bool:
        """Whether depth is written to standard output."""
        return any(task.to_stdout for task in self.tasks)

    @property
    def from_stdin(self) -> bool:
        """Whether an image is read from standard input."""
        return any(task.source is STDIN for task in self.tasks)


class OutputNames:
    """The file names of depth, judged from the other images of the same folder; cached by folder."""

    def __init__(self, sources: Iterable[Source], places: Mapping[str, Path] | None = None) -> None:
        """Collect the images that are named one by one.

        Args:
            sources: images that count as images whatever their suffix, and URLs.
            places: the output folder of each URL; URLs are named among those of the same folder.
        """
        self._places = places or {}
        self._named: dict[Path, list[str]] = {}
        urls: dict[Path, list[str]] = {}
        for source in sources:
            if isinstance(source, Address):
                urls.setdefault(self._place(source), []).append(source.name)
            elif source is not STDIN:
                self._named.setdefault(source.parent, []).append(source.name)
        self._fetched = {place: SiblingNames(names, is_output=lambda _: False) for place, names in urls.items()}
        self._siblings: dict[Path, SiblingNames] = {}

    def output_name(self, source: Source, row: DepthFormat) -> str:
        """Return the file name of an image's depth in a format."""
        if source is STDIN:
            return _STDIN_NAME + row.ending
        if isinstance(source, Address):
            return self._fetched[self._place(source)].output_name(source.name, row)
        if source.parent not in self._siblings:
            if len(self._siblings) >= _CACHED_FOLDERS:  # images come folder by folder
                self._siblings.clear()
            self._siblings[source.parent] = self._names_in(source.parent)
        return self._siblings[source.parent].output_name(source.name, row)

    def is_named(self, path: Path) -> bool:
        """Return whether a path is one of the images that were named one by one."""
        return path.name in self._named.get(path.parent, ())

    def _place(self, address: Address) -> Path:
        return self._places.get(address.url, Path())

    def _names_in(self, folder: Path) -> SiblingNames:
        names = [*image_names(folder), *self._named.get(folder, ())]
        return SiblingNames(names, is_output=lambda name: is_depth_file(folder / name))


def plan_beside(
    arguments: Sequence[str],
    *,
    output: str | None = None,
    formats: str | Sequence[str] = (),
    overwrite: bool = False,
    search: SearchSettings = _SEARCH,
    listed: ImageList | None = None,
) -> Plan:
    """Plan the outputs of images that are named one by one.

    Args:
        arguments: images, folders, patterns, URLs, "-" for standard input.
        output: None for beside each image (in the current folder for URLs), "-" for standard output, a folder if it
            ends in a slash, exists as one, or there are several files to write, else a file.
        formats: names of formats; empty leaves it to the suffix of an output file, else the default.
        overwrite: whether files may be replaced. An image itself never is.
        search: what is found in folders, and whether URLs are allowed.
        listed: more images.

    Raises:
        UsageError: the arguments contradict each other, or there are none.
        InputError: all arguments are depth files.
    """
    if not (arguments or listed):
        raise UsageError("no images are named", hint="glpn predict photo.jpg, or set `from_list`")
    if output == "":
        raise UsageError("must not be empty", hint=EMPTY_HINT, setting="output")
    rows = find_formats(formats)
    found = find_images(arguments, is_output=is_depth_file, search=search, listed=listed)
    if not (found.images or found.failures):
        raise InputError(
            f"all {found.skipped_outputs} files are depth files", hint="name one file alone to use it as an image"
        )
    folder, single = _choose_target(output, found, rows)
    if single is not None and single is not STDOUT:
        rows = [_format_of_file(single, rows)]
    rows = rows or [FORMATS[DEFAULT_FORMAT]]

    planner = _Planner(rows, folder, single, found.images, overwrite=overwrite)
    tasks = [planner.task(image) for image in found.images]
    tasks += [Task(argument, failure=error) for argument, error in found.failures]
    named_file = single is not None and single is not STDOUT
    return Plan(tuple(tasks), tuple(rows), folder, named_file, found.skipped_outputs)


def check_formats(rows: Sequence[DepthFormat], output: OutputSettings, prediction: PredictionSettings) -> None:
    """Check that formats can be written, and that every changed setting affects one of them.

    Raises:
        UsageError: a setting contradicts a format, or has no effect.
        MissingPackageError: a format needs a package that is not installed.
    """
    check_settings(rows, output)
    uncertain = next((row.name for row in rows if row.needs_uncertainty), None)
    if uncertain is not None and prediction.tta is Tta.NONE:
        raise UsageError(
            f"the format {uncertain} needs `tta='flip'`", hint="it is the difference to the mirrored image"
        )
    for name in output.changed():
        users = unwritten_users(name, rows)
        if users:
            raise UsageError(
                f"`{name}` only affects {' and '.join(users)}, which {'is' if len(users) == 1 else 'are'} not written",
                hint=f"add `formats={users[0]}`",
            )


def check_downloads(search: SearchSettings, prediction: PredictionSettings) -> None:
    """Check that images are not to be downloaded without the network.

    Raises:
        UsageError: they are.
    """
    if search.allow_url and prediction.offline:
        raise UsageError("`allow_url` and `offline` exclude each other")


def is_depth_file(path: Path) -> bool:
    """Return whether a file is a depth file, by its name or, if the name is ambiguous, by its content."""
    if has_output_ending(path.name):
        return True
    if not may_be_output(path.name):
        return False
    from glpn_cli.output.reading import is_glpn_file  # imports numpy and Pillow, which one .jpg does not need

    return is_glpn_file(path)


def _choose_target(
    output: str | None, found: FoundImages, rows: Sequence[DepthFormat]
) -> tuple[Path | None, Path | None]:
    """Return the folder of all outputs, and the only output, if it is a file or `STDOUT`; None for neither."""
    # Missing inputs count, so that fixing a typo does not change what the command means.
    several = (len(found.images) + len(found.failures)) * max(1, len(rows)) > 1
    reads_stdin = any(image is STDIN for image in found.images)
    if output == "-" or (output is None and reads_stdin and len(found.images) == 1):
        if several:
            raise UsageError("standard output takes one depth file", hint="set `output` to a folder: FOLDER/")
        return None, STDOUT
    if output is None:
        if reads_stdin:
            raise UsageError("an image from standard input has no folder", hint="set `output` to a folder: FOLDER/")
        return None, None
    if not (output.endswith(("/", os.sep)) or os.path.isdir(output) or several):
        return None, Path(output)
    if os.path.exists(output) and not os.path.isdir(output):
        raise UsageError(f"{output} is a file, but several files need a folder", setting="output")
    return Path(output), None


def _format_of_file(file: Path, rows: list[DepthFormat]) -> DepthFormat:
    """Return the format of a named output file, from its suffix and the formats that were asked for."""
    if not file.suffix:
        return rows[0] if rows else FORMATS[DEFAULT_FORMAT]
    if rows and rows[0].may_be_called(file.name):
        return rows[0]
    row = format_of_name(file.name)
    if rows:
        raise UsageError(f"`output={file}` means the format {row.name}, but `formats` is {rows[0].name}")
    return row


class _Planner:
    """Names the outputs of each image and finds conflicts."""

    def __init__(
        self,
        rows: list[DepthFormat],
        folder: Path | None,
        single: Path | None,
        sources: list[Source],
        *,
        overwrite: bool,
    ) -> None:
        self._rows = rows
        self._folder = folder
        self._single = single
        self._overwrite = overwrite
        files = [source for source in sources if isinstance(source, Path) and source is not STDIN]
        self._sources = {os.path.normcase(os.path.realpath(source)) for source in files}
        self._names = OutputNames(sources)
        self._owners: dict[str, Source] = {}

    def task(self, source: Source) -> Task:
        outputs = tuple((row, self._path(source, row)) for row in self._rows)
        conflicts = (self._conflict(source, path) for _, path in outputs if path is not STDOUT)
        failure = next((conflict for conflict in conflicts if conflict is not None), None)
        return Task(source, outputs, overwrite=self._overwrite, failure=failure)

    def _path(self, source: Source, row: DepthFormat) -> Path:
        if self._single is not None:
            return self._single
        beside = source.parent if isinstance(source, Path) and source is not STDIN else Path()
        return (self._folder or beside) / self._names.output_name(source, row)

    def _conflict(self, source: Source, path: Path) -> GLPNError | None:
        identity = os.path.normcase(os.path.realpath(path))
        if identity in self._sources:
            return OutputError(f"{path}: is one of the images and is never replaced", hint="choose another `output`")
        other = self._owners.setdefault(identity, source)
        if other is not source:
            return OutputError(
                f"{path}: is already the output of {other}", hint="predict images of the same name one by one"
            )
        if not self._overwrite and os.path.lexists(path) and (os.path.isfile(path) or not os.path.exists(path)):
            return OutputExistsError(f"{path}: already exists", hint="set `overwrite` to replace it")
        if os.path.isdir(path):
            return OutputError(f"{path}: is a folder")
        if path.parent != self._folder and not os.path.isdir(path.parent):
            return OutputError(f"{path}: its folder does not exist", hint="`output` creates a folder only as FOLDER/")
        return None
