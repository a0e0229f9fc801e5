"""Files: atomic writes, JSON with errors, SHA-256, locks. The only module that renames files or opens them to write.

A file written here is complete or absent: the bytes go to a hidden file beside the target, reach the disk, and get the
target's name in one step. That step never replaces an existing file unless the caller allows it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import mmap
import os
import re
import secrets
import stat
import threading
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from glpn_cli.errors import GLPNError, OutputError, OutputExistsError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from os import PathLike

_CHUNK_BYTES = 2**20
_MAX_JSON_BYTES = 2**23
"""Of a JSON file: far more than any has, and little enough to be read in a moment, whatever it contains."""

_MAX_NESTING = 64
"""Of lists and objects in JSON: ours have 4 levels. Code that follows a nesting of hundreds runs out of stack."""

_PARTIAL_NAME = re.compile(r"\.glpn-[0-9a-f]{12}\.part")
_DISK_WIDE_ERRORS = {errno.ENOSPC, errno.EROFS, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC)}
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL, errno.EACCES}


def os_reason(error: BaseException) -> str:
    """Return what the system says about an error, without number and path: "No space left on device"."""
    return (getattr(error, "strerror", None) if isinstance(error, OSError) else None) or str(error)


# Writing


@contextmanager
def replacing(target: Path, *, partial: Path | None = None, durable: bool = True) -> Iterator[Path]:
    """Replace a file atomically with what the block writes.

    Args:
        target: the file; replaced if it exists.
        partial: the temporary file to use, in the same folder; None invents a name.
        durable: flush the bytes to the disk first. Without it a power failure may leave an empty file.

    Yields:
        The path of the temporary file, which the block writes. If the block raises, it is removed and the target stays.

    Raises:
        OSError: the file system refuses.
    """
    partial = partial or partial_path(target)
    try:
        yield partial
        if durable:
            _flush_to_disk(partial)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(target: Path, data: bytes, *, overwrite: bool) -> None:
    """Write one file atomically; see `write_together`.

    A link is followed, and bytes for a device or a pipe are written into it.
    """
    try:
        if overwrite and os.path.islink(target):
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
    overwrite: bool | Sequence[bool],
    partials: Sequence[Path] | None = None,
    durable: bool = True,
) -> None:
    """Write several files, each atomically, and all or none of them unless they replace others.

    Args:
        files: targets and their bytes.
        overwrite: whether an existing file may be replaced, of all files or of each. If not, even a file that
            appeared a moment ago is safe.
        partials: the temporary files to use, one per target, on its file system; None invents names beside them.
        durable: flush the bytes to the disk before the files get their names. Without it a power failure may leave
            an empty file, which is good enough for what can be made again.

    Raises:
        OutputExistsError: a file exists and may not be replaced.
        OutputError: the file system refuses.
    """
    replaces = [overwrite] * len(files) if isinstance(overwrite, bool) else overwrite
    partials = partials or [partial_path(target) for target, _ in files]
    created: list[Path] = []
    target = files[0][0]
    try:
        try:
            for (target, data), partial, may_replace in zip(files, partials, replaces, strict=True):
                _refuse_existing(target, overwrite=may_replace)
                write_new(partial, data, durable=durable)
            for (target, _), partial, may_replace in zip(files, partials, replaces, strict=True):
                if may_replace:
                    os.replace(partial, target)
                else:
                    _rename_without_replacing(partial, target)
                    created.append(target)
        except BaseException:
            for path in created:
                path.unlink(missing_ok=True)
            raise
        finally:
            for partial in partials:
                partial.unlink(missing_ok=True)
    except FileExistsError as error:
        raise OutputExistsError(f"{target}: already exists", hint="set `overwrite` to replace it") from error
    except OSError as error:
        raise _unwritable(target, error) from error


def move_into_place(partial: Path, target: Path, *, overwrite: bool) -> None:
    """Give a complete file its name, in one step; both are on one file system.

    Raises:
        OutputExistsError: the target exists and may not be replaced.
        OutputError: the file system refuses.
    """
    try:
        _flush_to_disk(partial)
        if overwrite:
            os.replace(partial, target)
        else:
            _rename_without_replacing(partial, target)
            partial.unlink(missing_ok=True)
    except FileExistsError as error:
        raise OutputExistsError(f"{target}: already exists", hint="set `overwrite` to replace it") from error
    except OSError as error:
        raise _unwritable(target, error) from error


def write_new(path: Path, data: bytes = b"", *, durable: bool = True) -> None:
    """Create a file that does not exist yet.

    Raises:
        FileExistsError: the file exists.
        OSError: the file system refuses.
    """
    write_lines(path, (data,), durable=durable)


def write_lines(path: Path, lines: Iterable[bytes], *, durable: bool = True) -> None:
    """Create a file that does not exist yet, from pieces that need not be in memory at once.

    Raises:
        FileExistsError: the file exists.
        OSError: the file system refuses.
    """
    with _create(path) as stream:
        stream.writelines(lines)
        if durable:
            stream.flush()
            os.fsync(stream.fileno())


def partial_path(target: Path) -> Path:
    """Return a random name for a hidden temporary file beside a target; short, as the target's name may be long."""
    return target.with_name(f".glpn-{secrets.token_hex(6)}.part")


def is_partial_name(name: str) -> bool:
    """Return whether `partial_path` could have made this file name."""
    return _PARTIAL_NAME.fullmatch(name) is not None


def make_folder(folder: Path) -> None:
    """Create a folder and its parents if they do not exist.

    Raises:
        OutputError: the file system refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be created: {os_reason(error)}") from error


def refuse_outside(folder: Path, root: Path) -> None:
    """Refuse a folder below `root` that a symbolic link leads out of it, whether it exists yet or not.

    Raises:
        OutputError: the folder is outside.
    """
    if not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(root)):
        raise OutputError(f"{folder}: a symbolic link leads out of {root}", hint="remove the link")


def refuses_files(folder: Path) -> bool:
    """Return whether no file can be created in a folder."""
    return not os.access(folder, os.W_OK | os.X_OK)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, so that they survive a power failure.

    Windows cannot open folders; there a rename is durable when it returns.
    """
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EBADF}:  # a file system without folder sync
            raise
    finally:
        os.close(descriptor)


def is_disk_wide(error: BaseException) -> bool:
    """Return whether an error would affect every other file too: a full, read-only or broken disk."""
    cause = error.__cause__ if isinstance(error, OutputError) else None
    return isinstance(cause, OSError) and cause.errno in _DISK_WIDE_ERRORS


def _refuse_existing(target: Path, *, overwrite: bool) -> None:
    """Save the work of writing a file that could not get its name."""
    if not overwrite and os.path.exists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def _create(path: Path) -> BinaryIO:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    return os.fdopen(descriptor, "wb")


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def _rename_without_replacing(partial: Path, target: Path) -> None:
    if os.name == "nt":
        partial.rename(target)  # on Windows rename does not replace
        return
    try:
        os.link(partial, target)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # Without hard links: claim the name with an empty file first, then replace that.
        with contextlib.ExitStack() as on_failure:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            on_failure.callback(target.unlink, missing_ok=True)
            os.replace(partial, target)
            on_failure.pop_all()


def _unwritable(target: Path, error: OSError) -> OutputError:
    return OutputError(f"{target}: cannot be written: {os_reason(error)}")


# Reading


def read_bounded(stream: BinaryIO, limit: int) -> bytes | None:
    """Read a stream to its end, in chunks, because one large read would allocate the limit at once.

    Args:
        stream: from its current position.
        limit: the largest number of bytes to accept.

    Returns:
        The bytes, or None if there are more than the limit.
    """
    chunks: list[bytes] = []
    left = limit + 1
    while left > 0 and (chunk := stream.read(min(_CHUNK_BYTES, left))):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks) if left > 0 else None


def read_json(
    path: str | PathLike[str], error: type[GLPNError], *, missing: type[GLPNError] | None = None
) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises:
        GLPNError: of the type `error`; the file cannot be read, or does not hold a JSON object. Of the type `missing`
            if it is given and there is no such file.
    """
    try:
        with Path(path).open("rb") as stream:
            data = read_bounded(stream, _MAX_JSON_BYTES)
    except OSError as raised:
        kind = missing if missing and isinstance(raised, FileNotFoundError | NotADirectoryError) else error
        raise kind(f"{os.fspath(path)}: cannot be read: {os_reason(raised)}") from raised
    if data is None:
        raise error(f"{os.fspath(path)}: invalid JSON: more than {_MAX_JSON_BYTES} bytes")
    return parse_json(data, os.fspath(path), error)


def parse_json(data: str | bytes, name: str, error: type[GLPNError]) -> dict[str, Any]:
    """Return the JSON object in a text.

    Args:
        data: the text; bytes are UTF-8.
        name: what to call it in messages.
        error: the type to raise.

    Raises:
        GLPNError: of the type `error`; the text is not a JSON object.
    """
    try:
        values = load_json(data)
    except ValueError as raised:
        raise error(f"{name}: invalid JSON: {raised}") from raised
    if not isinstance(values, dict):
        raise error(f"{name}: must be a JSON object, not {type(values).__name__}")
    return values


def load_json(data: str | bytes) -> Any:
    """Return the value of a JSON text that a stranger may have written.

    Raises:
        ValueError: it is not JSON, or it is nested so deep that code which follows it would run out of stack.
    """
    try:
        values = json.loads(data)
    except RecursionError as error:
        raise ValueError(f"nested more than {_MAX_NESTING} deep") from error
    brackets = (b"[", b"{") if isinstance(data, bytes) else ("[", "{")
    if sum(map(data.count, brackets)) <= _MAX_NESTING:  # type: ignore[arg-type]  # both are texts or bytes
        return values
    level = [values] if isinstance(values, list | dict) else []
    for _ in range(_MAX_NESTING):
        containers = [item.values() if isinstance(item, dict) else item for item in level]
        level = [inner for items in containers for inner in items if isinstance(inner, list | dict)]
        if not level:
            return values
    raise ValueError(f"nested more than {_MAX_NESTING} deep")


def dump_json(values: Any) -> str:
    """Return a JSON text, in which NaN and infinite numbers are null: JSON has no words for them."""
    try:
        return json.dumps(values, allow_nan=False)
    except ValueError:
        return json.dumps(_without_nan(values), allow_nan=False)


def _without_nan(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _without_nan(item) for key, item in values.items()}
    if isinstance(values, list | tuple):
        return [_without_nan(item) for item in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def is_path(text: str) -> bool:
    """Return whether a text can be the path of a file, of which some have bytes that are no text.

    A text from a file may have characters that no path has: NUL, or lone surrogates that stand for no byte.
    """
    try:
        if not text.isascii():
            os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return "\0" not in text


# Until version 0.1 names were in British spelling. Metadata written then is still read.
_RENAMED_KEYS = {
    "metres_per_unit": "meters_per_unit",
    "values_per_metre": "values_per_meter",
    "picture_size": "image_size",
    "licence": "license",
}
_RENAMED_VALUES = {
    ("scale", "metres"): "meters",
    ("unit", "metre"): "meter",
    ("colormap", "grey"): "gray",
    ("camera", "of each picture"): "of each image",
}


def modernize(values: Any) -> Any:
    """Return JSON values with the names that version 0.1 wrote replaced by today's."""
    if isinstance(values, list):
        return [modernize(item) for item in values]
    if not isinstance(values, dict):
        return values
    return {
        _RENAMED_KEYS.get(key, key): _RENAMED_VALUES.get((key, item), item)
        if isinstance(item, str)
        else modernize(item)
        for key, item in values.items()
    }


# Paths


def path_of_url(text: str) -> str | None:
    """Return the path in a file:// URL of this machine, as file managers and browsers give it; None for other texts."""
    if text[:7].lower() != "file://":
        return None
    from urllib.parse import urlsplit
    from urllib.request import url2pathname  # it imports http.client, which most commands do not need

    parts = urlsplit(text)
    if parts.netloc not in ("", "localhost"):
        return None
    return url2pathname(parts.path)


# Digests


class FileDigest:
    """The SHA-256 of a file, or of the bytes of several in a row, computed in a background thread.

    A weights file of 250 MB takes 0.15 s; importing torch and building the network take longer.
    """

    def __init__(self, path: str | PathLike[str], *more: Path) -> None:
        """Start computing."""
        self.path = Path(path)
        self._more = more
        self._result: Future[str] = Future()
        threading.Thread(target=self._compute, name="glpn-sha256", daemon=True).start()

    def hexdigest(self) -> str:
        """Return the digest in hexadecimal; waits until it is known.

        Raises:
            WeightsError: the file cannot be read.
        """
        try:
            return self._result.result()
        except OSError as error:
            raise WeightsError(f"{self.path}: cannot be read: {os_reason(error)}") from error

    def _compute(self) -> None:
        try:
            digest = hashlib.sha256()
            for path in (self.path, *self._more):
                with path.open("rb") as file:
                    # One call releases the GIL once, not once per chunk. An empty file cannot be mapped.
                    size = os.fstat(file.fileno()).st_size
                    digest.update(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b"")
            self._result.set_result(digest.hexdigest())
        except BaseException as error:  # noqa: BLE001 - hexdigest raises it
            self._result.set_exception(error)


def file_sha256(path: str | PathLike[str]) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Raises:
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# Locks


@contextmanager
def locked(
    path: Path, busy: GLPNError, *, on_wait: Callable[[], None] | None = None, wait_s: float = 0.0
) -> Iterator[None]:
    """Hold a lock between processes; a killed process releases it.

    Args:
        path: the lock file; it is created and left in place.
        busy: raised if another process holds the lock and nothing waits for it any longer.
        on_wait: called once before waiting for the other process without a limit.
        wait_s: how long to wait for the other process otherwise.

    Raises:
        OSError: the lock file cannot be created.
    """
    from filelock import FileLock, Timeout  # it imports asyncio, which most commands do not need

    lock = FileLock(path)
    try:
        lock.acquire(timeout=wait_s)
    except Timeout:
        if on_wait is None:
            raise busy from None
        on_wait()
        lock.acquire()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # of closing the lock file, which has no content; the lock ends in any case
            lock.release()
