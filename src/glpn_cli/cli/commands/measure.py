"""`glpn measure`: how far away something in an image is."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from glpn_cli.cli.anchoring import parse_anchors, say_anchors
from glpn_cli.cli.groups import with_option_groups
from glpn_cli.cli.loading import load_predictor
from glpn_cli.cli.options.network import (
    NetworkOptions,
)
from glpn_cli.cli.options.points import (
    AnchorTexts,
    AtTexts,
    BoxTexts,
    Measured,
)
from glpn_cli.cli.options.records import JsonObject
from glpn_cli.cli.options.talk import TalkOptions
from glpn_cli.cli.piping import check_stdin, read_stdin
from glpn_cli.cli.remarks import Remarks
from glpn_cli.errors import DepthFileError
from glpn_cli.settings import PredictorSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glpn_cli.cli.console import Console
    from glpn_cli.depth import DepthMap
    from glpn_cli.geometry.measure import Measurement, Region


_STDIN = "-"


@with_option_groups
def measure(
    source: Measured,
    *,
    at: AtTexts = None,
    box: BoxTexts = None,
    anchor: AnchorTexts = None,
    network: NetworkOptions,
    json_object: JsonObject = False,
    talk: TalkOptions,
) -> None:
    """Say how many meters away pixels and boxes of a photo are.

    Of a box: the median, and what a tenth and nine tenths of it are nearer than.
    """
    console = talk.console()
    with console.errors_reported():
        from glpn_cli.geometry.measure import Region, anchor_depth
        from glpn_cli.geometry.measure import measure as measure_region

        regions = [*(Region.at(text) for text in at or ()), *(Region.within(text) for text in box or ())]
        anchors = parse_anchors(anchor)
        depth, kind = _depth_of(console, source, network.settings())
        depth = anchor_depth(depth, anchors)
        results = [(region, measure_region(depth, region)) for region in regions or [Region("whole image")]]
        if anchors:
            say_anchors(console, depth)
        if json_object:
            console.data(json.dumps(_record(source, kind, depth, results), allow_nan=False))
        else:
            console.table(_table(results))


def _depth_of(console: Console, source: str, settings: PredictorSettings) -> tuple[DepthMap, str]:
    """Read a depth file, or predict an image; what a file holds counts, and not what it is called."""
    if source == _STDIN:
        check_stdin("measure")
        return _predict(console, read_stdin(), settings), "image"
    from glpn_cli.image.reading import missing_image
    from glpn_cli.inference.plan import is_depth_file
    from glpn_cli.output.reading import read_depth

    path = Path(source)
    if not path.exists():
        raise missing_image(source)
    if not os.path.isfile(path):  # a pipe can be read once, so it has to be an image; or a folder, which is said there
        return _predict(console, source, settings), "image"
    try:
        depth = read_depth(path)
    except DepthFileError:
        if is_depth_file(path):
            raise
        return _predict(console, source, settings), "image"
    if settings != PredictorSettings():
        console.note("this is depth already, so the options of the network do nothing", about=source)
    if depth.provenance.approximate:
        console.note("read from a file that rounds, so the last digits are guesses", about=source)
    if depth.provenance.metric is False:
        console.note("the weights that made it are approximate", about=source)
    return depth, "depth"


def _predict(console: Console, image: str | bytes, settings: PredictorSettings) -> DepthMap:
    predictor = load_predictor(console, settings)
    depth = predictor.predict(image, name="stdin" if isinstance(image, bytes) else None)
    for note in depth.provenance.notes:
        console.note(note)
    remarks = Remarks(())
    remarks.take(depth)
    remarks.say(console)
    return depth


def _table(results: Sequence[tuple[Region, Measurement]]) -> Table:
    unsure = any(result.uncertainty_m is not None for _, result in results)
    table = Table("where", box=None, pad_edge=False)
    for heading in ("meters", "p10", "p90", *(["±"] if unsure else []), "pixels"):
        table.add_column(heading, justify="right")
    for region, result in results:
        meters = [result.median_m, result.p10_m, result.p90_m, *([result.uncertainty_m] if unsure else [])]
        known = "" if result.known == result.pixels else f", {result.known} known"
        table.add_row(region.label, *map(_meters, meters), f"{result.pixels}{known}")
    return table


def _meters(meters: float | None) -> str:
    return "unknown" if meters is None else f"{meters:.3f}"


def _record(source: str, kind: str, depth: DepthMap, results: Sequence[tuple[Region, Measurement]]) -> dict[str, Any]:
    """Give what --json prints; docs/cli.md lists the fields."""
    facts = depth.provenance
    height, width = depth.meters.shape
    return {
        "source": source,
        "kind": kind,
        "image_size": {"height": height, "width": width},
        "weights": {"name": facts.weights, "sha256": facts.weights_sha256, "metric": facts.metric},
        "measurements": [{"box": region.box and list(region.box), **asdict(result)} for region, result in results],
        "anchor_factor": facts.anchor_factor,
        "anchors": list(facts.anchors),
    }
