"""What is kept on this machine: one at a time changes it, it is put there whole, and it is taken away."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from glpn_cli.errors import UsageError, WeightsError
from glpn_cli.weights.catalog import CATALOG
from glpn_cli.weights.home import (
    disk_errors_named,
    downloads_folder,
    is_plain_name,
    is_repository,
    lock_file,
    stored_file,
)
from glpn_cli.weights.watcher import QUIET, Watcher

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["alone_with", "clear_downloads", "put_whole", "remove_stored"]


@contextmanager
def alone_with(name: str, *, watcher: Watcher = QUIET, wait: bool = True) -> Iterator[None]:
    """Let nobody else on this machine change what is kept under a name within the block.

    The lock belongs to the process, so that one which is killed leaves nothing behind to be waited for.

    Raises:
        WeightsError: the home cannot be written to, or somebody else is busy and `wait` is False.
    """
    file, busy = lock_file(name), f"another glpn is busy with the weights {name!r}"
    lock = FileLock(file)
    with disk_errors_named(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not wait:
                raise WeightsError(busy, hint="wait until it ends") from None
            watcher.note(f"{busy}; waiting for it")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def put_whole(name: str, pieces: Iterable[bytes | memoryview]) -> Path:
    """Put a weights file where it is kept, so that its name never stands for half of it.

    Args:
        name: what it is kept as; what was there is replaced.
        pieces: the file, in order.

    Raises:
        WeightsError: the disk is full, or the home is not ours to write to.
    """
    target = stored_file(name)
    # Always the same name, so that runs which are killed do not leave a pile of large files.
    partial = downloads_folder(name) / "converted.part"
    with disk_errors_named(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    return target


def remove_stored(name: str) -> bool:
    """Take away what is kept under a name, also what is left of a download that was cut.

    Returns:
        Whether there was anything.

    Raises:
        UsageError: they came with the package.
        WeightsError: somebody else is busy with them, or the file system refuses.
    """
    if name in CATALOG and CATALOG[name].bundled_file:
        raise UsageError(f"the weights {name!r} come with the package and stay")
    if name not in CATALOG and not is_repository(name) and not is_plain_name(name):
        return False  # and a text such as ".." must never become a part of a path that is removed
    file, folder = stored_file(name), downloads_folder(name)
    if not (file.exists() or folder.exists()):
        return False
    with alone_with(name, wait=False):
        with disk_errors_named(file):
            file.unlink(missing_ok=True)
        clear_downloads(name)
    return True


def clear_downloads(name: str, *, but: Path | None = None) -> None:
    """Take away parts of downloads, except for one that is to go on."""
    folder = downloads_folder(name)
    with disk_errors_named(folder):
        if but is None:
            shutil.rmtree(folder, ignore_errors=True)
        elif folder.exists():
            for part in folder.iterdir():
                if part != but:
                    part.unlink()
