"""Depth into files, whole or not at all, and back."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli.errors import DepthFileError, OutputError, OutputExistsError
from glpn_cli.output.formats import FORMATS, format_of_suffix
from glpn_cli.settings import ViewSettings

if TYPE_CHECKING:
    from os import PathLike

    from glpn_cli.depth import DepthMap

__all__ = ["read_depth", "save_depth", "write_whole"]

_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL, errno.EACCES}


def save_depth(
    depth: DepthMap, path: str | PathLike[str], *, overwrite: bool = False, view: ViewSettings | None = None
) -> None:
    """Write depth in the format that the path's suffix names; see `DepthMap.save`."""
    target = Path(path)
    codec = format_of_suffix(target.suffix).load_codec()
    write_whole(target, codec.encode(depth, view or ViewSettings()), overwrite=overwrite)


def read_depth(path: str | PathLike[str]) -> DepthMap:
    """Turn a depth file back into metres; its contents tell the format, not its name.

    Raises:
        DepthFileError: the file is missing, damaged or none of ours.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DepthFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    for row in FORMATS.values():
        codec = row.load_codec()
        if data.startswith(codec.MAGIC):
            return codec.decode(data, str(path))
    raise DepthFileError(f"{path}: is no depth file", hint="depth files are: " + ", ".join(FORMATS))


def write_whole(target: Path, data: bytes, *, overwrite: bool) -> None:
    """Write a file so that its name never stands for half of it.

    The bytes go into a hidden file beside the target, reach the disk, and then get the name in one step. A file of
    that name is never replaced unless `overwrite`, not even one that appeared a moment ago. Where the name belongs
    to a device or a pipe, the bytes are simply written into it.

    Raises:
        OutputExistsError: the file is there and `overwrite` is False.
        OutputError: anything the file system refuses.
    """
    try:
        mode = target.stat().st_mode if target.exists() else stat.S_IFREG
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            target.write_bytes(data)
            return
        if not overwrite and target.exists():
            raise _exists(target)
        partial = target.with_name(f".glpn-{secrets.token_hex(6)}.part")
        try:
            _write_to_disk(partial, data)
            if overwrite:
                os.replace(partial, target)  # noqa: PTH105 - reads as what it is, beside os.link
            else:
                _name_without_replacing(partial, target)
        finally:
            partial.unlink(missing_ok=True)
    except FileExistsError as error:
        raise _exists(target) from error
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error


def _write_to_disk(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _name_without_replacing(partial: Path, target: Path) -> None:
    if os.name == "nt":
        partial.rename(target)  # on Windows a rename refuses to replace
        return
    try:
        os.link(partial, target)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # A file system without hard links: claim the name first, then put the whole file in its place.
        with contextlib.ExitStack() as on_failure:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            on_failure.callback(target.unlink, missing_ok=True)
            os.replace(partial, target)  # noqa: PTH105
            on_failure.pop_all()


def _exists(target: Path) -> OutputExistsError:
    return OutputExistsError(f"{target}: is there already", hint="--overwrite replaces it")
