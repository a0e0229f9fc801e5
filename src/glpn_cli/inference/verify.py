"""Whether the outputs of a batch are as its manifest records them."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli.errors import DepthFileError
from glpn_cli.files import is_partial_name
from glpn_cli.inference.manifest import MANIFEST_NAME, manifest_paths, read_records
from glpn_cli.inference.plan import is_depth_file
from glpn_cli.inference.record import UNFINISHED
from glpn_cli.inference.store import TAR_SUFFIX
from glpn_cli.inference.tars import (
    HEAD_BYTES,
    RECORD_SUFFIX,
    TarRecord,
    TruncatedTarError,
    hash_members,
    is_ours,
    read_lines,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from glpn_cli.inference.store import Location
    from glpn_cli.inference.tars import Line


INTACT, MISSING, CHANGED, UNLISTED, LEFT_OVER = "intact", "missing", "changed", "unlisted", "left over"


@dataclass(frozen=True, slots=True)
class Finding:
    """The state of one output.

    Attributes:
        output: path relative to the output folder.
        status: "intact"; "missing"; "changed" (not the bytes that were written, or unreadable); "unlisted" (a depth
            file that is not in the manifest); or "left over" (a temporary file of a killed run).
        source: the image, absolute path or URL; None if the output is not in the manifest.
        format: name of the format; None if the output is not in the manifest.
        sha256: of the bytes that were written; None if the output is not in the manifest.
    """

    output: str
    status: str
    source: str | None = None
    format: str | None = None
    sha256: str | None = None

    @property
    def is_wrong(self) -> bool:
        """Whether an output of the manifest is missing or changed."""
        return self.status in (MISSING, CHANGED)


def verify_outputs(folder: Path) -> Iterator[Finding]:
    """Compare every output in the manifest of a folder with its hash, then look for files that are not listed.

    Nothing is changed. While a batch is running, its newest outputs may be unlisted.

    Args:
        folder: the output folder of a batch.

    Yields:
        The state of each output.

    Raises:
        DepthFileError: the folder has no manifest.
    """
    if not manifest_paths(folder):
        raise DepthFileError(f"{folder}: has no {MANIFEST_NAME}", hint="set `output` to the output folder of a batch")
    listed: set[str] = set()
    for record in read_records(folder).values():
        for name, output in record.outputs.items():
            listed.add(_normalize(output))
            path = folder / output
            if record.matches(name, path):
                status = INTACT
            elif record.status == UNFINISHED:
                continue  # it was interrupted, so nothing is promised
            else:
                status = CHANGED if os.path.lexists(path) else MISSING
            yield Finding(output, status, record.source, name, record.sha256.get(name))
    for output in _files_below(folder):
        if is_partial_name(os.path.basename(output)):
            yield Finding(output, LEFT_OVER)
        elif _normalize(output) not in listed and is_depth_file(folder / output):
            yield Finding(output, UNLISTED)


def verify_tars(folder: Location) -> Iterator[Finding]:
    """Compare every tar in a folder with its record file, and every member with its hash; see `verify_outputs`.

    Yields:
        The state of each output, whose path is that of its tar and its name there; and of tars without a record.

    Raises:
        DepthFileError: the folder has no record file.
        ImageError: a tar cannot be read.
    """
    names = sorted(folder.list_sizes())
    records = [name for name in names if name.endswith(RECORD_SUFFIX)]
    if not records:
        raise DepthFileError(f"{folder}: has no {RECORD_SUFFIX} files", hint="set `output` to that of a batch of tars")
    listed: set[str] = set()
    for name in records:
        data = folder.child(name).read()
        record = TarRecord.parse(data)
        if record is not None:
            listed.add(record.output)
            yield from _verify_tar(folder.child(record.output), record, read_lines(data))
    for name in names:
        if name.endswith(TAR_SUFFIX) and name not in listed and is_ours(folder.child(name).read_head(HEAD_BYTES)):
            yield Finding(name, LEFT_OVER)


def _verify_tar(tar: Location, record: TarRecord, lines: Sequence[Line]) -> Iterator[Finding]:
    wanted = {
        output: (f"{record.source}/{line.record.source}", format_name, line.record.sha256.get(format_name))
        for line in lines
        for format_name, output in line.record.outputs.items()
    }
    is_complete = len(lines) == record.done + record.failed
    try:
        with tar.open() as stream:
            for name, digest in hash_members(stream):
                source, format_name, sha256 = wanted.pop(name, (None, None, None))
                status = UNLISTED if source is None else INTACT if digest == sha256 else CHANGED
                yield Finding(f"{tar.name}/{name}", status, source, format_name, sha256)
    except FileNotFoundError:
        pass
    except TruncatedTarError:
        is_complete = False
    for name, (source, format_name, sha256) in wanted.items():
        yield Finding(f"{tar.name}/{name}", MISSING, source, format_name, sha256)
    if not is_complete:
        yield Finding(tar.name, CHANGED, record.source)


def _files_below(folder: Path) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield Path(parent, name).relative_to(folder).as_posix()


def _normalize(output: str) -> str:
    """Return a path in one Unicode form: some file systems return another one than was written."""
    return unicodedata.normalize("NFC", output)
