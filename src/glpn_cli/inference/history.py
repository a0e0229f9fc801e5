"""What earlier runs have done, by source: an index of the lines of manifests, which are read when they are needed."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, ValuesView
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from glpn_cli.inference.record import DONE, FAILED, OUTDATED, UNFINISHED, Record
from glpn_cli.inference.record_file import RecordReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from glpn_cli.inference.record_file import RecordEncoder

_STATUSES = (DONE, FAILED, OUTDATED, UNFINISHED)
_NUMBERS = {status: number for number, status in enumerate(_STATUSES)}
_IN_MEMORY = 0
"""The number of the file of records that are in none."""


_MAX_OPEN = 64
"""Manifests of shards that stay open; some systems allow a process 256 files."""


class History(Mapping[str, Record]):
    """The last record of each image, without those whose outputs a later record took over.

    An image that was done and later failed still has outputs of its batch, which the next attempt may replace.

    A record takes about 200 bytes, whatever is in its line: the hashes of its source and its outputs, and where the
    line is. Hashes have 64 bits. If two were equal, one of the images would be done again or refused.
    """

    def __init__(self) -> None:
        """Know nothing."""
        self._slots: dict[int, int] = {}  # by hash of the source, in the order of the last lines
        self._owners: dict[int, int] = {}  # hash of the source by hash of the output
        self._readers: list[RecordReader | None] = [None]
        self._memory: list[Record] = []
        # What is known of the line in each slot.
        self._file, self._place, self._settings = array("I"), array("q"), array("I")
        self._status, self._has_outputs, self._is_current = array("B"), array("B"), array("B")
        self._moved = _Moved()

    @classmethod
    def of(cls, records: Iterable[Record]) -> History:
        """Return a history of records in memory."""
        history = cls()
        for record in records:
            history.put(record)
        return history

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[str]:
        return (record.source for record in self.values())

    def __getitem__(self, source: str) -> Record:
        slot = self._slots.get(hash(source))
        record = None if slot is None else self._read(slot)
        if record is None or record.source != source:
            raise KeyError(source)
        return record

    def values(self) -> ValuesView[Record]:
        """Return the records, each of which is read once."""
        return _Records(self, lambda: map(self._read, list(self._slots.values())))

    def read(self, path: Path) -> None:
        """Add the lines of a manifest.

        Raises:
            OutputError: the file cannot be read.
        """
        reader = RecordReader(path, hold=len(self._readers) > _MAX_OPEN)
        file, first = len(self._readers), len(self._file)
        self._readers.append(reader)
        for line in reader.lines():
            key, before = self._take_over(line.record)
            if line.record.status == FAILED and before is not None and self._has_outputs[before]:
                self._slots[key] = before
                self._set_status(before, UNFINISHED)
            else:
                self._slots[key] = self._add(line.record, file, line.offset, line.settings_number)
                self._is_current[-1] = line.is_current
        for slot in range(first, len(self._file)):
            if self._status[slot] == _NUMBERS[DONE] and reader.settings[self._settings[slot]] is None:
                self._set_status(slot, UNFINISHED)

    def put(self, record: Record) -> None:
        """Add a record that is in no file."""
        key, _ = self._take_over(record)
        self._slots[key] = self._add(record, _IN_MEMORY, len(self._memory), len(self._memory))
        self._memory.append(record)

    def forget_failures(self) -> None:
        """Leave out images that have only failed, so that they are retried."""
        for key in [key for key, slot in self._slots.items() if self._status[slot] == _NUMBERS[FAILED]]:
            del self._slots[key]

    def change_status(self, status: str, *, of: str | None = None) -> None:
        """Give all records, or those of one status, another status."""
        for slot in self._slots.values():
            if of is None or self._status[slot] == _NUMBERS[of]:
                self._set_status(slot, status)

    def has_status(self, status: str) -> bool:
        """Return whether any record has a status."""
        return any(self._status[slot] == _NUMBERS[status] for slot in self._slots.values())

    def samples(self) -> list[Record]:
        """Return a finished record of each kind of settings, the oldest one first."""
        found: dict[tuple[int, int], int] = {}
        for slot in self._slots.values():
            if self._status[slot] == _NUMBERS[DONE]:
                found.setdefault((self._file[slot], self._settings[slot]), slot)
        return [self._read(slot) for slot in found.values()]

    def owner(self, output: str) -> Record | None:
        """Return the record that has an output.

        Args:
            output: path relative to the output folder.
        """
        key = self._owners.get(hash(output))
        slot = None if key is None else self._slots.get(key)
        record = None if slot is None else self._read(slot)
        return record if record is not None and output in record.outputs.values() else None

    def has_any(self, hashes: Iterable[int]) -> bool:
        """Return whether a record may have a source or an output with one of these hashes."""
        return any(hashed in self._slots or hashed in self._owners for hashed in hashes)

    def lines(self, path: Path, encoder: RecordEncoder) -> Iterator[bytes]:
        """Yield the lines for a new version of a manifest: its own records, and those in memory.

        Close the old version and call `reopen` before records are read again.

        Args:
            path: of the manifest.
            encoder: of the new version.
        """
        self._moved = _Moved()
        for slot in self._slots.values():
            reader = self._readers[self._file[slot]]
            if reader is not None and reader.path != path:
                continue
            data = reader.data_at(self._place[slot]) if reader is not None and self._is_current[slot] else b""
            settings = None if reader is None else reader.settings[self._settings[slot]]
            if settings is None or not data or not encoder.has(settings):
                record = self._read(slot)
                settings, data = record.settings, encoder.encode(record)
                encoder.remember(settings)
            self._moved.add(slot, len(data), settings)
            yield data

    def close(self, path: Path | None = None) -> None:
        """Close a file, or all; records in memory stay."""
        for reader in self._readers:
            if reader is not None and path in (None, reader.path):
                reader.close()

    def reopen(self, path: Path) -> None:
        """Read the records that `lines` has yielded from the new version of a manifest.

        Raises:
            OutputError: the file cannot be read.
        """
        file = len(self._readers)
        self._readers.append(RecordReader(path, self._moved.settings))
        for slot, place, number in zip(self._moved.slots, self._moved.places, self._moved.numbers, strict=True):
            self._file[slot], self._place[slot], self._settings[slot] = file, place, number
        self._moved = _Moved()
        self._memory.clear()

    def _take_over(self, record: Record) -> tuple[int, int | None]:
        """Forget the earlier line of an image, and the images whose outputs are its own now.

        Returns:
            The hash of the source, and the earlier slot.
        """
        key = hash(record.source)
        before = self._slots.pop(key, None)
        for output in record.outputs.values():
            hashed = hash(output)
            owner = self._owners.get(hashed)
            if owner is not None and owner != key:
                self._slots.pop(owner, None)
            self._owners[hashed] = key
        return key, before

    def _add(self, record: Record, file: int, place: int, settings: int) -> int:
        self._file.append(file)
        self._place.append(place)
        self._settings.append(settings)
        self._status.append(_NUMBERS[record.status])
        self._has_outputs.append(bool(record.outputs))
        self._is_current.append(False)
        return len(self._file) - 1

    def _set_status(self, slot: int, status: str) -> None:
        self._status[slot], self._is_current[slot] = _NUMBERS[status], False

    def _read(self, slot: int) -> Record:
        reader, place, status = self._readers[self._file[slot]], self._place[slot], _STATUSES[self._status[slot]]
        record = self._memory[place] if reader is None else reader.read_at(place)
        return record if record.status == status else replace(record, status=status)


class _Records(ValuesView[Record]):
    """The records of a history; that of `Mapping` would read each of them twice."""

    def __init__(self, history: History, read_all: Callable[[], Iterator[Record]]) -> None:
        super().__init__(history)
        self._read_all = read_all

    def __iter__(self) -> Iterator[Record]:
        return self._read_all()


class _Moved:
    """Where lines are in the new version of a manifest."""

    def __init__(self) -> None:
        self.slots, self.places, self.numbers = array("I"), array("q"), array("I")
        self.settings: list[dict[str, Any]] = []
        self._numbers: dict[int, int] = {}  # by identity of the settings
        self._end = 0

    def add(self, slot: int, size: int, settings: dict[str, Any]) -> None:
        if id(settings) not in self._numbers:
            self._numbers[id(settings)] = len(self.settings)
            self.settings.append(settings)
        self.slots.append(slot)
        self.places.append(self._end)
        self.numbers.append(self._numbers[id(settings)])
        self._end += size
