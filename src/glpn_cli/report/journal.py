"""What the report knows of one image, beside what the manifest says.

What is left of an image that was done before anybody asked for a report.

What the report says of the run as a whole.

The report's own list, a line for each image that is in it; it outlives any interruption.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from glpn_cli._version import __version__
from glpn_cli.depth import is_known
from glpn_cli.errors import DepthFileError, GLPNError, OutputError
from glpn_cli.files import write_together
from glpn_cli.image.fetching import is_address
from glpn_cli.image.reading import read_image
from glpn_cli.inference.manifest import file_mark
from glpn_cli.output.formats import FORMATS, ReadsBack
from glpn_cli.output.reading import read_depth

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from glpn_cli.depth import DepthMap
    from glpn_cli.inference.manifest import Record
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.settings import OutputSettings


_NAME_DIGITS = 24


@dataclass(frozen=True, slots=True)
class DepthFacts:
    """Some depths of an image, meters.

    Attributes:
        nearest: of all pixels.
        near: 2 % are nearer.
        median: half is nearer.
        far: 2 % are farther.
        farthest: of all pixels.
    """

    nearest: float
    near: float
    median: float
    far: float
    farthest: float

    @classmethod
    def of(cls, meters: np.ndarray, thinned: np.ndarray) -> Self:
        """Measure a depth map; shares come from a thinned one, whose sorting takes no time.

        Args:
            meters: (H, W) float32, meters.
            thinned: (h, w) float32, meters: some of them.
        """
        known = thinned[is_known(thinned)]
        shares = np.percentile(known, (2, 50, 98)) if known.size else (0.0, 0.0, 0.0)
        where = is_known(meters)
        depths = meters if where.all() else meters[where]
        ends = (depths.min(), depths.max()) if depths.size else (0.0, 0.0)
        values = (ends[0], *shares, ends[1])
        return cls(*(round(float(value), 4) for value in values))


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the report's own list.

    Attributes:
        source: absolute path of the image, as in the manifest.
        outputs_mark: of the outputs that were written from the same depth.
        height: of the upright image, pixels.
        width: likewise.
        depth: meters; None where there was no telling.
        approximate: the depth was read from an output that rounds.
    """

    source: str
    outputs_mark: str
    height: int
    width: int
    depth: DepthFacts | None = None
    approximate: bool = False

    @classmethod
    def of(cls, record: Record, depth: DepthMap, thinned: np.ndarray) -> Self:
        """Describe an image whose depth is known."""
        height, width = depth.meters.shape
        facts = DepthFacts.of(depth.meters, thinned)
        return cls(record.source, outputs_mark(record), height, width, facts, depth.provenance.approximate)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self | None:
        """Build from a line, ignoring fields that a newer version may have added; None if it is no line of ours."""
        known = {item.name for item in fields(cls)}
        try:
            depth = values.get("depth")
            facts = None if depth is None else DepthFacts(**{name: float(value) for name, value in depth.items()})
            entry = cls(**{name: value for name, value in values.items() if name in known} | {"depth": facts})
        except (TypeError, ValueError, AttributeError):
            return None
        texts = (entry.source, entry.outputs_mark)
        whole = all(isinstance(text, str) for text in texts) and all(
            isinstance(side, int) for side in (entry.height, entry.width)
        )
        return entry if whole else None


def entry_name(source: str) -> str:
    """Give the name that an image has in the report's folder: the same in every run, and harmless in any."""
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:_NAME_DIGITS]


def outputs_mark(record: Record) -> str:
    """Tell the outputs of an image from those that another run made of it."""
    return hashlib.sha256(repr(sorted(record.sha256.items())).encode()).hexdigest()[:_NAME_DIGITS]


_BEST_FIRST = (ReadsBack.METERS, ReadsBack.VALUES, ReadsBack.APPROXIMATE)


def depth_of_outputs(record: Record, folder: Path, *, meters_per_unit: float) -> DepthMap | None:
    """Read depth back from the most exact output of an image; None if none of them holds any.

    Args:
        record: of the image.
        folder: the batch's output folder.
        meters_per_unit: for outputs that are in the published scale and do not say so.
    """
    rows = [FORMATS[name] for name in record.outputs if name in FORMATS]
    readable = [row for row in rows if row.reads_back in _BEST_FIRST]
    for row in sorted(readable, key=lambda row: _BEST_FIRST.index(row.reads_back)):
        try:
            depth = read_depth(folder / record.outputs[row.name])
        except DepthFileError:  # gone, or changed by somebody: the next may do
            continue
        if row.reads_back is ReadsBack.VALUES and record.settings.get("scale") == "published":
            return replace(depth, meters=depth.meters * np.float32(meters_per_unit))
        return depth
    return None


def photo_of(record: Record) -> NDArray[np.uint8] | None:
    """Read the image again, (H, W, 3) uint8; None if it is gone, another has its name, or it came from a network."""
    if is_address(record.source):
        return None
    source = Path(record.source)
    if not record.source_mark or file_mark(source) != record.source_mark:
        return None
    try:
        return read_image(source).rgb
    except GLPNError:  # a package that it needs may be gone, too
        return None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """How the depth of a run was made.

    Attributes:
        title: what the run is called.
        lines: what else there is to know, as pairs of a label and a text.
        depth_limit_m: the largest depth that the weights can give.
        metric: whether the weights were trained to give meters; None where nobody knows.
        meters_per_unit: the factor from numbers in the published scale to meters.
        colors: how the page shows depth at first.
    """

    title: str
    lines: tuple[tuple[str, str], ...]
    depth_limit_m: float
    metric: bool | None
    meters_per_unit: float
    colors: OutputSettings


def describe_run(
    predictor: Predictor, folders: Sequence[str], settings: dict[str, Any], colors: OutputSettings
) -> RunFacts:
    """Describe a run.

    Args:
        predictor: computed it, or would have.
        folders: of images, as the user named them.
        settings: what decides the contents of the outputs, as in the manifest.
        colors: of the colored outputs, which the page has too.
    """
    card = predictor.card
    names = [os.path.basename(os.path.abspath(folder)) or folder for folder in folders]
    trust = {True: "true meters", False: "approximate meters", None: "meters of unknown quality"}[card.metric]
    own = [
        ("Weights", f"{card.name}, {trust} up to {card.depth_limit_m:g} m"),
        ("Computed on", f"{predictor.runtime.device} in {predictor.runtime.precision}"),
    ]
    others = [
        (name.replace("_", " ").capitalize().replace("sha256", "SHA-256"), _say(value))
        for name, value in settings.items()
        if name != "precision"
    ]
    return RunFacts(
        title=", ".join(names),
        lines=(*own, *others, ("Program", f"glpn-cli {__version__}")),
        depth_limit_m=card.depth_limit_m,
        metric=card.metric,
        meters_per_unit=card.meters_per_unit,
        colors=colors,
    )


def _say(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


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
