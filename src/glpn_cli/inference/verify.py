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

if TYPE_CHECKING:
    from collections.abc import Iterator


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


def _files_below(folder: Path) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield Path(parent, name).relative_to(folder).as_posix()


def _normalize(output: str) -> str:
    """Return a path in one Unicode form: some file systems return another one than was written."""
    return unicodedata.normalize("NFC", output)
