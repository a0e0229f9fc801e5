"""Depth files back into depth, and what they say of themselves; their contents count, not their names."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from glpn_cli.errors import DepthFileError
from glpn_cli.output.formats import FORMATS, ReadsBack

if TYPE_CHECKING:
    from os import PathLike

    from glpn_cli.depth import DepthMap
    from glpn_cli.output.formats import DepthFormat


@dataclass(frozen=True, slots=True, eq=False)
class Description:
    """What a file is, as far as it says.

    Attributes:
        row: its format; None if it is none of ours.
        facts: what it says of itself, as `facts.state_facts` stated it; None if it says nothing.
        size: (height, width) in pixels, where it has such a thing.
        depth: what is in it, where that can be read back.
        remark: why there is no depth, or no facts.
    """

    row: DepthFormat | None = None
    facts: dict[str, Any] | None = None
    size: tuple[int, int] | None = None
    depth: DepthMap | None = None
    remark: str = ""


def read_depth(path: str | PathLike[str]) -> DepthMap:
    """Turn a depth file back into meters.

    Raises:
        DepthFileError: the file is missing, damaged, none of ours, or of a format that does not hold depth.
    """
    data = _read_bytes(path)
    row = recognize(io.BytesIO(data))
    if row is None:
        readable = [row.name for row in FORMATS.values() if row.reads_back is not ReadsBack.NEVER]
        raise DepthFileError(f"{path}: is no depth file", hint="depth files are: " + ", ".join(readable))
    if row.reads_back is ReadsBack.NEVER:
        raise DepthFileError(
            f"{path}: is {'an' if row.name[0] in 'aeiou' else 'a'} {row.name} file: {row.unreadable_because}",
            hint="--format npz keeps depth as it is",
        )
    return row.load_codec().decode(data, str(path))


def describe_file(path: str | PathLike[str]) -> Description:
    """Say of any file what it says of itself.

    Raises:
        DepthFileError: it cannot be read, or is one of ours and damaged.
        MissingPackageError: its format needs a package that is not installed.
    """
    data = _read_bytes(path)
    row = recognize(io.BytesIO(data))
    if row is None:
        return _foreign_image(data) or Description(remark="is no depth file that glpn knows")
    facts = row.load_codec().read_facts(io.BytesIO(data))
    image = _foreign_image(data)
    size = image.size if image is not None else None
    if row.reads_back is ReadsBack.NEVER:
        return Description(row, facts, size, remark=row.unreadable_because)
    try:
        depth = row.load_codec().decode(data, str(path))
    except DepthFileError as error:
        if facts is not None:
            raise
        return Description(size=size, remark=error.message.removeprefix(f"{path}: "))
    known_height, known_width = depth.meters.shape
    remark = "" if facts is not None else "says nothing of itself; its numbers are taken for meters"
    return Description(row, facts, (known_height, known_width), depth, remark)


def recognize(stream: BinaryIO) -> DepthFormat | None:
    """Find the format of a file by how it begins and, where several begin so, by what it says of itself.

    Args:
        stream: at its beginning; is left anywhere.
    """
    begin = stream.read(max(len(magic) for row in FORMATS.values() for magic in row.magic))
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
            row = recognize(stream)
            stream.seek(0)
            return row is not None and row.load_codec().read_facts(stream) is not None
    except OSError:
        return False


def _read_bytes(path: str | PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DepthFileError(f"{path}: cannot be read: {error.strerror or error}") from error


def _foreign_image(data: bytes) -> Description | None:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            return Description(size=(image.height, image.width), remark=f"is a {image.format} image, not depth")
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is no image
        return None
