"""What a batch has done so far, in files beside its outputs that survive any interruption.

`glpn-batch.jsonl` has one line for each image that is finished, well or badly. The hidden journal has a line for
each image whose outputs are about to get their names, so that a run that is killed between an output and its line
is understood by the next: the outputs are recognized by their hashes, and nothing is done twice. Its lines reach the
disk before the outputs get their names; the manifest's need not, because the journal knows what they said.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from dataclasses import asdict, dataclass, field, fields, replace
from io import FileIO
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Self

from filelock import FileLock, Timeout

from glpn_cli.errors import OutputError
from glpn_cli.files import is_partial_name, modernize, sync_folder
from glpn_cli.image.fetching import Address

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from glpn_cli.image.discovery import Source


MANIFEST_NAME = "glpn-batch.jsonl"
_JOURNAL_NAME = ".glpn-batch.journal"
_PARTIAL_MANIFEST_NAME = ".glpn-batch.part"
_LOCK_NAME = ".glpn-batch.lock"

DONE, FAILED, OUTDATED, UNFINISHED = "done", "failed", "outdated", "unfinished"
_STATUSES = frozenset({DONE, FAILED, OUTDATED, UNFINISHED})


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the manifest.

    Attributes:
        source: absolute path of the image, or its address as it may be shown.
        status: "done"; "failed"; "outdated": done before, and about to be done again; or "unfinished": some outputs
            of several appeared before a run was killed, or all did and a later run failed to make them anew.
        outputs: path of each output relative to the manifest's folder, by format.
        error: of a failed image, what went wrong.
        hint: and what to do about it.
        exit_code: and what it would be as the only image of a command.
        seconds: that were spent on it.
        source_mark: size and modification time of the source, to notice another image of the same name.
        sha256: of each output, by format.
        settings: everything that decides what is in the outputs.
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

    @property
    def is_done(self) -> bool:
        """Whether the image needs nothing more."""
        return self.status == DONE

    def matches(self, name: str, path: Path) -> bool:
        """Tell whether a file is still the output that was written for a format."""
        try:
            return self.sha256.get(name) == _sha256(path)
        except OSError:
            return False

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self | None:
        """Build from a line, ignoring fields that a newer version may have added; None if it is no line of ours."""
        known = {item.name for item in fields(cls)}
        try:
            record = cls(**{name: value for name, value in values.items() if name in known})
            record = replace(record, settings=modernize(record.settings))
            tables = (record.outputs, record.sha256, record.settings)
            texts = (record.source, record.status, record.source_mark, *record.outputs.values())
        except (TypeError, AttributeError):
            return None
        whole = all(isinstance(table, dict) for table in tables) and all(isinstance(text, str) for text in texts)
        safe = whole and all(_is_below(path) for path in record.outputs.values())
        return record if safe and record.status in _STATUSES else None


class Manifest:
    """The files of one batch folder, for one process at a time.

    Use it as a context: entering locks the folder and reads what an earlier run left; `begin` settles it.

    Attributes:
        folder: the batch's output folder.
        records: what is known, by source; failures are left out, so that they are tried again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records: dict[str, Record] = {}
        self._lock = FileLock(folder / _LOCK_NAME)
        self._writing = threading.Lock()
        self._begun = False
        self._left_partials: list[Path] = []
        # Held open, because some file systems number a file anew when nobody has it open.
        self._held: dict[Path, int] = {}

    def __enter__(self) -> Self:
        """Create and lock the folder, and read what there is.

        Raises:
            OutputError: another batch is at work in it, or it cannot be used.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise OutputError(
                f"{self.folder}: another glpn batch is writing into it", hint="wait for it, or choose another --out"
            ) from error
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be used: {error.strerror or error}") from error
        try:
            self._read()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let go of the folder; after a run that came to its end, with one line for each image and no journal."""
        try:
            if kind is None and self._begun:
                # What is still outdated now is of images that are gone; left so, it would look like an interruption.
                self._rewrite(
                    replace(record, status=UNFINISHED) if record.status == OUTDATED else record
                    for record in _latest(_read_records(self.path)).values()
                )
                self._let_go(self._journal)
                self._journal.unlink(missing_ok=True)
        finally:
            for path in list(self._held):
                self._let_go(path)
            self._lock.release()

    @property
    def path(self) -> Path:
        """The manifest's file."""
        return self.folder / MANIFEST_NAME

    @property
    def _journal(self) -> Path:
        return self.folder / _JOURNAL_NAME

    @property
    def is_being_redone(self) -> bool:
        """Whether an earlier run set out to do everything again and did not come to its end."""
        return any(record.status == OUTDATED for record in self.records.values())

    def outdate(self) -> None:
        """Mark everything as to be done again; the outputs stay known as ours until they are replaced."""
        self.records = {source: replace(record, status=OUTDATED) for source, record in self.records.items()}

    def begin(self) -> None:
        """Put what is known on the disk, without failures and torn lines, and clean up after a run that was killed.

        Raises:
            OutputError: it cannot be written.
        """
        if not self._begun:
            self._rewrite(self.records.values())
            try:
                for partial in self._left_partials:
                    partial.unlink(missing_ok=True)
                self._journal.unlink(missing_ok=True)
                _create(self._journal)
                self._hold(self._journal)
                sync_folder(self.folder)
            except OSError as error:
                raise OutputError(f"{self._journal}: cannot be written: {error.strerror or error}") from error
            self._begun = True

    def announce(self, record: Record, partials: Iterable[Path]) -> None:
        """Note that the outputs of an image are complete and about to appear.

        Args:
            record: the line that the image will have in the manifest.
            partials: the temporary files that become its outputs.

        Raises:
            OutputError: it cannot be written.
        """
        line = asdict(record) | {"partials": [str(path.relative_to(self.folder)) for path in partials]}
        self._append(self._journal, line, durably=True)

    def append(self, record: Record) -> None:
        """Add the line of a finished image, in one piece; any thread may call it.

        Raises:
            OutputError: it cannot be written.
        """
        self._append(self.path, asdict(record), durably=False)

    def _append(self, path: Path, values: dict[str, Any], *, durably: bool) -> None:
        data = (json.dumps(values) + "\n").encode()
        try:
            with self._writing, self._open_held(path) as stream:
                _write_all(stream, data, else_truncate_to=os.fstat(stream.fileno()).st_size)
                if durably:
                    os.fsync(stream.fileno())
        except FileNotFoundError as error:
            raise OutputError(
                f"{path}: was removed while the batch ran", hint="the same command does again what is missing"
            ) from error
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error

    def _hold(self, path: Path) -> None:
        self._held[path] = os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0))

    def _let_go(self, path: Path) -> None:
        if path in self._held:
            os.close(self._held.pop(path))

    def _open_held(self, path: Path) -> FileIO:
        """Give a file of this run to append to it; one that took its place counts as none."""
        descriptor = self._held[path]
        if not os.path.samestat(os.fstat(descriptor), os.lstat(path)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return FileIO(descriptor, "ab", closefd=False)

    def _read(self) -> None:
        """Read the manifest, and from the journal adopt outputs that have no line yet."""
        kept = _latest(_read_records(self.path))
        for values in _read_lines(self._journal):
            record = Record.from_dict(values)
            if record is None:
                continue
            self._left_partials += [
                self.folder / name for name in values.get("partials", []) if _is_partial_below(name)
            ]
            known = kept.get(record.source)
            if known is not None and known.is_done and known.sha256 == record.sha256:
                continue
            ours = [record.matches(name, self.folder / path) for name, path in record.outputs.items()]
            if all(ours):
                kept[record.source] = record
            elif any(ours):  # some outputs of several appeared: they may be replaced
                kept[record.source] = replace(record, status=UNFINISHED)
        self.records = {source: record for source, record in kept.items() if record.status != FAILED}

    def _rewrite(self, records: Iterable[Record]) -> None:
        partial = self.folder / _PARTIAL_MANIFEST_NAME
        try:
            try:
                partial.unlink(missing_ok=True)  # of a run that was killed; and a link is not to be followed
                _create(partial, ((json.dumps(asdict(record)) + "\n").encode() for record in records))
                self._let_go(self.path)  # on Windows a file that is open is not replaced
                os.replace(partial, self.path)
                self._hold(self.path)
                sync_folder(self.folder)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror or error}") from error


def read_records(folder: Path) -> dict[str, Record]:
    """Read what a batch has done so far without touching anything, by source; failures are left out."""
    latest = _latest(_read_records(folder / MANIFEST_NAME))
    return {source: record for source, record in latest.items() if record.status != FAILED}


def file_mark(source: Source) -> str:
    """Give what tells an image from another that later has its name; empty if it is not there, or fetched."""
    if isinstance(source, Address):
        return ""
    try:
        status = source.stat()
    except OSError:
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}"


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """Read the whole lines of a file; what a kill tore is left out."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be read: {error.strerror or error}", hint="move it away to begin anew"
        ) from error
    lines = []
    for line in data.split(b"\n"):
        try:
            values = json.loads(line)
        except ValueError:
            continue
        if isinstance(values, dict) and {"source", "status"} <= values.keys():
            lines.append(values)
    return lines


def _read_records(path: Path) -> list[Record]:
    return [record for values in _read_lines(path) if (record := Record.from_dict(values)) is not None]


def _latest(records: Iterable[Record]) -> dict[str, Record]:
    """Give the last record of each source, without those whose outputs a later one took over.

    An image that was done once and then failed still has outputs of this batch, which the next try may replace.
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


def _create(path: Path, lines: Iterable[bytes] = ()) -> None:
    """Bring a file that is not there to the disk."""
    with path.open("xb") as stream:
        stream.writelines(lines)
        stream.flush()
        os.fsync(stream.fileno())


def _write_all(stream: FileIO, data: bytes, *, else_truncate_to: int) -> None:
    """Write a line in one piece; half of one, which a full disk leaves, would spoil the next."""
    if stream.write(data) != len(data):
        stream.truncate(else_truncate_to)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _is_below(path: str) -> bool:
    """Tell whether a path that stands in a file stays inside the folder that it is relative to."""
    pure = PurePath(path)
    return not pure.anchor and ".." not in pure.parts and bool(pure.parts)


def _is_partial_below(path: object) -> bool:
    """Tell whether this is the name of one of our hidden files inside the folder; nothing else is ever removed."""
    return isinstance(path, str) and _is_below(path) and is_partial_name(PurePath(path).name)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
