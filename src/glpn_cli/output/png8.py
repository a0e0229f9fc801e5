"""The png format: 8-bit gray to look at, which says in its text what its gray values mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from glpn_cli.depth import DepthMap
from glpn_cli.errors import DepthFileError
from glpn_cli.output import png
from glpn_cli.output.color import range_of
from glpn_cli.output.facts import camera_of, origin, provenance_of, state_facts
from glpn_cli.output.png import open_png, write_png
from glpn_cli.settings import Near, Normalize, Scale

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from glpn_cli.settings import OutputSettings


read_facts = png.read_facts

_WHITE = 255


def encode(depth: DepthMap, settings: OutputSettings) -> bytes:
    """Turn depth into an 8-bit gray PNG; near is dark unless the settings say bright.

    With a range, its ends are black and white. Without one "max" is the documented formula,
    `255·depth/max(depth)` truncated, and "minmax" that of transformers' pipeline. A flat map, where either would
    divide by zero, is black.

    Source: transformers v4.37.2 documentation of GLPNForDepthEstimation; v4.46 depth-estimation pipeline.
    """
    values = _finite(depth.in_scale(settings.scale))
    if settings.range is not None:
        meters_per_unit = (depth.provenance.meters_per_unit or 1) if settings.scale is Scale.PUBLISHED else 1
        low, high = (end_m / meters_per_unit for end_m in range_of(depth, settings))
        gray = _grays(np.clip(values, np.float32(low), np.float32(high)), low, high)
    elif settings.normalize is Normalize.MINMAX:
        low, high = float(values.min()), float(values.max())
        gray = _grays(values, low, high)
    else:
        low, high = 0.0, float(values.max())
        gray = (values * _WHITE / np.float32(high)).astype(np.uint8) if high > 0 else np.zeros(values.shape, np.uint8)
    near = settings.near or Near.DARK
    if near is Near.BRIGHT:
        gray = _WHITE - gray
    how = {"normalize": str(settings.normalize)} if settings.range is None else {"range": str(settings.range)}
    facts = state_facts("png", depth, settings.scale, low=low, high=high, near=str(near), **how)
    low_m, span_m = low * facts["meters_per_unit"], (high - low) * facts["meters_per_unit"]
    steps = "gray" if near is Near.DARK else "(255 - gray)"
    description = f"{origin(depth)}, to look at: about {low_m:.6g} m + {steps} / 255 * {span_m:.6g} m"
    return write_png(gray, facts, description, compression=settings.png_compression)


def _finite(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Let unknown depth be 0; what comes from a network has none."""
    return values if np.isfinite(values).all() else np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)


def _grays(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """Cut depth into 256 steps, low is 0."""
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    # The order of the operations is the pipeline's: another one rounds other pixels down.
    return ((values - np.float32(low)) / np.float32(high - low) * _WHITE).astype(np.uint8)


def decode(data: bytes, name: str) -> DepthMap:
    """Read depth back from one of our images, to within one of its 255 steps.

    A gray value stands for the middle of what it was truncated from, but white for the farthest depth itself.

    Raises:
        DepthFileError: the file is damaged, or no image of ours.
    """
    gray, facts = open_png(data, name)
    try:
        low, high, meters_per_unit = (float(facts[fact]) for fact in ("low", "high", "meters_per_unit"))
        if facts.get("near") == Near.BRIGHT:
            gray = _WHITE - gray
        steps = np.minimum(gray.astype(np.float32) + np.float32(0.5), _WHITE)
        values = np.float32(low) + steps * np.float32((high - low) / _WHITE)
        meters = values * np.float32(meters_per_unit)
        return DepthMap(meters, provenance_of(facts, approximate=True), camera=camera_of(facts))
    except (KeyError, TypeError, ValueError) as error:  # somebody edited the text
        raise DepthFileError(f"{name}: what it says of its gray values makes no sense") from error
