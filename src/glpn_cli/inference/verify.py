"""Whether the outputs of a batch are what its manifest says of them."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli.errors import DepthFileError
from glpn_cli.files import is_partial_name
from glpn_cli.inference.manifest import MANIFEST_NAME, UNFINISHED, read_records
from glpn_cli.inference.plan import is_depth_file

if TYPE_CHECKING:
    from collections.abc import Iterator


INTACT, MISSING, CHANGED, UNLISTED, LEFT_OVER = "intact", "missing", "changed", "unlisted", "left over"


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one output.

    Attributes:
        output: path relative to the batch's folder.
        status: "intact"; "missing"; "changed": it is not what was written, or cannot be read; "unlisted": a depth
            file that the manifest does not know; "left over": a hidden part of a run that was killed.
        source: the image, absolute; None where the manifest does not know it.
        format: likewise.
        sha256: of the file that was written; likewise.
    """

    output: str
    status: str
    source: str | None = None
    format: str | None = None
    sha256: str | None = None

    @property
    def is_wrong(self) -> bool:
        """Whether the manifest promises what is not there."""
        return self.status in (MISSING, CHANGED)


def verify_outputs(folder: Path) -> Iterator[Finding]:
    """Hold every output that the manifest of a folder lists to its hash, then look for files that it does not list.

    Nothing is changed. Outputs of a run that is going on may be found unlisted.

    Raises:
        DepthFileError: the folder has no manifest.
    """
    if not (folder / MANIFEST_NAME).is_file():
        raise DepthFileError(
            f"{folder}: no {MANIFEST_NAME} is in it", hint="name the --out of a batch that was run before"
        )
    listed: set[str] = set()
    for record in read_records(folder).values():
        for name, output in record.outputs.items():
            listed.add(_normal(output))
            path = folder / output
            if record.matches(name, path):
                status = INTACT
            elif record.status == UNFINISHED:
                continue  # it was interrupted, and promises nothing
            else:
                status = CHANGED if os.path.lexists(path) else MISSING
            yield Finding(output, status, record.source, name, record.sha256.get(name))
    for output in _files_below(folder):
        if is_partial_name(os.path.basename(output)):
            yield Finding(output, LEFT_OVER)
        elif _normal(output) not in listed and is_depth_file(folder / output):
            yield Finding(output, UNLISTED)


def _files_below(folder: Path) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield Path(parent, name).relative_to(folder).as_posix()


def _normal(output: str) -> str:
    """Give a name in one form, because some file systems give it back in another."""
    return unicodedata.normalize("NFC", output)
