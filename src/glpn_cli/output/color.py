"""Depth to colors: the color tables, the depth range that they span, and the color of each pixel.

The tables are the rows of an image beside this file, written by a script from the package cmap.
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
from glpn_cli.settings import DepthRange, Near

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from glpn_cli.settings import Colormap, OutputSettings

_TABLES_FILE = "colormaps.png"

_UNKNOWN_COLORS = ((128, 128, 128), (255, 255, 255), (0, 0, 0), (255, 0, 255))
_MIN_COLOR_DISTANCE = 60.0

_SAMPLE_PIXELS = 65_536
_MIN_RELATIVE_SPAN = 1e-3
"""Smallest span of a range relative to its nearest depth: constant depth has a range, too."""


@cache
def color_table(name: Colormap) -> NDArray[np.uint8]:
    """Return the colors of a colormap.

    Returns:
        (256, 3) uint8, sRGB, from the dark or cold end to the bright or warm end. Read-only.
    """
    with files("glpn_cli.output").joinpath(_TABLES_FILE).open("rb") as stream, Image.open(stream) as image:
        row = list(json.loads(image.info["maps"])).index(name)
        table: NDArray[np.uint8] = np.array(image)[row]
    table.flags.writeable = False
    return table


def near_first_table(settings: OutputSettings) -> NDArray[np.uint8]:
    """Return the colors of the settings, (256, 3) uint8, sRGB, from near to far."""
    table = color_table(settings.colormap)
    return table if settings.near is Near.DARK else table[::-1]


def unknown_color(name: Colormap) -> tuple[int, int, int]:
    """Return the color of unknown depth: the first candidate that is far from all colors of the colormap."""
    table = color_table(name).astype(np.float64)
    distances = {color: float(np.linalg.norm(table - color, axis=1).min()) for color in _UNKNOWN_COLORS}
    return next(
        (color for color in _UNKNOWN_COLORS if distances[color] >= _MIN_COLOR_DISTANCE),
        max(distances, key=distances.__getitem__),
    )


def colorize(depth: DepthMap, settings: OutputSettings, low_m: float, high_m: float) -> NDArray[np.uint8]:
    """Return the color of every pixel. Depth outside the range gets the color of the nearest end.

    Returns:
        (H, W, 3) uint8, sRGB.
    """
    known = is_known(depth.meters)
    fraction = (np.where(known, depth.meters, np.float32(low_m)) - np.float32(low_m)) / np.float32(high_m - low_m)
    index = np.rint(np.clip(fraction, 0, 1) * 255).astype(np.uint8)
    colors: NDArray[np.uint8] = near_first_table(settings)[index]
    if not known.all():
        colors[~known] = unknown_color(settings.colormap)
    return colors


def resolve_range(depth: DepthMap, settings: OutputSettings) -> tuple[float, float]:
    """Return the depth range of an image: that of the run if there is one, else the requested one, else "auto".

    Returns:
        Nearest and farthest depth in meters; the second is always larger.

    Raises:
        UsageError: the range is that of weights whose depth limit is unknown.
    """
    return settings.range_m or measure_range([depth], settings.range or DepthRange.parse("auto"))


def measure_range(depths: Sequence[DepthMap], requested: DepthRange) -> tuple[float, float]:
    """Return the depth range of several images together.

    Args:
        depths: at least one. For percentiles, every image has the same weight, whatever its size.
        requested: the kind of range.

    Returns:
        Nearest and farthest depth in meters; the second is always larger.

    Raises:
        UsageError: the range is that of weights whose depth limit is unknown.
    """
    if requested.mode == "fixed":
        return requested.low, requested.high
    if requested.mode == "model":
        limit_m = depths[0].provenance.depth_limit_m
        if limit_m is None:
            raise UsageError(
                "the depth limit of these weights is unknown", hint="set the range as LO:HI in meters", setting="range"
            )
        return 0.0, limit_m
    # A single image is used in full, so that its percentiles are exact; of several, about as many pixels of each.
    samples = depths if len(depths) == 1 else [subsample_depth(depth) for depth in depths]
    known = np.concatenate([depth.meters[is_known(depth.meters)] for depth in samples])
    if known.size == 0:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(known, (requested.low, requested.high)))
    return (low, high) if high - low >= _MIN_RELATIVE_SPAN * high else (low, low * (1 + _MIN_RELATIVE_SPAN))


def subsample_depth(depth: DepthMap) -> DepthMap:
    """Return some tens of thousands of pixels, evenly spaced, whatever the size. A small map stays as it is."""
    step = min(math.isqrt(math.ceil(depth.meters.size / _SAMPLE_PIXELS)), *depth.meters.shape)
    return DepthMap(depth.meters[step // 2 :: step, step // 2 :: step].copy(), depth.provenance)
