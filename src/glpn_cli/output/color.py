"""The color format: depth in colors, to look at, with a legend and the photo beside it if that is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from glpn_cli.depth import is_known
from glpn_cli.errors import UsageError
from glpn_cli.output.colormaps import color_of_unknown, color_table
from glpn_cli.output.facts import origin, state_facts
from glpn_cli.output.legend import Legend, draw_legend
from glpn_cli.output.png import read_facts, write_png
from glpn_cli.output.ranges import range_of
from glpn_cli.settings.output import Near

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from glpn_cli.depth import DepthMap
    from glpn_cli.settings.output import OutputSettings

__all__ = ["colorize", "encode", "read_facts"]


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
