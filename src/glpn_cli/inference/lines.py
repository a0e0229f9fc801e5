"""Files of JSON lines that survive any interruption: the manifest and the journals of a batch."""

from __future__ import annotations

import errno
import os
import threading
from io import FileIO
from typing import TYPE_CHECKING

from glpn_cli.errors import OutputError
from glpn_cli.files import os_reason

if TYPE_CHECKING:
    from pathlib import Path


class LineFile:
    """A file of this run to which lines are appended.

    It stays open: some file systems give a closed file another inode number, and a file that was replaced must be
    noticed.
    """

    def __init__(self, path: Path) -> None:
        """Open an existing file.

        Raises:
            OSError: the file system refuses.
        """
        self.path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0))
        self._writing = threading.Lock()
        self._syncing = threading.Lock()
        self._written = self._synced = 0  # number of appends

    def append(self, data: bytes, *, durable: bool) -> None:
        """Add lines completely or not at all, in one write; any thread may call it.

        Args:
            data: the lines.
            durable: return when they have reached the disk. Threads that wait at the same time share a flush.

        Raises:
            OutputError: the file system refuses, or the file was removed or replaced.
        """
        try:
            with self._writing:
                stream, size = self._opened()
                _write_all(stream, data, else_truncate_to=size)
                self._written += 1
                number = self._written
        except FileNotFoundError as error:
            raise OutputError(
                f"{self.path}: was removed during the run", hint="run it again to write what is missing"
            ) from error
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {os_reason(error)}") from error
        if durable:
            self.flush(number)

    def flush(self, number: int | None = None) -> None:
        """Return when all lines, or those of so many appends, have reached the disk.

        Raises:
            OutputError: the file system refuses.
        """
        try:
            self._sync(self._written if number is None else number)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {os_reason(error)}") from error

    def close(self) -> None:
        """Close the file. A disk may report only now that it could not store what was written.

        Raises:
            OutputError: it does.
        """
        try:
            if self._descriptor >= 0:
                descriptor, self._descriptor = self._descriptor, -1
                os.close(descriptor)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {os_reason(error)}") from error

    def _sync(self, number: int) -> None:
        """Flush the file, unless another thread has flushed it since the append of this number."""
        with self._syncing:
            if self._synced < number:
                with self._writing:
                    written = self._written
                os.fsync(self._descriptor)
                self._synced = written

    def _opened(self) -> tuple[FileIO, int]:
        """Return the file for appending, and its size; a file that replaced it counts as missing."""
        status = os.fstat(self._descriptor)
        if not os.path.samestat(status, os.lstat(self.path)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return FileIO(self._descriptor, "ab", closefd=False), status.st_size


def _write_all(stream: FileIO, data: bytes, *, else_truncate_to: int) -> None:
    """Write lines completely or not at all: half a line, as on a full disk, would corrupt the next."""
    if stream.write(data) != len(data):
        stream.truncate(else_truncate_to)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
