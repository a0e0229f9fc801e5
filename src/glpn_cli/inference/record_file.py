"""Files of records, one per line: manifests and journals.

Settings are the same for all images of a run, so they are written once per file: the first line of a run has them in
`settings`, and each line has their digest in `settings_id`. Lines of earlier versions have settings and no digest.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import weakref
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

from glpn_cli.errors import OutputError
from glpn_cli.files import load_json, modernize, os_reason
from glpn_cli.image.fetching import is_address
from glpn_cli.inference.lines import LineFile
from glpn_cli.inference.record import DONE, RECORD_FIELDS, UNFINISHED, Record, relative_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

_ID_DIGITS = 12
_SETTINGS, _SETTINGS_ID = "settings", "settings_id"


class RecordEncoder:
    """Turns records into lines of one file.

    Attributes:
        known: digests of the settings that are in the file.
    """

    def __init__(self, folder: Path, known: Iterable[str] = ()) -> None:
        """Take the folder of the file, and digests of the settings that are in it."""
        self.known = {"", *known}
        self._folder = folder
        self._last: tuple[dict[str, Any], str] = ({}, "")  # records of a run share one dictionary

    def has(self, settings: dict[str, Any]) -> bool:
        """Return whether settings are in the file."""
        return self._digest(settings) in self.known

    def remember(self, settings: dict[str, Any]) -> None:
        """Note that a line with these settings is in the file."""
        self.known.add(self._digest(settings))

    def encode(self, record: Record, **more: Any) -> bytes:
        """Return a line, with the settings if the file does not have them yet."""
        values = {name: getattr(record, name) for name in RECORD_FIELDS}  # `asdict` would copy the tables
        digest = self._digest(record.settings)
        if digest in self.known:
            del values[_SETTINGS]
        if digest:
            values[_SETTINGS_ID] = digest
        if not record.relative_source:
            values["relative_source"] = relative_source(record.source, self._folder)
        return (json.dumps(values | more) + "\n").encode()

    def _digest(self, settings: dict[str, Any]) -> str:
        last, digest = self._last
        if settings is not last:
            digest = digest_settings(settings)
            self._last = (settings, digest)
        return digest


def digest_settings(settings: dict[str, Any]) -> str:
    """Return what lines call settings: a digest; empty if there are none."""
    if not settings:
        return ""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:_ID_DIGITS]


class RecordFile(LineFile):
    """A file of this run to which records are appended."""

    def __init__(self, path: Path, known: Iterable[str] = ()) -> None:
        """Open an existing file.

        Args:
            path: the file.
            known: digests of the settings that are in it.

        Raises:
            OSError: the file system refuses.
        """
        super().__init__(path)
        self._encoder = RecordEncoder(path.parent, known)
        self._introducing = threading.Lock()

    def add(self, records: Sequence[Record], *, durable: bool, **more: Any) -> None:
        """Add the lines of records, usually in one write; any thread may call it. See `LineFile.append`.

        Args:
            records: at least one.
            durable: return when they have reached the disk.
            **more: fields that are not of the record.

        Raises:
            OutputError: the file system refuses, or the file was removed or replaced.
        """
        if all(self._encoder.has(record.settings) for record in records):
            self.append(b"".join(self._encoder.encode(record, **more) for record in records), durable=durable)
            return
        with self._introducing:  # no line may come before the one with its settings
            for record in records:
                self.append(self._encoder.encode(record, **more), durable=False)
                self._encoder.remember(record.settings)
        if durable:
            self.flush()


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file.

    Attributes:
        offset: of its first byte in the file.
        record: without settings if they are in a later line.
        settings_number: index of its settings in `RecordReader.settings`.
        is_current: whether the line can be copied to another file that has its settings, as it is.
        values: all fields.
    """

    offset: int
    record: Record
    settings_number: int
    is_current: bool
    values: dict[str, Any]


class RecordReader:
    """Reads a file of records: in order, and again by offset.

    It stays open, so that offsets stay valid if another process replaces the file.

    Attributes:
        path: of the file.
        settings: all settings in the file; None for those that lines refer to and that are missing.
    """

    def __init__(self, path: Path, settings: Iterable[dict[str, Any]] = (), *, hold: bool = False) -> None:
        """Open a file; a missing one is empty.

        Args:
            path: the file.
            settings: that are known to be in it.
            hold: read it into memory, because a process can have only so many open files.

        Raises:
            OutputError: the file cannot be read.
        """
        self.path = path
        self.settings: list[dict[str, Any] | None] = list(settings)
        self._numbers = {digest_settings(known or {}): number for number, known in enumerate(self.settings)}
        self._digests = set(self._numbers)  # of settings that were not changed
        self._number_of("", {})
        self._home = os.path.realpath(path.parent)
        self._reading = threading.Lock()
        self._stream: BinaryIO | None = None
        self._close: Callable[[], object] | None = None
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            self._close = weakref.finalize(self, os.close, descriptor)  # also of a reader that nobody closes
            self._stream = os.fdopen(descriptor, "rb", closefd=False)
            if hold:
                self._stream = BytesIO(self._stream.read())
                self._close()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._unreadable(error) from error

    def lines(self) -> Iterator[Line]:
        """Yield the complete lines; torn lines of a killed run, and those that are not ours, are skipped.

        Raises:
            OutputError: the file cannot be read.
        """
        offset = 0
        try:
            for data in self._stream or ():
                line = self._parse(offset, data)
                if line is not None:
                    yield line
                offset += len(data)
        except OSError as error:
            raise self._unreadable(error) from error

    def records(self) -> Iterator[tuple[Record, dict[str, Any]]]:
        """Yield the records, and all fields of their lines, of a file whose lines follow those with their settings.

        Raises:
            OutputError: the file cannot be read.
        """
        for line in self.lines():
            yield self._with_settings(line), line.values

    def read_at(self, offset: int) -> Record:
        """Return the record of a line.

        Raises:
            OutputError: it is not there any more.
        """
        line = self._parse(offset, self.data_at(offset))
        if line is None:
            raise OutputError(f"{self.path}: was changed during the run")
        return self._with_settings(line)

    def data_at(self, offset: int) -> bytes:
        """Return a line as it is.

        Raises:
            OutputError: the file cannot be read.
        """
        try:
            with self._reading:
                if self._stream is None:
                    return b""
                self._stream.seek(offset)
                return self._stream.readline()
        except (OSError, ValueError) as error:  # ValueError: it is closed
            raise self._unreadable(error) from error

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None and self._close is not None:
            self._stream.close()
            self._close()

    def _parse(self, offset: int, data: bytes) -> Line | None:
        try:
            values = load_json(data)
        except ValueError:
            return None
        if not isinstance(values, dict):
            return None
        has_settings, given = _SETTINGS in values, values.get(_SETTINGS_ID, "")
        settings = values.pop(_SETTINGS, {})
        if not (isinstance(given, str) and isinstance(settings, dict)):
            return None
        number = self._number_of(given, settings)
        record = Record.from_dict(values, settings=self.settings[number])
        if record is None:
            return None
        record, is_in_place = self._locate(record)
        is_current = is_in_place and not has_settings and given in self._digests and data.endswith(b"\n")
        return Line(offset, record, number, is_current, values)

    def _number_of(self, given: str, settings: dict[str, Any]) -> int:
        """Return the index of settings, which a line has, or names by their digest."""
        digest = digest_settings(settings)
        number = self._numbers.setdefault(given or digest, len(self.settings))
        if number == len(self.settings):
            self.settings.append(None)
        if self.settings[number] is None and (settings or not given):
            self.settings[number] = modernize(settings)
            if given in ("", digest):
                self._digests.add(digest)
        return number

    def _with_settings(self, line: Line) -> Record:
        settings = self.settings[line.settings_number]
        if settings and settings is not line.record.settings:
            return replace(line.record, settings=settings)
        if settings is None and line.record.status == DONE:  # how its outputs were made is unknown: make them again
            return replace(line.record, status=UNFINISHED)
        return line.record

    def _locate(self, record: Record) -> tuple[Record, bool]:
        """Return a record with the path that its image has now, and whether that is the recorded one.

        The file and the images may have been moved or copied.
        """
        if not record.relative_source:
            return record, is_address(record.source) or not os.path.isabs(record.source)
        source = os.path.normpath(os.path.join(self._home, record.relative_source))
        if source == record.source:
            return record, True
        if os.path.lexists(source):
            return replace(record, source=source), False
        return replace(record, relative_source=""), False  # it is not there any more, and is written anew

    def _unreadable(self, error: Exception) -> OutputError:
        return OutputError(f"{self.path}: cannot be read: {os_reason(error)}", hint="move it away to start over")
