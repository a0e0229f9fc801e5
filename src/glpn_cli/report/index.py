"""The index of a report: the run and a short row for each image. The page loads it first."""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from glpn_cli._version import __version__
from glpn_cli.image.fetching import is_address
from glpn_cli.inference.color_range import join_ranges
from glpn_cli.output.color import color_curve, colormap_of, measure_range, near_first_table
from glpn_cli.report.journal import entry_name
from glpn_cli.values import Colormap, DepthRange, RangeMode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from glpn_cli.depth import DepthMap
    from glpn_cli.inference.facts import PredictorFacts
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.inference.record import Record
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
    "low",
    "high",
    "approximate",
    "error",
    "hint",
)
"""The columns of a row. Depths are meters; unknown values are null."""

_DEPTH_COLUMNS = ("nearest", "near", "median", "far", "farthest")

_MAX_TITLE_NAMES = 3
_SIZE = re.compile(r"(\d+)x(\d+)")
_FOREIGN_FOLDERS = re.compile(r"""(?<![\w:/\\.-])(?:[A-Za-z]:)?[/\\](?:[^\s/\\:'"]+[/\\])+""")


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
        folders: absolute paths of the folders with the images. They are not in the page.
    """

    title: str
    lines: tuple[tuple[str, str], ...]
    depth_limit_m: float
    metric: bool | None
    meters_per_unit: float
    colors: OutputSettings
    folders: tuple[str, ...] = ()


def describe_run(
    predictor: Predictor | PredictorFacts, folders: Sequence[str], settings: dict[str, Any], colors: OutputSettings
) -> RunFacts:
    """Return what the report states about a run.

    Args:
        predictor: of the run.
        folders: of the images, as the user named them.
        settings: that determine the contents of the outputs, as in the manifest.
        colors: settings of the colored outputs; the page starts with the same colors.
    """
    card = predictor.card
    accuracy = {True: "true meters", False: "approximate meters", None: "meters of unknown accuracy"}[card.metric]
    lines = [
        ("Weights", f"{card.name}, {accuracy} up to {card.depth_limit_m:g} m"),
        ("Computed on", f"{predictor.runtime.device} in {predictor.runtime.precision}"),
        *((_to_label(name), _to_text(value)) for name, value in settings.items() if name != "precision"),
        ("Program", f"glpn-cli {__version__}"),
    ]
    return RunFacts(
        title=_make_title(folders),
        lines=tuple(lines),
        depth_limit_m=card.depth_limit_m,
        metric=card.metric,
        meters_per_unit=card.meters_per_unit,
        colors=colors,
        folders=tuple(map(os.path.realpath, folders)),
    )


def _make_title(folders: Sequence[str]) -> str:
    names = list(dict.fromkeys(os.path.basename(os.path.abspath(folder)) or "images" for folder in folders))
    more = len(names) - _MAX_TITLE_NAMES
    return ", ".join(names[:_MAX_TITLE_NAMES]) + (f" and {more} more" if more > 0 else "")


def build_index(
    run: RunFacts, records: Iterable[Record], entries: Mapping[str, Entry], *, out: str = "", total: int, written: str
) -> dict[str, Any]:
    """Return everything that the page needs for the overview, ready for JSON.

    Args:
        run: what the report states about the run.
        records: one for each image.
        entries: more about the images, by id.
        out: absolute path of the output folder; it is not in the page.
        total: the number of images when the run is complete.
        written: date and time, for people.
    """
    records = list(records)
    names = Names([record.source for record in records], run.folders, out)
    rows = [_build_row(record, entries.get(entry_name(record.source)), names) for record in records]
    return {
        "title": run.title,
        "lines": [[label, names.redact(text)] for label, text in run.lines],
        "metric": run.metric,
        "palettes": _encode_palettes(run.colors),
        "palette": str(colormap_of(run.colors)),
        "curve": str(color_curve(run.colors)),
        "range": _start_range(run.colors),
        "run_range_m": _find_run_range(run, rows),
        "model_range_m": [0.0, run.depth_limit_m],
        "total": total,
        "written": written,
        "columns": list(COLUMNS),
        "rows": rows,
    }


class Names:
    """Names of images, and texts about them, without the folders of this machine: a report is made to be passed on."""

    def __init__(self, sources: Sequence[str], folders: Sequence[str], out: str = "") -> None:
        """Store what is known of the folders.

        Args:
            sources: absolute paths of images, or URLs.
            folders: absolute paths of the folders that the images are in.
            out: absolute path of the output folder.
        """
        self._folders = [os.path.join(folder, "") for folder in folders]
        self._common = find_common_folder([source for source in sources if not self._folder_of(source)])
        outs = [os.path.join(form, "") for form in (out, os.path.realpath(out)) if out]
        hidden = {folder for folder in (*self._folders, self._common, *outs) if folder}
        roots = {folder for folder in hidden if os.path.dirname(folder) == folder}
        longest_first = sorted((folder.rstrip(os.sep) for folder in hidden - roots), key=len, reverse=True)
        self._hidden = (
            re.compile(rf"(?<![\w.-])({'|'.join(map(re.escape, longest_first))})([/\\]|(?![\w.-]))")
            if longest_first
            else None
        )

    def of(self, source: str) -> str:
        """Return the name of an image: its path from its folder, with slashes. A URL is a name."""
        if is_address(source) or not os.path.isabs(source):
            return source
        folder = self._folder_of(source)
        if folder:
            name = source.removeprefix(folder)
            name = os.path.join(os.path.basename(os.path.dirname(folder)), name) if len(self._folders) > 1 else name
        elif self._common:
            name = source.removeprefix(self._common)
        else:
            name = os.path.join(*source.split(os.sep)[-2:])
        return name.replace(os.sep, "/")

    def redact(self, text: str) -> str:
        """Return a text in which paths are relative to the folders, and other absolute paths are shortened."""
        if self._hidden is not None:
            text = self._hidden.sub(lambda found: "" if found[2] else os.path.basename(found[1]), text)
        return _FOREIGN_FOLDERS.sub("…/", text)

    def _folder_of(self, source: str) -> str:
        return max((folder for folder in self._folders if source.startswith(folder)), key=len, default="")


def find_common_folder(sources: list[str]) -> str:
    """Return the deepest folder that contains all images, with a slash at the end; empty if there is none.

    URLs and names that are not absolute do not count. The root is in no name, so it is not a common folder.
    """
    paths = [source for source in sources if os.path.isabs(source) and not is_address(source)]
    try:
        folder = os.path.commonpath([os.path.dirname(source) for source in paths])
    except ValueError:  # no images, or several drives
        return ""
    return "" if os.path.dirname(folder) == folder else os.path.join(folder, "")


def image_range(depth: DepthMap, settings: OutputSettings) -> tuple[float, float]:
    """Return the range of an image's own colors, meters: the percentiles of the settings, else "auto".

    Args:
        depth: of the image, or of some of its pixels.
        settings: of the colored outputs.
    """
    is_own = settings.range is not None and settings.range.mode is RangeMode.PERCENTILES
    low_m, high_m = measure_range(depth, settings.range if is_own and settings.range else DepthRange.parse("auto"))
    return float(f"{low_m:.6g}"), float(f"{high_m:.6g}")


def _start_range(settings: OutputSettings) -> str:
    """Return the range that the page starts with: that of the colored outputs."""
    mode = RangeMode.PERCENTILES if settings.range is None else settings.range.mode
    return {RangeMode.PERCENTILES: "image", RangeMode.MODEL: "model"}.get(mode, "run")


def _find_run_range(run: RunFacts, rows: Sequence[Sequence[Any]]) -> list[float]:
    """Return one range for all images, meters: that of the colored outputs, or one that suits most images."""
    requested = run.colors.range
    if requested is not None and requested.mode is RangeMode.FIXED:
        return [requested.low, requested.high]
    if run.colors.range_m is not None:
        return list(run.colors.range_m)
    low, high = COLUMNS.index("low"), COLUMNS.index("high")
    ranges = [(row[low], row[high]) for row in rows if row[low]]  # 0 if all depth of an image is unknown
    return list(join_ranges(ranges)) if ranges else [0.0, run.depth_limit_m]


def _build_row(record: Record, entry: Entry | None, names: Names) -> list[Any]:
    values: dict[str, Any] = {
        "id": entry_name(record.source),
        "name": names.of(record.source),
        "status": record.status,
        "seconds": record.seconds,
        "error": record.error and names.redact(record.error.removeprefix(f"{record.source}: ")),
        "hint": record.hint and names.redact(record.hint),
    }
    if entry is not None and record.error is None:
        values |= {"height": entry.height or None, "width": entry.width or None, "approximate": entry.approximate}
        values |= {name: getattr(entry.depth, name, None) for name in _DEPTH_COLUMNS}
        if entry.depth is not None:
            values |= dict(zip(("low", "high"), entry.range_m or (entry.depth.near, entry.depth.far), strict=True))
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
    """Return the value of a setting as text; sizes, which settings have as HxW, in the order of the page."""
    texts = [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]
    return ", ".join(
        _SIZE.sub(r"\2 x \1 pixels (width x height)", text) if _SIZE.fullmatch(text) else text for text in texts
    )
