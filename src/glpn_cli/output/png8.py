"""The png format: 8-bit grey to look at, which says in its text what its grey values mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from glpn_cli.depth import DepthMap
from glpn_cli.errors import DepthFileError
from glpn_cli.output.facts import camera_of, provenance_of, state_facts
from glpn_cli.output.png import open_png, read_facts, write_png
from glpn_cli.settings import Normalize

if TYPE_CHECKING:
    from glpn_cli.settings import OutputSettings

__all__ = ["decode", "encode", "read_facts"]

_WHITE = 255


def encode(depth: DepthMap, settings: OutputSettings) -> bytes:
    """Turn depth into an 8-bit grey PNG; near is dark.

    "max" is the documented formula, `255·depth/max(depth)` truncated; "minmax" that of transformers' pipeline.
    A flat map, where either would divide by zero, is black.

    Source: transformers v4.37.2 documentation of GLPNForDepthEstimation; v4.46 depth-estimation pipeline.
    """
    values = depth.in_scale(settings.scale)
    high = float(values.max())
    low = float(values.min()) if settings.normalize is Normalize.MINMAX else 0.0
    if high <= low:
        grey = np.zeros(values.shape, np.uint8)
    elif settings.normalize is Normalize.MAX:
        grey = (values * _WHITE / np.float32(high)).astype(np.uint8)
    else:
        # The order of the operations is the pipeline's: another one rounds other pixels down.
        grey = ((values - np.float32(low)) / np.float32(high - low) * _WHITE).astype(np.uint8)
    facts = state_facts("png", depth, settings.scale, low=low, high=high, normalize=str(settings.normalize))
    low_m, span_m = low * facts["metres_per_unit"], (high - low) * facts["metres_per_unit"]
    description = f"depth to look at: about {low_m:.6g} m + grey / 255 * {span_m:.6g} m"
    return write_png(grey, facts, description, compression=settings.png_compression)


def decode(data: bytes, name: str) -> DepthMap:
    """Read depth back from one of our pictures, to within one of its 255 steps.

    A grey value stands for the middle of what it was truncated from, but white for the farthest depth itself.

    Raises:
        DepthFileError: the file is damaged, or no picture of ours.
    """
    grey, facts = open_png(data, name)
    try:
        low, high, metres_per_unit = (float(facts[fact]) for fact in ("low", "high", "metres_per_unit"))
        steps = np.minimum(grey.astype(np.float32) + np.float32(0.5), _WHITE)
        values = np.float32(low) + steps * np.float32((high - low) / _WHITE)
        metres = values * np.float32(metres_per_unit)
        return DepthMap(metres, provenance_of(facts, approximate=True), camera=camera_of(facts))
    except (KeyError, TypeError, ValueError) as error:  # somebody edited the text
        raise DepthFileError(f"{name}: what it says of its grey values makes no sense") from error
