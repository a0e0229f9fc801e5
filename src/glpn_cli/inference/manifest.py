"""What a batch has done, in files beside its outputs that survive any interruption.

`glpn-batch.jsonl` has one line for each finished image, done or failed. The hidden journal has a line for each image
whose outputs are about to get their names: after a kill between an output and its line, the next run recognizes the
outputs by their hashes, and nothing is done twice. Journal lines reach the disk before the outputs get their names. The
lines of the manifest need not, because the journal has them too.

Processes that share a batch write a journal each (`journal.WorkerJournal`), and one of them the manifest.
"""

from __future__ import annotations

import re
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Self

from glpn_cli.errors import OutputError
from glpn_cli.files import is_partial_name, locked, os_reason, replacing, sync_folder, write_lines, write_new
from glpn_cli.inference.history import History
from glpn_cli.inference.record import OUTDATED, UNFINISHED, Record, is_below
from glpn_cli.inference.record_file import RecordEncoder, RecordFile, RecordReader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from glpn_cli.values import Shard


MANIFEST_NAME = "glpn-batch.jsonl"
_STEM = "glpn-batch"
_SHARD_STEM = re.compile(rf"{_STEM}(\.(\d+)-of-(\d+))?")
_LOCK_WAIT_S = 10.0
"""How long the processes of a killed run may take to end."""


class Manifest:
    """The files of one batch folder, for one process at a time.

    Use it as a context manager: entering locks the folder and reads what an earlier run left; `begin` cleans up.

    Attributes:
        folder: the output folder of the batch.
        stem: what the names of the files of this batch, or of its shard, begin with.
        records: known outputs, by source, also of other shards; failures are left out, so that they are retried. They
            are read from the manifests, which are open only while the folder is locked.
    """

    def __init__(self, folder: Path, shard: Shard | None = None) -> None:
        self.folder = folder
        self.stem = _stem_of(shard)
        self.records = History()
        self._locked = ExitStack()
        self._begun = False
        self._is_compact = False  # whether the manifest has one line for each image
        self._appended: set[int] = set()  # hashes of sources and outputs in this run
        self._partials: list[Path] = []
        self._open_files: dict[Path, RecordFile] = {}

    def __enter__(self) -> Self:
        """Create and lock the folder, and read what is there.

        Raises:
            OutputError: another batch writes into the folder, or it cannot be used.
        """
        busy = OutputError(
            f"{self.folder}: another batch is writing into it", hint="wait for it, or choose another `output`"
        )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._locked.enter_context(locked(self.folder / f".{self.stem}.lock", busy))
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be used: {os_reason(error)}") from error
        try:
            self._refuse_overlapping(busy)
            self._await_workers(busy)
            self._read()
        except BaseException:
            self.records.close()
            self._locked.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Unlock the folder; after a complete run, leave one line for each image and no journal."""
        try:
            if kind is None and self._begun:
                if self._is_compact:
                    self._open_files[self.path].flush()  # until now the journal has the lines, too
                else:
                    self._compact()
                self._close(self._journal)
                try:
                    self._remove_journals()
                except OSError as refused:
                    raise OutputError(f"{self._journal}: cannot be removed: {os_reason(refused)}") from refused
        finally:
            self.records.close()
            self._locked.callback(self._close_all, quiet=error is not None)
            self._locked.close()

    @property
    def path(self) -> Path:
        """The manifest's file."""
        return self.folder / f"{self.stem}.jsonl"

    @property
    def nonce_path(self) -> Path:
        """Where a run leaves a file that its workers must see; see `crews.probe`. It goes with the journals."""
        return self.folder / f".{self.stem}.journal.nonce"

    @property
    def _journal(self) -> Path:
        return self.folder / f".{self.stem}.journal"

    @property
    def is_being_redone(self) -> bool:
        """Whether an earlier run started to redo everything and was interrupted."""
        return self.records.has_status(OUTDATED)

    def outdate(self) -> None:
        """Mark all outputs to be redone; they stay known as ours until they are replaced."""
        self.records.change_status(OUTDATED)

    def begin(self) -> None:
        """Write the known records, without failures and torn lines, and clean up after a killed run.

        Raises:
            OutputError: the file system refuses.
        """
        if not self._begun:
            self._is_compact = not self.is_being_redone
            self._rewrite(self.records)
            try:
                for partial in self._partials:
                    partial.unlink(missing_ok=True)
                self._remove_journals()
                write_new(self._journal)
                self._open_files[self._journal] = RecordFile(self._journal)
                sync_folder(self.folder)
            except OSError as error:
                raise OutputError(f"{self._journal}: cannot be written: {os_reason(error)}") from error
            self._begun = True

    def announce(self, record: Record, partials: Iterable[Path]) -> None:
        """Note that the outputs of an image are complete and about to get their names.

        Args:
            record: the line that the image will have in the manifest.
            partials: the temporary files that become its outputs.

        Raises:
            OutputError: the file system refuses.
        """
        self._append(self._journal, [record], durable=True, partials=relative_names(partials, self.folder))

    def append(self, record: Record) -> None:
        """Add the line of a finished image in one write; any thread may call it.

        Raises:
            OutputError: the file system refuses.
        """
        self.append_all([record])

    def append_all(self, records: Sequence[Record]) -> None:
        """Add the lines of several finished images in one write.

        Raises:
            OutputError: the file system refuses.
        """
        self._is_compact = self._is_compact and all(map(self._is_first, records))
        self._append(self.path, records, durable=False)

    def recover(self, worker: int) -> dict[str, Record]:
        """Return what a process that has died had announced and named, by source, and remove its temporary files.

        Args:
            worker: the number of its `journal.WorkerJournal`.

        Returns:
            Records that are done, and unfinished ones, of which only some outputs appeared.

        Raises:
            OutputError: the file system refuses.
        """
        found: dict[str, Record] = {}
        for record, partials in _announced(worker_journal(self.folder, self.stem, worker), self.folder):
            state = _state_of(record, self.folder)
            if state is not None:
                found[record.source] = state
            try:
                for partial in partials:
                    partial.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"{self.folder}: cannot be cleaned up: {os_reason(error)}") from error
        return found

    def _is_first(self, record: Record) -> bool:
        """Return whether no earlier line can be of the same image, or of one with the same outputs."""
        hashes = {hash(record.source), *map(hash, record.outputs.values())}
        is_first = self._appended.isdisjoint(hashes) and not self.records.has_any(hashes)
        self._appended |= hashes
        return is_first

    def _append(self, path: Path, records: Sequence[Record], *, durable: bool, **more: Any) -> None:
        self._open_files[path].add(records, durable=durable, **more)

    def _close(self, path: Path) -> None:
        """Close a file of this run.

        Raises:
            OutputError: its last bytes could not be stored.
        """
        if path in self._open_files:
            self._open_files.pop(path).close()

    def _close_all(self, *, quiet: bool) -> None:
        """Close all files; `quiet` if another error ends the run, which matters more."""
        failures: list[OutputError] = []
        for path in list(self._open_files):
            try:
                self._close(path)
            except OutputError as error:
                failures.append(error)
        if failures and not quiet:
            raise failures[0]

    def _refuse_overlapping(self, busy: OutputError) -> None:
        """Refuse to run beside a batch of which this one is a part, or that is cut into another number of shards.

        Both have taken their own lock before, so that at least one of two that start together notices the other.

        Raises:
            OutputError: there is one.
        """
        try:
            for lock in self.folder.glob(f".{_STEM}*.lock"):
                if not self._runs_beside(lock.name[1:].removesuffix(".lock")):
                    with locked(lock, busy):
                        pass
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be used: {os_reason(error)}") from error

    def _runs_beside(self, stem: str) -> bool:
        """Return whether files are of this shard, or of another one of the same number of shards, or not ours."""
        theirs, ours = _SHARD_STEM.fullmatch(stem), _SHARD_STEM.fullmatch(self.stem)
        return (
            theirs is None or stem == self.stem or (ours is not None and ours[3] is not None and ours[3] == theirs[3])
        )

    def _await_workers(self, busy: OutputError) -> None:
        """Wait until the worker processes of a killed run have ended: they notice it when they read their next task.

        Raises:
            OutputError: they do not end.
        """
        try:
            for lock in self.folder.glob(f".{self.stem}.lock.*"):
                with locked(lock, busy, wait_s=_LOCK_WAIT_S):
                    pass
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be used: {os_reason(error)}") from error

    def _remove_journals(self) -> None:
        """Remove the journals of this shard, and the locks of processes that have ended; without shards all journals.

        Raises:
            OSError: the file system refuses.
        """
        stems = _stems(self.folder, "journal") if self.stem == _STEM else [self.stem]
        for stem in {self.stem, *stems}:
            for path in [*_journals(self.folder, stem), *self.folder.glob(f".{stem}.lock.*")]:
                path.unlink(missing_ok=True)

    def _read(self) -> None:
        """Read all manifests, and take over outputs of journals that have no line yet."""
        self.records = _read_latest(self.folder)
        for stem in {self.stem, *(stem for stem in _stems(self.folder, "journal") if not self._runs_beside(stem))}:
            for journal in _journals(self.folder, stem):
                for record, partials in _announced(journal, self.folder):
                    self._partials += partials
                    before = self.records.get(record.source)
                    if before is not None and before.is_done and before.sha256 == record.sha256:
                        continue
                    state = _state_of(record, self.folder)
                    if state is not None:
                        self.records.put(state)
        self.records.forget_failures()

    def _compact(self) -> None:
        """Leave one line for each image.

        Raises:
            OutputError: the file system refuses.
        """
        self.records.close()
        self.records = History()  # two of them, and what was appended, need memory
        self._appended.clear()
        self.records.read(self.path)
        # Records that are still outdated belong to removed images; they must not look like an interruption.
        self.records.change_status(UNFINISHED, of=OUTDATED)
        self._rewrite(self.records)

    def _rewrite(self, records: History) -> None:
        """Write a new manifest with those records that are in the present one or in none.

        Raises:
            OutputError: the file system refuses.
        """
        partial = self.folder / f".{self.stem}.part"
        encoder = RecordEncoder(self.folder)
        try:
            partial.unlink(missing_ok=True)  # of a killed run; and a link must not be followed
            with replacing(self.path, partial=partial, durable=False):  # `write_lines` flushes
                write_lines(partial, records.lines(self.path, encoder))
                records.close(self.path)  # Windows does not replace an open file
                self._close(self.path)
            records.reopen(self.path)
            self._open_files[self.path] = RecordFile(self.path, encoder.known)
            sync_folder(self.folder)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {os_reason(error)}") from error


def read_records(folder: Path) -> History:
    """Return what a batch and its shards have done so far, by source, without failures; changes nothing."""
    history = _read_latest(folder)
    history.forget_failures()
    return history


def manifest_paths(folder: Path) -> list[Path]:
    """Return the manifests in a folder, of a whole batch and of shards; the last one that was written is the last."""
    stems = (path for path in folder.glob(f"{_STEM}*.jsonl") if _SHARD_STEM.fullmatch(path.name.removesuffix(".jsonl")))
    return sorted(stems, key=lambda path: (_modified_ns(path), path.name))


def _modified_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # it is removed at this moment
        return 0


def _read_latest(folder: Path) -> History:
    history = History()
    for path in manifest_paths(folder):
        history.read(path)
    return history


def _stem_of(shard: Shard | None) -> str:
    if shard is None:
        return _STEM
    digits = max(3, len(str(shard.count)))
    return f"{_STEM}.{shard.number:0{digits}}-of-{shard.count:0{digits}}"


def _stems(folder: Path, kind: str) -> set[str]:
    """Return the stems of which there are hidden files of a kind."""
    names = (path.name[1:].partition(f".{kind}")[0] for path in folder.glob(f".{_STEM}*.{kind}*"))
    return {name for name in names if _SHARD_STEM.fullmatch(name)}


def relative_names(partials: Iterable[Path], folder: Path) -> list[str]:
    """Return how a journal names temporary files of a folder."""
    return [str(path.relative_to(folder)) for path in partials]


def worker_journal(folder: Path, stem: str, worker: int) -> Path:
    """Return the path of the journal of a worker process; see `Manifest.stem`."""
    return folder / f".{stem}.journal.{worker}"


def worker_lock(folder: Path, stem: str, worker: int) -> Path:
    """Return the path of the lock that a worker process holds while it may write into the folder."""
    return folder / f".{stem}.lock.{worker}"


def _journals(folder: Path, stem: str) -> list[Path]:
    return [folder / f".{stem}.journal", *sorted(folder.glob(f".{stem}.journal.*"))]


def _announced(journal: Path, folder: Path) -> Iterator[tuple[Record, list[Path]]]:
    """Yield what a journal has announced: the records, and the temporary files that became their outputs."""
    with closing(RecordReader(journal)) as reader:
        for record, values in reader.records():
            yield record, [folder / name for name in _partials_of(values)]


def _state_of(record: Record, folder: Path) -> Record | None:
    """Return an announced record by what has appeared: as it is, or "unfinished", or None if nothing has."""
    ours = [record.matches(name, folder / path) for name, path in record.outputs.items()]
    if all(ours):
        return record
    return replace(record, status=UNFINISHED) if any(ours) else None  # those that appeared may be replaced


def _partials_of(values: dict[str, Any]) -> list[str]:
    """Return the names of our temporary files inside the folder from a line of the journal; nothing else is removed."""
    names = values.get("partials")
    if not isinstance(names, list):
        return []
    return [name for name in names if isinstance(name, str) and is_below(name) and is_partial_name(PurePath(name).name)]
