"""The report of a batch: the page beside the outputs, and the folder with everything that the page loads.

In the order of a run: `refuse_to_replace_page`, `Report.begin`, `recorder` and `settle` for each image, `missing` and
`catch_up` for images that were finished without a report, `end`.
"""

from __future__ import annotations

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib import resources
from typing import TYPE_CHECKING, Any

from glpn_cli.depth import DepthMap
from glpn_cli.errors import OutputError, OutputExistsError
from glpn_cli.files import is_partial_name, make_folder, os_reason, partial_path, refuse_outside, write_together
from glpn_cli.inference.manifest import read_records
from glpn_cli.inference.record import DONE, Record
from glpn_cli.report.content import (
    encode_grid,
    recover_depth,
    recover_photo,
    subsample,
    to_jpegs,
    to_script,
)
from glpn_cli.report.index import Names, build_index, image_range
from glpn_cli.report.journal import Entry, Journal, entry_name, mark_outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from glpn_cli.report.index import RunFacts

PAGE_NAME = "index.html"
PARTS_NAME = "glpn-report"

GRID_PX = 640
"""Longest side of the depth grid in the large view: the working size of the published weights."""

THUMBNAIL_GRID_PX = 400
"""Longest side of the depth grid in the overview."""

_THUMBNAIL_STEPS = 4096  # colors have 256 steps
_STATISTICS_PX = 160  # percentiles of more values take as long as everything else

_JOURNAL_NAME = "images.jsonl"
_INDEX_NAME = "images.js"
_OLD_JOURNAL_NAME, _OLD_INDEX_NAME = "pictures.jsonl", "pictures.js"  # of version 0.1

_GENERATOR = b'<meta name="generator" content="glpn-cli"'
_ENTRY_FILE = re.compile(r"[0-9a-f]{24}(\.small)?\.js")

_SECONDS_BETWEEN_INDEXES = 5.0
_INDEX_FACTOR = 50  # writing the index takes at most 1/50 of the time


class Recorder:
    """Writes the files of single images, in any thread or process.

    Calling it adds an image before its outputs get their names, and returns its entry. A line that two computers
    append to the journal at once is lost on some network file systems; the next run adds that image again.
    """

    def __init__(self, folder: Path, run: RunFacts) -> None:
        """Take the folder of the batch, and what the report states about the run."""
        self._folder = folder
        self._parts = folder / PARTS_NAME
        self._run = run
        self._names = Names([], run.folders, os.path.abspath(folder))
        self._journal = Journal(self._parts / _JOURNAL_NAME)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to make a copy in another process."""
        return Recorder, (self._folder, self._run)

    def __call__(self, record: Record, depth: DepthMap) -> Entry:
        """Add an image; see `add`."""
        return self.add(record, depth, depth.rgb)

    def add(self, record: Record, depth: DepthMap | None, rgb: NDArray[np.uint8] | None) -> Entry:
        """Write the files of an image and its line of the journal.

        Args:
            record: that the image has, or will have, in the manifest.
            depth: None if it is unknown.
            rgb: (H, W, 3) uint8, the image; None if it is unknown.

        Raises:
            OutputError: a file cannot be written.
        """
        name = entry_name(record.source)
        photo, thumbnail = (None, None) if rgb is None else to_jpegs(rgb)
        large_grid = small_grid = None
        if depth is not None:
            large_grid = encode_grid(subsample(depth.meters, GRID_PX))
            small_grid = encode_grid(subsample(depth.meters, THUMBNAIL_GRID_PX), max_steps=_THUMBNAIL_STEPS)
            sampled = subsample(depth.meters, _STATISTICS_PX)
            range_m = image_range(DepthMap(sampled, depth.provenance), self._run.colors)
            entry = Entry.of(record, depth, sampled, range_m)
        else:
            height, width = (0, 0) if rgb is None else rgb.shape[:2]
            entry = Entry(name, mark_outputs(record), height, width)
        large = {
            "photo": photo,
            "grid": large_grid,
            "outputs": record.outputs,
            "notes": [] if depth is None else list(map(self._names.redact, depth.provenance.notes)),
        }
        small = {"photo": thumbnail, "grid": small_grid}
        _write(self._parts / f"{name}.js", to_script("image", name, large), self._parts, durable=False)
        _write(self._parts / f"{name}.small.js", to_script("thumbnail", name, small), self._parts, durable=False)
        self._journal.append(entry)
        return entry


class Report:
    """The report in the output folder of a batch, updated while the batch runs.

    Attributes:
        page: the file to open.
        recorder: adds images.
    """

    def __init__(self, folder: Path, run: RunFacts) -> None:
        self.page = folder / PAGE_NAME
        self._folder = folder
        self._parts = folder / PARTS_NAME
        self._run = run
        self._out = os.path.abspath(folder)
        self._journal = Journal(self._parts / _JOURNAL_NAME)
        self.recorder = Recorder(folder, run)
        self._entries: dict[str, Entry] = {}
        self._records: dict[str, Record] = {}
        self._total = 0
        self._next_index_s = 0.0

    def begin(self, records: Mapping[str, Record], total: int) -> None:
        """Write the page, with the images of earlier runs.

        Args:
            records: of the manifest, by source.
            total: the number of images when the run is complete.

        Raises:
            OutputError: a file cannot be written.
        """
        refuse_outside(self._parts, self._folder)
        make_folder(self._parts)
        self._remove(is_partial_name)  # of killed runs
        self._records = dict(records)
        self._total = max(total, len(records))
        known = self._read_journal()
        current = set(map(entry_name, records))
        self._entries = {name: entry for name, entry in known.items() if name in current}
        self._journal.rewrite(known.values())
        for file in (resources.files("glpn_cli.report") / "page").iterdir():
            if file.name != PAGE_NAME:
                self._write(self._parts / file.name, file.read_bytes())
        self._write_index(complete=False)
        page = (resources.files("glpn_cli.report") / "page" / PAGE_NAME).read_bytes()
        self._write(self.page, page)
        self._remove((_OLD_JOURNAL_NAME, _OLD_INDEX_NAME).__contains__)

    def settle(self, record: Record, entry: Entry | None = None) -> None:
        """Take the final record of an image and, every few seconds, update the index for readers who reload the page.

        Args:
            record: of the manifest.
            entry: what `recorder` returned for it; None for an image without depth.

        Raises:
            OutputError: the index cannot be written.
        """
        self._records[record.source] = record
        if entry is not None:
            self._entries[entry.id] = entry
        if time.monotonic() >= self._next_index_s:
            self._write_index(complete=False)

    def missing(self) -> list[Record]:
        """Return the records of finished images that are not in the report."""
        return [record for record in self._records.values() if record.status == DONE and not self._has(record)]

    def catch_up(self, missing: list[Record], *, workers: int) -> Generator[None]:
        """Add images that were finished without a report, from their outputs and photos; yield after each.

        Raises:
            OutputError: a file cannot be written.
        """
        executor = ThreadPoolExecutor(workers, "glpn-report")
        try:
            yield from executor.map(self._recover, missing)
        finally:
            executor.shutdown(cancel_futures=True)

    def end(self, *, complete: bool) -> None:
        """Update the page, and remove images that are no longer in the batch.

        Args:
            complete: whether the run was completed. If not, nothing is removed.

        Raises:
            OutputError: a file cannot be written or removed.
        """
        if not complete:  # the writer may have recorded an image in the manifest that `settle` was not called for
            self._records |= read_records(self._folder)
            self._entries |= self._read_journal()
        self._write_index(complete=complete)
        if complete:
            current = set(map(entry_name, self._records))
            self._journal.rewrite(entry for name, entry in self._entries.items() if name in current)
            self._remove(lambda name: bool(_ENTRY_FILE.fullmatch(name)) and name.split(".")[0] not in current)

    def _read_journal(self) -> dict[str, Entry]:
        if not (self._parts / _JOURNAL_NAME).exists():
            return Journal(self._parts / _OLD_JOURNAL_NAME).read()
        return self._journal.read()

    def _recover(self, record: Record) -> None:
        depth = recover_depth(record, self._folder, meters_per_unit=self._run.meters_per_unit)
        entry = self.recorder.add(record, depth, recover_photo(record))
        self._entries[entry.id] = entry

    def _has(self, record: Record) -> bool:
        name = entry_name(record.source)
        entry = self._entries.get(name)
        return (
            entry is not None
            and entry.outputs_mark == mark_outputs(record)
            and all(_is_not_empty(self._parts / f"{name}{ending}") for ending in (".js", ".small.js"))
        )

    def _write_index(self, *, complete: bool) -> None:
        start_s = time.monotonic()
        index = build_index(
            self._run,
            self._records.values(),
            self._entries,
            out=self._out,
            total=len(self._records) if complete else self._total,
            written=datetime.now(UTC).astimezone().isoformat(timespec="seconds"),  # wall clock: the date of the report
        )
        self._write(self._parts / _INDEX_NAME, to_script("index", index))
        end_s = time.monotonic()
        self._next_index_s = end_s + max(_SECONDS_BETWEEN_INDEXES, _INDEX_FACTOR * (end_s - start_s))

    def _remove(self, is_stale: Callable[[str], object]) -> None:
        try:
            for name in filter(is_stale, os.listdir(self._parts)):
                (self._parts / name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{self._parts}: stale files cannot be removed: {os_reason(error)}") from error

    def _write(self, path: Path, data: bytes) -> None:
        _write(path, data, self._parts)


def _write(path: Path, data: bytes, parts: Path, *, durable: bool = True) -> None:
    """Replace a file. A link with this name is replaced and not followed."""
    partial = partial_path(parts / path.name)
    write_together([(path, data)], overwrite=True, partials=[partial], durable=durable)


def has_report(folder: Path) -> bool:
    """Return whether the output folder of a batch contains a report."""
    try:
        return _is_report(folder / PAGE_NAME)
    except OSError:
        return False


def refuse_to_replace_page(folder: Path, *, overwrite: bool) -> None:
    """Check that the page does not replace a file that is not a report.

    Raises:
        OutputExistsError: it would, and `overwrite` is False.
        OutputError: it is a folder, or cannot be read.
    """
    page = folder / PAGE_NAME
    try:
        is_report = _is_report(page)
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"{page}: cannot be replaced by the report: {os_reason(error)}") from error
    if not (is_report or overwrite):
        raise OutputExistsError(
            f"{page}: already exists and is not a report", hint="set `overwrite` to replace it, or use another folder"
        )


def _is_report(page: Path) -> bool:
    with page.open("rb") as stream:
        return _GENERATOR in stream.read(2048)


def _is_not_empty(path: Path) -> bool:
    """Return whether a file exists and has content; a power failure can leave an empty file."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
