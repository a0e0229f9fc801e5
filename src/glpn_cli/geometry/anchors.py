"""Known distances, and the factor that makes a depth map agree with them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from glpn_cli.errors import UsageError
from glpn_cli.geometry.region import parse_numbers, refuse_outside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glpn_cli.depth import DepthMap

__all__ = ["Anchor", "anchor_depth"]

_TRUSTED_LOG = 0.1
"""Anchors that agree to within a tenth share what is left between them; one that is farther off pulls no harder."""

_ROUNDS = 50


@dataclass(frozen=True, slots=True)
class Anchor:
    """A pixel whose depth somebody has measured.

    Attributes:
        x: column in the upright image, from the left.
        y: row, from the top.
        known_m: depth along the viewing direction, meters.
    """

    x: int
    y: int
    known_m: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "x,y=meters".

        Raises:
            UsageError: it is something else.
        """
        place, _, meters = text.partition("=")
        example = "for example 320,240=2.4: the pixel in column 320 and row 240 is 2.4 m away"
        x, y = parse_numbers(place, 2, option="--anchor", text=text, hint=example)
        try:
            known_m = float(meters)
        except ValueError:
            known_m = math.nan
        if not (math.isfinite(known_m) and known_m > 0):
            raise UsageError(f"--anchor {text}: is not x,y=METERS", hint=example)
        return cls(x, y, known_m)


def anchor_depth(depth: DepthMap, anchors: Sequence[Anchor]) -> DepthMap:
    """Rescale depth by one factor, so that it agrees with known distances as well as it can.

    The factor makes the squares of the logarithms of known / predicted small; from 10 % on, an anchor that does not
    agree with the others counts by its distance and not its square (Huber), so that one wrong distance among
    several does little.

    Args:
        depth: what was predicted, or read.
        anchors: known distances; without any the depth is given back.

    Returns:
        Depth with `metric` "anchored", and in its provenance the factor and what is left at each anchor.

    Raises:
        UsageError: an anchor lies outside of the image, or where there is no depth.
    """
    if not anchors:
        return depth
    predicted_m = [_depth_at(depth, anchor) for anchor in anchors]
    logs = np.log([anchor.known_m / meters for anchor, meters in zip(anchors, predicted_m, strict=True)])
    factor = math.exp(_huber_mean(logs))
    facts = depth.provenance
    provenance = replace(
        facts,
        metric="anchored",
        depth_limit_m=None if facts.depth_limit_m is None else facts.depth_limit_m * factor,
        meters_per_unit=None if facts.meters_per_unit is None else facts.meters_per_unit * factor,
        anchor_factor=factor * (facts.anchor_factor or 1.0),
        anchors=tuple(
            {
                "x": anchor.x,
                "y": anchor.y,
                "known_m": anchor.known_m,
                "predicted_m": meters,
                "residual_m": meters * factor - anchor.known_m,
            }
            for anchor, meters in zip(anchors, predicted_m, strict=True)
        ),
    )
    uncertainty_m = None if depth.uncertainty_m is None else depth.uncertainty_m * np.float32(factor)
    return replace(depth, meters=depth.meters * np.float32(factor), provenance=provenance, uncertainty_m=uncertainty_m)


def _depth_at(depth: DepthMap, anchor: Anchor) -> float:
    refuse_outside((anchor.x, anchor.y, anchor.x + 1, anchor.y + 1), depth, what=f"--anchor {anchor.x},{anchor.y}")
    meters = float(depth.meters[anchor.y, anchor.x])
    if not (math.isfinite(meters) and meters > 0):
        raise UsageError(f"--anchor {anchor.x},{anchor.y}: there is no depth at this pixel")
    return meters


def _huber_mean(values: np.ndarray) -> float:
    """Give the center that Huber's loss gives, by weights that are made anew until it stays."""
    center = float(np.median(values))
    for _ in range(_ROUNDS):
        distance = np.abs(values - center)
        weights = np.minimum(1.0, _TRUSTED_LOG / np.maximum(distance, _TRUSTED_LOG))
        before, center = center, float(np.average(values, weights=weights))
        if abs(center - before) < 1e-9:
            break
    return center
