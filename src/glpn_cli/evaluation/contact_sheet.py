"""The worst images of an evaluation, side by side with what is true and what was predicted."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from glpn_cli.evaluation.drawing import GRAY, INK, MARGIN_PX, PAGE_WIDTH_PX, blank_page, draw_text, text_height

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from glpn_cli.data.sample import Sample
    from glpn_cli.evaluation.image import Truth

    Values = NDArray[np.float64]

__all__ = ["WorstImages"]

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
