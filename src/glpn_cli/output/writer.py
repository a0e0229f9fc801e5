"""Depth into files, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from glpn_cli.errors import OutputError, OutputExistsError
from glpn_cli.output.formats import check_settings, format_of_name
from glpn_cli.settings.output import OutputSettings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from glpn_cli.depth import DepthMap

__all__ = [
    "is_for_all",
    "make_folder",
    "partial_path",
    "refuse_outside",
    "refuses_files",
    "save_depth",
    "sync_folder",
    "write_together",
    "write_whole",
]

_FOR_ALL = {errno.ENOSPC, errno.EROFS, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC)}
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL, errno.EACCES}


def save_depth(
    depth: DepthMap, path: str | PathLike[str], *, overwrite: bool = False, settings: OutputSettings | None = None
) -> None:
    """Write depth in the format that the path's name asks for; see `DepthMap.save`."""
    target = Path(path)
    row = format_of_name(target.name)
    settings = settings or OutputSettings()
    check_settings([row], settings)
    write_whole(target, row.load_codec().encode(depth, settings), overwrite=overwrite)


def write_whole(target: Path, data: bytes, *, overwrite: bool) -> None:
    """Write a file so that its name never stands for half of it; see `write_together`.

    Where the name belongs to a device or a pipe, the bytes are simply written into it.
    """
    try:
        if overwrite and os.path.islink(target):  # what the link leads to is meant, not the link
            target = Path(os.path.realpath(target))
        mode = target.stat().st_mode if os.path.exists(target) else stat.S_IFREG
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            target.write_bytes(data)
            return
    except OSError as error:
        raise _unwritable(target, error) from error
    write_together([(target, data)], overwrite=overwrite)


def write_together(
    files: Sequence[tuple[Path, bytes]],
    *,
    overwrite: bool,
    partials: Sequence[Path] | None = None,
    durably: bool = True,
) -> None:
    """Write the files of one image, each whole, and all or none unless they replace others.

    The bytes go into hidden files beside the targets and reach the disk; then each gets its name in one step. A file
    of that name is never replaced unless `overwrite`, not even one that appeared a moment ago.

    Args:
        files: targets and their bytes.
        overwrite: whether files of these names may be replaced.
        partials: the hidden files to use, one for each target, in the same folder; None makes up names.
        durably: wait until the bytes are on the disk. Without it a power cut may leave a file empty, which is good
            enough for what can be made again.

    Raises:
        OutputExistsError: a file is there and `overwrite` is False.
        OutputError: anything else that the file system refuses.
    """
    partials = partials or [partial_path(target) for target, _ in files]
    named: list[Path] = []
    target = files[0][0]
    try:
        try:
            for (target, data), partial in zip(files, partials, strict=True):
                _refuse_to_replace(target, overwrite=overwrite)
                (_write_to_disk if durably else _write_new)(partial, data)
            for (target, _), partial in zip(files, partials, strict=True):
                if overwrite:
                    os.replace(partial, target)
                else:
                    _name_without_replacing(partial, target)
                    named.append(target)
        except BaseException:
            for ours in named:
                ours.unlink(missing_ok=True)
            raise
        finally:
            for partial in partials:
                partial.unlink(missing_ok=True)
    except FileExistsError as error:
        raise _exists(target) from error
    except OSError as error:
        raise _unwritable(target, error) from error


def partial_path(target: Path) -> Path:
    """Make up the name of a hidden file beside a target; short, because the target's name may be as long as allowed."""
    return target.with_name(f".glpn-{secrets.token_hex(6)}.part")


def make_folder(folder: Path) -> None:
    """Create a folder and those above it, where they are not there.

    Raises:
        OutputError: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be created: {error.strerror or error}") from error


def refuse_outside(folder: Path, root: Path) -> None:
    """Refuse a folder inside another that a link leads out of it, whether it is there yet or not.

    Raises:
        OutputError: it is outside.
    """
    if not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(root)):
        raise OutputError(f"{folder}: a link leads out of {root}", hint="remove the link")


def refuses_files(folder: Path) -> bool:
    """Tell whether a folder takes no files, so that no image can be written into it."""
    return not os.access(folder, os.W_OK | os.X_OK)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, so that they outlive a power cut.

    Windows cannot open folders; there a rename is on its way to the disk when it returns.
    """
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EBADF}:  # a file system that cannot
            raise
    finally:
        os.close(descriptor)


def is_for_all(error: BaseException) -> bool:
    """Tell whether an error would meet every other file too: the disk is full, or nothing can be written to it."""
    if not isinstance(error, OutputError):
        return False
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in _FOR_ALL


def _refuse_to_replace(target: Path, *, overwrite: bool) -> None:
    """Save the work of writing what would not get its name anyway."""
    if not overwrite and os.path.exists(target):
        raise _exists(target)


def _write_to_disk(path: Path, data: bytes) -> None:
    with _new_file(path) as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _write_new(path: Path, data: bytes) -> None:
    with _new_file(path) as stream:
        stream.write(data)


def _new_file(path: Path) -> BinaryIO:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    return os.fdopen(descriptor, "wb")


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
            os.replace(partial, target)
            on_failure.pop_all()


def _unwritable(target: Path, error: OSError) -> OutputError:
    return OutputError(f"{target}: cannot be written: {error.strerror or error}")


def _exists(target: Path) -> OutputExistsError:
    return OutputExistsError(f"{target}: is there already", hint="--overwrite replaces it")
