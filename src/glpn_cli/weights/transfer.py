"""Resumable downloads: the bytes of a file on the Hub, appended to a partial file, then compared with their hash.

The client library neither resumes downloads of an earlier process nor compares hashes (only sizes), so both are done
here, with the client's HTTP session.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from contextlib import contextmanager
from os import fsync
from typing import TYPE_CHECKING

from glpn_cli.errors import WeightsError
from glpn_cli.settings import HOME_VARIABLE
from glpn_cli.weights.client import OfflineModeIsEnabled, get_session
from glpn_cli.weights.hub import (
    CLIENT_ERRORS,
    HubAccess,
    HubFile,
    TransientError,
    http_error,
    offline_error,
    one_line,
    retry,
)
from glpn_cli.weights.store import ProgressCallback, translating_disk_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from io import RawIOBase
    from pathlib import Path

_MAX_SMALL_BYTES = 2**20
_CHUNK_BYTES = 2**20
_SHA256 = re.compile("[0-9a-f]{64}")
_GIT_SHA1 = re.compile("[0-9a-f]{40}")


def fetch_file(file: HubFile, part: Path, *, access: HubAccess, progress: ProgressCallback) -> None:
    """Download a file, and verify its hash.

    Args:
        file: what to download.
        part: where to write it. Its contents, from an earlier process, are not downloaded again. After an error it
            contains what arrived, for the next call.
        access: how to send requests.
        progress: is notified of progress and delays.

    Raises:
        WeightsError: too many connections failed, the hash is wrong, or the disk is full.
    """
    with translating_disk_errors(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        _check_free_space(file, part)
    resumed_bytes = _size_bytes(part)
    if resumed_bytes < file.size_bytes:
        progress.begin(file.repository, total_bytes=file.size_bytes, done_bytes=resumed_bytes)
    try:
        valid = _fetch_and_verify(file, part, access, progress)
        if not valid and resumed_bytes:
            # The bytes of an earlier process may have been damaged since; bytes of this process cannot.
            progress.note(f"{file}: the partial download is damaged; starting over")
            valid = _fetch_and_verify(file, part, access, progress)
    finally:
        progress.end()
    if not valid:
        raise _wrong_hash(file)


def fetch_small_file(file: HubFile, *, access: HubAccess, progress: ProgressCallback) -> bytes:
    """Download a file of at most 1 MiB into memory, and verify its hash.

    Raises:
        WeightsError: the download failed, the file is too large, or the hash is wrong.
    """
    if file.size_bytes > _MAX_SMALL_BYTES:
        raise WeightsError(f"{file}: too large ({file.size_bytes} bytes)")

    def attempt() -> bytes:
        with _open_response(file, access, begin=0) as (_, chunks):
            return b"".join(chunks)

    data = retry(attempt, settings=access.settings, progress=progress)
    digest = _start_digest(file.etag, file.size_bytes)
    digest.update(data)
    if digest.hexdigest() != file.etag:
        raise _wrong_hash(file)
    return data


def is_etag(text: str) -> bool:
    """Return whether a text has the form of a hash that the Hub uses as etag."""
    return bool(_SHA256.fullmatch(text) or _GIT_SHA1.fullmatch(text))


def matches_etag(path: Path, etag: str) -> bool:
    """Return whether a file has the hash of an etag.

    Raises:
        WeightsError: the etag is not a hash.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        digest = _start_digest(etag, path.stat().st_size)
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest() == etag


def _start_digest(etag: str, size_bytes: int) -> hashlib._Hash:
    """Return an empty digest of the kind that an etag is: SHA-256 for LFS files, git's blob hash for small ones."""
    if _SHA256.fullmatch(etag):
        return hashlib.sha256()
    if _GIT_SHA1.fullmatch(etag):
        return hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)
    raise WeightsError(
        f"the server sent no hash to verify the download with, but {etag!r}",
        hint="check that HF_ENDPOINT is a complete mirror of the Hub",
    )


def _check_free_space(file: HubFile, part: Path) -> None:
    """Check the space for the rest of the download and for the converted copy, which exists beside it for a moment."""
    free_bytes = shutil.disk_usage(part.parent).free
    needed_bytes = 2 * file.size_bytes - _size_bytes(part)
    if free_bytes < needed_bytes:
        raise WeightsError(
            f"{part.parent}: no space for {file}: {needed_bytes / 1e6:.0f} MB needed, {free_bytes / 1e6:.0f} MB free",
            hint=f"free some space, or set {HOME_VARIABLE} to a folder on another disk",
        )


def _size_bytes(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _fetch_and_verify(file: HubFile, part: Path, access: HubAccess, progress: ProgressCallback) -> bool:
    """Download the missing bytes; return whether the hash is right, and remove the partial file if not."""
    retry(
        lambda: _fetch_rest(file, part, access, progress),
        settings=access.settings,
        progress=progress,
        done_bytes=lambda: _size_bytes(part),
    )
    with translating_disk_errors(part):
        valid = matches_etag(part, file.etag)
        if not valid:
            part.unlink()
    return valid


def _fetch_rest(file: HubFile, part: Path, access: HubAccess, progress: ProgressCallback) -> None:
    """Try once to download the missing bytes. All that arrive are written at once, so a killed process loses none.

    Raises:
        TransientError: the connection was interrupted.
    """
    done = _size_bytes(part)
    if done > file.size_bytes:
        part.unlink()
        done = 0
    if done == file.size_bytes:
        return
    try:
        with _open_response(file, access, begin=done) as (begin, chunks), _open_part(part) as stream:
            if begin != done:
                progress.note(f"{file}: the server cannot resume a download; starting over")
                stream.truncate(begin)
                done = begin
            for chunk in chunks:
                if done + len(chunk) > file.size_bytes:
                    raise _wrong_size(file, f"more than {file.size_bytes} bytes")
                with translating_disk_errors(part):
                    _write_all(stream, chunk)
                done += len(chunk)
                progress.advance(done)
            with translating_disk_errors(part):
                fsync(stream.fileno())
        _check_complete(done, file)
    except TransientError as failure:
        raise TransientError(
            f"{file}: {failure.reason}; {done} of {file.size_bytes} bytes downloaded",
            hint="try again to resume",
            wait_s=failure.wait_s,
        ) from failure


def _open_part(part: Path) -> RawIOBase:
    with translating_disk_errors(part):
        return part.open("ab", buffering=0)


def _check_complete(done: int, file: HubFile) -> None:
    if done < file.size_bytes:
        raise TransientError("the connection was interrupted")


def _write_all(stream: RawIOBase, chunk: bytes) -> None:
    """Write a chunk to an unbuffered stream, which may accept only a part of it, such as on an almost full disk."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[stream.write(rest) or 0 :]


@contextmanager
def _open_response(file: HubFile, access: HubAccess, *, begin: int) -> Iterator[tuple[int, Iterator[bytes]]]:
    """Request a file from a byte offset.

    Redirects to the storage server are followed; the session does not send the token there.

    Yields:
        The offset of the first byte in the response, and the bytes in chunks.

    Raises:
        TransientError: a retry may succeed.
        WeightsError: a retry cannot succeed, or the response is not the file.
    """
    headers = {**access.headers, "Accept-Encoding": "identity"}  # another encoding would change the byte offsets
    if begin:
        headers["Range"] = f"bytes={begin}-"
    # Timeouts to connect, read, write, and get a connection from the pool.
    timeout = (access.settings.connect_timeout_s, access.settings.silence_timeout_s) * 2
    try:
        with get_session().stream("GET", file.url, headers=headers, timeout=timeout, follow_redirects=True) as response:
            if response.status_code not in {200, 206}:
                raise _response_error(
                    file, response.status_code, response.headers, url=str(response.url), access=access
                )
            yield _check_response(file, response.status_code, response.headers, begin), response.iter_raw()
    except OfflineModeIsEnabled as error:
        raise offline_error(file.repository) from error
    except CLIENT_ERRORS as error:
        raise TransientError(f"the connection was interrupted ({one_line(error)})") from error


def _check_response(file: HubFile, status: int, headers: Mapping[str, str], begin: int) -> int:
    """Check that a response is about the file that the Hub recorded; return the offset of its first byte."""
    if "html" in headers.get("Content-Type", ""):
        raise WeightsError(
            f"{file}: the server sent a web page instead of the file",
            hint="check for a login page or a filter in this network, and the proxy",
        )
    length = headers.get("Content-Length")
    if status == 206:
        answered = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
        if answered is None or int(answered[1]) != begin:
            raise TransientError("the server sent another range than requested")
        total = answered[2]
    else:
        begin, total = 0, length
    if total not in {None, "*", str(file.size_bytes)}:
        raise _wrong_size(file, f"{total} bytes")
    return begin


def _response_error(
    file: HubFile, status: int, headers: Mapping[str, str], *, url: str, access: HubAccess
) -> WeightsError | TransientError:
    if status == 416:
        return _wrong_size(file, headers.get("Content-Range", "").removeprefix("bytes */") + " bytes")
    return http_error(str(file), status, headers, url=url, token_sent=access.sends_token)


def _wrong_size(file: HubFile, found: str) -> WeightsError:
    return WeightsError(
        f"{file}: the server has {found}, but the Hub recorded {file.size_bytes}",
        hint="try again later, or from another network",
    )


def _wrong_hash(file: HubFile) -> WeightsError:
    return WeightsError(
        f"{file}: the hash of the download differs from the one that the Hub recorded",
        hint="something in the network changes files; try again, or from another network",
    )
