"""Paper, ink and type of the figures. Pillow draws them, so that a figure needs no further package.

The worst images of an evaluation, side by side with what is true and what was predicted.

Where errors are: near or far.

The figure of an evaluation: error over depth, and below it the worst images.
"""

from __future__ import annotations

import heapq
import io
import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from glpn_cli.data.sample import Sample
    from glpn_cli.evaluation.run import Truth

    Values = NDArray[np.float64]


PAGE_WIDTH_PX = 1200

MARGIN_PX = 16

INK = (30, 30, 30)

GRAY = (120, 120, 120)

COLORS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (230, 159, 0))

"""For lines: those of Okabe and Ito, which people who confuse colors can tell apart."""

_PAPER = (255, 255, 255)

_TEXT_PX = 15


def blank_page(height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Give an empty page of the usual width, and what draws on it."""
    page = Image.new("RGB", (PAGE_WIDTH_PX, height), _PAPER)
    return page, ImageDraw.Draw(page)


def draw_text(
    draw: ImageDraw.ImageDraw, corner: tuple[float, float], text: str, color: tuple[int, int, int] = INK
) -> float:
    """Write a line; what the font cannot show, such as a broken file name, becomes question marks.

    Returns:
        Its width in pixels.
    """
    text = "".join(character if character.isprintable() else "?" for character in text)
    text = text.encode("latin-1", "replace").decode("latin-1")
    draw.text(corner, text, fill=color, font=_font())
    return draw.textlength(text, font=_font())


def text_height() -> int:
    """Give the height of a line in pixels."""
    return _TEXT_PX + 5


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_TEXT_PX)


_HEADINGS = ("image", "true depth", "predicted", "relative error")

_TILE_WIDTH_PX = (PAGE_WIDTH_PX - MARGIN_PX * (len(_HEADINGS) + 1)) // len(_HEADINGS)

_TILE_HEIGHT_PX = 2 * _TILE_WIDTH_PX

_UNKNOWN = (70, 80, 120)

_WHOLE_ERROR = 0.5

_LEAST_SPAN = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """One image of the sheet: a caption, and a tile for each heading."""

    caption: str
    tiles: tuple[Image.Image, ...]


class WorstImages:
    """Keeps the images with the largest AbsRel, as small images."""

    def __init__(self, keep: int = 6) -> None:
        """Keep so many."""
        self._keep = keep
        self._heap: list[tuple[float, int, _Row]] = []
        self._offered = 0

    def offer(self, sample: Sample, predicted: NDArray[np.float32], truth: Truth, scores: Mapping[str, float]) -> None:
        """Take an image if it is worse than one that is kept.

        Args:
            sample: image and true depth.
            predicted: (H, W) float32, meters.
            truth: the pixels that count.
            scores: the metrics of the prediction.
        """
        self._offered += 1
        error = scores["abs_rel"]
        if len(self._heap) == self._keep and error <= self._heap[0][0]:
            return
        row = _Row(f"{sample.name}    abs_rel {error:.3f}    d1 {scores['d1']:.3f}", _tiles(sample, predicted, truth))
        entry = (error, -self._offered, row)
        if len(self._heap) < self._keep:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heapreplace(self._heap, entry)

    def draw(self) -> Image.Image:
        """Draw the sheet, the worst image first."""
        rows = [row for _, _, row in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]
        line = text_height() + MARGIN_PX // 2
        height = 2 * line + sum(line + row.tiles[0].height + MARGIN_PX for row in rows) + MARGIN_PX
        page, draw = blank_page(height)
        draw_text(
            draw,
            (MARGIN_PX, 0),
            "The worst images. Depth: near is dark; blue is unknown or does not count. "
            f"Error: black is none, yellow {_WHOLE_ERROR:.0%} or more.",
        )
        lefts = [MARGIN_PX + column * (_TILE_WIDTH_PX + MARGIN_PX) for column in range(len(_HEADINGS))]
        for left, heading in zip(lefts, _HEADINGS, strict=True):
            draw_text(draw, (left, line), heading, GRAY)
        top = 2 * line
        for row in rows:
            draw_text(draw, (MARGIN_PX, top), row.caption, INK)
            for left, tile in zip(lefts, row.tiles, strict=True):
                page.paste(tile, (left, top + line))
            top += line + row.tiles[0].height + MARGIN_PX
        return page


def _tiles(sample: Sample, predicted: NDArray[np.float32], truth: Truth) -> tuple[Image.Image, ...]:
    height, width = sample.meters.shape
    scale = min(_TILE_WIDTH_PX / width, _TILE_HEIGHT_PX / height)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    known = np.where(truth.valid, sample.meters, np.nan)
    true_cells, predicted_cells = _shrunk(known, size), _shrunk(predicted, size)
    error_cells = _shrunk(np.abs(predicted - known) / known, size)
    near, far = np.nanmin(true_cells), np.nanmax(true_cells)
    if far < near * _LEAST_SPAN:  # a wall: what is twice as near or as far is to look different
        near, far = near / _LEAST_SPAN, far * _LEAST_SPAN
    return (
        Image.fromarray(sample.rgb).resize(size[::-1]),
        _depth_tile(true_cells, near, far),
        _depth_tile(predicted_cells, near, far),
        _error_tile(error_cells),
    )


def _shrunk(values: NDArray[np.floating], size: tuple[int, int]) -> Values:
    """Bring (H, W) to a size; each cell is the mean of its known pixels, so that sparse ones stay visible."""
    height, width = values.shape
    rows = np.arange(height) * size[0] // height
    columns = np.arange(width) * size[1] // width
    if size[0] > height or size[1] > width:  # a small image is enlarged without new values
        rows = np.arange(size[0]) * height // size[0]
        columns = np.arange(size[1]) * width // size[1]
        enlarged: Values = values[rows[:, None], columns].astype(np.float64)
        return enlarged
    cells = (rows[:, None] * size[1] + columns).ravel()
    flat = values.ravel().astype(np.float64)
    known = np.isfinite(flat)
    counts = np.bincount(cells[known], minlength=size[0] * size[1])
    sums = np.bincount(cells[known], flat[known], minlength=size[0] * size[1])
    means: Values = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return means.reshape(size)


def _depth_tile(meters: Values, near: float, far: float) -> Image.Image:
    """Draw depth on a logarithmic gray scale that the true and the predicted tile share."""
    known = np.isfinite(meters)
    span = np.log(far / near)
    light = np.log(np.clip(np.where(known, meters, near), near, far) / near) / span
    rgb = np.repeat((light * 255).astype(np.uint8)[..., None], 3, axis=2)
    rgb[~known] = _UNKNOWN
    return Image.fromarray(rgb)


def _error_tile(errors: Values) -> Image.Image:
    """Draw errors from black by way of red to yellow."""
    known = np.isfinite(errors)
    strength = np.clip(np.where(known, errors, 0) / _WHOLE_ERROR, 0, 1)
    rgb = np.stack([np.clip(2 * strength, 0, 1), np.clip(2 * strength - 1, 0, 1), np.zeros_like(strength)], axis=2)
    pixels = (rgb * 255).astype(np.uint8)
    pixels[~known] = _UNKNOWN
    return Image.fromarray(pixels)


_NEAREST_M = 0.25

_BINS_PER_DOUBLING = 2


class DepthProfile:
    """Collects the errors of several predictions by true depth, over the pixels of all images together.

    Attributes:
        edges_m: (bins + 1,) meters; each bin reaches √2 times as far as the one before. What is nearer than the
            first edge belongs to the first bin.
    """

    def __init__(self, cap_m: float) -> None:
        """Begin with nothing.

        Args:
            cap_m: where the last bin ends.
        """
        nearest_m = min(_NEAREST_M, cap_m / 2)
        bins = math.ceil(_BINS_PER_DOUBLING * math.log2(cap_m / nearest_m))
        self.edges_m: Values = np.append(nearest_m * 2 ** (np.arange(bins) / _BINS_PER_DOUBLING), cap_m)
        self._pixels: Values = np.zeros(len(self.edges_m) - 1)
        self._relative: dict[str, Values] = {}
        self._signed: dict[str, Values] = {}

    def add(self, true: Values, predicted: dict[str, Values], *, again: bool = False) -> None:
        """Add the pixels of one image that count, (N,) meters, in each of several predictions.

        Args:
            true: of these pixels.
            predicted: by name.
            again: that image was added before, with other predictions.
        """
        bins = len(self._pixels)
        which = np.clip(np.searchsorted(self.edges_m, true, side="right") - 1, 0, bins - 1)
        if not again:
            self._pixels += np.bincount(which, minlength=bins)
        for name, values in predicted.items():
            relative = (values - true) / true
            for sums, errors in ((self._relative, np.abs(relative)), (self._signed, relative)):
                sums[name] = sums.get(name, np.zeros(bins)) + np.bincount(which, errors, minlength=bins)

    @property
    def pixel_share(self) -> Values:
        """(bins,) share of all pixels."""
        share: Values = self._pixels / max(float(self._pixels.sum()), 1.0)
        return share

    @property
    def abs_rel(self) -> dict[str, Values]:
        """For each prediction (bins,) mean |p-t|/t; not a number where a bin is empty."""
        return {name: self._mean(sums) for name, sums in self._relative.items()}

    def to_rows(self) -> list[dict[str, Any]]:
        """Give every bin that is not empty, ready for JSON."""
        relative = self.abs_rel
        signed = {name: self._mean(sums) for name, sums in self._signed.items()}
        return [
            {
                "from_m": float(self.edges_m[index]),
                "to_m": float(self.edges_m[index + 1]),
                "pixel_share": float(self.pixel_share[index]),
                "abs_rel": {name: float(values[index]) for name, values in relative.items()},
                "mean_relative_error": {name: float(values[index]) for name, values in signed.items()},
            }
            for index in np.flatnonzero(self._pixels)
        ]

    def _mean(self, sums: Values) -> Values:
        means: Values = np.divide(sums, self._pixels, out=np.full_like(sums, np.nan), where=self._pixels > 0)
        return means


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


def _draw_bars(draw: ImageDraw.ImageDraw, axes: _Axes, profile: DepthProfile) -> None:
    shares = profile.pixel_share
    for index in np.flatnonzero(shares):
        left, right = axes.x(profile.edges_m[index]), axes.x(profile.edges_m[index + 1])
        height = _PLOT_HEIGHT_PX * float(shares[index] / shares.max())
        draw.rectangle([left + 1, axes.bottom - height, right - 1, axes.bottom], fill=_BAR)


def _draw_grid(draw: ImageDraw.ImageDraw, axes: _Axes) -> None:
    for step in range(6):
        error = axes.highest * step / 5
        y = axes.y(error)
        draw.line([(_LEFT_PX, y), (_RIGHT_PX, y)], fill=_GRID if step else INK)
        draw_text(draw, (MARGIN_PX, y - text_height() / 2), f"{error:.0%}", GRAY)
    for depth in axes.depths():
        x = axes.x(depth)
        draw.line([(x, axes.bottom), (x, axes.bottom + 5)], fill=INK)
        draw_text(draw, (x - 10, axes.bottom + 7), f"{depth:g} m", GRAY)
