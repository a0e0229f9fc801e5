"""Depth of large images from overlapping tiles, each aligned to the depth of the whole image.

A network that sees a tile alone does not know where in the scene it is: its depth is sharp, and wrong as a whole. The
depth of the whole image, seen small, is right as a whole, and blurred. So a tile gives the detail, and the whole
says how far it all is and how it is shaped: the tile's depth is multiplied by a factor that changes slowly over the
tile, found so that both agree in most places. Neighbors overlap and fade into each other, so what is left of a
disagreement is no edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from glpn_cli.image.processor import floored_size
from glpn_cli.settings import FAR_LARGER_FACTOR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from glpn_cli.settings import Tiles


_OVERLAP = 0.25
"""The least share of a tile's side that it has in common with its neighbor."""

_MOST_PER_SIDE = 4
"""Tiles that are chosen for the user are at least this part of a side."""

_MIN_CELLS, _MAX_CELLS = 12, 24
_DEGREE = 6
"""Of the polynomial that a tile is corrected by. With a plane, what tiles have in common, such as a far middle, stayed
visible as a pattern over the image; with this it does not, and detail is still finer."""
_ROUNDS = 8
_LEAST_DEVIATION = 1e-3
_RIDGE = 1e-3
_LEAST_DEPTH = 1e-4
"""In the published scale; below it a logarithm says more about rounding than about depth."""


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A part of an image.

    Attributes:
        top, bottom, left, right: pixels of the image; the ends are not part of it.
        weights: (height, 1) and (1, width) float32, in [0, 1]; those of all tiles add up to 1 in every pixel.
    """

    top: int
    bottom: int
    left: int
    right: int
    weights: tuple[NDArray[np.float32], NDArray[np.float32]]

    def cut(self, array: NDArray[Any]) -> NDArray[Any]:
        """Give the tile's part of an array that begins with (H, W), as a view."""
        return array[self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True, slots=True)
class TileGrid:
    """How an image is cut.

    Attributes:
        size: (height, width) of the image, pixels.
        tile_size: (height, width) of every tile, at most that of the image.
        seen_size: (height, width) in which the network sees a tile, multiples of 32.
    """

    size: tuple[int, int]
    tile_size: tuple[int, int]
    seen_size: tuple[int, int]

    @classmethod
    def of(cls, size: tuple[int, int], tiles: Tiles, working_size: tuple[int, int]) -> TileGrid | None:
        """Decide how to cut an image.

        Tiles of a fixed size are seen as they are. Otherwise a tile is what the weights were made for, and is seen as
        it is, too, unless that would be less than a quarter of a side: from so little, nobody could tell what it is.

        Args:
            size: (height, width) of the image.
            tiles: what the user wants.
            working_size: what the weights were made for, in the shape of this image; multiples of 32.

        Returns:
            None where the image as a whole is all that is needed.
        """
        height, width = size
        if not tiles.is_on:
            return None
        if tiles.mode == "fixed":
            tile_size = (min(height, tiles.height_px), min(width, tiles.width_px))
            return None if tile_size == size else cls(size, tile_size, floored_size(*tile_size))
        if height * width <= FAR_LARGER_FACTOR * working_size[0] * working_size[1]:
            return None
        least = [-(-side // _MOST_PER_SIDE) for side in size]
        tile_size = (min(height, max(working_size[0], least[0])), min(width, max(working_size[1], least[1])))
        return cls(size, tile_size, working_size)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return len(_starts(self.size[0], self.tile_size[0])), len(_starts(self.size[1], self.tile_size[1]))

    def tiles(self) -> Iterator[Tile]:
        """Yield the tiles row by row."""
        columns = list(_spans(self.size[1], self.tile_size[1]))
        for top, bottom, row_weights in _spans(self.size[0], self.tile_size[0]):
            for left, right, column_weights in columns:
                yield Tile(top, bottom, left, right, (row_weights[:, None], column_weights[None, :]))


def _starts(length: int, tile: int) -> list[int]:
    """Spread tiles over a side as evenly as can be, the first and the last at its ends."""
    if tile >= length:
        return [0]
    count = 1 + -(-(length - tile) // max(1, int(tile * (1 - _OVERLAP))))
    return [round(index * (length - tile) / (count - 1)) for index in range(count)]


def _spans(length: int, tile: int) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Yield start, end and weights of the tiles along one side: half a period of a cosine over each overlap."""
    starts = _starts(length, tile)
    tile = min(tile, length)
    spans = []
    total = np.zeros(length)
    for index, start in enumerate(starts):
        weights = np.ones(tile)
        if index > 0:
            overlap = starts[index - 1] + tile - start
            weights[:overlap] *= _fade(overlap)
        if index < len(starts) - 1:
            overlap = start + tile - starts[index + 1]
            weights[tile - overlap :] *= _fade(overlap)[::-1]
        spans.append((start, weights))
        total[start : start + tile] += weights
    for start, weights in spans:
        # Two fades make one; only where three tiles meet, on a side not quite two tiles long, they make a little more.
        yield start, start + tile, (weights / total[start : start + tile]).astype(np.float32)


def _fade(length: int) -> NDArray[np.float64]:
    return 0.5 - 0.5 * np.cos(np.pi * (np.arange(length) + 0.5) / length)


def merge_tiles(
    rgb: NDArray[np.uint8],
    whole: Tensor,
    grid: TileGrid,
    *,
    predict: Callable[[Sequence[NDArray[np.uint8]]], Sequence[Tensor]],
    at_once: int = 1,
) -> NDArray[np.float32]:
    """Predict all tiles of an image and put them together.

    Beside the image and the result there is never more in memory than a few tiles.

    Args:
        rgb: (H, W, 3) uint8.
        whole: (1, h, w) float32, the depth of the whole image, in any scale.
        grid: how to cut.
        predict: gives for each of some parts of the image its depth, (1, h, w) float32, in the same scale.
        at_once: how many parts it gets at a time.

    Returns:
        (H, W) float32, in the same scale, not limited.
    """
    depth = np.zeros(grid.size, np.float32)
    whole_log = whole.clamp_min(_LEAST_DEPTH).log()[None]
    tiles = list(grid.tiles())
    for first in range(0, len(tiles), at_once):
        some = tiles[first : first + at_once]
        for tile, predicted in zip(some, predict([tile.cut(rgb) for tile in some]), strict=True):
            size = (tile.bottom - tile.top, tile.right - tile.left)
            at_size = functional.interpolate(predicted[None], size, mode="bicubic", align_corners=False)[0]
            aligned = align_tile(at_size, _seen_in(whole_log, tile, grid.size))
            rows, columns = tile.weights
            tile.cut(depth)[...] += rows * aligned[0].numpy() * columns
    return depth


def align_tile(tile: Tensor, whole_log: Tensor) -> Tensor:
    """Bring the depth of a tile to that of the whole image.

    The factor's logarithm is a smooth surface over the tile, fitted to the differences by least absolute deviations, so
    that edges, which are sharp in one and blurred in the other, do not count much.

    Args:
        tile: (1, h, w) float32, in any scale.
        whole_log: (1, 1, rows, columns) float32, the logarithm of the whole image's depth in as many cells.

    Returns:
        (1, h, w) float32, in the scale of the whole.
    """
    log = tile.clamp_min(_LEAST_DEPTH).log()
    _, _, rows, columns = whole_log.shape
    cells = functional.adaptive_avg_pool2d(log[None], (rows, columns))
    factor_log = _fit_surface((whole_log - cells)[0, 0])
    smooth = functional.interpolate(factor_log[None, None], tile.shape[1:], mode="bilinear", align_corners=False)[0]
    return tile * smooth.exp_()


def _seen_in(whole_log: Tensor, tile: Tile, size: tuple[int, int]) -> Tensor:
    """Sample the whole image's log depth in the cells of a tile: about one for each of its pixels there."""
    height, width = size
    _, _, whole_height, whole_width = whole_log.shape
    rows = _cell_count((tile.bottom - tile.top) * whole_height / height)
    columns = _cell_count((tile.right - tile.left) * whole_width / width)
    y = tile.top + (torch.arange(rows) + 0.5) * (tile.bottom - tile.top) / rows
    x = tile.left + (torch.arange(columns) + 0.5) * (tile.right - tile.left) / columns
    places = torch.stack(torch.meshgrid(2 * x / width - 1, 2 * y / height - 1, indexing="xy"), dim=-1)[None]
    return functional.grid_sample(whole_log, places, mode="bilinear", padding_mode="border", align_corners=False)


def _cell_count(pixels: float) -> int:
    return max(_MIN_CELLS, min(_MAX_CELLS, round(pixels)))


def _fit_surface(values: Tensor) -> Tensor:
    """Fit a polynomial to (rows, columns) by least absolute deviations; (rows, columns) of the polynomial."""
    rows, columns = values.shape
    y, x = torch.meshgrid(torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns), indexing="ij")
    powers = [(down, across) for down in range(_DEGREE + 1) for across in range(_DEGREE + 1 - down)]
    terms = torch.stack([y**down * x**across for down, across in powers], dim=-1).reshape(rows * columns, -1).double()
    ridge = _RIDGE * torch.eye(len(powers), dtype=torch.float64)
    targets = values.reshape(-1).double()
    surface = torch.zeros(len(powers), dtype=torch.float64)
    surface[0] = targets.median()
    for _ in range(_ROUNDS):  # least squares, weighted again and again with one over the deviation
        weighted = terms / ((terms @ surface - targets).abs() + _LEAST_DEVIATION)[:, None]
        surface = torch.linalg.solve(terms.T @ weighted + ridge, weighted.T @ targets)
    return (terms @ surface).reshape(rows, columns).float()
