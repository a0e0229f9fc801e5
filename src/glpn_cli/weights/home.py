"""Where weights are kept on this machine: which file stands for which name."""

from __future__ import annotations

import errno
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from glpn_cli.errors import WeightsError
from glpn_cli.settings.weights import HOME_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "disk_errors_named",
    "downloads_folder",
    "home_folder",
    "is_plain_name",
    "is_repository",
    "list_stored",
    "lock_file",
    "stored_file",
]

_SUFFIX = ".safetensors"
_OWNER_SEPARATOR = "--"  # the Hub allows it in no name, so it can stand for the slash
_REPOSITORY_PART = r"(?!.*(?:--|\.\.))[A-Za-z0-9_][\w.-]{0,95}"
_REPOSITORY = re.compile(f"{_REPOSITORY_PART}/{_REPOSITORY_PART}", re.ASCII)
_NAME = re.compile(r"(?!.*--)[A-Za-z0-9][\w.-]{0,63}", re.ASCII)
_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


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
