"""Depth to colors: the color tables, the depth range and the curve that they span, and the color of each pixel.

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
from glpn_cli.values import Colormap, Curve, DepthRange, Near, RangeMode

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from glpn_cli.settings import OutputSettings

_TABLES_FILE = "colormaps.png"

_UNKNOWN_COLORS = ((128, 128, 128), (255, 255, 255), (0, 0, 0), (255, 0, 255))
_MIN_COLOR_DISTANCE = 60.0

_MIN_RELATIVE_SPAN = 1e-3
"""Smallest span of a range relative to its nearest depth: constant depth has a range, too."""

_FIRST_FRACTION = 0.05
"""Where a range from 0 m starts, as a fraction of its far end, on a curve that 0 m has no place on."""


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


def colormap_of(settings: OutputSettings) -> Colormap:
    """Return the colormap of the settings, or the default."""
    return settings.colormap or Colormap.TURBO


def color_curve(settings: OutputSettings) -> Curve:
    """Return the curve of color images: that of the settings, or the default."""
    return settings.curve or Curve.INVERSE


def near_first_table(settings: OutputSettings) -> NDArray[np.uint8]:
    """Return the colors of the settings, (256, 3) uint8, sRGB, from near to far."""
    table = color_table(colormap_of(settings))
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
    fraction = curve_fraction(np.where(known, depth.meters, np.float32(high_m)), low_m, high_m, color_curve(settings))
    index = np.rint(fraction * 255).astype(np.uint8)
    colors: NDArray[np.uint8] = near_first_table(settings)[index]
    if not known.all():
        colors[~known] = unknown_color(colormap_of(settings))
    return colors


def curve_fraction(meters: NDArray[np.float32], low_m: float, high_m: float, curve: Curve) -> NDArray[np.float32]:
    """Return where depth lies in a range, on a curve: (c(d) - c(low)) / (c(high) - c(low)), c = 1/d, log d, or d.

    Args:
        meters: float32, any shape, known depth; any unit, if the range has the same.
        low_m: the near end, which becomes 0; see `fit_range` for 0 m.
        high_m: the far end, which becomes 1; above `low_m`.
        curve: what equal steps are equal in.

    Returns:
        float32, in [0, 1], the shape of `meters`; depth outside the range is 0 or 1.
    """
    low_m, high_m = fit_range(low_m, high_m, curve)
    low, high = np.float32(low_m), np.float32(high_m)
    clipped = np.clip(meters, low, high)
    # The difference comes first: that of two reciprocals or logarithms would be inexact in a narrow range.
    beyond = clipped - low
    if curve is Curve.INVERSE:
        fraction = beyond / clipped * np.float32(high_m / (high_m - low_m))
    elif curve is Curve.LOG:
        fraction = np.log1p(beyond / low) / np.float32(math.log1p((high_m - low_m) / low_m))
    else:
        fraction = beyond / np.float32(high_m - low_m)
    place: NDArray[np.float32] = np.clip(fraction, np.float32(0), np.float32(1))
    return place


def curve_meters(fraction: NDArray[np.float32], low_m: float, high_m: float, curve: Curve) -> NDArray[np.float32]:
    """Return the depth at places of a range: the inverse of `curve_fraction`.

    Args:
        fraction: float32, any shape, in [0, 1].
        low_m: the near end.
        high_m: the far end, above `low_m`.
        curve: what equal steps are equal in.

    Returns:
        float32, meters, the shape of `fraction`.
    """
    low_m, high_m = fit_range(low_m, high_m, curve)
    if curve is Curve.INVERSE:
        meters = np.float32(low_m) / (1 - fraction * np.float32((high_m - low_m) / high_m))
    elif curve is Curve.LOG:
        meters = np.float32(low_m) * np.exp(fraction * np.float32(math.log1p((high_m - low_m) / low_m)))
    else:
        meters = np.float32(low_m) + fraction * np.float32(high_m - low_m)
    clipped: NDArray[np.float32] = np.clip(meters, np.float32(low_m), np.float32(high_m))
    return clipped


def fit_range(low_m: float, high_m: float, curve: Curve) -> tuple[float, float]:
    """Return the range that a curve can show: 0 m has no inverse and no logarithm.

    A range from 0 m then starts at a twentieth of its far end, such as 0.5 m for 0 to 10 m. Closer to 0 it would give
    nearly all colors to depth that hardly any image has.
    """
    return (low_m, high_m) if low_m > 0 or curve is Curve.LINEAR else (_FIRST_FRACTION * high_m, high_m)


def resolve_range(depth: DepthMap, settings: OutputSettings, curve: Curve) -> tuple[float, float]:
    """Return the depth range of an image: that of the run if there is one, else the requested one, else "auto".

    Args:
        depth: the image's depth.
        settings: with the range.
        curve: that the range is shown on; see `fit_range`.

    Returns:
        Nearest and farthest depth in meters; the second is always larger.

    Raises:
        UsageError: the range is that of weights whose depth limit is unknown.
    """
    return fit_range(*(settings.range_m or measure_range(depth, settings.range or DepthRange.parse("auto"))), curve)


def measure_range(depth: DepthMap, requested: DepthRange) -> tuple[float, float]:
    """Return the depth range of an image.

    Args:
        depth: the image's depth.
        requested: the kind of range; that of a run counts as "auto", see `inference.color_range`.

    Returns:
        Nearest and farthest depth in meters; the second is always larger.

    Raises:
        UsageError: the range is that of weights whose depth limit is unknown.
    """
    if requested.mode is RangeMode.FIXED:
        return requested.low, requested.high
    if requested.mode is RangeMode.RUN:
        requested = DepthRange.parse("auto")
    if requested.mode is RangeMode.MODEL:
        limit_m = depth.provenance.depth_limit_m
        if limit_m is None:
            raise UsageError(
                "the depth limit of these weights is unknown", hint="set the range as LO:HI in meters", setting="range"
            )
        return 0.0, limit_m
    known = depth.meters[is_known(depth.meters)]
    if known.size == 0:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(known, (requested.low, requested.high)))
    return (low, high) if high - low >= _MIN_RELATIVE_SPAN * high else (low, low * (1 + _MIN_RELATIVE_SPAN))
