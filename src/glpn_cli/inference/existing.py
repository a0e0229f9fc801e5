"""Which existing outputs are what a task would write again: "up to date" instead of "already exists"."""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import struct
from typing import TYPE_CHECKING

from glpn_cli.errors import GLPNError, OutputError, OutputExistsError
from glpn_cli.files import file_sha256, os_reason, write_together
from glpn_cli.output.formats import ReadsBack

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike
    from pathlib import Path

    from glpn_cli.inference.plan import Task
    from glpn_cli.output.formats import DepthFormat

_SUFFIXES_OF_CHECKED_FILES = (".png", ".tiff", ".ply", ".glb")
"""Formats that are never read back, but of which `_is_intact` knows whether a file is complete."""

_PLY_HEADER_END = b"end_header\n"
_PLY_SIZES = {"char": 1, "uchar": 1, "short": 2, "ushort": 2, "int": 4, "uint": 4, "float": 4, "double": 8}


def exists_error(path: Path) -> OutputExistsError:
    """Return the error for an output that exists and may not be replaced."""
    return OutputExistsError(f"{path}: already exists", hint="set `overwrite` to replace it")


def may_be_current(row: DepthFormat, path: Path) -> bool:
    """Return whether an existing file might be what would be written, judged without the image and the weights.

    A file of a format without metadata might be; its bytes are compared after the depth is computed.
    """
    return os.path.isfile(path) and (not _has_metadata(row) or _read_origin(row, path)[1] is not None)


def find_current(task: Task, image_sha256: str | None, fingerprint: Callable[[DepthFormat], str]) -> frozenset[Path]:
    """Return the existing outputs of a task that its image, settings and weights gave, by their metadata.

    Args:
        task: outputs of a format without metadata are left out.
        image_sha256: of the image; None if it is unknown.
        fingerprint: returns the digest of settings and weights for a format.

    Raises:
        OutputExistsError: an output has metadata of something else, or is damaged.
    """
    current = set()
    for row, path in task.outputs:
        if not os.path.lexists(path) or not _has_metadata(row):
            continue
        wanted = (image_sha256, fingerprint(row))
        if image_sha256 is None or _read_origin(row, path) != wanted or not _is_intact(row, path):
            raise exists_error(path)
        current.add(path)
    return frozenset(current)


def write_missing(task: Task, current: frozenset[Path], files: list[bytes]) -> bool:
    """Write the outputs of a task that are missing, if those that exist have the same bytes.

    Args:
        task: the image and its outputs.
        current: outputs that are up to date by their metadata.
        files: the bytes of the others.

    Returns:
        Whether any were missing.

    Raises:
        OutputExistsError: an output has other bytes.
        OutputError: the file system refuses.
    """
    paths = [path for _, path in task.outputs if path not in current]
    missing = []
    for path, data in zip(paths, files, strict=True):
        if not os.path.lexists(path):
            missing.append((path, data))
        elif not _has_bytes(path, data):
            raise exists_error(path)
    if missing:
        write_together(missing, overwrite=False)
    return bool(missing)


def output_hashes(task: Task) -> dict[str, str]:
    """Return the SHA-256 of the outputs of a task, by format.

    Raises:
        OutputError: an output cannot be read.
    """
    try:
        return {row.name: file_sha256(path) for row, path in task.outputs}
    except OSError as error:
        raise OutputError(f"{task.source}: an output cannot be read: {os_reason(error)}") from error


def image_sha256(source: str | bytes | PathLike[str]) -> str | None:
    """Return the SHA-256 of an image file or of its bytes; None for a pipe, which can be read only once, and on errors.

    Args:
        source: a path, or the bytes of a file.
    """
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    try:
        return file_sha256(source) if stat.S_ISREG(os.stat(source).st_mode) else None
    except (OSError, ValueError):  # ValueError: the name contains a NUL
        return None


def _has_bytes(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def _has_metadata(row: DepthFormat) -> bool:
    """Return whether a file says what it was made of, and whether it is complete can be judged. Else bytes count."""
    if row.reads_back is ReadsBack.NEVER:
        return row.suffix in _SUFFIXES_OF_CHECKED_FILES
    return row.reads_back is not ReadsBack.VALUES


def _read_origin(row: DepthFormat, path: Path) -> tuple[str | None, str | None]:
    """Return the SHA-256 of the image and the fingerprint in the metadata of a file."""
    try:
        with path.open("rb") as stream:
            metadata = row.load_codec().read_metadata(stream)
    except OSError:
        return None, None
    if metadata is None or metadata.get("format") != row.name:
        return None, None
    provenance = metadata["provenance"]
    found = [provenance.get(name) for name in ("image_sha256", "fingerprint")]
    digest, fingerprint = (value if isinstance(value, str) else None for value in found)
    return digest, fingerprint


def _is_intact(row: DepthFormat, path: Path) -> bool:
    """Return whether a file is complete: metadata come first, so that half a file has them too."""
    try:
        data = path.read_bytes()
        if row.reads_back is not ReadsBack.NEVER:
            row.load_codec().decode(data, str(path))
            return True
    except (OSError, GLPNError):
        return False
    if data.startswith(b"glTF"):
        return len(data) >= 12 and struct.unpack("<I", data[8:12])[0] == len(data)
    if data.startswith(b"ply"):
        return _is_whole_ply(data)
    return _is_whole_image(data)


def _is_whole_image(data: bytes) -> bool:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except Exception:  # noqa: BLE001 - Pillow's plugins raise anything
        return False
    return True


def _is_whole_ply(data: bytes) -> bool:
    """Return whether a binary PLY of points has as many bytes as its header says."""
    end = data.find(_PLY_HEADER_END)
    points = re.search(rb"^element vertex (\d+)$", data[:end], re.MULTILINE)
    kinds = re.findall(rb"^property (\w+) \w+$", data[:end], re.MULTILINE)
    if end < 0 or points is None or not all(kind.decode() in _PLY_SIZES for kind in kinds):
        return False
    size = sum(_PLY_SIZES[kind.decode()] for kind in kinds)
    return len(data) == end + len(_PLY_HEADER_END) + int(points[1]) * size
