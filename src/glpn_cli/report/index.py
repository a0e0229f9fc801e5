"""The list of all images that the page loads first: a short row for each."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from glpn_cli.image.address import is_address
from glpn_cli.report.entry import entry_name
from glpn_cli.report.palettes import palettes_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from glpn_cli.inference.manifest import Record
    from glpn_cli.report.entry import Entry
    from glpn_cli.report.run_facts import RunFacts

__all__ = ["COLUMNS", "index_of"]

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
