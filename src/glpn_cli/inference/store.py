"""Files by URL, in an object store or on this machine: all that tar shards need of fsspec."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

from glpn_cli.errors import GLPNError, ImageError, MissingPackageError, OutputError, UsageError
from glpn_cli.files import file_sha256, locked, make_folder, move_into_place, os_reason, path_of_url, sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_NOT_STORES = frozenset({"http", "https", "file"})
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}
_HAS_BUCKETS = frozenset(_PACKAGES)
"""Stores in which a missing bucket looks like an empty folder until something is written."""

_VERSIONS = ("ETag", "etag", "generation", "md5Hash", "blob_id", "LastModified", "last_modified", "mtime", "created")
"""Fields of fsspec's `info`, the best first, one of which changes if a file is replaced."""

TAR_SUFFIX = ".tar"

_SPOOL = ".glpn-spool-"
_BLOCK_BYTES = 8 * 2**20
_HEAD_CHUNK = 1000
_MAX_EXPANDED = 10_000_000
_BRACES = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")

# What errors of clients may contain: user names and passwords in URLs, signatures in queries, keys.
_SECRETS = re.compile(r"(?<=://)[^/\s@]*@|(?<=[^\s?])\?[^\s'\")]+|\b(?:AKIA|ASIA)[A-Z0-9]{12,}|[A-Za-z0-9+/=_-]{40,}")


def is_store_url(text: str) -> bool:
    """Return whether a text is a URL of an object store, such as s3://bucket/name."""
    match = _URL.match(text)
    return match is not None and match[1].lower() not in _NOT_STORES


def names_tars(inputs: Iterable[str | os.PathLike[str]], output: str | os.PathLike[str]) -> bool:
    """Return whether the arguments of a batch are tars or in an object store, and not folders."""
    texts = [os.fspath(named) for named in inputs]
    is_any_tar = any(text.lower().endswith(TAR_SUFFIX) and not os.path.isdir(text) for text in texts)
    return is_any_tar or any(map(is_store_url, [*texts, os.fspath(output)]))


@dataclass(frozen=True, slots=True)
class Location:
    """A file or a folder. `str` of it is safe to show.

    Errors of reading are an `ImageError`, which concerns one tar. Errors of writing are an `OutputError`, which every
    other one would meet too. `FileNotFoundError` and `FileExistsError` are left to the caller.

    Attributes:
        path: as the file system names it; absolute on this machine.
        root: the scheme with "://"; empty on this machine.
        files: the file system of fsspec; None on this machine.
    """

    path: str
    root: str = ""
    files: Any = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the location of a path or a URL; nothing is connected yet.

        Raises:
            UsageError: the URL is invalid; the message does not repeat a password.
            MissingPackageError: the package for this store is not installed.
        """
        if not is_store_url(text):
            return cls(os.path.abspath(path_of_url(text) or text))
        scheme, _, rest = text.partition("://")
        scheme = scheme.lower()
        if "@" in rest.split("/")[0]:
            raise UsageError(
                f"a URL of {scheme} contains a user name or a key",
                hint="use the environment variables or the configuration file of the store",
            )
        import fsspec

        try:
            files, path = fsspec.url_to_fs(f"{scheme}://{rest}", use_listings_cache=False)
        except ImportError as error:
            package = _PACKAGES.get(scheme)
            raise MissingPackageError(
                f"{scheme}:// needs the package {package}, which is not installed" if package else f"{error}",
                hint=f"pip install {package}" if package else None,
            ) from error
        except ValueError as error:
            raise UsageError(f"{scheme}://: is not a store that fsspec knows, or the URL is invalid") from error
        except Exception as error:  # noqa: BLE001 - clients raise anything
            raise OutputError(f"{scheme}://: cannot be used: {_reason(error)}") from None
        return cls(str(path).rstrip("/"), f"{scheme}://", files)

    def __str__(self) -> str:
        return self.root + self.path.removeprefix("/") if self.root == "memory://" else self.root + self.path

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rstrip("/").rpartition("/")[2] if self.root else os.path.basename(self.path)

    @property
    def local(self) -> Path | None:
        """The path on this machine; None in a store."""
        return None if self.root else Path(self.path)

    def child(self, name: str) -> Location:
        """Return the location of a file in this folder."""
        return Location(f"{self.path}/{name}" if self.root else os.path.join(self.path, name), self.root, self.files)

    # Reading

    def mark(self) -> str:
        """Return size and version, which differ if the file is replaced; one request.

        Raises:
            FileNotFoundError: there is no such file.
            ImageError: the store refuses.
        """
        with self.reading():
            if self.local is not None:
                status = self.local.stat()
                return f"{status.st_size}-{status.st_mtime_ns}"
            info = self.files.info(self.path)
        if info.get("type") == "directory":
            raise FileNotFoundError
        version = next((str(info[name]) for name in _VERSIONS if info.get(name)), "")
        return f"{info['size']}-{version}"

    def mark_or_none(self) -> str | None:
        """Return the mark, or None if there is no such file."""
        try:
            return self.mark()
        except FileNotFoundError:
            return None

    def open(self, *, limit: int | None = None) -> CheckedStream:
        """Open a file for reading from its start; parts that are skipped are not downloaded.

        Args:
            limit: see `CheckedStream`.

        Raises:
            FileNotFoundError: there is no such file.
            ImageError: the store refuses.
        """
        with self.reading():
            if self.local is not None:
                return CheckedStream(self.local.open("rb"), self, limit=limit)
            stream = self.files.open(self.path, "rb", block_size=_BLOCK_BYTES)
            return CheckedStream(stream, self, limit=limit)

    def read(self) -> bytes:
        """Return the content of a small file.

        Raises:
            FileNotFoundError: there is no such file.
            ImageError: the store refuses.
        """
        with self.reading():
            return self.local.read_bytes() if self.local is not None else cast("bytes", self.files.cat_file(self.path))

    def read_head(self, count: int) -> bytes:
        """Return the first bytes of a file.

        Raises:
            FileNotFoundError: there is no such file.
            ImageError: the store refuses.
        """
        with self.open() as stream:
            return stream.read(count)

    def is_same(self, other: Location) -> bool:
        """Return whether another location is the same file."""
        if self.local is None or other.local is None:
            return self.path == other.path and type(self.files) is type(other.files)
        if os.path.realpath(self.path) == os.path.realpath(other.path):
            return True
        return os.path.exists(self.path) and os.path.exists(other.path) and os.path.samefile(self.path, other.path)

    def list_sizes(self) -> dict[str, int]:
        """Return the size of each file in this folder, bytes, by name; empty if there is no such folder.

        Raises:
            OutputError: the store refuses, or has no such bucket.
        """
        if self.local is not None:
            try:
                with os.scandir(self.local) as entries:
                    return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
            except FileNotFoundError:
                return {}
            except OSError as error:
                raise OutputError(f"{self}: cannot be listed: {os_reason(error)}") from error
        with self._writing("cannot be listed"):
            self.files.invalidate_cache()
            try:
                entries = self.files.ls(self.path, detail=True)
            except FileNotFoundError:
                bucket = self.path.split("/")[0]
                if self.root.removesuffix("://") in _HAS_BUCKETS and not self.files.exists(bucket):
                    raise OutputError(f"{self.root}{bucket}: no such bucket") from None
                return {}
        return {
            str(entry["name"]).rstrip("/").rpartition("/")[2]: int(entry.get("size") or 0)
            for entry in entries
            if entry.get("type") != "directory"
        }

    def read_heads(self, names: Sequence[str], count: int) -> Iterator[bytes]:
        """Yield the first bytes of files in this folder; many are asked for at the same time.

        Raises:
            ImageError: the store refuses.
        """
        for start in range(0, len(names), _HEAD_CHUNK):
            chunk = [self.child(name) for name in names[start : start + _HEAD_CHUNK]]
            if self.local is not None:
                for file in chunk:
                    with file.reading(), open(file.path, "rb") as stream:
                        yield stream.read(count)
                continue
            with self.reading():
                heads = self.files.cat_ranges([file.path for file in chunk], [0] * len(chunk), [count] * len(chunk))
                for head in heads:
                    if isinstance(head, Exception):
                        raise head
            yield from heads

    def sha256(self) -> str:
        """Return the SHA-256 in hexadecimal; the whole file is read.

        Raises:
            FileNotFoundError: there is no such file.
            ImageError: the store refuses.
        """
        with self.open() as stream:
            digest = hashlib.sha256()
            while chunk := stream.read(_BLOCK_BYTES):
                digest.update(chunk)
            return digest.hexdigest()

    # Writing

    def put(self, file: Path, *, replace: bool) -> None:
        """Store a file of this machine under this name, completely or not at all.

        Without `replace`, S3, Google Cloud Storage, memory and file systems refuse an existing name in the same step.
        Other stores are asked before, so two writers at the same moment may both succeed.

        Args:
            file: is moved on this machine, so it must be on the same file system.
            replace: whether an existing file may be replaced.

        Raises:
            FileExistsError: there is another file of this name, which may have appeared a moment ago.
            OutputError: the store refuses.
        """
        if self.local is not None:
            self._put_local(self.local, file, replace=replace)
            return
        with self._writing("cannot be written"):
            try:
                if not replace and self.files.exists(self.path):
                    raise FileExistsError  # noqa: TRY301 - as the store would
                self.files.put_file(str(file), self.path, mode="overwrite" if replace else "create")
            except Exception:
                # An answer that was lost is asked for again, and then the file that exists is our own.
                if replace or not self.files.exists(self.path):
                    raise
                if self.sha256() != file_sha256(file):
                    raise FileExistsError from None

    def remove(self) -> None:
        """Remove a file, if it exists.

        Raises:
            OutputError: the store refuses.
        """
        with self._writing("cannot be removed"):
            try:
                if self.local is not None:
                    self.local.unlink()
                else:
                    self.files.rm_file(self.path)
            except FileNotFoundError:
                pass

    def _put_local(self, target: Path, file: Path, *, replace: bool) -> None:
        from glpn_cli.errors import OutputExistsError

        make_folder(target.parent)
        try:
            move_into_place(file, target, overwrite=replace)
        except OutputExistsError:
            raise FileExistsError from None
        with self._writing("cannot be written"):
            sync_folder(target.parent)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn errors of a store into an `ImageError`."""
        try:
            yield
        except (GLPNError, FileNotFoundError):
            raise
        except Exception as error:  # noqa: BLE001 - clients raise anything
            raise ImageError(f"{self}: cannot be read: {_reason(error)}") from None

    @contextmanager
    def _writing(self, problem: str) -> Iterator[None]:
        """Turn errors of a store into an `OutputError`."""
        try:
            yield
        except (OutputError, FileExistsError):
            raise
        except Exception as error:  # noqa: BLE001 - clients raise anything
            raise OutputError(f"{self}: {problem}: {_reason(error)}") from None


class CheckedStream:
    """A stream whose errors are named, and that may refuse to read much at once.

    Attributes:
        location: of the file.
    """

    def __init__(self, stream: BinaryIO, location: Location, *, limit: int | None = None) -> None:
        """Store a stream, its location, and the largest number of bytes of a `read`."""
        self.location = location
        self._stream = stream
        self._limit = limit

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def read(self, size: int) -> bytes:
        """Return the next bytes, all that were asked for unless the file ends.

        Raises:
            ImageError: the store refuses.
            ValueError: more than the limit is asked for.
        """
        if size < 0 or (self._limit is not None and size > self._limit):
            raise ValueError(f"more than {self._limit} bytes at once")
        return self.read_large(size)

    def read_large(self, size: int) -> bytes:
        """Return the next bytes, without a limit."""
        chunks: list[bytes] = []
        with self.location.reading():
            while size > 0 and (chunk := self._stream.read(min(size, _BLOCK_BYTES))):
                chunks.append(chunk)
                size -= len(chunk)
        return b"".join(chunks)

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position."""
        with self.location.reading():
            return self._stream.seek(position, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._stream.tell()


def expand(texts: Iterable[str]) -> list[Location]:
    """Return the files that paths and URLs mean: braces (`{000..009}`, `{a,b}`) first, then patterns of the store.

    Raises:
        UsageError: a URL is invalid, a range is too long, or a pattern matches nothing.
    """
    found: dict[str, Location] = {}
    for text in texts:
        for name in _expand_braces(text):
            location = Location.parse(name)
            for match in _matches(location):
                found.setdefault(str(match), match)
    return list(found.values())


def _expand_braces(text: str) -> Iterator[str]:
    pieces = _BRACES.split(text)
    if len(pieces) == 1 or (not is_store_url(text) and os.path.exists(text)):
        yield text
        return
    fixed = pieces[0::4]
    choices = [_choices(*pieces[start : start + 3]) for start in range(1, len(pieces), 4)]
    if prod(map(len, choices)) > _MAX_EXPANDED:
        raise UsageError(f"{_scrub(text)}: more than {_MAX_EXPANDED} files")
    for chosen in product(*choices):
        yield fixed[0] + "".join(part + after for part, after in zip(chosen, fixed[1:], strict=True))


def _choices(first: str | None, last: str | None, listed: str | None) -> Sequence[str]:
    if listed is not None:
        return listed.split(",")
    assert first is not None  # noqa: S101 - the pattern has either
    assert last is not None  # noqa: S101 - as above
    if abs(int(last) - int(first)) > _MAX_EXPANDED:
        raise UsageError(f"{{{first}..{last}}}: more than {_MAX_EXPANDED} files")
    step = 1 if int(first) <= int(last) else -1
    width = max(len(first), len(last)) if first.startswith("0") or last.startswith("0") else 0
    return [f"{number:0{width}}" for number in range(int(first), int(last) + step, step)]


def _matches(location: Location) -> list[Location]:
    import glob

    if not glob.has_magic(location.path) or (location.local is not None and location.local.exists()):
        return [location]
    if location.local is not None:
        paths: list[str] = sorted(glob.glob(location.path, recursive=True))
    else:
        with location.reading():
            paths = sorted(map(str, location.files.glob(location.path)))
    if not paths:
        raise UsageError(f"{location}: matches no files")
    return [Location(path, location.root, location.files) for path in paths]


def _reason(error: BaseException) -> str:
    """Return what a client says about an error, in one line without secrets."""
    text = " ".join(os_reason(error).split())
    return _scrub(text)[:300] or type(error).__name__


def _scrub(text: str) -> str:
    return _SECRETS.sub("...", text)


@contextmanager
def spool_folder(out: Location) -> Iterator[Path]:
    """Yield a new hidden folder for files that `Location.put` will store: in the output folder, if that is here.

    Folders of killed runs are removed first; those of other runs are locked.

    Raises:
        OutputError: the file system refuses.
    """
    if out.local is not None:
        make_folder(out.local)
    base = out.local or Path(tempfile.gettempdir())
    busy = OutputError(f"{base}: is in use")
    folder = base / (_SPOOL + secrets.token_hex(6))
    with ExitStack() as stack:
        try:
            for lock in base.glob(f"{_SPOOL}*.lock"):
                with suppress(OutputError, OSError), locked(lock, busy):
                    shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                    lock.unlink()
            stack.enter_context(locked(folder.with_suffix(".lock"), busy))
            stack.callback(folder.with_suffix(".lock").unlink, missing_ok=True)
            folder.mkdir()
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        except OSError as error:
            raise OutputError(f"{base}: cannot be used: {os_reason(error)}") from error
        yield folder
