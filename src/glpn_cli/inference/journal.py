"""What a process that shares a batch notes in the output folder; `manifest.Manifest` reads it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol, Self

from glpn_cli.errors import OutputError
from glpn_cli.files import locked, os_reason, sync_folder, write_new
from glpn_cli.inference.manifest import relative_names, worker_journal, worker_lock
from glpn_cli.inference.record_file import RecordFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from types import TracebackType

    from glpn_cli.inference.record import Record


class RecordSink(Protocol):
    """Where the run loop notes what it writes: a `Manifest`, or the `WorkerJournal` of a process that shares a batch.

    Attributes:
        folder: the limit of all outputs.
    """

    folder: Path

    def announce(self, record: Record, partials: Iterable[Path]) -> None:
        """Note that the outputs of an image are complete and about to get their names."""

    def append(self, record: Record) -> None:
        """Note that an image is finished."""


class WorkerJournal:
    """The journal of one process, for what it announces. The records go to the process that writes the manifest.

    Attributes:
        folder: the output folder of the batch, which another process has locked.
    """

    def __init__(
        self, folder: Path, stem: str, number: int, await_permission: Callable[[], None] = lambda: None
    ) -> None:
        """Store where; nothing happens before the context is entered.

        Args:
            folder: the output folder.
            stem: of the `Manifest`.
            number: of the process; no other one of the batch has it.
            await_permission: is called before announced outputs get their names; it does not return if the process has
                been given up, and others do its work.
        """
        self._await_permission = await_permission
        self.folder = folder
        self._stem = stem
        self._number = number
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Create the journal, and hold a lock until the process ends, so that the next run waits for it.

        Raises:
            OutputError: the file system refuses.
        """
        path = worker_journal(self.folder, self._stem, self._number)
        busy = OutputError(f"{self.folder}: another process has the number {self._number}")
        try:
            with ExitStack() as stack:
                stack.enter_context(locked(worker_lock(self.folder, self._stem, self._number), busy))
                write_new(path)
                self._file = RecordFile(path)
                stack.callback(self._file.close)
                sync_folder(self.folder)
                self._stack = stack.pop_all()
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {os_reason(error)}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the journal, which stays until the manifest is complete."""
        self._stack.__exit__(kind, error, traceback)

    def announce(self, record: Record, partials: Iterable[Path]) -> None:
        """Note that the outputs of an image are complete and about to get their names; see `Manifest.announce`.

        Raises:
            OutputError: the file system refuses.
        """
        self._file.add([record], durable=True, partials=relative_names(partials, self.folder))
        self._await_permission()

    def append(self, record: Record) -> None:
        """Do nothing: the record is sent to the process that writes the manifest."""
