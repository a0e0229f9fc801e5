"""Depth of large images from overlapping tiles, each aligned to the depth of the whole image.

A network that sees only a tile lacks the context: its depth is sharp, but wrong in scale and shape. The depth of the
whole image, predicted at a small size, is right in scale and shape, but blurred. So the tiles provide the detail: the
depth of each tile is multiplied by a factor that varies slowly over the tile, chosen so that both agree at most
positions. Neighboring tiles overlap and are blended, so that remaining differences do not show as edges.

`TileGrid` decides how to divide an image, `merge_tiles` predicts and merges the tiles, `align_tile` aligns one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from glpn_cli.image.preprocessing import floored_size
from glpn_cli.image.upsampling import upsample, upsample_guided
from glpn_cli.settings import FAR_LARGER_FACTOR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from glpn_cli.values import Tiles

_MIN_OVERLAP = 0.25  # fraction of a tile's side
_MAX_SIDE_RATIO = 4  # automatic tiles are at least a quarter of each side of the image

# The factor of a tile is fitted in a grid of cells, about one per pixel of the small depth map.
_MIN_CELLS, _MAX_CELLS = 12, 24
# With a plane instead of this degree, what tiles have in common, such as a distant center, stayed visible as a pattern
# over the image. With this degree it does not, and such a surface cannot follow the detail of a tile.
_DEGREE = 6
_ROUNDS = 8
_MIN_DEVIATION = 1e-3
_RIDGE = 1e-3
# In the published scale; below it, a logarithm depends more on rounding than on depth.
_MIN_DEPTH = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A rectangular part of an image.

    Attributes:
        top, bottom, left, right: pixels of the image; `bottom` and `right` are exclusive.
        weights: (height, 1) and (1, width) float32, 0 to 1: their product is the tile's weight at each pixel. The
            weights of all tiles sum to 1 at every pixel.
    """

    top: int
    bottom: int
    left: int
    right: int
    weights: tuple[NDArray[np.float32], NDArray[np.float32]]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width), pixels."""
        return self.bottom - self.top, self.right - self.left

    def crop(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the tile's part of an array (H, W, ...), as a view."""
        return array[self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True, slots=True)
class TileGrid:
    """How an image is divided into tiles.

    Attributes:
        size: (height, width) of the image, pixels.
        tile_size: (height, width) of every tile, pixels; at most the size of the image.
        network_size: (height, width) to which tiles are resized for the network, multiples of 32.
    """

    size: tuple[int, int]
    tile_size: tuple[int, int]
    network_size: tuple[int, int]

    @classmethod
    def choose(cls, size: tuple[int, int], tiles: Tiles, working_size: tuple[int, int]) -> TileGrid | None:
        """Decide how to divide an image.

        Tiles of a fixed size are not resized, except to multiples of 32. Automatic tiles have the working size, and are
        not resized either, unless that would be less than a quarter of a side of the image: so small a part does not
        show what it is a part of.

        Args:
            size: (height, width) of the image, pixels.
            tiles: the user's setting.
            working_size: (height, width) that suits the weights, in the aspect ratio of this image; multiples of 32.

        Returns:
            None if the image needs no tiles.
        """
        height, width = size
        if not tiles.is_on:
            return None
        if tiles.mode == "fixed":
            tile_size = (min(height, tiles.height_px), min(width, tiles.width_px))
            return None if tile_size == size else cls(size, tile_size, floored_size(*tile_size))
        if height * width <= FAR_LARGER_FACTOR * working_size[0] * working_size[1]:
            return None
        smallest = [-(-side // _MAX_SIDE_RATIO) for side in size]
        tile_size = (min(height, max(working_size[0], smallest[0])), min(width, max(working_size[1], smallest[1])))
        return cls(size, tile_size, working_size)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns of tiles."""
        return len(_tile_starts(self.size[0], self.tile_size[0])), len(_tile_starts(self.size[1], self.tile_size[1]))

    def tiles(self) -> Iterator[Tile]:
        """Yield the tiles row by row."""
        columns = list(_tile_spans(self.size[1], self.tile_size[1]))
        for top, bottom, row_weights in _tile_spans(self.size[0], self.tile_size[0]):
            for left, right, column_weights in columns:
                yield Tile(top, bottom, left, right, (row_weights[:, None], column_weights[None, :]))


def merge_tiles(
    rgb: NDArray[np.uint8],
    whole: Tensor,
    grid: TileGrid,
    *,
    predict: Callable[[Sequence[NDArray[np.uint8]]], Sequence[Tensor]],
    batch_size: int = 1,
    sharp_edges: bool = False,
) -> NDArray[np.float32]:
    """Predict the depth of all tiles of an image and merge it.

    Besides the image and the result, only the tiles of one batch are in memory.

    Args:
        rgb: (H, W, 3) uint8.
        whole: (1, h, w) float32, depth of the whole image, in any scale.
        grid: how to divide the image.
        predict: returns the depth of each of some parts of the image, (1, h, w) float32, in the same scale.
        batch_size: number of tiles that `predict` gets at a time.
        sharp_edges: align the edges of depth with those of the image.

    Returns:
        (H, W) float32, depth in the same scale, not clipped.
    """
    depth = np.zeros(grid.size, np.float32)
    whole_log = whole.clamp_min(_MIN_DEPTH).log()[None]
    tiles = list(grid.tiles())
    for first in range(0, len(tiles), batch_size):
        batch = tiles[first : first + batch_size]
        for tile, predicted in zip(batch, predict([tile.crop(rgb) for tile in batch]), strict=True):
            if sharp_edges:
                resized = upsample_guided(predicted[0], tile.crop(rgb))
            else:
                resized = upsample(predicted[0], tile.size)
            aligned = align_tile(torch.from_numpy(resized)[None], _sample_whole(whole_log, tile, grid.size))
            row_weights, column_weights = tile.weights
            tile.crop(depth)[...] += row_weights * aligned[0].numpy() * column_weights
    return depth


def align_tile(tile: Tensor, whole_log: Tensor) -> Tensor:
    """Scale the depth of a tile to agree with the depth of the whole image.

    The logarithm of the factor is a smooth surface over the tile, fitted to the differences by least absolute
    deviations: edges, sharp in one map and blurred in the other, have little influence.

    Args:
        tile: (1, h, w) float32, depth in any scale.
        whole_log: (1, 1, rows, columns) float32, logarithm of the depth of the whole image in the cells of the tile.

    Returns:
        (1, h, w) float32, depth in the scale of the whole image.
    """
    log = tile.clamp_min(_MIN_DEPTH).log()
    _, _, rows, columns = whole_log.shape
    cells = functional.adaptive_avg_pool2d(log[None], (rows, columns))
    factor_log = _fit_polynomial((whole_log - cells)[0, 0])
    smooth = functional.interpolate(factor_log[None, None], tile.shape[1:], mode="bilinear", align_corners=False)[0]
    return tile * smooth.exp_()


def _tile_starts(length: int, tile: int) -> list[int]:
    """Return the first pixels of the tiles along one side, evenly spaced, from the first to the last pixel."""
    if tile >= length:
        return [0]
    count = 1 + -(-(length - tile) // max(1, int(tile * (1 - _MIN_OVERLAP))))
    return [round(index * (length - tile) / (count - 1)) for index in range(count)]


def _tile_spans(length: int, tile: int) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Yield start, end and weights of the tiles along one side, with a cosine ramp over each overlap."""
    starts = _tile_starts(length, tile)
    tile = min(tile, length)
    spans = []
    total = np.zeros(length)
    for index, start in enumerate(starts):
        weights = np.ones(tile)
        if index > 0:
            overlap = starts[index - 1] + tile - start
            weights[:overlap] *= _ramp(overlap)
        if index < len(starts) - 1:
            overlap = start + tile - starts[index + 1]
            weights[tile - overlap :] *= _ramp(overlap)[::-1]
        spans.append((start, weights))
        total[start : start + tile] += weights
    for start, weights in spans:
        # Two ramps sum to 1. Three tiles can overlap on a side that is not quite two tiles long: slightly more than 1.
        yield start, start + tile, (weights / total[start : start + tile]).astype(np.float32)


def _ramp(length: int) -> NDArray[np.float64]:
    return 0.5 - 0.5 * np.cos(np.pi * (np.arange(length) + 0.5) / length)


def _sample_whole(whole_log: Tensor, tile: Tile, size: tuple[int, int]) -> Tensor:
    """Sample the log depth of the whole image in the cells of a tile.

    Returns:
        (1, 1, rows, columns) float32, about as many cells as the tile has pixels in that map.
    """
    height, width = size
    tile_height, tile_width = tile.size
    _, _, whole_height, whole_width = whole_log.shape
    rows = _cell_count(tile_height * whole_height / height)
    columns = _cell_count(tile_width * whole_width / width)
    y = tile.top + (torch.arange(rows) + 0.5) * tile_height / rows
    x = tile.left + (torch.arange(columns) + 0.5) * tile_width / columns
    positions = torch.stack(torch.meshgrid(2 * x / width - 1, 2 * y / height - 1, indexing="xy"), dim=-1)[None]
    return functional.grid_sample(whole_log, positions, mode="bilinear", padding_mode="border", align_corners=False)


def _cell_count(pixels: float) -> int:
    return max(_MIN_CELLS, min(_MAX_CELLS, round(pixels)))


def _fit_polynomial(values: Tensor) -> Tensor:
    """Fit a polynomial to values (rows, columns) by least absolute deviations, and evaluate it there.

    Iteratively reweighted least squares, with a small ridge for stability.
    """
    rows, columns = values.shape
    y, x = torch.meshgrid(torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns), indexing="ij")
    powers = [(down, across) for down in range(_DEGREE + 1) for across in range(_DEGREE + 1 - down)]
    terms = torch.stack([y**down * x**across for down, across in powers], dim=-1).reshape(rows * columns, -1).double()
    ridge = _RIDGE * torch.eye(len(powers), dtype=torch.float64)
    targets = values.reshape(-1).double()
    coefficients = torch.zeros(len(powers), dtype=torch.float64)
    coefficients[0] = targets.median()
    for _ in range(_ROUNDS):
        weighted = terms / ((terms @ coefficients - targets).abs() + _MIN_DEVIATION)[:, None]
        coefficients = torch.linalg.solve(terms.T @ weighted + ridge, weighted.T @ targets)
    return (terms @ coefficients).reshape(rows, columns).float()
