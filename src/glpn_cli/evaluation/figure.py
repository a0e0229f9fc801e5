"""The figure of an evaluation: a plot of error over depth, and below it the worst images.

Pillow draws it, so that a figure needs no further package.
"""

from __future__ import annotations

import heapq
import io
import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from glpn_cli.data.sample import Sample
    from glpn_cli.evaluation.scores import GroundTruth
    from glpn_cli.evaluation.statistics import DepthProfile

    Values = NDArray[np.float64]

_PAGE_WIDTH_PX = 1200
_MARGIN_PX = 16
_TEXT_PX = 15
_LINE_HEIGHT_PX = _TEXT_PX + 5
_PAPER = (255, 255, 255)
_INK = (30, 30, 30)
_GRAY = (120, 120, 120)

_PLOT_HEIGHT_PX = 300
_PLOT_LEFT_PX, _PLOT_RIGHT_PX = 60, _PAGE_WIDTH_PX - 24
_HIGHEST_ERROR = 1.0
_BAR = (225, 228, 235)
_GRID = (235, 235, 235)
_TICKS_M = (0.25, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 80, 150)
_LINE_COLORS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (230, 159, 0))
"""The palette of Okabe and Ito, which color-blind people can tell apart."""

_HEADINGS = ("image", "ground truth", "predicted", "relative error")
_TILE_WIDTH_PX = (_PAGE_WIDTH_PX - _MARGIN_PX * (len(_HEADINGS) + 1)) // len(_HEADINGS)
_TILE_HEIGHT_PX = 2 * _TILE_WIDTH_PX
_UNKNOWN = (70, 80, 120)
_YELLOW_ERROR = 0.5
_MIN_DEPTH_SPAN = 1.5


def draw_figure(title: str, profile: DepthProfile, sheet: Image.Image) -> bytes:
    """Draw the figure.

    Args:
        title: first line of the figure.
        profile: errors by depth; not empty.
        sheet: drawn by `WorstImages.draw`.

    Returns:
        A PNG file.
    """
    plot = _draw_plot(title, profile)
    page = Image.new("RGB", (_PAGE_WIDTH_PX, plot.height + sheet.height))
    page.paste(plot, (0, 0))
    page.paste(sheet, (0, plot.height))
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    return buffer.getvalue()


# The plot


class _Axes:
    """Converts depth and error to pixels of the page."""

    def __init__(self, top_px: int, near_m: float, far_m: float, highest: float) -> None:
        self.top_px, self.bottom_px = top_px, top_px + _PLOT_HEIGHT_PX
        self._near_m, self._far_m, self.highest = near_m, far_m, highest

    def x(self, meters: float) -> float:
        fraction = math.log(meters / self._near_m) / math.log(self._far_m / self._near_m)
        return _PLOT_LEFT_PX + (_PLOT_RIGHT_PX - _PLOT_LEFT_PX) * fraction

    def y(self, error: float) -> float:
        return self.bottom_px - _PLOT_HEIGHT_PX * min(error / self.highest, 1.0)

    def ticks_m(self) -> list[float]:
        return [tick for tick in _TICKS_M if self._near_m <= tick <= self._far_m]


def _draw_plot(title: str, profile: DepthProfile) -> Image.Image:
    """Draw one line per prediction over bars for the number of pixels."""
    used = np.flatnonzero(profile.pixel_fraction)
    legend_rows = -(-len(profile.abs_rel) // 3)
    errors = np.concatenate([values[used] for values in profile.abs_rel.values()])
    highest = min(_HIGHEST_ERROR, math.ceil(10 * float(errors.max()) + 1e-9) / 10) or 0.1
    top_px = 2 * _MARGIN_PX + _LINE_HEIGHT_PX * (2 + legend_rows)  # points at the top must not touch the legend
    axes = _Axes(top_px, float(profile.edges_m[used[0]]), float(profile.edges_m[used[-1] + 1]), highest)
    page, draw = _new_page(axes.bottom_px + 3 * _LINE_HEIGHT_PX)
    _draw_text(draw, (_MARGIN_PX, _MARGIN_PX), title)
    _draw_text(
        draw,
        (_MARGIN_PX, _MARGIN_PX + _LINE_HEIGHT_PX),
        f"AbsRel by ground truth; bars are the fraction of pixels (the highest is {profile.pixel_fraction.max():.0%})"
        + (f"; errors above {highest:.0%} are clipped" if errors.max() > highest else ""),
        _GRAY,
    )
    _draw_bars(draw, axes, profile)
    _draw_grid(draw, axes)
    for index, (name, values) in reversed(list(enumerate(profile.abs_rel.items()))):  # the first one on top
        color = _LINE_COLORS[index % len(_LINE_COLORS)]
        x = _PLOT_LEFT_PX + (index % 3) * (_PLOT_RIGHT_PX - _PLOT_LEFT_PX) / 3
        y = _MARGIN_PX + _LINE_HEIGHT_PX * (2 + index // 3)
        draw.line([(x, y + 9), (x + 24, y + 9)], fill=color, width=4)
        _draw_text(draw, (x + 32, y), name)
        centers = np.sqrt(profile.edges_m[used] * profile.edges_m[used + 1])
        points = [(axes.x(depth), axes.y(error)) for depth, error in zip(centers, values[used], strict=True)]
        draw.line(points, fill=color, width=3, joint="curve")
        for center_x, center_y in points:
            draw.ellipse([center_x - 4, center_y - 4, center_x + 4, center_y + 4], fill=color)
    return page


def _draw_bars(draw: ImageDraw.ImageDraw, axes: _Axes, profile: DepthProfile) -> None:
    fractions = profile.pixel_fraction
    for index in np.flatnonzero(fractions):
        left, right = axes.x(profile.edges_m[index]), axes.x(profile.edges_m[index + 1])
        height = _PLOT_HEIGHT_PX * float(fractions[index] / fractions.max())
        draw.rectangle([left + 1, axes.bottom_px - height, right - 1, axes.bottom_px], fill=_BAR)


def _draw_grid(draw: ImageDraw.ImageDraw, axes: _Axes) -> None:
    for step in range(6):
        error = axes.highest * step / 5
        y = axes.y(error)
        draw.line([(_PLOT_LEFT_PX, y), (_PLOT_RIGHT_PX, y)], fill=_GRID if step else _INK)
        _draw_text(draw, (_MARGIN_PX, y - _LINE_HEIGHT_PX / 2), f"{error:.0%}", _GRAY)
    for depth_m in axes.ticks_m():
        x = axes.x(depth_m)
        draw.line([(x, axes.bottom_px), (x, axes.bottom_px + 5)], fill=_INK)
        _draw_text(draw, (x - 10, axes.bottom_px + 7), f"{depth_m:g} m", _GRAY)


# The worst images


@dataclass(frozen=True, slots=True, eq=False)
class ImageRow:
    """One image of the sheet.

    Attributes:
        caption: name and metrics.
        tiles: image, ground truth, prediction and relative error, in one size.
    """

    caption: str
    tiles: tuple[Image.Image, ...]


class WorstImages:
    """Collects the images with the largest AbsRel, reduced to tiles."""

    def __init__(self, count: int = 6) -> None:
        self._count = count
        self._heap: list[tuple[float, int, ImageRow]] = []
        self._offered = 0

    def offer(
        self, sample: Sample, predicted: NDArray[np.float32], truth: GroundTruth, scores: Mapping[str, float]
    ) -> None:
        """Add an image if it is among the worst so far.

        Args:
            sample: image and ground truth.
            predicted: (H, W) float32, meters.
            truth: the evaluated pixels.
            scores: the metrics of the prediction.
        """
        self._offered += 1
        error = scores["abs_rel"]
        if len(self._heap) == self._count and error <= self._heap[0][0]:
            return
        caption = f"{sample.name}    abs_rel {error:.3f}    d1 {scores['d1']:.3f}"
        entry = (error, -self._offered, ImageRow(caption, _make_tiles(sample, predicted, truth)))
        if len(self._heap) < self._count:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heapreplace(self._heap, entry)

    @property
    def rows(self) -> list[ImageRow]:
        """The images, the worst one first."""
        return [row for _, _, row in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]

    def draw(self) -> Image.Image:
        """Draw a sheet of the images."""
        rows = self.rows
        line = _LINE_HEIGHT_PX + _MARGIN_PX // 2
        height = 2 * line + sum(line + row.tiles[0].height + _MARGIN_PX for row in rows) + _MARGIN_PX
        page, draw = _new_page(height)
        _draw_text(
            draw,
            (_MARGIN_PX, 0),
            "The worst images. Depth: near is dark, blue is unknown or not evaluated. "
            f"Error: black is zero, yellow is {_YELLOW_ERROR:.0%} or more.",
        )
        lefts = [_MARGIN_PX + column * (_TILE_WIDTH_PX + _MARGIN_PX) for column in range(len(_HEADINGS))]
        for left, heading in zip(lefts, _HEADINGS, strict=True):
            _draw_text(draw, (left, line), heading, _GRAY)
        top = 2 * line
        for row in rows:
            _draw_text(draw, (_MARGIN_PX, top), row.caption)
            for left, tile in zip(lefts, row.tiles, strict=True):
                page.paste(tile, (left, top + line))
            top += line + row.tiles[0].height + _MARGIN_PX
        return page


def resize_sparse(values: NDArray[np.floating], size: tuple[int, int]) -> Values:
    """Resize an array whose unknown values are NaN, so that single known values stay visible.

    Args:
        values: (H, W), any float dtype.
        size: the new (height, width).

    Returns:
        (height, width) float64; a smaller array has the mean of the known values of each cell, else NaN.
    """
    height, width = values.shape
    if size[0] > height or size[1] > width:
        rows = np.arange(size[0]) * height // size[0]
        columns = np.arange(size[1]) * width // size[1]
        enlarged: Values = values[rows[:, None], columns].astype(np.float64)
        return enlarged
    rows = np.arange(height) * size[0] // height
    columns = np.arange(width) * size[1] // width
    cells = (rows[:, None] * size[1] + columns).ravel()
    flat = values.ravel().astype(np.float64)
    known = np.isfinite(flat)
    counts = np.bincount(cells[known], minlength=size[0] * size[1])
    sums = np.bincount(cells[known], flat[known], minlength=size[0] * size[1])
    means: Values = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return means.reshape(size)


def _make_tiles(sample: Sample, predicted: NDArray[np.float32], truth: GroundTruth) -> tuple[Image.Image, ...]:
    height, width = sample.meters.shape
    scale = min(_TILE_WIDTH_PX / width, _TILE_HEIGHT_PX / height)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    known = np.where(truth.valid, sample.meters, np.nan)
    true_cells, predicted_cells = resize_sparse(known, size), resize_sparse(predicted, size)
    error_cells = resize_sparse(np.abs(predicted - known) / known, size)
    near, far = np.nanmin(true_cells), np.nanmax(true_cells)
    if far < near * _MIN_DEPTH_SPAN:  # a flat wall: a prediction of half or twice the depth must look different
        near, far = near / _MIN_DEPTH_SPAN, far * _MIN_DEPTH_SPAN
    return (
        Image.fromarray(sample.rgb).resize(size[::-1]),
        _depth_tile(true_cells, near, far),
        _depth_tile(predicted_cells, near, far),
        _error_tile(error_cells),
    )


def _depth_tile(meters: Values, near: float, far: float) -> Image.Image:
    """Draw depth on a logarithmic gray scale; ground truth and prediction share its ends."""
    known = np.isfinite(meters)
    light = np.log(np.clip(np.where(known, meters, near), near, far) / near) / np.log(far / near)
    rgb = np.repeat((light * 255).astype(np.uint8)[..., None], 3, axis=2)
    rgb[~known] = _UNKNOWN
    return Image.fromarray(rgb)


def _error_tile(errors: Values) -> Image.Image:
    """Draw errors from black over red to yellow."""
    known = np.isfinite(errors)
    strength = np.clip(np.where(known, errors, 0) / _YELLOW_ERROR, 0, 1)
    rgb = np.stack([np.clip(2 * strength, 0, 1), np.clip(2 * strength - 1, 0, 1), np.zeros_like(strength)], axis=2)
    pixels = (rgb * 255).astype(np.uint8)
    pixels[~known] = _UNKNOWN
    return Image.fromarray(pixels)


# The page


def _new_page(height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    page = Image.new("RGB", (_PAGE_WIDTH_PX, height), _PAPER)
    return page, ImageDraw.Draw(page)


def _draw_text(
    draw: ImageDraw.ImageDraw, corner: tuple[float, float], text: str, color: tuple[int, int, int] = _INK
) -> None:
    """Draw one line; characters that the font lacks, such as those of a broken file name, become question marks."""
    text = "".join(character if character.isprintable() else "?" for character in text)
    text = text.encode("latin-1", "replace").decode("latin-1")
    draw.text(corner, text, fill=color, font=_font())


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_TEXT_PX)
