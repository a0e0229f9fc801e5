"""The figure of an evaluation: error over depth, and below it the worst images."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from glpn_cli.evaluation.drawing import (
    COLORS,
    GRAY,
    INK,
    MARGIN_PX,
    PAGE_WIDTH_PX,
    blank_page,
    draw_text,
    text_height,
)

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

    from glpn_cli.evaluation.depth_profile import DepthProfile

__all__ = ["draw_figure"]

_PLOT_HEIGHT_PX = 300
_LEFT_PX, _RIGHT_PX = 60, PAGE_WIDTH_PX - 24
_HIGHEST = 1.0
_BAR = (225, 228, 235)
_GRID = (235, 235, 235)
_TICKS_M = (0.25, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 80, 150)


def draw_figure(title: str, profile: DepthProfile, sheet: Image.Image) -> bytes:
    """Draw the whole figure.

    Args:
        title: what was measured.
        profile: errors by depth.
        sheet: the worst images.

    Returns:
        A PNG file.
    """
    plot = _draw_plot(title, profile)
    page = Image.new("RGB", (PAGE_WIDTH_PX, plot.height + sheet.height))
    page.paste(plot, (0, 0))
    page.paste(sheet, (0, plot.height))
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    return buffer.getvalue()


class _Axes:
    """Where a depth and an error are on the page."""

    def __init__(self, top: int, near_m: float, far_m: float, highest: float) -> None:
        self.top, self.bottom = top, top + _PLOT_HEIGHT_PX
        self._near_m, self._far_m, self.highest = near_m, far_m, highest

    def x(self, meters: float) -> float:
        """Give the column of a depth; the scale is logarithmic."""
        share = math.log(meters / self._near_m) / math.log(self._far_m / self._near_m)
        return _LEFT_PX + (_RIGHT_PX - _LEFT_PX) * share

    def y(self, error: float) -> float:
        """Give the row of an error; what is too high is at the upper edge."""
        return self.bottom - _PLOT_HEIGHT_PX * min(error / self.highest, 1.0)

    def depths(self) -> list[float]:
        """List the depths that are labeled."""
        return [depth for depth in _TICKS_M if self._near_m <= depth <= self._far_m]


def _draw_plot(title: str, profile: DepthProfile) -> Image.Image:
    """Draw a line for each prediction, over bars that show how many pixels there are."""
    used = np.flatnonzero(profile.pixel_share)
    line = text_height()
    legend_rows = -(-len(profile.abs_rel) // 3)
    errors = np.concatenate([values[used] for values in profile.abs_rel.values()])
    highest = min(_HIGHEST, math.ceil(10 * float(errors.max()) + 1e-9) / 10) or 0.1
    top = 2 * MARGIN_PX + line * (2 + legend_rows)  # points at the upper edge stay clear of the legend
    axes = _Axes(top, float(profile.edges_m[used[0]]), float(profile.edges_m[used[-1] + 1]), highest)
    page, draw = blank_page(axes.bottom + 3 * line)
    draw_text(draw, (MARGIN_PX, MARGIN_PX), title)
    draw_text(
        draw,
        (MARGIN_PX, MARGIN_PX + line),
        "AbsRel over true depth; bars are the share of pixels (the highest is "
        f"{profile.pixel_share.max():.0%})"
        + (f"; errors above {highest:.0%} are cut" if errors.max() > highest else ""),
        GRAY,
    )
    _draw_bars(draw, axes, profile)
    _draw_grid(draw, axes)
    for index, (name, values) in reversed(list(enumerate(profile.abs_rel.items()))):  # the first on top
        color = COLORS[index % len(COLORS)]
        corner = (_LEFT_PX + (index % 3) * (_RIGHT_PX - _LEFT_PX) / 3, MARGIN_PX + line * (2 + index // 3))
        draw.line([(corner[0], corner[1] + 9), (corner[0] + 24, corner[1] + 9)], fill=color, width=4)
        draw_text(draw, (corner[0] + 32, corner[1]), name)
        centers = np.sqrt(profile.edges_m[used] * profile.edges_m[used + 1])
        points = [(axes.x(depth), axes.y(error)) for depth, error in zip(centers, values[used], strict=True)]
        draw.line(points, fill=color, width=3, joint="curve")
        for x, y in points:
            draw.ellipse([x - 4, y - 4, x + 4, y + 4], fill=color)
    return page


def _draw_bars(draw: ImageDraw, axes: _Axes, profile: DepthProfile) -> None:
    shares = profile.pixel_share
    for index in np.flatnonzero(shares):
        left, right = axes.x(profile.edges_m[index]), axes.x(profile.edges_m[index + 1])
        height = _PLOT_HEIGHT_PX * float(shares[index] / shares.max())
        draw.rectangle([left + 1, axes.bottom - height, right - 1, axes.bottom], fill=_BAR)


def _draw_grid(draw: ImageDraw, axes: _Axes) -> None:
    for step in range(6):
        error = axes.highest * step / 5
        y = axes.y(error)
        draw.line([(_LEFT_PX, y), (_RIGHT_PX, y)], fill=_GRID if step else INK)
        draw_text(draw, (MARGIN_PX, y - text_height() / 2), f"{error:.0%}", GRAY)
    for depth in axes.depths():
        x = axes.x(depth)
        draw.line([(x, axes.bottom), (x, axes.bottom + 5)], fill=INK)
        draw_text(draw, (x - 10, axes.bottom + 7), f"{depth:g} m", GRAY)
