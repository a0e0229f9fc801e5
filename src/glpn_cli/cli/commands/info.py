"""`glpn info`: what a file says of itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from glpn_cli.cli.console import Console, printable
from glpn_cli.cli.options.points import DepthFiles
from glpn_cli.cli.options.records import JsonFacts
from glpn_cli.cli.options.talk import (
    Color,
    Debug,
)
from glpn_cli.cli.outcome import conclude
from glpn_cli.errors import GLPNError
from glpn_cli.settings import ColorPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from glpn_cli.output.reading import Description


_METRIC = {True: "true meters", False: "approximate meters", "anchored": "meters by known distances"}
_LABELS = {"meters_per_unit": "published unit m"}
_LABEL_WIDTH = 18


def info(
    files: DepthFiles, json_facts: JsonFacts = False, debug: Debug = False, color: Color = ColorPolicy.AUTO
) -> None:
    """Print what depth files say of themselves.

    The image, the weights, the range, the scale of the numbers, and the depth that is read back.
    """
    console = Console(color=color, debug=debug)
    with console.errors_reported():
        from glpn_cli.output.reading import describe_file

        failure_codes: list[int] = []
        for file in files:
            try:
                described = describe_file(file)
            except GLPNError as error:
                failure_codes.append(error.exit_code)
                console.error(error)
                if json_facts:
                    failure = {"message": error.message, "hint": error.hint, "exit_code": error.exit_code}
                    console.data(json.dumps({"file": file, "status": "failed", "error": failure}))
                continue
            if json_facts:
                console.data(json.dumps(_record(file, described)))
            else:
                console.data(printable(file))
                for label, value in _lines(described):
                    console.data(f"  {printable(label):<{_LABEL_WIDTH}}{printable(value)}")
        conclude(len(files), failure_codes)


def _record(file: str, described: Description) -> dict[str, Any]:
    """Give what --json prints of a file; docs/cli.md lists the fields."""
    return {
        "file": file,
        "status": "ours" if described.facts is not None else "foreign",
        "format": described.row and described.row.name,
        "reads_back": described.row and str(described.row.reads_back),
        "size": described.size and {"height": described.size[0], "width": described.size[1]},
        "depth_m": _depth(described),
        "says": described.facts,
        "remark": described.remark or None,
    }


def _depth(described: Description) -> dict[str, float | None] | None:
    """Give the nearest, middle and farthest depth and the share that is unknown."""
    import numpy as np

    from glpn_cli.depth import is_known

    if described.depth is None:
        return None
    meters = described.depth.meters
    known = meters[is_known(meters)]
    ends = (known.min(), np.median(known), known.max()) if known.size else (None, None, None)
    low, middle, high = (None if value is None else float(value) for value in ends)
    return {"min": low, "median": middle, "max": high, "unknown_share": 1 - known.size / meters.size}


def _lines(described: Description) -> Iterator[tuple[str, str]]:
    if described.row is not None:
        yield "format", f"{described.row.name}: {described.row.holds}"
    if described.size is not None:
        yield "size", "{}x{}".format(*described.size)
    depth = _depth(described)
    if depth is not None and depth["median"] is not None:
        unknown = f"; {100 * (depth['unknown_share'] or 0):.3g} % unknown" if depth["unknown_share"] else ""
        yield "depth", f"{depth['min']:.4g} to {depth['max']:.4g} m, median {depth['median']:.4g}{unknown}"
    if described.remark:
        yield "remark", described.remark
    facts = dict(described.facts or {})
    provenance = facts.pop("provenance", {})
    if described.facts is not None:
        metric = provenance.get("metric")
        yield "depth is", _METRIC.get(metric if isinstance(metric, bool | str) else "", "of unknown scale")
    facts.pop("format", None)
    provenance.pop("metric", None)
    for name, value in facts.items():
        yield name.replace("_", " "), _text(value)
    for name, value in provenance.items():
        yield _LABELS.get(name, name.replace("_", " ")), _text(value)


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
