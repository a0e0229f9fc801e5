"""Which depths an image's colors stand for: from what the user asked for to meters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from glpn_cli.depth import DepthMap, is_known
from glpn_cli.errors import UsageError
from glpn_cli.settings.output import DepthRange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glpn_cli.settings.output import OutputSettings

__all__ = ["measure_range", "range_of", "thin_out"]

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
