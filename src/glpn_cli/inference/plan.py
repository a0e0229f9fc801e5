"""Which image becomes which files, decided before anything is computed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli.errors import GLPNError, InputError, OutputError, OutputExistsError, UsageError
from glpn_cli.files import make_folder
from glpn_cli.image.discovery import STDIN, find_images
from glpn_cli.image.fetching import Address
from glpn_cli.image.folder import image_names
from glpn_cli.output.formats import DEFAULT_FORMAT, FORMATS, format_of_name
from glpn_cli.output.naming import SiblingNames, ends_like_an_output, may_be_an_output
from glpn_cli.settings import SearchSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from glpn_cli.image.discovery import ImageList, Source
    from glpn_cli.output.formats import DepthFormat


STDOUT = Path("-")
"""Stands for standard output."""

_STDIN_NAME = "stdin"
_SEARCH = SearchSettings()


@dataclass(frozen=True, slots=True)
class Job:
    """One image and the files that its depth goes to.

    Attributes:
        source: the image; `STDIN` for standard input.
        outputs: a path for each format; `STDOUT` for standard output.
        failure: why it cannot be done, known beforehand; or None.
    """

    source: Source | str
    outputs: tuple[tuple[DepthFormat, Path], ...] = ()
    failure: GLPNError | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a command is going to do.

    Attributes:
        jobs: one for each image and for each argument that gave none.
        skipped_outputs: how many depth files were left out when folders and patterns were expanded.
        folder: the folder that all outputs go to, to be created; or None.
        formats: what every image becomes.
        named: the one output is a file that the user named, so that what a link there leads to is meant.
    """

    jobs: tuple[Job, ...]
    skipped_outputs: int
    folder: Path | None
    formats: tuple[DepthFormat, ...]
    named: bool

    @property
    def to_stdout(self) -> bool:
        """Whether depth goes to standard output."""
        return any(path is STDOUT for job in self.jobs for _, path in job.outputs)

    @property
    def from_stdin(self) -> bool:
        """Whether an image comes from standard input."""
        return any(job.source is STDIN for job in self.jobs)

    def make_folder(self) -> None:
        """Create the folder that all outputs go to, if there is one.

        Raises:
            OutputError: it cannot be created.
        """
        if self.folder is not None:
            make_folder(self.folder)


def plan_outputs(
    arguments: Sequence[str],
    *,
    output: str | None = None,
    formats: Sequence[str] = (),
    overwrite: bool = False,
    search: SearchSettings = _SEARCH,
    listed: ImageList | None = None,
) -> Plan:
    """Decide what becomes of each argument.

    Args:
        arguments: images, folders, patterns, addresses, "-".
        output: None for beside each image (in the current folder for what is fetched), "-" for standard output, a
            folder if it ends in a slash, is one, or several files are to be written, else a file.
        formats: names of `FORMATS`; empty leaves it to the suffix of an output file, else the default.
        overwrite: whether files may be replaced. An image itself never is.
        search: what is looked for in folders, and whether addresses are allowed.
        listed: more images.

    Raises:
        UsageError: the arguments contradict each other, or there are none.
        InputError: the arguments are nothing but depth files.
    """
    if not (arguments or listed):
        raise UsageError("no images are named", hint="glpn predict photo.jpg, or --from-list FILE")
    found = find_images(arguments, is_output=is_depth_file, search=search, listed=listed)
    if not (found.images or found.failures):
        raise InputError(
            f"there are only depth files ({found.skipped_outputs})", hint="a depth file that is named alone is taken"
        )
    rows = [FORMATS[name] for name in dict.fromkeys(formats)]
    # What could not be found counts too: with the slip mended, the same command must mean the same.
    several = (len(found.images) + len(found.failures)) * max(1, len(rows)) > 1
    from_stdin = any(image is STDIN for image in found.images)
    folder: Path | None = None
    single: Path | None = None
    if output == "":
        raise UsageError("-o is empty", hint="is a variable of the shell not set?")
    if output == "-" or (output is None and from_stdin and len(found.images) == 1):
        if several:
            raise UsageError("standard output takes one depth file", hint="-o FOLDER/ takes several")
        single = STDOUT
    elif output is not None:
        if output.endswith(("/", os.sep)) or os.path.isdir(output) or several:
            folder = Path(output)
            if os.path.exists(folder) and not os.path.isdir(folder):
                raise UsageError(f"-o {output}: a folder is needed, and this is a file")
        else:
            single = Path(output)
            rows = [_row_of_file(single, rows)]
    elif from_stdin:
        raise UsageError("an image from standard input has no folder of its own", hint="name one with -o FOLDER/")
    rows = rows or [FORMATS[DEFAULT_FORMAT]]

    planner = _Planner(rows, folder, single, overwrite=overwrite, sources=found.images)
    jobs = [planner.job(image) for image in found.images]
    jobs += [Job(argument, failure=error) for argument, error in found.failures]
    return Plan(
        tuple(jobs), found.skipped_outputs, folder, tuple(rows), named=single is not None and single is not STDOUT
    )


def _row_of_file(file: Path, rows: list[DepthFormat]) -> DepthFormat:
    """Settle the format of a named output file between its suffix and `--format`."""
    if not file.suffix:
        return rows[0] if rows else FORMATS[DEFAULT_FORMAT]
    if rows and rows[0].may_be_called(file.name):
        return rows[0]
    row = format_of_name(file.name)
    if rows:
        raise UsageError(f"-o {file} asks for {row.name} and --format for {rows[0].name}")
    return row


class _Planner:
    """Gives each image its output paths and finds the clashes."""

    def __init__(
        self,
        rows: list[DepthFormat],
        folder: Path | None,
        single: Path | None,
        *,
        overwrite: bool,
        sources: list[Source],
    ) -> None:
        self._rows = rows
        self._folder = folder
        self._single = single
        self._overwrite = overwrite
        files = [source for source in sources if isinstance(source, Path) and source is not STDIN]
        self._sources = {os.path.normcase(os.path.realpath(source)) for source in files}
        self._siblings: dict[Path, SiblingNames] = {}
        self._named: dict[Path, list[str]] = {}
        for source in files:
            self._named.setdefault(source.parent, []).append(source.name)
        self._fetched = names_of([source for source in sources if isinstance(source, Address)])
        self._claimed: dict[str, Source] = {}

    def job(self, source: Source) -> Job:
        """Plan one image."""
        outputs = tuple((row, self._path(source, row)) for row in self._rows)
        for _, path in outputs:
            failure = None if path is STDOUT else self._clash(source, path)
            if failure is not None:
                return Job(source, outputs, failure)
        return Job(source, outputs)

    def _path(self, source: Source, row: DepthFormat) -> Path:
        if self._single is not None:
            return self._single
        if source is STDIN:
            return (self._folder or Path()) / (_STDIN_NAME + row.ending)
        if isinstance(source, Address):
            return (self._folder or Path()) / self._fetched.output_name(source.name, row)
        name = self._names_beside(source).output_name(source.name, row)
        return (source.parent if self._folder is None else self._folder) / name

    def _names_beside(self, source: Path) -> SiblingNames:
        if source.parent not in self._siblings:
            # An image that is named may have a name that a folder's listing would pass over.
            self._siblings[source.parent] = names_in(source.parent, also=self._named[source.parent])
        return self._siblings[source.parent]

    def _clash(self, source: Source, path: Path) -> GLPNError | None:
        identity = os.path.normcase(os.path.realpath(path))
        if identity in self._sources:
            return OutputError(f"{path}: is one of the images and will not be replaced", hint="choose another -o")
        other = self._claimed.setdefault(identity, source)
        if other is not source:
            return OutputError(
                f"{path}: is already the output of {other}", hint="predict images of the same name one by one"
            )
        if not self._overwrite and os.path.lexists(path) and (os.path.isfile(path) or not os.path.exists(path)):
            return OutputExistsError(f"{path}: is there already", hint="--overwrite replaces it")
        if os.path.isdir(path):
            return OutputError(f"{path}: is a folder")
        if path.parent != self._folder and not os.path.isdir(path.parent):
            return OutputError(f"{path}: its folder is not there", hint="only -o FOLDER/ creates a folder")
        return None


def names_in(folder: Path, *, also: Sequence[str] = ()) -> SiblingNames:
    """List the images of a folder, to name their depth.

    Args:
        folder: where they lie.
        also: names that count as images whatever they end in.
    """
    return SiblingNames([*image_names(folder), *also], is_output=lambda name: is_depth_file(folder / name))


def names_of(addresses: Iterable[Address]) -> SiblingNames:
    """Name the depth of what is fetched from addresses, judged from each other."""
    return SiblingNames([address.name for address in addresses], is_output=lambda _: False)


def is_depth_file(path: Path) -> bool:
    """Tell whether a file is a depth file, by its name or, where images have such names too, by what is in it."""
    if ends_like_an_output(path.name):
        return True
    if not may_be_an_output(path.name):
        return False
    from glpn_cli.output.reading import is_ours  # needs numpy and Pillow; a command of one .jpg gets by without

    return is_ours(path)
