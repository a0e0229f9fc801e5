"""The journal of a report: one line for each image in it, which survives any interruption."""

from __future__ import annotations

import hashlib
import json
import math
import threading
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from glpn_cli.depth import is_known
from glpn_cli.errors import OutputError
from glpn_cli.files import load_json, os_reason, write_together

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from glpn_cli.depth import DepthMap
    from glpn_cli.inference.record import Record

_HASH_DIGITS = 24


class Journal:
    """A file of entries in JSON, one per line.

    Appended lines begin with a line break, so that a line that a killed run left incomplete does not damage the next.
    Incomplete lines are ignored when the file is read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    def read(self) -> dict[str, Entry]:
        """Return the last entry of each image, by id. Invalid lines are ignored, a missing file is empty.

        Raises:
            OutputError: the file cannot be read.
        """
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be read: {os_reason(error)}") from error
        entries = (_parse_line(line) for line in text.splitlines())
        return {entry.id: entry for entry in entries if entry is not None}

    def rewrite(self, entries: Iterable[Entry]) -> None:
        """Replace all entries, atomically.

        Raises:
            OutputError: the file cannot be written.
        """
        data = "".join(_to_line(entry) for entry in entries).encode("ascii")
        write_together([(self._path, data)], overwrite=True)

    def append(self, entry: Entry) -> None:
        """Add an entry. Thread-safe.

        Raises:
            OutputError: the file cannot be written.
        """
        try:
            with self._lock, self._path.open("ab", buffering=0) as stream:
                stream.write(("\n" + _to_line(entry)).encode("ascii"))
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written: {os_reason(error)}") from error


@dataclass(frozen=True, slots=True)
class Entry:
    """What the report knows about an image besides its record in the manifest.

    Attributes:
        id: from `entry_name`; the report is made to be passed on, so it has no paths of this machine.
        outputs_mark: identifies the outputs that were written from the same depth, see `mark_outputs`.
        height: of the upright image, pixels; 0 if unknown.
        width: of the upright image, pixels; 0 if unknown.
        depth: statistics of the depth; None if it is unknown.
        approximate: whether the depth was read from an output that rounds it.
        range_m: nearest and farthest depth of the image's colors, meters; None in entries of earlier versions.
    """

    id: str
    outputs_mark: str
    height: int
    width: int
    depth: DepthStatistics | None = None
    approximate: bool = False
    range_m: tuple[float, float] | None = None

    @classmethod
    def of(cls, record: Record, depth: DepthMap, sampled: np.ndarray, range_m: tuple[float, float]) -> Self:
        """Return the entry of an image whose depth is known; for `sampled` see `DepthStatistics.of`."""
        return cls(
            entry_name(record.source),
            mark_outputs(record),
            *depth.meters.shape,
            depth=DepthStatistics.of(depth.meters, sampled),
            approximate=depth.provenance.approximate,
            range_m=range_m,
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self | None:
        """Return the entry of a line; None if it is invalid. Fields that a newer version added are ignored.

        Earlier versions stored the path of the image instead of its id.
        """
        names = {item.name for item in fields(cls)}
        try:
            depth = values.get("depth")
            statistics = None
            if depth is not None:
                statistics = DepthStatistics(**{name: _to_number(value) for name, value in depth.items()})
            known = {name: value for name, value in values.items() if name in names}
            if "id" not in known and isinstance(values.get("source"), str):
                known["id"] = entry_name(values["source"])
            if (ends := known.get("range_m")) is not None:
                low_m, high_m = map(_to_number, ends)
                known["range_m"] = (low_m, high_m)
            entry = cls(**known | {"depth": statistics})
        except (TypeError, ValueError, AttributeError, OverflowError):
            return None
        texts, sizes = (entry.id, entry.outputs_mark), (entry.height, entry.width)
        is_valid = all(isinstance(text, str) for text in texts) and all(isinstance(size, int) for size in sizes)
        return entry if is_valid and isinstance(entry.approximate, bool) else None


@dataclass(frozen=True, slots=True)
class DepthStatistics:
    """Statistics of the depth of an image, meters.

    Attributes:
        nearest: minimum.
        near: 2nd percentile.
        median: 50th percentile.
        far: 98th percentile.
        farthest: maximum.
    """

    nearest: float
    near: float
    median: float
    far: float
    farthest: float

    @classmethod
    def of(cls, meters: np.ndarray, sampled: np.ndarray) -> Self:
        """Return the statistics of a depth map; 0 if all of it is unknown.

        Args:
            meters: (H, W) float32, meters.
            sampled: (h, w) float32, meters: some of the values, of which percentiles are computed quickly.
        """
        known_samples = sampled[is_known(sampled)]
        percentiles = np.percentile(known_samples, (2, 50, 98)) if known_samples.size else (0.0, 0.0, 0.0)
        known = is_known(meters)
        depths = meters if known.all() else meters[known]
        ends = (depths.min(), depths.max()) if depths.size else (0.0, 0.0)
        values = (ends[0], *percentiles, ends[1])
        return cls(*(round(float(value), 4) for value in values))


def entry_name(source: str) -> str:
    """Return the file name of an image in the report: the same in every run, and valid on every file system."""
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]


def mark_outputs(record: Record) -> str:
    """Return a text that differs if another run wrote other outputs of the image."""
    return hashlib.sha256(repr(sorted(record.sha256.items())).encode()).hexdigest()[:_HASH_DIGITS]


def _to_line(entry: Entry) -> str:
    return json.dumps(asdict(entry)) + "\n"


def _to_number(value: Any) -> float:
    """Return a number of a line.

    Raises:
        TypeError, ValueError, OverflowError: it is none, or NaN or infinite, which a page cannot show.
    """
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is not a number of meters")
    return number


def _parse_line(line: str) -> Entry | None:
    try:
        values = load_json(line)
    except ValueError:
        return None
    return Entry.from_dict(values) if isinstance(values, dict) else None
