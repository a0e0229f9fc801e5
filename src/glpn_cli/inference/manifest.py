"""What a batch has done, in files beside its outputs that survive any interruption.

`glpn-batch.jsonl` has one line for each finished image, done or failed. The hidden journal has a line for each image
whose outputs are about to get their names: after a kill between an output and its line, the next run recognizes the
outputs by their hashes, and nothing is done twice. Journal lines reach the disk before the outputs get their names. The
lines of the manifest need not, because the journal has them too.

Processes that share a batch write a journal each (`journal.WorkerJournal`), and one of them the manifest.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Self

from glpn_cli.errors import OutputError
from glpn_cli.files import (
    file_sha256,
    is_partial_name,
    is_path,
    locked,
    modernize,
    os_reason,
    replacing,
    sync_folder,
    write_new,
)
from glpn_cli.image.fetching import Address
from glpn_cli.inference.lines import LineFile, read_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from glpn_cli.image.discovery import Source
    from glpn_cli.values import Shard


MANIFEST_NAME = "glpn-batch.jsonl"
_STEM = "glpn-batch"
_SHARD_STEM = re.compile(rf"{_STEM}(\.(\d+)-of-(\d+))?")
_LOCK_WAIT_S = 10.0
"""How long the processes of a killed run may take to end."""

DONE, FAILED, OUTDATED, UNFINISHED = "done", "failed", "outdated", "unfinished"
_STATUSES = frozenset({DONE, FAILED, OUTDATED, UNFINISHED})
_LARGEST = 1e15  # of seconds and exit codes in a line


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the manifest.

    Attributes:
        source: absolute path of the image, or its URL.
        status: "done", "failed", "outdated" (done, and about to be redone), or "unfinished" (some of several outputs
            appeared before a run was killed, or all did and a later run failed to replace them).
        outputs: path of each output relative to the manifest's folder, by format.
        error: message of a failed image.
        hint: what to do about it.
        exit_code: the exit code that it would be for a single image.
        seconds: spent on the image.
        source_mark: size and modification time of the source, to notice a changed image.
        sha256: of each output, by format.
        settings: what determines the content of the outputs.
        relative_source: path of the image from the manifest's folder, so that both can be moved; empty for a URL.
        source_sha256: of the image, to recognize it in a copy, whose date is new; empty if it is unknown.
    """

    source: str
    status: str
    outputs: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    hint: str | None = None
    exit_code: int = 0
    seconds: float = 0.0
    source_mark: str = ""
    sha256: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    relative_source: str = ""
    source_sha256: str = ""

    @property
    def is_done(self) -> bool:
        """Whether the image needs nothing more."""
        return self.status == DONE

    def matches(self, name: str, path: Path) -> bool:
        """Return whether a file is still the output that was written for a format."""
        try:
            return self.sha256.get(name) == file_sha256(path)
        except OSError:
            return False

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self | None:
        """Build a record from a line, ignoring unknown fields of newer versions; None if the line is not ours."""
        try:
            record = cls(**{name: value for name, value in values.items() if name in _FIELDS})
            record = replace(record, settings=modernize(record.settings))
            tables = (record.outputs, record.sha256, record.settings)
            texts = (
                *(record.source, record.status, record.source_mark, record.relative_source, record.source_sha256),
                *(record.error or "", record.hint or "", *record.outputs.values(), *record.sha256.values()),
            )
            numbers = (record.seconds, record.exit_code)
        except (TypeError, AttributeError):
            return None
        valid = all(isinstance(table, dict) for table in tables) and all(isinstance(text, str) for text in texts)
        valid = valid and all(isinstance(number, int | float) and 0 <= number < _LARGEST for number in numbers)
        safe = valid and is_path(record.source) and is_path(record.relative_source)
        safe = safe and all(_is_below(path) for path in record.outputs.values())
        return record if safe and record.status in _STATUSES else None


_FIELDS = [item.name for item in fields(Record)]


class Manifest:
    """The files of one batch folder, for one process at a time.

    Use it as a context manager: entering locks the folder and reads what an earlier run left; `begin` cleans up.

    Attributes:
        folder: the output folder of the batch.
        stem: what the names of the files of this batch, or of its shard, begin with.
        records: known outputs, by source, also of other shards; failures are left out, so that they are retried.
    """

    def __init__(self, folder: Path, shard: Shard | None = None) -> None:
        self.folder = folder
        self.stem = _stem_of(shard)
        self.records: dict[str, Record] = {}
        self._own: set[str] = set()  # sources whose line is in the file of this shard
        self._locked = ExitStack()
        self._begun = False
        self._partials: list[Path] = []
        self._open_files: dict[Path, LineFile] = {}

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
            self._locked.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Unlock the folder; after a complete run, leave one line for each image and no journal."""
        try:
            if kind is None and self._begun:
                # Records that are still outdated belong to removed images; they must not look like an interruption.
                self._rewrite(
                    replace(record, status=UNFINISHED) if record.status == OUTDATED else record
                    for record in _latest(_read_records(self.path)).values()
                )
                self._close(self._journal)
                try:
                    self._remove_journals()
                except OSError as refused:
                    raise OutputError(f"{self._journal}: cannot be removed: {os_reason(refused)}") from refused
        finally:
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
        return any(record.status == OUTDATED for record in self.records.values())

    def outdate(self) -> None:
        """Mark all outputs to be redone; they stay known as ours until they are replaced."""
        self.records = {source: replace(record, status=OUTDATED) for source, record in self.records.items()}

    def begin(self) -> None:
        """Write the known records, without failures and torn lines, and clean up after a killed run.

        Raises:
            OutputError: the file system refuses.
        """
        if not self._begun:
            self._rewrite(record for source, record in self.records.items() if source in self._own)
            try:
                for partial in self._partials:
                    partial.unlink(missing_ok=True)
                self._remove_journals()
                write_new(self._journal)
                self._open_files[self._journal] = LineFile(self._journal)
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
        self._append(self._journal, announcement(record, partials, self.folder), durable=True)

    def append(self, record: Record) -> None:
        """Add the line of a finished image in one write; any thread may call it.

        Raises:
            OutputError: the file system refuses.
        """
        self._append(self.path, _to_line(record, self.folder), durable=False)

    def append_all(self, records: Iterable[Record]) -> None:
        """Add the lines of several finished images in one write.

        Raises:
            OutputError: the file system refuses.
        """
        self._append(self.path, b"".join(_to_line(record, self.folder) for record in records), durable=False)

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

    def _append(self, path: Path, data: bytes, *, durable: bool) -> None:
        self._open_files[path].append(data, durable=durable)

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
        known = _read_latest(self.folder)
        if manifest_paths(self.folder) == [self.path]:
            self._own = set(known)
        else:
            ours = _latest(_read_records(self.path))
            self._own = {source for source, record in ours.items() if known.get(source) == record}
        for stem in {self.stem, *(stem for stem in _stems(self.folder, "journal") if not self._runs_beside(stem))}:
            for journal in _journals(self.folder, stem):
                for record, partials in _announced(journal, self.folder):
                    self._partials += partials
                    before = known.get(record.source)
                    if before is not None and before.is_done and before.sha256 == record.sha256:
                        continue
                    state = _state_of(record, self.folder)
                    if state is not None:
                        known[record.source] = state
                        self._own.add(record.source)
        self.records = {source: record for source, record in known.items() if record.status != FAILED}

    def _rewrite(self, records: Iterable[Record]) -> None:
        partial = self.folder / f".{self.stem}.part"
        try:
            partial.unlink(missing_ok=True)  # of a killed run; and a link must not be followed
            with replacing(self.path, partial=partial, durable=False):  # `write_new` flushes
                write_new(partial, b"".join(_to_line(record, self.folder) for record in records))
                self._close(self.path)  # Windows does not replace an open file
            self._open_files[self.path] = LineFile(self.path)
            sync_folder(self.folder)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {os_reason(error)}") from error


def read_records(folder: Path) -> dict[str, Record]:
    """Return what a batch and its shards have done so far, by source, without failures; changes nothing."""
    return {source: record for source, record in _read_latest(folder).items() if record.status != FAILED}


def manifest_paths(folder: Path) -> list[Path]:
    """Return the manifests in a folder, of a whole batch and of shards; the last one that was written is the last."""
    stems = (path for path in folder.glob(f"{_STEM}*.jsonl") if _SHARD_STEM.fullmatch(path.name.removesuffix(".jsonl")))
    return sorted(stems, key=lambda path: (_modified_ns(path), path.name))


def _modified_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # it is removed at this moment
        return 0


def _read_latest(folder: Path) -> dict[str, Record]:
    return _latest(record for path in manifest_paths(folder) for record in _read_records(path))


def _stem_of(shard: Shard | None) -> str:
    if shard is None:
        return _STEM
    digits = max(3, len(str(shard.count)))
    return f"{_STEM}.{shard.number:0{digits}}-of-{shard.count:0{digits}}"


def _stems(folder: Path, kind: str) -> set[str]:
    """Return the stems of which there are hidden files of a kind."""
    names = (path.name[1:].partition(f".{kind}")[0] for path in folder.glob(f".{_STEM}*.{kind}*"))
    return {name for name in names if _SHARD_STEM.fullmatch(name)}


def file_mark(source: Source) -> str:
    """Return size and modification time of an image, to notice a changed one; empty for a missing file or a URL."""
    if isinstance(source, Address):
        return ""
    try:
        status = source.stat()
    except OSError:
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}"


def is_same_image(record: Record, source: Source) -> bool:
    """Return whether the image of a record is unchanged: by its size and date, else by its content.

    Only the date is new in a copy of a folder.
    """
    mark = file_mark(source)
    if record.source_mark == mark:
        return True
    size, _, _ = mark.partition("-")
    if isinstance(source, Address) or not record.source_sha256 or record.source_mark.partition("-")[0] != size:
        return False
    try:
        return file_sha256(source) == record.source_sha256
    except OSError:
        return False


def _read_records(path: Path) -> Iterator[Record]:
    for values in read_lines(path):
        record = Record.from_dict(values)
        if record is not None:
            yield _moved(record, path.parent)


def _to_line(record: Record, folder: Path, **more: Any) -> bytes:
    """Return the line of a record; those of earlier versions get the relative path now."""
    values = {name: getattr(record, name) for name in _FIELDS}  # `asdict` would copy the tables, at twice the cost
    values["relative_source"] = relative_source(record.source, folder)
    return (json.dumps(values | more) + "\n").encode()


def relative_source(source: str, folder: Path) -> str:
    """Return the path of an image from the manifest's folder; empty for a URL, and for another drive of Windows."""
    if not os.path.isabs(source):
        return ""
    try:
        return Path(os.path.relpath(source, os.path.realpath(folder))).as_posix()
    except ValueError:
        return ""


def _moved(record: Record, folder: Path) -> Record:
    """Return a record with the path that its image has now, if the manifest and the images were moved or copied."""
    if not record.relative_source:
        return record
    source = os.path.normpath(os.path.join(os.path.realpath(folder), record.relative_source))
    if source == record.source or not os.path.lexists(source):
        return record
    return replace(record, source=source)


def _latest(records: Iterable[Record]) -> dict[str, Record]:
    """Return the last record of each source, without those whose outputs a later record took over.

    An image that was done and later failed still has outputs of this batch, which the next attempt may replace.
    """
    latest: dict[str, Record] = {}
    owners: dict[str, str] = {}
    for line in records:
        before = latest.pop(line.source, None)
        record = line
        if line.status == FAILED and before is not None and before.outputs:
            record = replace(before, status=UNFINISHED)
        latest[record.source] = record
        for output in record.outputs.values():
            owner = owners.get(output, record.source)
            if owner != record.source:
                latest.pop(owner, None)
            owners[output] = record.source
    return latest


def _is_below(path: str) -> bool:
    """Return whether a text from a file is a relative path that stays inside its folder."""
    pure = PurePath(path)
    return is_path(path) and not pure.anchor and ".." not in pure.parts and bool(pure.parts)


def announcement(record: Record, partials: Iterable[Path], folder: Path) -> bytes:
    """Return the line of a journal for outputs that are about to get their names; see `Manifest.announce`."""
    return _to_line(record, folder, partials=[str(path.relative_to(folder)) for path in partials])


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
    for values in read_lines(journal):
        record = Record.from_dict(values)
        if record is not None:
            yield _moved(record, folder), [folder / name for name in _partials_of(values)]


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
    return [
        name for name in names if isinstance(name, str) and _is_below(name) and is_partial_name(PurePath(name).name)
    ]
