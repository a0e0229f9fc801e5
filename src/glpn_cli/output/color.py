"""The colors of depth: tables in an image beside this file, one row each, written by tools/make_colormaps.py.

Which depths an image's colors stand for: from what the user asked for to meters.

The color format: depth in colors, to look at, with a legend and the photo beside it if that is wanted.
"""

from __future__ import annotations

import json
import math
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from glpn_cli.depth import DepthMap, is_known
from glpn_cli.errors import UsageError
from glpn_cli.output import png
from glpn_cli.output.facts import origin, state_facts
from glpn_cli.output.legend import Legend, draw_legend
from glpn_cli.output.png import write_png
from glpn_cli.settings import DepthRange, Near

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from glpn_cli.settings import Colormap, OutputSettings


read_facts = png.read_facts

_FILE = "colormaps.png"

_FOR_UNKNOWN = ((128, 128, 128), (255, 255, 255), (0, 0, 0), (255, 0, 255))

_FAR_ENOUGH = 60.0


@cache
def color_table(name: Colormap) -> NDArray[np.uint8]:
    """Give the colors of a map.

    Returns:
        (256, 3) uint8, sRGB, from the dark or cold end to the bright or warm one.
    """
    with files("glpn_cli.output").joinpath(_FILE).open("rb") as stream, Image.open(stream) as image:
        row = list(json.loads(image.info["maps"])).index(name)
        table: NDArray[np.uint8] = np.array(image)[row]
    table.flags.writeable = False
    return table


def color_of_unknown(name: Colormap) -> tuple[int, int, int]:
    """Give the color of unknown depth: the plainest one that is far from all colors of a map."""
    table = color_table(name).astype(np.float64)
    distances = {color: float(np.linalg.norm(table - color, axis=1).min()) for color in _FOR_UNKNOWN}
    return next(
        (color for color in _FOR_UNKNOWN if distances[color] >= _FAR_ENOUGH), max(distances, key=distances.__getitem__)
    )


_SAMPLE_PIXELS = 65_536

_LEAST_SPAN = 1e-3

"""Of the far end: a flat wall still has a range."""


def range_of(depth: DepthMap, settings: OutputSettings) -> tuple[float, float]:
    """Give the range of an image: the run's if there is one, else what was asked for, else "auto".

    Returns:
        Nearest and farthest depth in meters; the second is the larger one, however flat the depth is.

    Raises:
        UsageError: the range of the model is asked for, and nobody knows it.
    """
    return settings.range_m or measure_range([depth], settings.range or DepthRange.parse("auto"))


def measure_range(depths: Sequence[DepthMap], asked: DepthRange) -> tuple[float, float]:
    """Give the range of several images together.

    Args:
        depths: at least one; in percentiles each counts the same, whatever its size.
        asked: what is wanted.

    Returns:
        Nearest and farthest depth in meters.

    Raises:
        UsageError: the range of the model is asked for, and nobody knows it.
    """
    if asked.mode == "fixed":
        return asked.low, asked.high
    if asked.mode == "model":
        limit_m = depths[0].provenance.depth_limit_m
        if limit_m is None:
            raise UsageError("--range model: nobody knows the depth limit of these weights", hint="give LO:HI instead")
        return 0.0, limit_m
    # One image in full, so that its percentiles are exact; of several, about as many pixels of each.
    thinned = depths if len(depths) == 1 else [thin_out(depth) for depth in depths]
    known = np.concatenate([depth.meters[is_known(depth.meters)] for depth in thinned])
    if known.size == 0:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(known, (asked.low, asked.high)))
    return (low, high) if high - low >= _LEAST_SPAN * high else (low, low * (1 + _LEAST_SPAN))


def thin_out(depth: DepthMap) -> DepthMap:
    """Keep some tens of thousands of pixels, evenly spread, whatever the size; a small map stays as it is."""
    step = min(math.isqrt(math.ceil(depth.meters.size / _SAMPLE_PIXELS)), *depth.meters.shape)
    return DepthMap(depth.meters[step // 2 :: step, step // 2 :: step].copy(), depth.provenance)


def encode(depth: DepthMap, settings: OutputSettings) -> bytes:
    """Turn depth into a colored PNG.

    Raises:
        UsageError: the photo is to stand beside it and is not there, or the range of the model is not known.
    """
    low_m, high_m = range_of(depth, settings)
    image = colorize(depth, settings, low_m, high_m)
    if settings.side_by_side:
        if depth.rgb is None:
            raise UsageError("the depth map has no photo to stand beside it", hint="predict with keep_rgb=True")
        image = np.concatenate([depth.rgb, image], axis=1)
    if settings.legend:
        image = draw_legend(image, _legend(depth, settings, low_m, high_m))
    near = settings.near or Near.BRIGHT
    facts = state_facts(
        "color",
        depth,
        unit="meter",
        low=low_m,
        high=high_m,
        range=str(settings.range or "auto"),
        colormap=str(settings.colormap),
        near=str(near),
        legend=settings.legend,
        side_by_side=settings.side_by_side,
    )
    description = f"{origin(depth)}: {low_m:.6g} to {high_m:.6g} m in the colors {settings.colormap}, near is {near}"
    return write_png(image, facts, description, compression=settings.png_compression)


def colorize(depth: DepthMap, settings: OutputSettings, low_m: float, high_m: float) -> NDArray[np.uint8]:
    """Give every pixel the color of its depth; depth outside the range gets that of the nearest end.

    Returns:
        (H, W, 3) uint8, sRGB.
    """
    known = is_known(depth.meters)
    share = (np.where(known, depth.meters, np.float32(low_m)) - np.float32(low_m)) / np.float32(high_m - low_m)
    index = np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)
    colors: NDArray[np.uint8] = table_from_near(settings)[index]
    if not known.all():
        colors[~known] = color_of_unknown(settings.colormap)
    return colors


def table_from_near(settings: OutputSettings) -> NDArray[np.uint8]:
    """Give (256, 3) uint8 colors, from those of near to those of far."""
    table = color_table(settings.colormap)
    return table if settings.near is Near.DARK else table[::-1]


def _legend(depth: DepthMap, settings: OutputSettings, low_m: float, high_m: float) -> Legend:
    known = is_known(depth.meters)
    facts = depth.provenance
    return Legend(
        colors=table_from_near(settings),
        low_m=low_m,
        high_m=high_m,
        is_nearer=bool((known & (depth.meters < low_m)).any()),
        is_farther=bool((known & (depth.meters > high_m)).any()),
        unknown=None if known.all() else color_of_unknown(settings.colormap),
        caption=" ".join(filter(None, [facts.weights, "(approximate)" if facts.metric is False else ""])),
    )
