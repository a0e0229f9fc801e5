"""Pixels and boxes of the upright image, and the depth in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from glpn_cli.depth import is_known
from glpn_cli.errors import UsageError

if TYPE_CHECKING:
    from glpn_cli.depth import DepthMap

__all__ = ["Measurement", "Region", "measure", "parse_numbers", "refuse_outside"]


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
