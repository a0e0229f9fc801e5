"""Reading depth files. Their contents determine the format, not their names."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from glpn_cli.errors import DepthFileError
from glpn_cli.files import os_reason
from glpn_cli.output.formats import FORMATS, ReadsBack
from glpn_cli.output.metadata import check_metadata, metadata_checked

if TYPE_CHECKING:
    from os import PathLike

    from glpn_cli.depth import DepthMap
    from glpn_cli.output.formats import DepthFormat


@dataclass(frozen=True, slots=True, eq=False)
class Description:
    """The contents of a file.

    Attributes:
        row: its format; None if the file does not contain depth.
        metadata: see `metadata.build_metadata`; None if there is none.
        size: (height, width) in pixels, if the file has pixels.
        depth: the depth map, if it can be read back.
        note: what the values mean, if that is not obvious, or why there is no depth or no metadata.
    """

    row: DepthFormat | None = None
    metadata: dict[str, Any] | None = None
    size: tuple[int, int] | None = None
    depth: DepthMap | None = None
    note: str = ""


def read_depth(path: str | PathLike[str]) -> DepthMap:
    """Return the depth map in a file, in meters.

    Raises:
        DepthFileError: the file is missing, damaged, not a depth file, or of a format that cannot be read back.
        MissingPackageError: its format needs a package that is not installed.
    """
    data = _read_bytes(path)
    row = detect_format(io.BytesIO(data))
    if row is None:
        readable = [row.name for row in FORMATS.values() if row.reads_back is not ReadsBack.NEVER]
        raise DepthFileError(f"{path}: not a depth file", hint="supported formats: " + ", ".join(readable))
    if row.reads_back is ReadsBack.NEVER:
        article = "an" if row.name[0] in "aeiou" else "a"
        raise DepthFileError(f"{path}: is {article} {row.name} file: {row.unreadable_because}", hint="use an npz file")
    return row.load_codec().decode(data, str(path))


def describe_file(path: str | PathLike[str]) -> Description:
    """Return the format, metadata and depth of any file.

    Raises:
        DepthFileError: the file cannot be read, or glpn wrote it and it is damaged.
        MissingPackageError: its format needs a package that is not installed.
    """
    data = _read_bytes(path)
    row = detect_format(io.BytesIO(data))
    image = _describe_image(data)
    if row is None:
        return image or Description(note="not a depth file")
    metadata = row.load_codec().read_metadata(io.BytesIO(data))
    size = image.size if image is not None else None
    if metadata is not None:
        with metadata_checked(str(path)):
            check_metadata(metadata)
    if row.reads_back is ReadsBack.NEVER:
        return Description(row, metadata, size, note=row.unreadable_because)
    try:
        depth = row.load_codec().decode(data, str(path))
    except DepthFileError as error:
        if metadata is not None:
            raise
        return Description(size=size, note=error.message.removeprefix(f"{path}: "))
    depth_height, depth_width = depth.meters.shape
    note = "no metadata; the values are read as meters"
    if metadata is not None:
        with metadata_checked(str(path)):
            note = row.explain(metadata)
    return Description(row, metadata, (depth_height, depth_width), depth, note)


def detect_format(stream: BinaryIO) -> DepthFormat | None:
    """Return the format of a file, or None if it is not one of the formats.

    The first bytes determine it and, if several formats share them, the metadata.

    Args:
        stream: at the start of the file; its position afterwards is undefined.
    """
    start = stream.read(max(len(magic) for row in FORMATS.values() for magic in row.magic))
    candidates = [row for row in FORMATS.values() if start.startswith(row.magic)]
    if len(candidates) > 1:
        stream.seek(0)
        metadata = candidates[0].load_codec().read_metadata(stream)
        named = [row for row in candidates if metadata is not None and row.name == metadata.get("format")]
        candidates = named or candidates
    return candidates[0] if candidates else None


def is_glpn_file(path: Path) -> bool:
    """Return whether glpn wrote a file, according to its metadata."""
    try:
        with path.open("rb") as stream:
            row = detect_format(stream)
            stream.seek(0)
            return row is not None and row.load_codec().read_metadata(stream) is not None
    except OSError:
        return False


def _read_bytes(path: str | PathLike[str]) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DepthFileError(f"{path}: cannot be read: {os_reason(error)}") from error


def _describe_image(data: bytes) -> Description | None:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            return Description(size=(image.height, image.width), note=f"{image.format} image, not depth")
    except Exception:  # noqa: BLE001 - not an image that Pillow can open
        return None
