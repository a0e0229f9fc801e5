"""The weights that are installed on this machine: where their files are, and how they are written and removed.

All of it is below one home folder: `weights/` has one safetensors file per name, `downloads/` has incomplete
downloads, `locks/` has one lock file per name. OWNER/REPO becomes the file name OWNER--REPO.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from glpn_cli.errors import MissingWeightsError, UsageError, WeightsError
from glpn_cli.files import locked, os_reason, read_json, replacing
from glpn_cli.settings import HOME_VARIABLE
from glpn_cli.weights.catalog import CATALOG

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from os import PathLike

SAFETENSORS_NAME = "model.safetensors"
PICKLE_NAME = "pytorch_model.bin"
PROCESSOR_NAME = "preprocessor_config.json"
"""The file beside weights with the fields of their processor, and its key in the metadata of installed weights."""

BEST_NAME, LAST_NAME = "best", "last"
"""The folders of weights that every training run writes."""

LFS_START = b"version https://git-lfs"
"""How a file starts that `git clone` leaves in the place of a large one if Git LFS is not installed."""

_MAX_NAMED = 3
_SUFFIX = ".safetensors"
_INDEX_ENDING, _INDEX_PART = ".index.json", ".index."
_OWNER_SEPARATOR = "--"  # stands for the slash; the Hub does not allow it in names
_REPOSITORY_PART = r"(?!.*(?:--|\.\.))[A-Za-z0-9_][\w.-]{0,95}"
_REPOSITORY = re.compile(f"{_REPOSITORY_PART}/{_REPOSITORY_PART}", re.ASCII)
_NAME = re.compile(r"(?!.*--)[A-Za-z0-9][\w.-]{0,63}", re.ASCII)
_DISK_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


class ProgressCallback:
    """Receives the progress of a download. The methods of this base class do nothing."""

    def begin(self, what: str, *, total_bytes: int, done_bytes: int) -> None:
        """Start a download; `done_bytes` are left from an earlier run."""

    def advance(self, done_bytes: int) -> None:
        """Report how many bytes are here in total; fewer than before if the download starts over."""

    def end(self) -> None:
        """End the download, complete or not."""

    def note(self, text: str) -> None:
        """Report something that the user should know, such as a delay."""

    def detail(self, text: str) -> None:
        """Report something that only an interested user wants to know."""


NO_PROGRESS = ProgressCallback()


# Where files are


def home_folder() -> Path:
    """Return the folder of everything installed: $GLPN_HOME, else the platform's cache folder.

    Raises:
        WeightsError: the user has no home folder, as in a container with an unknown user.
    """
    wanted = os.environ.get(HOME_VARIABLE, "")
    try:
        folder = Path(os.path.expanduser(wanted)) if wanted else Path(platformdirs.user_cache_dir("glpn", False))
    except RuntimeError as error:  # platformdirs
        raise _no_home_error() from error
    if not wanted and not folder.is_absolute():  # the same, in older versions of it
        raise _no_home_error()
    return folder.absolute()


def _no_home_error() -> WeightsError:
    return WeightsError("this user has no home folder", hint=f"set {HOME_VARIABLE} to a folder that you can write to")


def is_repository(text: str) -> bool:
    """Return whether a text has the form OWNER/REPO that the Hub allows."""
    return _REPOSITORY.fullmatch(text) is not None


def is_plain_name(text: str) -> bool:
    """Return whether a text has the form of a name that users can give to their own weights."""
    return _NAME.fullmatch(text) is not None


def stored_file(name: str) -> Path:
    """Return the path for the weights of a name, installed or not."""
    return home_folder() / "weights" / (_to_file_name(name) + _SUFFIX)


def downloads_folder(name: str) -> Path:
    """Return the folder for incomplete downloads of a name."""
    return home_folder() / "downloads" / _to_file_name(name)


def lock_file(name: str) -> Path:
    """Return the file that is locked while the weights of a name change."""
    return home_folder() / "locks" / (_to_file_name(name) + ".lock")


def list_stored() -> dict[str, Path]:
    """Return the files of all installed weights by name; none if there is no home folder or it cannot be read."""
    try:
        files = sorted(file for file in (home_folder() / "weights").iterdir() if file.suffix == _SUFFIX)
    except (OSError, WeightsError):
        return {}
    return {file.stem.replace(_OWNER_SEPARATOR, "/", 1): file for file in files if not file.name.startswith(".")}


def weights_names(use_safetensors: bool | None = None, variant: str | None = None) -> tuple[str, ...]:
    """Return the names that a weights file may have in a folder, in the order in which they are looked for.

    Args:
        use_safetensors: True for safetensors only, False for pickles only, None for both.
        variant: part of the names, such as "fp16" in `model.fp16.safetensors`.
    """
    kinds = {None: (SAFETENSORS_NAME, PICKLE_NAME), True: (SAFETENSORS_NAME,), False: (PICKLE_NAME,)}[use_safetensors]
    names = [name for kind in kinds for name in (kind, kind + _INDEX_ENDING)]
    return tuple(add_variant(name, variant) for name in names)


def add_variant(name: str, variant: str | None) -> str:
    """Return the name of a file with a variant before its ending, as transformers names it."""
    stem, _, ending = name.rpartition(".")
    return f"{stem}.{variant}.{ending}" if variant else name


def find_weights_file(
    path: str | PathLike[str], *, use_safetensors: bool | None = None, variant: str | None = None
) -> Path:
    """Return the weights file of a path: the file itself, or the first of `weights_names` in a folder.

    For weights in several files, it is their index. A folder above that of the weights will do if there is only one, as
    in the cache of the Hub's client. A pointer of Git LFS is only returned if there is nothing else.

    Raises:
        MissingWeightsError: there is no such file.
    """
    path = Path(path)
    # os.path returns False for a path that may not be searched, where older Path methods raise.
    if not os.path.isdir(path):
        if not os.path.isfile(path):
            raise MissingWeightsError(f"{path}: weights file not found")
        return path
    names = weights_names(use_safetensors, variant)
    found = _find_in_folder(path, names)
    if found is not None:
        return found
    below = {folder: file for folder in _folders_below(path) if (file := _find_in_folder(folder, names)) is not None}
    if len(below) == 1:
        return next(iter(below.values()))
    whole = [name for name in names if not is_index(name)]
    hint = f"did you mean {' or '.join(map(str, list(below)[:_MAX_NAMED]))}?" if below else None
    if hint is None and is_repository(path.as_posix()):
        hint = "if you mean the repository on the Hub, rename this folder, which takes precedence"
    message = f"{path}: contains {'neither ' if whole[1:] else 'no '}{' nor '.join(whole)}"
    raise MissingWeightsError(message, hint=hint)


def _find_in_folder(folder: Path, names: Iterable[str]) -> Path | None:
    files = [folder / name for name in names if os.path.isfile(folder / name)]
    return next((file for file in files if not _is_lfs_pointer(file)), next(iter(files), None))


def _folders_below(folder: Path) -> list[Path]:
    """Return the folders that may have the weights: in the cache of the Hub's client the newest commit, else all."""
    if os.path.isdir(folder / "snapshots"):
        try:
            commit = (folder / "refs" / "main").read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            commit = ""
        if commit and os.path.isdir(folder / "snapshots" / commit):
            return [folder / "snapshots" / commit]
        folder = folder / "snapshots"
    try:
        return sorted(Path(entry.path) for entry in os.scandir(folder) if entry.is_dir())
    except OSError:
        return []


def _is_lfs_pointer(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return stream.read(len(LFS_START)) == LFS_START
    except OSError:
        return False


def is_index(name: str) -> bool:
    """Return whether a file name is that of an index of weights in several files."""
    return name.endswith(".json") and _INDEX_PART in name


def weights_parts(file: Path) -> list[Path]:
    """Return the files with the tensors of a weights file: itself, or those that the index lists.

    Raises:
        MissingWeightsError: a listed file is missing.
        WeightsError: the index is damaged.
    """
    if not is_index(file.name):
        return [file]
    listed = read_json(file, WeightsError).get("weight_map")
    names = list(dict.fromkeys(listed.values())) if isinstance(listed, dict) else []
    # Only names, so that an index from a stranger reads nothing outside of its folder.
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise WeightsError(f"{file}: not an index of weights", hint="download or copy it again")
    for name in names:
        if not os.path.isfile(file.parent / name):
            raise MissingWeightsError(f"{file.parent / name}: not found, but {file.name} lists it")
    return [file.parent / name for name in names]


def weights_files(path: str | PathLike[str]) -> list[Path]:
    """Return all files of the weights at a path: the one of `find_weights_file`, and those that an index lists.

    Raises:
        WeightsError: as for `find_weights_file` and `weights_parts`.
    """
    file = find_weights_file(path)
    return [file, *weights_parts(file)] if is_index(file.name) else [file]


# Changing what is installed


@contextmanager
def lock_weights(name: str, *, progress: ProgressCallback = NO_PROGRESS, wait: bool = True) -> Iterator[None]:
    """Keep other processes from changing the weights of a name during the block.

    A killed process releases its lock.

    Args:
        name: of the weights.
        progress: is notified before waiting.
        wait: whether to wait for another process.

    Raises:
        WeightsError: the home folder cannot be written to, or another process holds the lock and `wait` is False.
    """
    file, message = lock_file(name), f"the weights {name!r} are in use by another glpn process"
    busy = WeightsError(message, hint="wait until it ends")
    with ExitStack() as stack:
        with translating_disk_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            on_wait = (lambda: progress.note(f"{message}; waiting for it")) if wait else None
            stack.enter_context(locked(file, busy, on_wait=on_wait))
        yield


def write_stored(name: str, pieces: Iterable[bytes | memoryview]) -> Path:
    """Write the weights file of a name atomically.

    Args:
        name: of the weights; an existing file is replaced.
        pieces: the contents of the file, in order.

    Raises:
        WeightsError: the disk is full, or the home folder cannot be written to.
    """
    target = stored_file(name)
    # A fixed name, so that killed processes do not leave several large files.
    partial = downloads_folder(name) / "converted.part"
    with translating_disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target, partial=partial), partial.open("wb") as file:
            for piece in pieces:
                file.write(piece)
    return target


def remove_stored(name: str) -> bool:
    """Remove the weights of a name, and incomplete downloads of them.

    Returns:
        Whether there was anything to remove.

    Raises:
        UsageError: the weights are bundled with the package.
        WeightsError: another process uses them, or the file system refuses.
    """
    if name in CATALOG and CATALOG[name].bundled_file:
        raise UsageError(f"the weights {name!r} are part of the package and cannot be removed")
    if name not in CATALOG and not is_repository(name) and not is_plain_name(name):
        return False  # a text such as ".." must never become part of a path to remove
    file, folder = stored_file(name), downloads_folder(name)
    if not (file.exists() or folder.exists()):
        return False
    with lock_weights(name, wait=False):
        with translating_disk_errors(file):
            file.unlink(missing_ok=True)
        clear_downloads(name)
    return True


def clear_downloads(name: str, *, keep: Path | None = None) -> None:
    """Remove incomplete downloads of a name, except for the file `keep`."""
    folder = downloads_folder(name)
    with translating_disk_errors(folder):
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
        elif folder.exists():
            for part in folder.iterdir():
                if part != keep:
                    part.unlink()


@contextmanager
def translating_disk_errors(path: Path) -> Iterator[None]:
    """Turn any OSError of the block into a WeightsError with a hint.

    Raises:
        WeightsError: the disk is full, or the path cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            message = f"{path}: no space to write: {os_reason(error)}"
            hint = f"free some space, or set {HOME_VARIABLE} to a folder on another disk"
        else:
            message = f"{path}: cannot be written: {os_reason(error)}"
            hint = f"set {HOME_VARIABLE} to a folder that you can write to"
        raise WeightsError(message, hint=hint) from error


def _to_file_name(name: str) -> str:
    return name.replace("/", _OWNER_SEPARATOR)
