"""Where weights are kept on this machine: which file stands for which name.

The files that a GLPN is published in: what they are called, and which of a folder counts.

What is kept on this machine: one at a time changes it, it is put there whole, and it is taken away.

What weights there are, here and elsewhere, and whether those that are here are as they should be.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
from filelock import FileLock, Timeout

from glpn_cli.errors import UsageError, WeightsError
from glpn_cli.settings import HOME_VARIABLE
from glpn_cli.weights.catalog import CATALOG

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from os import PathLike


_SUFFIX = ".safetensors"

_OWNER_SEPARATOR = "--"  # the Hub allows it in no name, so it can stand for the slash

_REPOSITORY_PART = r"(?!.*(?:--|\.\.))[A-Za-z0-9_][\w.-]{0,95}"

_REPOSITORY = re.compile(f"{_REPOSITORY_PART}/{_REPOSITORY_PART}", re.ASCII)

_NAME = re.compile(r"(?!.*--)[A-Za-z0-9][\w.-]{0,63}", re.ASCII)

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


class Watcher:
    """Is told what goes on while weights arrive; this one keeps it to itself."""

    def begin(self, what: str, *, total_bytes: int, done_bytes: int) -> None:
        """Hear that bytes will come, some of which may be here from an earlier run."""

    def advance(self, done_bytes: int) -> None:
        """Hear how many bytes are here; fewer than before if it had to start again."""

    def end(self) -> None:
        """Hear that no more bytes will come, whether all are here or not."""

    def note(self, text: str) -> None:
        """Hear something that the user may wonder about, such as a wait."""


QUIET = Watcher()


def home_folder() -> Path:
    """Give the folder that holds everything that is kept: GLPN_HOME, else the platform's cache folder."""
    wanted = os.environ.get(HOME_VARIABLE, "")
    return Path(os.path.expanduser(wanted)).absolute() if wanted else Path(platformdirs.user_cache_dir("glpn", False))


def is_repository(text: str) -> bool:
    """Tell whether a text has the form OWNER/REPO, as the Hub allows it."""
    return _REPOSITORY.fullmatch(text) is not None


def is_plain_name(text: str) -> bool:
    """Tell whether a text has the form of a name that somebody may give to weights of their own."""
    return _NAME.fullmatch(text) is not None


def stored_file(name: str) -> Path:
    """Give where the weights of a name are kept, whether they are there or not."""
    return home_folder() / "weights" / (_to_file_name(name) + _SUFFIX)


def downloads_folder(name: str) -> Path:
    """Give where what is not whole yet waits for the rest of it."""
    return home_folder() / "downloads" / _to_file_name(name)


def lock_file(name: str) -> Path:
    """Give the file that is locked while somebody changes what is kept under a name."""
    return home_folder() / "locks" / (_to_file_name(name) + ".lock")


def list_stored() -> dict[str, Path]:
    """Give the file of everything that is kept, by name; nothing where the home cannot be looked into."""
    try:
        files = sorted(file for file in (home_folder() / "weights").iterdir() if file.suffix == _SUFFIX)
    except OSError:
        return {}
    return {file.stem.replace(_OWNER_SEPARATOR, "/", 1): file for file in files if not file.name.startswith(".")}


@contextmanager
def disk_errors_named(path: Path) -> Iterator[None]:
    """Turn what the file system refuses within the block into one line and a hint.

    Raises:
        WeightsError: the disk is full, or the home is not ours to write to.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        if error.errno in _FULL:
            raise WeightsError(
                f"{path}: no room to write: {reason}",
                hint=f"free some space, or set {HOME_VARIABLE} to a folder on another disk",
            ) from error
        raise WeightsError(
            f"{path}: cannot be written: {reason}", hint=f"set {HOME_VARIABLE} to a folder that you may write to"
        ) from error


def _to_file_name(name: str) -> str:
    return name.replace("/", _OWNER_SEPARATOR)


SAFETENSORS_NAME = "model.safetensors"

PICKLE_NAME = "pytorch_model.bin"

CONFIG_NAME = "config.json"

BEST_NAME, LAST_NAME = "best", "last"

"""The folders of weights that every training has."""


def find_weights_file(path: str | PathLike[str]) -> Path:
    """Give the weights file that a path means: itself, or the one in a folder; safetensors before a pickle.

    Raises:
        WeightsError: there is none.
    """
    path = Path(path)
    # As `os.path` asks, what may not be looked at is not there.
    if os.path.isdir(path):
        for name in (SAFETENSORS_NAME, PICKLE_NAME):
            if os.path.isfile(path / name):
                return path / name
        raise WeightsError(f"{path}: has neither {SAFETENSORS_NAME} nor {PICKLE_NAME}")
    if not os.path.isfile(path):
        raise WeightsError(f"{path}: no weights there")
    return path


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
