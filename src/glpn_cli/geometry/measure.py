"""Pixels and boxes of the upright image, and the depth in them.

Known distances, and the factor that makes a depth map agree with them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from glpn_cli.depth import is_known
from glpn_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glpn_cli.depth import DepthMap


@dataclass(frozen=True, slots=True)
class Region:
    """Some pixels: those with x0 <= x < x1 and y0 <= y < y1, counted from the top left, as slices and crops do.

    Attributes:
        label: as the user wrote it.
        box: x0, y0, x1, y1; None is the whole image.
    """

    label: str
    box: tuple[int, int, int, int] | None = None

    @classmethod
    def at(cls, text: str) -> Self:
        """Read "x,y": one pixel.

        Raises:
            UsageError: it is something else.
        """
        x, y = parse_numbers(text, 2, option="--at", text=text, hint="for example 320,240: column 320, row 240")
        return cls(f"{x},{y}", (x, y, x + 1, y + 1))

    @classmethod
    def within(cls, text: str) -> Self:
        """Read "x0,y0,x1,y1": a box, without the column x1 and the row y1.

        Raises:
            UsageError: it is something else, or has no pixels.
        """
        hint = "for example 0,0,100,50: a hundred columns and fifty rows, from the top left"
        x0, y0, x1, y1 = parse_numbers(text, 4, option="--box", text=text, hint=hint)
        if x1 <= x0 or y1 <= y0:
            raise UsageError(f"--box {text}: has no pixels", hint=hint)
        return cls(f"{x0},{y0},{x1},{y1}", (x0, y0, x1, y1))


@dataclass(frozen=True, slots=True)
class Measurement:
    """The depth in a region; None where nothing in it is known.

    Attributes:
        median_m: half of the region is nearer, meters.
        p10_m: a tenth of it is nearer.
        p90_m: nine tenths of it are nearer.
        pixels: how many the region has.
        known: of how many of them the depth is known.
        uncertainty_m: the median of the uncertainty, where that was estimated.
    """

    median_m: float | None
    p10_m: float | None
    p90_m: float | None
    pixels: int
    known: int
    uncertainty_m: float | None = None


def measure(depth: DepthMap, region: Region) -> Measurement:
    """Say how deep a region is.

    Raises:
        UsageError: it lies outside of the image, or in part.
    """
    height, width = depth.meters.shape
    x0, y0, x1, y1 = region.box or (0, 0, width, height)
    refuse_outside((x0, y0, x1, y1), depth, what=region.label)
    here = np.s_[y0:y1, x0:x1]
    meters = depth.meters[here]
    where_known = is_known(meters)
    known = meters[where_known]
    if not known.size:
        return Measurement(None, None, None, meters.size, 0)
    p10, median, p90 = (float(value) for value in np.percentile(known, [10, 50, 90]))
    unsure = depth.uncertainty_m
    uncertainty_m = None if unsure is None else float(np.median(unsure[here][where_known]))
    return Measurement(median, p10, p90, meters.size, known.size, uncertainty_m)


def parse_numbers(numbers: str, count: int, *, option: str, text: str, hint: str) -> list[int]:
    """Read whole numbers with commas between them.

    Raises:
        UsageError: there are not so many, or they are none; the message names the option and its text.
    """
    parts = [part.strip() for part in numbers.split(",")]
    if len(parts) != count or not all(part.isascii() and part.isdecimal() for part in parts):
        raise UsageError(f"{option} {text}: pixels are whole numbers, {count} of them", hint=hint)
    return [int(part) for part in parts]


def refuse_outside(box: tuple[int, int, int, int], depth: DepthMap, *, what: str) -> None:
    """Refuse pixels that the image does not have.

    Raises:
        UsageError: the box reaches beyond the image.
    """
    height, width = depth.meters.shape
    x0, y0, x1, y1 = box
    if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        raise UsageError(
            f"{what}: reaches beyond the image, which is {width} wide and {height} high",
            hint=f"x is 0 to {width - 1} from the left, y is 0 to {height - 1} from the top",
        )


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
