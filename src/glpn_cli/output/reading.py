"""Depth files back into depth, and what they say of themselves; their contents count, not their names."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from glpn_cli.errors import DepthFileError
from glpn_cli.output.formats import FORMATS, ReadsBack

if TYPE_CHECKING:
    from os import PathLike

    from glpn_cli.depth import DepthMap
    from glpn_cli.output.formats import DepthFormat

__all__ = ["is_ours", "read_depth", "recognise"]


def read_depth(path: str | PathLike[str]) -> DepthMap:
    """Turn a depth file back into metres.

    Raises:
        DepthFileError: the file is missing, damaged, none of ours, or of a format that does not hold depth.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DepthFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    row = recognise(io.BytesIO(data))
    if row is None:
        readable = [row.name for row in FORMATS.values() if row.reads_back is not ReadsBack.NEVER]
        raise DepthFileError(f"{path}: is no depth file", hint="depth files are: " + ", ".join(readable))
    if row.reads_back is ReadsBack.NEVER:
        raise DepthFileError(
            f"{path}: is a {row.name} file: {row.unreadable_because}", hint="--format npz keeps depth as it is"
        )
    return row.load_codec().decode(data, str(path))


def recognise(stream: BinaryIO) -> DepthFormat | None:
    """Find the format of a file by how it begins and, where several begin so, by what it says of itself.

    Args:
        stream: at its beginning; is left anywhere.
    """
    begin = stream.read(max(len(row.magic) for row in FORMATS.values()))
    candidates = [row for row in FORMATS.values() if begin.startswith(row.magic)]
    if len(candidates) > 1:
        stream.seek(0)
        facts = candidates[0].load_codec().read_facts(stream)
        named = [row for row in candidates if facts is not None and row.name == facts.get("format")]
        candidates = named or candidates
    return candidates[0] if candidates else None


def is_ours(path: Path) -> bool:
    """Tell whether a file is one that this program wrote, and says so."""
    try:
        with path.open("rb") as stream:
            row = recognise(stream)
            stream.seek(0)
            return row is not None and row.load_codec().read_facts(stream) is not None
    except OSError:
        return False
