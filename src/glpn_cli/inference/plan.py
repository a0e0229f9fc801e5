"""Which image becomes which files, decided before anything is computed.

`plan_beside` (here) and `plan_mirrored` (`inference.mirror`) both return tasks: `glpn predict` puts depth beside its
image or into one folder, `glpn batch` mirrors a tree of folders.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from glpn_cli.convert import EMPTY_HINT
from glpn_cli.errors import GLPNError, ImageError, InputError, MissingPackageError, OutputError, UsageError
from glpn_cli.image.discovery import STDIN, find_arriving, find_images
from glpn_cli.image.fetching import Address
from glpn_cli.image.folder import LeftOut, image_names, is_image_name
from glpn_cli.inference.existing import exists_error, may_be_current
from glpn_cli.output.formats import (
    check_settings,
    default_formats,
    find_formats,
    format_of_name,
    unwritten_users,
)
from glpn_cli.output.naming import SiblingNames, has_output_ending, may_be_output
from glpn_cli.settings import OutputSettings, SearchSettings
from glpn_cli.values import Tta

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from glpn_cli.image.discovery import FoundImages, ImageList, Source
    from glpn_cli.inference.record import Record
    from glpn_cli.output.formats import DepthFormat
    from glpn_cli.settings import PredictionSettings, RunSettings

STDOUT = Path("-")
"""Standard output, as the path of an output. Compare with `is`: a file may have this name."""

_STDIN_NAME = "stdin"
_SEARCH = SearchSettings()
_OUTPUT = OutputSettings()
_CACHED_FOLDERS = 32
_CLUSTER_DEVICES = ("auto", "cpu", "cuda", "xpu")
_FILE_SUFFIX = re.compile(r"\.[a-z][a-z0-9]{1,4}", re.IGNORECASE)
"""A suffix that means a file and not, as in "run.12", the end of a folder's name."""


@dataclass(frozen=True, slots=True, eq=False)
class MemoryImage:
    """An image that is in memory or that a Python user gave, in any form that `read_image` takes.

    Attributes:
        image: the image.
        name: how messages and metadata call it; None for what it is.
    """

    image: Any
    name: str | None = None

    def __str__(self) -> str:
        if self.name is not None:
            return self.name
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
        exists: some outputs exist; they stay, and are up to date or the reason of a failure.
        skipped: what kind of file an entry of a list is if it is not an image; empty for images.
        failure: why the image cannot be processed, if that is known beforehand.
    """

    source: Source | str | MemoryImage
    outputs: tuple[tuple[DepthFormat, Path], ...] = ()
    done: bool = False
    overwrite: bool = False
    record: Record | None = None
    exists: bool = False
    skipped: str = ""
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
        tasks: one for each image, and one for each argument or entry of a list that gave none.
        formats: the formats of every image; none if no files are written.
        folder: the folder of all outputs, which is created; or None.
        named_file: the only output is a file that the user named, so a link there is followed.
        skipped_outputs: number of depth files that were skipped when folders and patterns were expanded.
        left_out: what else was left out of folders.
        arriving: more tasks, each as soon as its entry of a list arrives; None if all are known.
    """

    tasks: tuple[Task, ...]
    formats: tuple[DepthFormat, ...]
    folder: Path | None = None
    named_file: bool = False
    skipped_outputs: int = 0
    left_out: LeftOut = field(default_factory=LeftOut)
    arriving: Iterator[Task] | None = None

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

    def __init__(
        self,
        sources: Iterable[Source],
        places: Mapping[str, Path] | None = None,
        *,
        is_depth: Callable[[Path], bool] | None = None,
    ) -> None:
        """Collect the images that are named one by one.

        Args:
            sources: images that count as images whatever their suffix, and URLs.
            places: the output folder of each URL; URLs are named among those of the same folder.
            is_depth: returns whether a file is depth, which does not count as an image; None is `is_depth_file`.
        """
        self._is_depth = is_depth or is_depth_file
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
            fetched = self._fetched.get(self._place(source)) or SiblingNames([], is_output=lambda _: False)
            return fetched.output_name(source.name, row)
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
        return SiblingNames(names, is_output=lambda name: self._is_depth(folder / name))


def plan_beside(
    arguments: Sequence[str],
    *,
    output: str | None = None,
    formats: str | Sequence[str] = (),
    overwrite: bool = False,
    write: bool = True,
    search: SearchSettings = _SEARCH,
    listed: ImageList | None = None,
    appearance: OutputSettings = _OUTPUT,
) -> Plan:
    """Plan the outputs of images that are named one by one.

    Args:
        arguments: images, folders, patterns, URLs, "-" for standard input.
        output: None for beside each image (in the current folder for URLs), "-" for standard output, a file if it
            has the suffix of a format or exists as a file, else a folder.
        formats: names of formats; empty leaves it to the suffix of an output file, else to
            `default_formats`.
        overwrite: whether files may be replaced. An image itself never is.
        write: whether files are written if neither `output` nor `formats` is given.
        search: what is found in folders, and whether URLs are allowed.
        listed: more images.
        appearance: settings that may imply a format.

    Raises:
        UsageError: the arguments contradict each other, or there are none.
        InputError: all arguments are depth files.
    """
    if not (arguments or listed):
        raise UsageError("no images are named", hint="glpn predict photo.jpg, or set `from_list`")
    if output == "":
        raise UsageError("must not be empty", hint=EMPTY_HINT, setting="output")
    rows, implied = find_formats(formats), default_formats(appearance)
    arrives = listed is not None and listed.is_arriving
    found = find_images(arguments, is_output=is_depth_file, search=search, listed=listed)
    if not (found.images or found.failures or arrives):
        raise _no_images(found)
    write = write or output is not None or bool(rows)
    folder, single = _choose_target(output, found, rows, arrives=arrives) if write else (None, None)
    if single is not None and single is not STDOUT:
        rows = [_format_of_file(single, rows, implied[0])]
    rows = (rows or implied) if write else []

    planner = _Planner(rows, folder, single, found.images, overwrite=overwrite)
    _hint_at_output(arguments, output, found)
    named_file = single is not None and single is not STDOUT
    return Plan(
        tuple(planner.tasks(found)),
        tuple(rows),
        folder,
        named_file,
        found.skipped_outputs,
        found.left_out,
        _plan_arriving(planner, listed, search) if listed is not None and arrives else None,
    )


def _plan_arriving(planner: _Planner, listed: ImageList, search: SearchSettings) -> Iterator[Task]:
    """Yield the tasks of a list whose entries arrive one by one.

    Raises:
        InputError: at the end, if no entry was an image.
    """
    any_image, entries = False, 0
    for found in find_arriving(listed, is_output=is_depth_file, search=search):
        entries += 1
        any_image = any_image or bool(found.images or found.failures)
        planner.add(found.images)
        yield from planner.tasks(found)
    if not any_image:
        raise InputError(f"none of the {entries} entries of the list is an image")


def _no_images(found: FoundImages) -> InputError:
    if found.skipped:
        return InputError(f"none of the {len(found.skipped)} entries of the list is an image")
    return InputError(
        f"all {found.skipped_outputs} files are depth files", hint="name one file alone to use it as an image"
    )


def _hint_at_output(arguments: Sequence[str], output: str | None, found: FoundImages) -> None:
    """Add a hint if the last argument looks like the output file of `cp` or `convert`: in.jpg out.png."""
    if output is not None or len(arguments) != 2 or not found.images:
        return
    for index, (argument, error) in enumerate(found.failures):
        is_named = argument == arguments[1] and has_output_suffix(argument)
        if is_named and error.hint is None and not os.path.lexists(argument):
            hint = f"to name the output, set `output={argument}`"
            found.failures[index] = (argument, ImageError(error.message, hint=hint))


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


def check_cluster(run: RunSettings, prediction: PredictionSettings) -> None:
    """Check that a cluster, if one is named, can be used with these settings.

    Raises:
        UsageError: the device is not one that any machine may have.
        MissingPackageError: Ray is not installed.
    """
    if run.cluster is None:
        return
    if prediction.device not in _CLUSTER_DEVICES:
        raise UsageError(
            f"a worker of a cluster takes one device, not {prediction.device!r}",
            hint=f"use {', '.join(_CLUSTER_DEVICES)}: the cluster decides how many workers there are",
            setting="device",
        )
    if find_spec("ray") is None:
        raise MissingPackageError("a cluster requires ray, which is not installed", hint="pip install 'ray>=2.50,<3'")


def is_depth_file(path: Path) -> bool:
    """Return whether a file is a depth file, by its name or, if the name is ambiguous, by its content."""
    if has_output_ending(path.name):
        return True
    if not may_be_output(path.name):
        return False
    from glpn_cli.output.reading import is_glpn_file  # imports numpy and Pillow, which one .jpg does not need

    return is_glpn_file(path)


def _choose_target(
    output: str | None, found: FoundImages, rows: Sequence[DepthFormat], *, arrives: bool
) -> tuple[Path | None, Path | None]:
    """Return the folder of all outputs, and the only output, if it is a file or `STDOUT`; None for neither."""
    # Missing inputs count, so that fixing a typo does not change what the command means.
    inputs = len(found.images) + len(found.failures)
    several = arrives or inputs * max(1, len(rows)) > 1
    reads_stdin = any(image is STDIN for image in found.images)
    if output == "-" or (output is None and reads_stdin and len(found.images) == 1):
        if several:
            raise UsageError("standard output takes one depth file", hint="set `output` to a folder: FOLDER/")
        return None, STDOUT
    if output is None:
        if reads_stdin:
            raise UsageError("an image from standard input has no folder", hint="set `output` to a folder: FOLDER/")
        return None, None
    if output.endswith(("/", os.sep)) or os.path.isdir(output):
        is_folder = True
    else:
        is_folder = not (os.path.lexists(output) or has_output_suffix(output) or _is_file_name(output))
    if not several and not is_folder:
        return None, Path(output)
    if not is_folder or (os.path.exists(output) and not os.path.isdir(output)):
        many = f"{inputs} images" if inputs > 1 else "a list of images" if arrives else f"{len(rows)} formats"
        name = PurePath(output).with_suffix("")
        raise UsageError(
            f"{output} is one file, but there are {many}",
            hint=f"name a folder: `output={name}/`"
            + (f" `formats={format_of_name(output).name}`" if not rows and has_output_suffix(output) else ""),
            setting="output",
        )
    return Path(output), None


def has_output_suffix(name: str) -> bool:
    """Return whether a file name has the suffix of a format."""
    return may_be_output(PurePath(name).name)


def _is_file_name(name: str) -> bool:
    """Return whether a name of no format still looks like that of a file, which is refused and not made a folder."""
    return is_image_name(name) or _FILE_SUFFIX.fullmatch(PurePath(name).suffix) is not None


def _format_of_file(file: Path, rows: list[DepthFormat], implied: DepthFormat) -> DepthFormat:
    """Return the format of a named output file, from its suffix and the formats that were asked for or implied."""
    likely = rows[0] if rows else implied
    if not file.suffix or likely.may_be_called(file.name):
        return likely
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
        self._sources = {_identity(source) for source in files}
        self._names = OutputNames(sources)
        self._owners: dict[str, Source] = {}

    def add(self, sources: Iterable[Source]) -> None:
        """Take images that were found later."""
        self._sources |= {_identity(source) for source in sources if isinstance(source, Path)}

    def tasks(self, found: FoundImages) -> Iterator[Task]:
        """Yield a task for everything that was found."""
        for image in found.images:
            yield self._task(image)
        for argument, error in found.failures:
            yield Task(argument, failure=error)
        for entry, what in found.skipped:
            yield Task(entry, skipped=what)

    def _task(self, source: Source) -> Task:
        outputs = tuple((row, self._path(source, row)) for row in self._rows)
        files = [(row, path) for row, path in outputs if path is not STDOUT]
        conflicts = (self._conflict(source, path) for _, path in files)
        failure = next((conflict for conflict in conflicts if conflict is not None), None)
        existing = [] if self._overwrite else [(row, path) for row, path in files if _exists(path)]
        if failure is None:
            outdated = next((path for row, path in existing if not may_be_current(row, path)), None)
            failure = None if outdated is None else exists_error(outdated)
        return Task(source, outputs, overwrite=self._overwrite, exists=bool(existing), failure=failure)

    def _path(self, source: Source, row: DepthFormat) -> Path:
        if self._single is not None:
            return self._single
        beside = source.parent if isinstance(source, Path) and source is not STDIN else Path()
        return (self._folder or beside) / self._names.output_name(source, row)

    def _conflict(self, source: Source, path: Path) -> GLPNError | None:
        identity = _identity(path)
        if identity in self._sources:
            return OutputError(f"{path}: is one of the images and is never replaced", hint="choose another `output`")
        other = self._owners.setdefault(identity, source)
        if other != source or (other is STDIN) != (source is STDIN):
            return OutputError(
                f"{path}: is already the output of {other}", hint="predict images of the same name one by one"
            )
        if os.path.isdir(path):
            return OutputError(f"{path}: is a folder")
        if path.parent != self._folder and not os.path.isdir(path.parent):
            return OutputError(f"{path}: its folder does not exist", hint="`output` creates a folder only as FOLDER/")
        return None


def _identity(path: Path) -> str:
    return os.path.normcase(os.path.realpath(path))


def _exists(path: Path) -> bool:
    """Return whether an output is there and would be replaced: a file or a broken link, but no device."""
    return os.path.lexists(path) and (os.path.isfile(path) or not os.path.exists(path))
