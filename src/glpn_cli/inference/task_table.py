"""Many tasks in little memory."""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

from glpn_cli.inference.plan import Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from glpn_cli.inference.record import Record
    from glpn_cli.output.formats import DepthFormat

_DONE, _HAS_RECORD, _OVERWRITE, _FAILED, _AFTER_NAME = 1, 2, 4, 8, 16
_SEPARATOR = "\0"  # which no file name has


class TaskTable(Sequence[Task]):
    """The tasks of a batch. An image takes the bytes of its name and about 70 more; tasks are made when asked for."""

    def __init__(self, tasks: Iterable[Task], formats: Sequence[DepthFormat], records: Mapping[str, Record]) -> None:
        """Take all tasks.

        Args:
            tasks: of a plan.
            formats: of each of their outputs.
            records: from which the plan has those of the tasks.
        """
        self._formats = tuple(formats)
        self._records = records
        self._folders: dict[tuple[str, str], int] = {}  # of source and outputs
        self._folder, self._flags = array("I"), array("B")
        self._names: list[str] = []
        self._others: dict[int, Task] = {}  # by index: those that do not fit
        for task in tasks:
            self._append(task)
        self._paths = [(Path(source), Path(outputs)) for source, outputs in self._folders]

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Task]: ...
    def __getitem__(self, index: int | slice) -> Task | Sequence[Task]:
        if isinstance(index, slice):
            return [self._task(number) for number in range(len(self))[index]]
        return self._task(range(len(self))[index])

    def __iter__(self) -> Iterator[Task]:
        return map(self._task, range(len(self)))

    @property
    def done(self) -> Sequence[Task]:
        """The tasks that an earlier run has done."""
        return _Chosen(self, array("I", (index for index, flags in enumerate(self._flags) if flags & _DONE)))

    @property
    def pending(self) -> Sequence[Task]:
        """The others."""
        return _Chosen(self, array("I", (index for index, flags in enumerate(self._flags) if not flags & _DONE)))

    @property
    def possible(self) -> Sequence[Task]:
        """The tasks without a failure that is known beforehand."""
        return _Chosen(self, array("I", (index for index, flags in enumerate(self._flags) if not flags & _FAILED)))

    def _append(self, task: Task) -> None:
        index = len(self._names)
        packed = self._pack(task)
        if packed is None:
            self._others[index] = task
            packed = ("", 0, _DONE * task.done | _FAILED * (task.failure is not None))
        name, folder, flags = packed
        self._names.append(name)
        self._folder.append(folder)
        self._flags.append(flags)

    def _pack(self, task: Task) -> tuple[str, int, int] | None:
        """Return the names, the number of the folders and the flags of a task; None if it does not fit."""
        record = task.record
        is_plain = isinstance(task.source, Path) and not (task.failure or task.exists or task.skipped)
        if not is_plain or (record is not None and record.source != str(task.source)):
            return None
        source_folder, name = os.path.split(str(task.source))
        paths = [os.path.split(str(path)) for _, path in task.outputs]
        if not paths or any(folder != paths[0][0] for folder, _ in paths):
            return None
        folder = self._folders.setdefault((source_folder, paths[0][0]), len(self._folders))
        flags = _DONE * task.done | _HAS_RECORD * (record is not None) | _OVERWRITE * task.overwrite
        outputs = [output for _, output in paths]
        if outputs == self._usual_names(os.path.splitext(name)[0]):
            return name, folder, flags
        if outputs == self._usual_names(name):
            return name, folder, flags | _AFTER_NAME
        return _SEPARATOR.join([name, *outputs]), folder, flags

    def _usual_names(self, name: str) -> list[str]:
        return [name + row.ending for row in self._formats]

    def _task(self, index: int) -> Task:
        if index in self._others:
            return self._others[index]
        flags = self._flags[index]
        source_folder, output_folder = self._paths[self._folder[index]]
        name, *outputs = self._names[index].split(_SEPARATOR)
        source = source_folder / name
        outputs = outputs or self._usual_names(name if flags & _AFTER_NAME else os.path.splitext(name)[0])
        return Task(
            source,
            tuple((row, output_folder / output) for row, output in zip(self._formats, outputs, strict=True)),
            done=bool(flags & _DONE),
            overwrite=bool(flags & _OVERWRITE),
            record=self._records[str(source)] if flags & _HAS_RECORD else None,
        )


class _Chosen(Sequence[Task]):
    """Some tasks of a table."""

    def __init__(self, table: TaskTable, indices: array[int]) -> None:
        self._table = table
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Task]: ...
    def __getitem__(self, index: int | slice) -> Task | Sequence[Task]:
        if isinstance(index, slice):
            return _Chosen(self._table, self._indices[index])
        return self._table[self._indices[index]]

    def __iter__(self) -> Iterator[Task]:
        return (self._table[index] for index in self._indices)
