"""The colors that a page offers: those of the color format, from near to far.

Data as scripts, because a page that is opened from disk may load those and nothing else.

Depth small enough for a page and exact enough to be read from it.

The list of all images that the page loads first: a short row for each.
"""

from __future__ import annotations

import base64
import json
import os
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from glpn_cli.depth import is_known
from glpn_cli.image.fetching import is_address
from glpn_cli.output.color import table_from_near
from glpn_cli.report.journal import entry_name
from glpn_cli.settings import Colormap

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from glpn_cli.inference.manifest import Record
    from glpn_cli.report.journal import Entry, RunFacts
    from glpn_cli.settings import OutputSettings


def palettes_for(settings: OutputSettings) -> dict[str, str]:
    """Give each map's 256 colors, red, green, blue, near first, as base64.

    Args:
        settings: say what near looks like.
    """
    return {
        str(name): base64.b64encode(table_from_near(replace(settings, colormap=name)).tobytes()).decode("ascii")
        for name in Colormap
    }


def to_script(function: str, *values: Any) -> bytes:
    r"""Write a script that hands values to a function of the page.

    Everything that is not ASCII is escaped, broken Unicode of file names too, and so is `<`: whoever pastes the script
    into a page cannot end it or begin another with a name such as `</script>`.

    Args:
        function: of the page's `glpn` object.
        values: what JSON can hold, without NaN.
    """
    written = ", ".join(
        json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c") for value in values
    )
    return f"glpn.{function}({written});\n".encode("ascii")


_STEP_M = 0.001

_MOST_STEPS = 65_534

_FAST = 1  # of zlib; its slower levels take ten times as long for a fifth less


def sample(meters: NDArray[np.float32], longest_side_px: int) -> NDArray[np.float32]:
    """Take depths at regular places, so that no side is longer than a limit.

    Depths are taken and not averaged: the mean of near and far at an edge is the depth of nothing.

    Args:
        meters: (H, W) float32, meters.
        longest_side_px: of what comes out, if the map is larger.

    Returns:
        (h, w) float32, meters; the value at (r, c) is that of the pixel ((r + 0.5)·H/h, (c + 0.5)·W/w), rounded down.
    """
    height, width = meters.shape
    longest = max(height, width)
    if longest <= longest_side_px:
        return meters
    rows, columns = (
        (np.arange(count) * 2 + 1) * side // (2 * count)
        for side, count in ((side, max(1, side * longest_side_px // longest)) for side in (height, width))
    )
    picked: NDArray[np.float32] = meters[rows[:, None], columns]
    return picked


def encode_grid(meters: NDArray[np.float32]) -> dict[str, Any]:
    """Turn depth into text: whole steps of a millimeter, or of the 65,534th part of a span of more than 65 m.

    Neighbors are alike, so what is kept is how each value differs from what the two before it and those above it
    foretell, the high bytes first, compressed.

    Args:
        meters: (h, w) float32, meters; what is no positive number is unknown.

    Returns:
        What `decode_grid` and the page's `store.js` read, ready for JSON.
    """
    known = is_known(meters)
    whole = bool(known.all())
    depths = meters if whole else meters[known]
    low, high = (float(depths.min()), float(depths.max())) if depths.size else (0.0, 0.0)
    step_m = max(_STEP_M, (high - low) / _MOST_STEPS)
    filled = meters if whole else np.where(known, meters, np.float32(low))
    values = ((filled - np.float32(low)) * np.float32(1 / step_m) + np.float32(1.5)).astype(np.uint16)
    if not whole:
        values[~known] = 0
    across = np.diff(values, axis=1, prepend=np.uint16(0))
    surprise = np.diff(across, axis=0, prepend=np.uint16(0)).view(np.int16)
    folded = ((surprise << 1) ^ (surprise >> 15)).view(np.uint16)  # 0, -1, 1, -2, ... as 0, 1, 2, 3, ...
    planes = np.empty((2, *meters.shape), np.uint8)
    np.right_shift(folded, 8, out=planes[0], casting="unsafe")
    np.bitwise_and(folded, 255, out=planes[1], casting="unsafe")
    return {
        "height": meters.shape[0],
        "width": meters.shape[1],
        "low_m": low,
        "step_m": step_m,
        "data": base64.b64encode(zlib.compress(planes.tobytes(), _FAST)).decode("ascii"),
    }


def decode_grid(grid: dict[str, Any]) -> NDArray[np.float32]:
    """Read back what `encode_grid` gave.

    Returns:
        (h, w) float32, meters; NaN where depth is unknown.
    """
    planes = np.frombuffer(zlib.decompress(base64.b64decode(grid["data"])), np.uint8)
    high, low = planes.reshape(2, grid["height"], grid["width"]).astype(np.uint16)
    folded = (high << 8) | low
    surprise = (folded >> 1) ^ (0 - (folded & 1))
    values = surprise.cumsum(axis=0, dtype=np.uint16).cumsum(axis=1, dtype=np.uint16)
    meters = np.float32(grid["low_m"]) + (values.astype(np.float32) - 1) * np.float32(grid["step_m"])
    return np.where(values == 0, np.float32(np.nan), meters)


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

"""What stands at each place of a row. Depths are meters; what is unknown is null."""


def index_of(
    run: RunFacts, records: Iterable[Record], entries: Mapping[str, Entry], *, total: int, written: str
) -> dict[str, Any]:
    """Give all that the page has to know before it shows anything, ready for JSON.

    Args:
        run: how the depth was made.
        records: one for each image.
        entries: what else is known of the images, by source.
        total: how many images there are to be in the end.
        written: date and time, for people.
    """
    records = list(records)
    root = common_folder([record.source for record in records])
    return {
        "title": run.title,
        "folder": root,
        "lines": [list(line) for line in run.lines],
        "depth_limit_m": run.depth_limit_m,
        "metric": run.metric,
        "palettes": palettes_for(run.colors),
        "palette": str(run.colors.colormap),
        "range_m": run.colors.range_m,
        "total": total,
        "written": written,
        "columns": list(COLUMNS),
        "rows": [_row(record, entries.get(record.source), root) for record in records],
    }


def common_folder(sources: list[str]) -> str:
    """Give the folder that all images are in or below, with a slash at its end; empty if there is none."""
    if any(map(is_address, sources)):
        return ""
    try:
        root = os.path.commonpath([os.path.dirname(source) for source in sources])
    except ValueError:  # no images, or several drives
        return ""
    return os.path.join(root, "")


def _row(record: Record, entry: Entry | None, root: str) -> list[Any]:
    name = record.source.removeprefix(root)
    if not is_address(name):
        name = name.replace(os.sep, "/")
    row: list[Any] = [entry_name(record.source), name, record.status, record.seconds]
    if entry is None or record.error is not None:
        row += [None] * 8
    else:
        depth = entry.depth
        facts = [None] * 5 if depth is None else [depth.nearest, depth.near, depth.median, depth.far, depth.farthest]
        row += [entry.height or None, entry.width or None, *facts, entry.approximate]
    error = None if record.error is None else record.error.removeprefix(f"{record.source}: ")
    return [*row, error, record.hint]
