"""The copies of a photo that a page keeps.

The files of a report: a page beside the outputs of a batch, and one folder of what the page loads.
"""

from __future__ import annotations

import base64
import io
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib import resources
from typing import TYPE_CHECKING

from PIL import Image
from PIL.Image import Resampling

from glpn_cli.errors import OutputError, OutputExistsError
from glpn_cli.files import is_partial_name, make_folder, partial_path, refuse_outside, write_together
from glpn_cli.inference.manifest import DONE, Record, read_records
from glpn_cli.report.index import encode_grid, index_of, sample, to_script
from glpn_cli.report.journal import Entry, Journal, depth_of_outputs, entry_name, outputs_mark, photo_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from glpn_cli.depth import DepthMap
    from glpn_cli.report.journal import RunFacts


LARGE_PX = 1024

"""The longest side of the copy that a click shows."""

THUMBNAIL_PX = 240

"""The longest side of the copy in the overview."""

_LARGE_QUALITY = 82

_THUMBNAIL_QUALITY = 75


def to_jpegs(rgb: NDArray[np.uint8]) -> tuple[str, str]:
    """Make the large and the small copy of a photo, as addresses that hold the JPEG themselves.

    As files of their own they would be images below the folder of a batch, and the next batch would take them in.

    Args:
        rgb: (H, W, 3) uint8, in [0, 255], upright.
    """
    image = Image.fromarray(rgb)
    image.thumbnail((LARGE_PX, LARGE_PX), Resampling.BILINEAR, reducing_gap=2.0)
    large = _to_address(image, _LARGE_QUALITY)
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Resampling.BILINEAR, reducing_gap=1.5)
    return large, _to_address(image, _THUMBNAIL_QUALITY)


def _to_address(image: Image.Image, quality: int) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


PAGE_NAME = "index.html"

PARTS_NAME = "glpn-report"

GRID_PX = 640

"""The longest side of the depth that meters are read from; more than the published weights were made for has no use."""

_THUMBNAIL_GRID_PX = THUMBNAIL_PX * 2 // 3

_JOURNAL_NAME = "images.jsonl"

_INDEX_NAME = "images.js"

_OURS = b'<meta name="generator" content="glpn-cli"'

_ENTRY_FILE = re.compile(r"[0-9a-f]{24}(\.small)?\.js")

_SECONDS_BETWEEN_INDEXES = 5.0

_INDEX_SHARE = 50  # of the time at most one part goes into telling how far the run is


class Report:
    """The report of one batch folder, kept in step with the run that is going on in it.

    Attributes:
        page: the file to open.
    """

    def __init__(self, folder: Path, run: RunFacts) -> None:
        self.page = folder / PAGE_NAME
        self._folder = folder
        self._parts = folder / PARTS_NAME
        self._run = run
        self._journal = Journal(self._parts / _JOURNAL_NAME)
        self._entries: dict[str, Entry] = {}
        self._records: dict[str, Record] = {}
        self._total = 0
        self._next_index_s = 0.0

    def begin(self, records: Mapping[str, Record], total: int) -> None:
        """Put the page there, with what was done before.

        Args:
            records: what the manifest knows, by source.
            total: how many images there are to be in the end.

        Raises:
            OutputError: it cannot be written.
        """
        refuse_outside(self._parts, self._folder)
        make_folder(self._parts)
        self._remove(is_partial_name)  # of a run that was killed
        self._records = dict(records)
        self._total = max(total, len(records))
        known = self._journal.read()
        self._entries = {source: entry for source, entry in known.items() if source in records}
        self._journal.rewrite(known.values())
        for file in (resources.files("glpn_cli.report") / "page").iterdir():
            if file.name != PAGE_NAME:
                self._write(self._parts / file.name, file.read_bytes())
        self._write_index(complete=False)
        page = (resources.files("glpn_cli.report") / "page" / PAGE_NAME).read_bytes()
        self._write(self.page, page)

    def add(self, record: Record, depth: DepthMap) -> None:
        """Take in an image whose outputs are about to appear; any thread may call it.

        Args:
            record: the line that the image will have in the manifest.
            depth: with its image.
        """
        self._take_in(record, depth, depth.rgb)

    def settle(self, record: Record) -> None:
        """Note what became of an image, and now and then tell it to whoever reloads the page."""
        self._records[record.source] = record
        if time.monotonic() >= self._next_index_s:
            self._write_index(complete=False)

    def missing(self) -> list[Record]:
        """List the images that are done and not in the report."""
        return [record for record in self._records.values() if record.status == DONE and not self._has(record)]

    def catch_up(self, missing: list[Record], *, workers: int) -> Generator[None]:
        """Take in images that were done before, from what is left of them; yields after each."""
        readers = ThreadPoolExecutor(workers, "glpn-report")
        try:
            yield from readers.map(self._look_back, missing)
        finally:
            readers.shutdown(cancel_futures=True)

    def end(self, *, complete: bool) -> None:
        """Bring the page up to date, and remove what belongs to images that are in the batch no more.

        Args:
            complete: whether the run came to its end.
        """
        if not complete:  # what was being written when the run was cut short has its line, and nobody was told
            self._records |= read_records(self._folder)
        self._write_index(complete=complete)
        if complete:
            self._journal.rewrite(entry for source, entry in self._entries.items() if source in self._records)
            self._remove_left_over()

    def _take_in(self, record: Record, depth: DepthMap | None, rgb: NDArray[np.uint8] | None) -> None:
        name = entry_name(record.source)
        photo, thumbnail = (None, None) if rgb is None else to_jpegs(rgb)
        large = small = None
        if depth is not None:
            large = encode_grid(sample(depth.meters, GRID_PX))
            thinned = sample(depth.meters, _THUMBNAIL_GRID_PX)
            small = encode_grid(thinned)
            entry = Entry.of(record, depth, thinned)
        else:
            height, width = (0, 0) if rgb is None else rgb.shape[:2]
            entry = Entry(record.source, outputs_mark(record), height, width)
        about = {
            "photo": photo,
            "grid": large,
            "outputs": record.outputs,
            "notes": [] if depth is None else list(depth.provenance.notes),
        }
        small_parts = {"photo": thumbnail, "grid": small}
        self._write(self._parts / f"{name}.js", to_script("image", name, about), durable=False)
        self._write(self._parts / f"{name}.small.js", to_script("thumbnail", name, small_parts), durable=False)
        self._journal.append(entry)
        self._entries[record.source] = entry

    def _look_back(self, record: Record) -> None:
        depth = depth_of_outputs(record, self._folder, meters_per_unit=self._run.meters_per_unit)
        self._take_in(record, depth, photo_of(record))

    def _has(self, record: Record) -> bool:
        entry = self._entries.get(record.source)
        name = entry_name(record.source)
        return (
            entry is not None
            and entry.outputs_mark == outputs_mark(record)
            and all(_has_content(self._parts / f"{name}{ending}") for ending in (".js", ".small.js"))
        )

    def _write_index(self, *, complete: bool) -> None:
        start_s = time.monotonic()
        index = index_of(
            self._run,
            self._records.values(),
            self._entries,
            total=len(self._records) if complete else self._total,
            written=datetime.now(UTC).astimezone().isoformat(timespec="seconds"),  # wall clock: the date of the report
        )
        self._write(self._parts / _INDEX_NAME, to_script("index", index))
        end_s = time.monotonic()
        self._next_index_s = end_s + max(_SECONDS_BETWEEN_INDEXES, _INDEX_SHARE * (end_s - start_s))

    def _remove_left_over(self) -> None:
        kept = {entry_name(source) for source in self._records}
        self._remove(lambda name: bool(_ENTRY_FILE.fullmatch(name)) and name.split(".")[0] not in kept)

    def _remove(self, is_left_over: Callable[[str], object]) -> None:
        try:
            for name in filter(is_left_over, os.listdir(self._parts)):
                (self._parts / name).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{self._parts}: cannot be tidied: {error.strerror or error}") from error

    def _write(self, path: Path, data: bytes, *, durable: bool = True) -> None:
        """Write a file in place of an earlier one; a link of this name is replaced and not followed."""
        partial = partial_path(self._parts / path.name)
        write_together([(path, data)], overwrite=True, partials=[partial], durable=durable)


def is_page_there(folder: Path) -> bool:
    """Tell whether a batch's folder has a report, from a run before."""
    try:
        return _is_ours(folder / PAGE_NAME)
    except OSError:
        return False


def refuse_to_replace_page(folder: Path, *, overwrite: bool) -> None:
    """See that no page of somebody else's is in the way.

    Raises:
        OutputExistsError: one is, and nobody said that it may be replaced.
        OutputError: it is a folder, or cannot be read.
    """
    page = folder / PAGE_NAME
    try:
        ours = _is_ours(page)
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"{page}: is in the way of the report: {error.strerror or error}") from error
    if not (ours or overwrite):
        raise OutputExistsError(
            f"{page}: is there already, and no report", hint="--overwrite replaces it; another --out keeps both"
        )


def _is_ours(page: Path) -> bool:
    with page.open("rb") as stream:
        return _OURS in stream.read(2048)


def _has_content(path: Path) -> bool:
    """Tell whether a file is there and not one that a power cut left empty."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
