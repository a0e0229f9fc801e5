"""`glpn measure`: distances in an image."""

from __future__ import annotations

import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from glpn_cli.cli.command import command
from glpn_cli.cli.console import Console
from glpn_cli.cli.options import INPUT, LOGGING, Argument, Option
from glpn_cli.cli.process import check_stdin
from glpn_cli.cli.results import DepthNotes, load_predictor, parse_anchors, print_anchors
from glpn_cli.errors import DepthFileError
from glpn_cli.settings import OutputSettings, PredictionSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glpn_cli.depth import DepthMap
    from glpn_cli.geometry.measure import Measurement, Region

_STDIN = "-"


@command(
    arguments={"source": Argument("An image, a depth file, or - for an image from standard input.", "PHOTO|DEPTH")},
    options={
        "at": Option(
            "A pixel of the upright image: column from the left and row from the top, from 0. Repeatable.",
            INPUT,
            "X,Y",
        ),
        "box": Option("A box of pixels, without column X1 and row Y1. Repeatable.", INPUT, "X0,Y0,X1,Y1"),
        "json": Option("Print a JSON object on standard output.", LOGGING),
    },
    without=("fov_deg", "focal_px", "focal_mm_35", "camera"),
    examples=(
        "glpn measure photo.jpg --at 320,240",
        "glpn measure photo.jpg --box 100,50,300,200 --at 10,10",
        "glpn measure photo.depth16.png --at 320,240",
        "glpn measure photo.jpg --at 320,240 --anchor 100,400=2.5",
    ),
)
def measure(
    console: Console,
    source: str,
    *,
    at: tuple[str, ...],
    box: tuple[str, ...],
    anchor: tuple[str, ...],
    prediction: PredictionSettings,
    json: bool,
) -> None:
    """Measure distances in a photo.

    Prints the depth of pixels, and the median and the 10th and 90th percentiles of boxes, in meters. Approximate
    distances are rounded.
    """
    from glpn_cli.geometry.measure import Region, anchor_depth
    from glpn_cli.geometry.measure import measure as measure_region

    regions = [*(Region.at(text) for text in at), *(Region.within(text) for text in box)]
    anchors = parse_anchors(anchor)
    depth, kind = _depth_of(console, source, prediction)
    depth = anchor_depth(depth, anchors)
    results = [(region, measure_region(depth, region)) for region in regions or [Region("whole image")]]
    print_anchors(console, depth.provenance.anchor_factor, depth.provenance.anchors if anchors else ())
    if json:
        console.record(_record(source, kind, depth, results))
    else:
        console.table(_table(results, approximate=depth.provenance.metric is False))


def _depth_of(console: Console, source: str, settings: PredictionSettings) -> tuple[DepthMap, str]:
    """Read a depth file or predict an image; the content of the file decides, not its name."""
    if source == _STDIN:
        from glpn_cli.inference.run import read_stdin

        check_stdin("an image", "cat photo.jpg | glpn measure -")
        return _predict(console, read_stdin(), settings), "image"
    from glpn_cli.image.reading import missing_image
    from glpn_cli.inference.plan import is_depth_file
    from glpn_cli.output.reading import read_depth

    path = Path(source)
    if not path.exists():
        raise missing_image(source)
    if not os.path.isfile(path):  # a pipe can be read only once, so it must be an image; a folder fails there
        return _predict(console, source, settings), "image"
    try:
        depth = read_depth(path)
    except DepthFileError:
        if is_depth_file(path):
            raise
        return _predict(console, source, settings), "image"
    if settings != PredictionSettings():
        console.note("is a depth file; inference options are ignored", about=source)
    if depth.provenance.approximate:
        console.note("the file stores rounded depth, so the last digits are uncertain", about=source)
    if depth.provenance.metric is False:
        console.note("made with approximate weights", about=source)
    return depth, "depth"


def _predict(console: Console, image: str | bytes, settings: PredictionSettings) -> DepthMap:
    from glpn_cli.inference.result import note_depth

    predictor = load_predictor(console, settings)
    depth = predictor.predict(image, name="standard input" if isinstance(image, bytes) else None)
    for note in depth.provenance.notes:
        console.note(note)
    notes = DepthNotes(())
    notes.add(note_depth(depth, output=OutputSettings()))
    notes.print(console)
    return depth


def _table(results: Sequence[tuple[Region, Measurement]], *, approximate: bool) -> Table:
    uncertain = any(result.uncertainty_m is not None for _, result in results)
    table = Table("where", box=None, pad_edge=False)
    for heading in ("meters", "p10", "p90", *(["±"] if uncertain else []), "pixels"):
        table.add_column(heading, justify="right")
    for region, result in results:
        meters = [result.median_m, result.p10_m, result.p90_m, *([result.uncertainty_m] if uncertain else [])]
        known = "" if result.known == result.pixels else f", {result.known} known"
        median, *others = (_meters(value, approximate=approximate) for value in meters)
        about = "about " if approximate and result.median_m is not None else ""
        table.add_row(region.label, about + median, *others, f"{result.pixels}{known}")
    return table


def _meters(meters: float | None, *, approximate: bool) -> str:
    """Return a distance to the centimeter, or to two digits if it is approximate."""
    if meters is None:
        return "unknown"
    if not approximate:
        return f"{meters:.2f}"
    rounded = float(f"{meters:.2g}")
    return f"{rounded:.{max(0, 1 - math.floor(math.log10(rounded)))}f}"  # known depth is positive


def _record(source: str, kind: str, depth: DepthMap, results: Sequence[tuple[Region, Measurement]]) -> dict[str, Any]:
    """Return the JSON record; docs/cli.md lists the fields."""
    known = depth.provenance
    height, width = depth.meters.shape
    return {
        "source": source,
        "kind": kind,
        "image_size": {"height": height, "width": width},
        "weights": {"name": known.weights, "sha256": known.weights_sha256, "metric": known.metric},
        "camera": None if depth.camera is None else depth.camera.to_dict((height, width)),
        "measurements": [{"box": region.box and list(region.box), **asdict(result)} for region, result in results],
        "anchor_factor": known.anchor_factor,
        "anchors": list(known.anchors),
    }
