"""What the arrival of weights tells whoever waits for it.

The bytes of a large file: fetched into a part that any later run continues, then compared with their hash.

The client library does not go on where an earlier run was cut, and compares sizes only. So the bytes are asked for
here, with its session, and what it takes to trust them is done here too.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from contextlib import contextmanager
from os import fsync
from typing import TYPE_CHECKING

from huggingface_hub import get_session
from huggingface_hub.errors import OfflineModeIsEnabled

from glpn_cli.errors import WeightsError
from glpn_cli.settings import HOME_VARIABLE
from glpn_cli.weights.hub import (
    CLIENT_ERRORS,
    HubAccess,
    HubFile,
    PassingFaultError,
    offline_error,
    persist,
    to_refusal,
    told,
)
from glpn_cli.weights.store import Watcher, disk_errors_named

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from io import RawIOBase
    from pathlib import Path


"""Nobody waits."""


_MAX_SMALL_BYTES = 2**20

_CHUNK_BYTES = 2**20

_SHA256 = re.compile("[0-9a-f]{64}")

_GIT_SHA1 = re.compile("[0-9a-f]{40}")


def fetch_whole(file: HubFile, part: Path, *, access: HubAccess, watcher: Watcher) -> None:
    """Fetch a file, going on from what is in its part already.

    Afterwards the part is the whole file. If it cannot be got, the part keeps what came, for the next run.

    Raises:
        WeightsError: the connection is cut again and again, the file is not what the Hub recorded, or the disk is
            full.
    """
    with disk_errors_named(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        _require_room(file, part)
    begun_bytes = _size_bytes(part)
    if begun_bytes < file.size_bytes:
        watcher.begin(file.repository, total_bytes=file.size_bytes, done_bytes=begun_bytes)
    try:
        whole = _fetch_and_compare(file, part, access, watcher)
        if not whole and begun_bytes:
            # What an earlier run left may have been damaged since; what one run fetched has no such excuse.
            watcher.note(f"{file}: what was left of an earlier download is damaged, so all of it is fetched again")
            whole = _fetch_and_compare(file, part, access, watcher)
    finally:
        watcher.end()
    if not whole:
        raise WeightsError(
            f"{file}: what arrived is not what the Hub recorded, its hash differs",
            hint="something on the way changes files; try again, or from another network",
        )


def fetch_small(file: HubFile, *, access: HubAccess, watcher: Watcher) -> bytes:
    """Fetch a file of at most a megabyte into memory.

    Raises:
        WeightsError: it cannot be got, or is not what the Hub recorded.
    """
    if file.size_bytes > _MAX_SMALL_BYTES:
        raise WeightsError(f"{file}: is far too large for what it should be: {file.size_bytes} bytes")

    def attempt() -> bytes:
        with _opened(file, access, begin=0) as (_, chunks):
            return b"".join(chunks)

    data = persist(attempt, settings=access.settings, watcher=watcher)
    digest = _begin_hash(file.etag, file.size_bytes)
    digest.update(data)
    if digest.hexdigest() != file.etag:
        raise WeightsError(
            f"{file}: what arrived is not what the Hub recorded, its hash differs",
            hint="something on the way changes files; try again, or from another network",
        )
    return data


def is_etag(text: str) -> bool:
    """Tell whether a text is a hash as the Hub gives it."""
    return bool(_SHA256.fullmatch(text) or _GIT_SHA1.fullmatch(text))


def matches_etag(path: Path, etag: str) -> bool:
    """Tell whether a file has the hash that the Hub's etag is.

    Raises:
        WeightsError: the etag is no hash.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        digest = _begin_hash(etag, path.stat().st_size)
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest() == etag


def _begin_hash(etag: str, size_bytes: int) -> hashlib._Hash:
    """Begin the hash that an etag is of: SHA-256 of the contents for LFS, git's own for small files."""
    if _SHA256.fullmatch(etag):
        return hashlib.sha256()
    if _GIT_SHA1.fullmatch(etag):
        return hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)
    raise WeightsError(
        f"the Hub gives no hash to compare with, but {etag!r}", hint="check HF_ENDPOINT: is it a full mirror?"
    )


def _require_room(file: HubFile, part: Path) -> None:
    """Refuse early what cannot end well: the part becomes a second file of its size before it goes."""
    free_bytes = shutil.disk_usage(part.parent).free
    needed_bytes = 2 * file.size_bytes - _size_bytes(part)
    if free_bytes < needed_bytes:
        raise WeightsError(
            f"{part.parent}: no room for {file}: {needed_bytes / 1e6:.0f} MB needed, {free_bytes / 1e6:.0f} MB free",
            hint=f"free some space, or set {HOME_VARIABLE} to a folder on another disk",
        )


def _size_bytes(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _fetch_and_compare(file: HubFile, part: Path, access: HubAccess, watcher: Watcher) -> bool:
    """Fetch what is missing of a file; give whether it has its hash then, and keep nothing that has not."""
    persist(
        lambda: _fetch_rest(file, part, access, watcher),
        settings=access.settings,
        watcher=watcher,
        done_bytes=lambda: _size_bytes(part),
    )
    with disk_errors_named(part):
        whole = matches_etag(part, file.etag)
        if not whole:
            part.unlink()
    return whole


def _fetch_rest(file: HubFile, part: Path, access: HubAccess, watcher: Watcher) -> None:
    """Make one attempt at what is missing; every byte that comes goes into the part at once, and survives us there.

    Raises:
        PassingFaultError: it was cut.
    """
    done = _size_bytes(part)
    if done > file.size_bytes:
        part.unlink()
        done = 0
    if done == file.size_bytes:
        return
    try:
        with _opened(file, access, begin=done) as (begin, chunks), _opened_part(part) as stream:
            if begin != done:
                watcher.note(f"{file}: the server cannot go on from the middle, so it begins again")
                stream.truncate(begin)
                done = begin
            for chunk in chunks:
                if done + len(chunk) > file.size_bytes:
                    raise _not_recorded(file, f"more than {file.size_bytes} bytes")
                with disk_errors_named(part):
                    _write_all(stream, chunk)
                done += len(chunk)
                watcher.advance(done)
            with disk_errors_named(part):
                fsync(stream.fileno())
        _require_all(done, file)
    except PassingFaultError as fault:
        raise PassingFaultError(
            f"{file}: {fault.reason}; {done} of {file.size_bytes} bytes are here",
            hint="the same command goes on from there",
            wait_s=fault.wait_s,
        ) from fault


def _opened_part(part: Path) -> RawIOBase:
    with disk_errors_named(part):
        return part.open("ab", buffering=0)


def _require_all(done: int, file: HubFile) -> None:
    if done < file.size_bytes:
        raise PassingFaultError("the connection was cut")


def _write_all(stream: RawIOBase, chunk: bytes) -> None:
    """Write a chunk past every buffer of ours; the last bytes before a disk is full are written in part."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[stream.write(rest) or 0 :]


@contextmanager
def _opened(file: HubFile, access: HubAccess, *, begin: int) -> Iterator[tuple[int, Iterator[bytes]]]:
    """Ask for a file from some byte on; give the byte that really comes first, and the bytes in chunks.

    A redirect to where the bytes are kept is followed, and the session takes the token off there.

    Raises:
        PassingFaultError: it may work in a moment.
        WeightsError: it will not, or what would come is not the file.
    """
    patience = access.settings
    headers = {**access.headers, "Accept-Encoding": "identity"}  # other encodings would count other bytes
    if begin:
        headers["Range"] = f"bytes={begin}-"
    # For the connection, reading, writing, and a place among the connections.
    timeout = (patience.connect_timeout_s, patience.silence_timeout_s) * 2
    try:
        with get_session().stream("GET", file.url, headers=headers, timeout=timeout, follow_redirects=True) as answer:
            if answer.status_code not in {200, 206}:
                raise _to_error(file, answer.status_code, answer.headers, url=str(answer.url), access=access)
            yield _checked_begin(file, answer.status_code, answer.headers, begin), answer.iter_raw()
    except OfflineModeIsEnabled as error:
        raise offline_error(file.repository) from error
    except CLIENT_ERRORS as error:
        raise PassingFaultError(f"the connection was cut ({told(error)})") from error


def _to_error(
    file: HubFile, status: int, headers: Mapping[str, str], *, url: str, access: HubAccess
) -> WeightsError | PassingFaultError:
    if status == 416:
        return _not_recorded(file, headers.get("Content-Range", "").removeprefix("bytes */") + " bytes")
    return to_refusal(str(file), status, headers, url=url, token_sent=access.sends_token)


def _checked_begin(file: HubFile, status: int, headers: Mapping[str, str], begin: int) -> int:
    """Give the byte that an answer begins with, if it is an answer about the file that the Hub recorded."""
    if "html" in headers.get("Content-Type", ""):
        raise WeightsError(
            f"{file}: a web page came instead of it",
            hint="is there a login page or a filter between? check the network and the proxy",
        )
    length = headers.get("Content-Length")
    if status == 206:
        answered = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
        if answered is None or int(answered[1]) != begin:
            raise PassingFaultError("the server sent other bytes than it was asked for")
        total = answered[2]
    else:
        begin, total = 0, length
    if total not in {None, "*", str(file.size_bytes)}:
        raise _not_recorded(file, f"{total} bytes")
    return begin


def _not_recorded(file: HubFile, found: str) -> WeightsError:
    return WeightsError(
        f"{file}: the server has {found}, but the Hub recorded {file.size_bytes}",
        hint="try again later, or from another network",
    )
