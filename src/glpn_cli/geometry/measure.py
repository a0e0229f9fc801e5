"""Measurements in a depth map, and scaling it to known distances."""

from __future__ import annotations

import math
import operator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from glpn_cli.depth import is_known
from glpn_cli.errors import UsageError
from glpn_cli.geometry.camera import pinhole_camera

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from glpn_cli.depth import DepthMap

_HUBER_LIMIT = 0.1
"""In the logarithm of the scale: a deviation of 10 %. Beyond it, the loss of an anchor is linear."""

_MAX_ITERATIONS = 50


# Regions


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of pixels with x0 <= x < x1 and y0 <= y < y1, counted from the top left of the upright image.

    Attributes:
        label: the text that defines it.
        box: x0, y0, x1, y1; None is the whole image.
    """

    label: str
    box: tuple[int, int, int, int] | None = None

    @classmethod
    def at(cls, pixel: str | Sequence[int], *, setting: str = "at") -> Self:
        """Return the pixel "x,y" or (x, y).

        Args:
            pixel: column and row.
            setting: the name of the setting, for errors.

        Raises:
            UsageError: these are not two integers.
        """
        hint = "for example 320,240: column 320, row 240"
        x, y = _parse_integers(pixel, 2, setting=setting, text=pixel, hint=hint)
        return cls(f"{x},{y}", (x, y, x + 1, y + 1))

    @classmethod
    def within(cls, box: str | Sequence[int]) -> Self:
        """Return the box "x0,y0,x1,y1" or (x0, y0, x1, y1), which excludes column x1 and row y1.

        Raises:
            UsageError: these are not four integers, or the box is empty.
        """
        hint = "for example 0,0,100,50: 100 columns and 50 rows from the top left"
        x0, y0, x1, y1 = _parse_integers(box, 4, setting="box", text=box, hint=hint)
        if x1 <= x0 or y1 <= y0:
            raise UsageError(f"{box}: the box is empty", hint=hint, setting="box")
        return cls(f"{x0},{y0},{x1},{y1}", (x0, y0, x1, y1))


@dataclass(frozen=True, slots=True)
class Measurement:
    """The depth in a region, in meters; None if all of it is unknown.

    Attributes:
        median_m: median depth.
        p10_m: 10th percentile.
        p90_m: 90th percentile.
        pixels: number of pixels in the region.
        known: number of pixels with known depth.
        uncertainty_m: median of the uncertainty; None if it was not estimated.
    """

    median_m: float | None
    p10_m: float | None
    p90_m: float | None
    pixels: int
    known: int
    uncertainty_m: float | None = None


def measure(depth: DepthMap, region: Region) -> Measurement:
    """Return the depth in a region.

    Raises:
        UsageError: the region is not completely inside the image.
    """
    height, width = depth.meters.shape
    x0, y0, x1, y1 = region.box or (0, 0, width, height)
    _check_inside((x0, y0, x1, y1), depth, label=region.label)
    here = np.s_[y0:y1, x0:x1]
    meters = depth.meters[here]
    is_known_here = is_known(meters)
    known = meters[is_known_here]
    if not known.size:
        return Measurement(None, None, None, meters.size, 0)
    p10, median, p90 = (float(value) for value in np.percentile(known, [10, 50, 90]))
    uncertainty = depth.uncertainty_m
    uncertainty_m = None if uncertainty is None else float(np.median(uncertainty[here][is_known_here]))
    return Measurement(median, p10, p90, meters.size, known.size, uncertainty_m)


def measure_at(
    depth: DepthMap, at: str | Sequence[int] | None = None, box: str | Sequence[int] | None = None
) -> Measurement:
    """Return the depth of a pixel, of a box, or of the whole image; see `DepthMap.measure`."""
    if at is not None and box is not None:
        raise UsageError("`at` and `box` exclude each other")
    if at is not None:
        return measure(depth, Region.at(at))
    return measure(depth, Region("whole image") if box is None else Region.within(box))


def measure_distance(depth: DepthMap, start: str | Sequence[int], end: str | Sequence[int]) -> float:
    """Return the distance in space between what two pixels show, in meters; see `DepthMap.distance`."""
    return math.dist(_point_at(depth, start, "start"), _point_at(depth, end, "end"))


def _point_at(depth: DepthMap, pixel: str | Sequence[int], setting: str) -> tuple[float, float, float]:
    """Return the point that a pixel shows, in meters: right, down, forward."""
    region = Region.at(pixel, setting=setting)
    x, y, _, _ = region.box or (0, 0, 0, 0)
    meters = _depth_at(depth, x, y, setting=setting)
    camera = pinhole_camera(depth)
    center_x, center_y = camera.center_px(depth.shape)
    return meters * (x - center_x) / camera.focal_px, meters * (y - center_y) / camera.focal_y_px, meters


# Anchors


@dataclass(frozen=True, slots=True)
class Anchor:
    """A pixel whose distance is known.

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
        """Return the anchor "x,y=meters".

        Raises:
            UsageError: the text has another form, or the distance is not positive.
        """
        pixel, _, meters = text.partition("=")
        hint = "for example 320,240=2.4: the pixel in column 320 and row 240 is 2.4 m away"
        x, y = _parse_integers(pixel, 2, setting="anchor", text=text, hint=hint)
        try:
            known_m = float(meters)
        except ValueError:
            known_m = math.nan
        if not (math.isfinite(known_m) and known_m > 0):
            raise UsageError(f"{text}: the distance must be a number above 0", hint=hint, setting="anchor")
        return cls(x, y, known_m)

    @classmethod
    def of(cls, anchor: Anchor | str | tuple[int, int, float]) -> Anchor:
        """Return an anchor from (x, y, meters), or from a text.

        Raises:
            UsageError: it has another form, or the distance is not positive.
        """
        if isinstance(anchor, Anchor):
            return anchor
        if isinstance(anchor, str):
            return cls.parse(anchor)
        hint = "for example (320, 240, 2.4): the pixel in column 320 and row 240 is 2.4 m away"
        try:
            x, y, meters = anchor
            known_m = float(meters)
        except (TypeError, ValueError):
            raise UsageError(f"must be (x, y, meters), not {anchor!r}", hint=hint, setting="anchor") from None
        x, y = _parse_integers((x, y), 2, setting="anchor", text=anchor, hint=hint)
        if not (math.isfinite(known_m) and known_m > 0):
            raise UsageError(f"{anchor}: the distance must be a number above 0", hint=hint, setting="anchor")
        return cls(x, y, known_m)


def anchor_depth(depth: DepthMap, anchors: Sequence[Anchor]) -> DepthMap:
    """Return a depth map scaled by the factor that fits known distances best.

    The factor is the least-squares fit of log(known / predicted). The loss is linear beyond a deviation of 10 %
    (Huber), so that one wrong distance among several has little effect.

    Args:
        depth: predicted, or read from a file.
        anchors: known distances; if there are none, the depth map is returned as it is.

    Returns:
        A depth map with `metric` "anchored". Its provenance contains the factor and the residual of each anchor.

    Raises:
        UsageError: an anchor is outside the image, or depth is unknown at its pixel.
    """
    if not anchors:
        return depth
    predicted_m = [_depth_at(depth, anchor.x, anchor.y, setting="anchor") for anchor in anchors]
    logs = np.log([anchor.known_m / meters for anchor, meters in zip(anchors, predicted_m, strict=True)])
    factor = math.exp(_huber_mean(logs))
    before = depth.provenance
    provenance = replace(
        before,
        metric="anchored",
        depth_limit_m=None if before.depth_limit_m is None else before.depth_limit_m * factor,
        meters_per_unit=None if before.meters_per_unit is None else before.meters_per_unit * factor,
        anchor_factor=factor * (before.anchor_factor or 1.0),
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


def _depth_at(depth: DepthMap, x: int, y: int, *, setting: str) -> float:
    """Return the depth at a pixel, meters.

    Raises:
        UsageError: the pixel is outside the image, or its depth is unknown.
    """
    label = f"{x},{y}"
    _check_inside((x, y, x + 1, y + 1), depth, label=label, setting=setting)
    meters = float(depth.meters[y, x])
    if not (math.isfinite(meters) and meters > 0):
        raise UsageError(f"{label}: depth is unknown at this pixel", setting=setting)
    return meters


def _huber_mean(values: np.ndarray) -> float:
    """Return the location estimate with Huber's loss, by iteratively reweighted least squares."""
    center = float(np.median(values))
    for _ in range(_MAX_ITERATIONS):
        distance = np.abs(values - center)
        weights = np.minimum(1.0, _HUBER_LIMIT / np.maximum(distance, _HUBER_LIMIT))
        before, center = center, float(np.average(values, weights=weights))
        if abs(center - before) < 1e-9:
            break
    return center


def _parse_integers(numbers: str | Iterable[Any], count: int, *, setting: str, text: object, hint: str) -> list[int]:
    """Return the integers of a text such as "1,2", or of a sequence; `text` is what the user gave."""
    integers: list[int] = []
    if isinstance(numbers, str):
        parts = [part.strip() for part in numbers.split(",")]
        if all(part.isascii() and part.isdecimal() for part in parts):
            integers = [int(part) for part in parts]
    else:
        with suppress(TypeError):
            integers = list(map(operator.index, numbers))
    if len(integers) != count:
        raise UsageError(f"{text}: expected {count} integers, separated by commas", hint=hint, setting=setting)
    return integers


def _check_inside(box: tuple[int, int, int, int], depth: DepthMap, *, label: str, setting: str | None = None) -> None:
    height, width = depth.meters.shape
    x0, y0, x1, y1 = box
    if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        raise UsageError(
            f"{label}: outside the image, which is {width} wide and {height} high",
            hint=f"x is 0 to {width - 1} from the left, y is 0 to {height - 1} from the top",
            setting=setting,
        )
