"""The report's own list, a line for each image that is in it; it outlives any interruption."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING

from glpn_cli.errors import OutputError
from glpn_cli.output.writer import write_together
from glpn_cli.report.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["Journal"]


class Journal:
    """A file of entries. A line that a kill has torn is left out, and the next one begins on a line of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = threading.Lock()

    def read(self) -> dict[str, Entry]:
        """Give the last entry of each image, by source; a file that makes no sense gives none."""
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be read: {error.strerror or error}") from error
        entries = (_parse(line) for line in text.splitlines())
        return {entry.source: entry for entry in entries if entry is not None}

    def rewrite(self, entries: Iterable[Entry]) -> None:
        """Keep these and nothing else, in one step."""
        data = "".join(_line(entry) for entry in entries).encode("ascii")
        write_together([(self._path, data)], overwrite=True)

    def append(self, entry: Entry) -> None:
        """Add a line; any thread may call it.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            with self._writing, self._path.open("ab", buffering=0) as stream:
                stream.write(("\n" + _line(entry)).encode("ascii"))
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written: {error.strerror or error}") from error


def _line(entry: Entry) -> str:
    return json.dumps(asdict(entry)) + "\n"


def _parse(line: str) -> Entry | None:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return Entry.from_dict(values) if isinstance(values, dict) else None
