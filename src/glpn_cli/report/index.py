"""The index of a report: the run and a short row for each image. The page loads it first."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from glpn_cli._version import __version__
from glpn_cli.image.fetching import is_address
from glpn_cli.output.color import near_first_table
from glpn_cli.report.journal import entry_name
from glpn_cli.settings import Colormap

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from glpn_cli.inference.manifest import Record
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.report.journal import Entry
    from glpn_cli.settings import OutputSettings

COLUMNS = (
    "id",
    "name",
    "status",
    "seconds",
    "height",
    "width",
    "nearest",
    "near",
    "median",
    "far",
    "farthest",
    "approximate",
    "error",
    "hint",
)
"""The columns of a row. Depths are meters; unknown values are null."""

_DEPTH_COLUMNS = ("nearest", "near", "median", "far", "farthest")


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the report states about the run.

    Attributes:
        title: the name of the run.
        lines: more information, as pairs of label and text.
        depth_limit_m: the largest depth that the weights can predict.
        metric: whether the weights were trained on metric ground truth; None if this is unknown.
        meters_per_unit: factor from the published scale to meters.
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
    """Return what the report states about a run.

    Args:
        predictor: of the run.
        folders: of the images, as the user named them.
        settings: that determine the contents of the outputs, as in the manifest.
        colors: settings of the colored outputs; the page starts with the same colors.
    """
    card = predictor.card
    names = [os.path.basename(os.path.abspath(folder)) or folder for folder in folders]
    accuracy = {True: "true meters", False: "approximate meters", None: "meters of unknown accuracy"}[card.metric]
    lines = [
        ("Weights", f"{card.name}, {accuracy} up to {card.depth_limit_m:g} m"),
        ("Computed on", f"{predictor.runtime.device} in {predictor.runtime.precision}"),
        *((_to_label(name), _to_text(value)) for name, value in settings.items() if name != "precision"),
        ("Program", f"glpn-cli {__version__}"),
    ]
    return RunFacts(
        title=", ".join(names),
        lines=tuple(lines),
        depth_limit_m=card.depth_limit_m,
        metric=card.metric,
        meters_per_unit=card.meters_per_unit,
        colors=colors,
    )


def build_index(
    run: RunFacts, records: Iterable[Record], entries: Mapping[str, Entry], *, total: int, written: str
) -> dict[str, Any]:
    """Return everything that the page needs for the overview, ready for JSON.

    Args:
        run: what the report states about the run.
        records: one for each image.
        entries: more about the images, by source.
        total: the number of images when the run is complete.
        written: date and time, for people.
    """
    records = list(records)
    folder = find_common_folder([record.source for record in records])
    return {
        "title": run.title,
        "folder": folder,
        "lines": [list(line) for line in run.lines],
        "depth_limit_m": run.depth_limit_m,
        "metric": run.metric,
        "palettes": _encode_palettes(run.colors),
        "palette": str(run.colors.colormap),
        "range_m": run.colors.range_m,
        "total": total,
        "written": written,
        "columns": list(COLUMNS),
        "rows": [_build_row(record, entries.get(record.source), folder) for record in records],
    }


def find_common_folder(sources: list[str]) -> str:
    """Return the deepest folder that contains all images, with a slash at the end; empty if there is none."""
    if any(map(is_address, sources)):
        return ""
    try:
        folder = os.path.commonpath([os.path.dirname(source) for source in sources])
    except ValueError:  # no images, or several drives
        return ""
    return os.path.join(folder, "")


def _build_row(record: Record, entry: Entry | None, folder: str) -> list[Any]:
    name = record.source.removeprefix(folder)
    if not is_address(name):
        name = name.replace(os.sep, "/")
    values: dict[str, Any] = {
        "id": entry_name(record.source),
        "name": name,
        "status": record.status,
        "seconds": record.seconds,
        "error": None if record.error is None else record.error.removeprefix(f"{record.source}: "),
        "hint": record.hint,
    }
    if entry is not None and record.error is None:
        values |= {"height": entry.height or None, "width": entry.width or None, "approximate": entry.approximate}
        values |= {name: getattr(entry.depth, name, None) for name in _DEPTH_COLUMNS}
    return [values.get(column) for column in COLUMNS]


def _encode_palettes(settings: OutputSettings) -> dict[str, str]:
    """Return the 256 colors of each colormap as base64 of red, green, blue; near first, as the settings show it."""
    return {
        str(name): base64.b64encode(near_first_table(replace(settings, colormap=name)).tobytes()).decode("ascii")
        for name in Colormap
    }


def _to_label(name: str) -> str:
    return name.replace("_", " ").capitalize().replace("sha256", "SHA-256")


def _to_text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
