"""The course of a training as tables that other programs read: CSV, and TensorBoard where it is wanted."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from glpn_cli.errors import MissingPackageError, OutputError
from glpn_cli.output.writer import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["CsvLog", "find_tensorboard", "open_tensorboard"]


class CsvLog:
    """A table with a row per event, whose first column is the step; rows reach the disk at once."""

    def __init__(self, file: Path, columns: tuple[str, ...], *, keep_to: int) -> None:
        """Go on with a table, without the rows of steps that are done again.

        Args:
            file: where it is or will be.
            columns: of the table, after the step.
            keep_to: the last step whose row stays; below 0 none does.

        Raises:
            OutputError: it cannot be written.
        """
        self._file = file
        self._columns = ("step", *columns)
        kept = [row for row in self._rows() if int(row["step"]) <= keep_to]
        # Whole or as it was: no disk is too full for what was there.
        write_whole(file, self._text(kept, header=True).encode(), overwrite=True)

    def add(self, step: int, values: Mapping[str, Any]) -> None:
        """Add a row.

        Raises:
            OutputError: it cannot be written.
        """
        row = {"step": step} | {name: _short(values.get(name, "")) for name in self._columns[1:]}
        try:
            with self._file.open("a", encoding="utf-8", newline="") as stream:
                stream.write(self._text([row]))
        except OSError as error:
            raise self._unwritable(error) from error

    def _rows(self) -> list[dict[str, str]]:
        try:
            with self._file.open(encoding="utf-8", newline="") as stream:
                return [row for row in csv.DictReader(stream) if str(row.get("step", "")).isdecimal()]
        except OSError:
            return []

    def _text(self, rows: list[Any], *, header: bool = False) -> str:
        stream = io.StringIO()
        writer = csv.DictWriter(stream, self._columns, extrasaction="ignore", lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return stream.getvalue()

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(f"{self._file}: cannot be written: {error.strerror or error}")


def find_tensorboard() -> Callable[..., Any]:
    """Give what writes a log for TensorBoard.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingPackageError("--tensorboard needs TensorBoard", hint="pip install tensorboard") from error
    return SummaryWriter


def open_tensorboard(folder: Path, *, keep_to: int) -> Any:
    """Open a log for TensorBoard, which shows nothing of later steps that was written before.

    Args:
        folder: with its files.
        keep_to: as for a table.

    Raises:
        MissingPackageError: it is not installed.
        OutputError: what was there cannot be removed.
    """
    writer = find_tensorboard()
    if keep_to < 0:
        try:
            for file in folder.glob("events.out.tfevents.*"):
                file.unlink()
        except OSError as error:
            raise OutputError(f"{error.filename}: cannot be removed: {error.strerror}") from error
    return writer(str(folder), purge_step=keep_to + 1)


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
