"""The network's map at the size of the image, without depth that the network did not predict.

Bicubic interpolation overshoots next to an edge: there it returns depth nearer than anything around the pixel, even
below 0, or farther than the depth limit. `LocalRange` limits it to the depths that it interpolates between.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Map = NDArray[np.float32]

_BICUBIC_REACH = 2
"""Bicubic interpolation between two pixels reads two on each side, along each axis."""

_MIN_DEPTH = 1e-4  # in the published scale; its logarithm stands for everything nearer
_WINDOW_REACH = 8  # pixels of the network; about twice the width of its edges
_MODEL_REACH = 3  # pixels of the network
_RIDGE = 1e-3  # variance of color, in [0, 1]: fainter texture stays out of depth
_STRIP_PIXELS = 2**17


def resize_bicubic(depth: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (B, h, w) to (B, height, width), bit for bit as the reference does; may overshoot."""
    return functional.interpolate(depth[:, None], size=size, mode="bicubic", align_corners=False)[:, 0]


def upsample(depth: Tensor, size: tuple[int, int], *, factor: float = 1.0, limit: float = math.inf) -> Map:
    """Resize a map by bicubic interpolation, inside the range of the 4x4 pixels that it interpolates between.

    Wherever interpolation does not overshoot, the result is that of `resize_bicubic`, bit for bit.

    Args:
        depth: (h, w) float32, finite, not negative, on any device.
        size: (height, width) of the result.
        factor: what the result is multiplied by after interpolation.
        limit: the largest value of the result.

    Returns:
        (height, width) float32, in [0, limit].
    """
    resized: Map = resize_bicubic(depth[None], size)[0].mul_(factor).cpu().numpy()
    return LocalRange.around(depth.cpu()).scaled(factor, limit).clip(resized)


def upsample_guided(depth: Tensor, guide: NDArray[np.uint8], *, factor: float = 1.0, limit: float = math.inf) -> Map:
    """Resize a map to the size of the image by a guided filter, so that its edges are where the image has edges.

    In the window around each pixel of the map, the logarithm of depth is fitted by a linear function of color. These
    functions vary slowly: they are resized, and applied to the colors of the image. The window is about twice as wide
    as an edge of the network's depth, so that it contains both sides. The function of a pixel is the mean over a
    smaller window than in the paper, which leaves edges sharper.

    The result stays in the range of the network's depth around each pixel. Depth that is constant stays constant, and a
    factor of the network's depth is a factor of the result.

    Args:
        depth: (h, w) float32, finite, not negative, on the CPU.
        guide: (height, width, 3) uint8, the image.
        factor: what the result is multiplied by.
        limit: the largest value of the result.

    Returns:
        (height, width) float32, in [0, limit].

    Source: He and Sun, Fast Guided Filter, arXiv 1505.00996.
    """
    height, width = depth.shape
    small = Image.fromarray(guide).resize((width, height), Image.Resampling.BOX)
    colors = torch.from_numpy(np.asarray(small, np.float32).transpose(2, 0, 1) / np.float32(255))
    models = _fit_models(depth.clamp_min(_MIN_DEPTH).log(), colors)
    result = _apply_models(models.numpy(), guide)
    result *= np.float32(factor)
    return LocalRange.around(depth, _WINDOW_REACH).scaled(factor, limit).clip(result)


@dataclass(frozen=True, slots=True, eq=False)
class LocalRange:
    """The range of a small map around each position of a larger map.

    A cell is the area between the centers of four neighboring pixels of the small map; the outermost cells reach from
    the outermost centers to the border. All positions in a cell have the same range.

    Attributes:
        low: (h + 1, w + 1) float32, the smallest value around each cell.
        high: (h + 1, w + 1) float32, the largest value around each cell.
    """

    low: Map
    high: Map

    @classmethod
    def around(cls, values: Tensor, reach: int = _BICUBIC_REACH) -> Self:
        """Return the range of the pixels around each cell.

        Args:
            values: (h, w) float32, finite, on the CPU.
            reach: pixels that count on each side of a cell, along each axis.
        """
        # Repeated pixels at the border do not change a minimum, and leave every cell with a whole window.
        padded = np.pad(values.numpy(), reach, mode="edge")
        low, high = (_reduce_windows(padded, 2 * reach, end) for end in (np.minimum, np.maximum))
        return cls(low, high)

    def scaled(self, factor: float, limit: float) -> LocalRange:
        """Return the range of the values times a factor, inside 0 and a limit."""
        low, high = (np.clip(end * np.float32(factor), 0, np.float32(limit)) for end in (self.low, self.high))
        return LocalRange(low, high)

    def clip(self, values: Map) -> Map:
        """Clip a larger map to the range around each of its pixels, in place.

        Args:
            values: (height, width) float32.
        """
        height, width = values.shape
        rows, columns = (_cells(*sides) for sides in zip((height, width), self.low.shape, strict=True))
        first_rows = np.flatnonzero(np.diff(rows, prepend=-1))
        for top, bottom in pairwise((*first_rows, height)):  # rows in one row of cells: they stay in the CPU's cache
            strip = values[top:bottom]
            np.maximum(strip, self.low[rows[top], columns], out=strip)
            np.minimum(strip, self.high[rows[top], columns], out=strip)
        return values


def _reduce_windows(padded: Map, window: int, end: np.ufunc) -> Map:
    """Return the minimum or maximum of each window x window square."""
    for _ in range(2):
        size = 1
        while size < window:  # windows of `size` pixels that overlap or touch make a larger window
            step = min(size, window - size)
            padded = end(padded[:-step], padded[step:])
            size += step
        padded = padded.T
    return np.ascontiguousarray(padded)


def _cells(length: int, count: int) -> NDArray[np.intp]:
    """Return the cell of each pixel along one side: (length,), 0 before the first center of the small map."""
    positions = (np.arange(length) + 0.5) * ((count - 1) / length) - 0.5
    cells: NDArray[np.intp] = np.floor(positions).astype(np.intp) + 1
    return cells


# The guided filter


def _fit_models(log: Tensor, colors: Tensor) -> Tensor:
    """Fit the logarithm of depth by a linear function of color in the window around each pixel.

    Args:
        log: (h, w) float32.
        colors: (3, h, w) float32, in [0, 1].

    Returns:
        (4, h, w) float32: the coefficients of red, green and blue, and the constant; means over nearby windows.
    """
    height, width = log.shape
    reach = min(_WINDOW_REACH, height - 1, width - 1)
    # Depth continues across the border with the same slope. Else the nearest rows of a floor would become too far.
    log = _pad_odd(_pad_odd(log, reach).T, reach).T
    colors = functional.pad(colors[None], [reach] * 4, mode="reflect")[0] if reach else colors
    products = (colors[:, None] * colors[None]).flatten(0, 1)
    means = _window_means(torch.cat((log[None], colors, log * colors, products)), reach)
    mean, mean_colors = means[0], means[1:4]
    covariance = means[4:7] - mean * mean_colors
    variances = means[7:].reshape(3, 3, height, width) - mean_colors[:, None] * mean_colors[None]
    slopes = _solve(variances + _RIDGE * torch.eye(3)[..., None, None], covariance)
    models = torch.cat((slopes, (mean - (slopes * mean_colors).sum(0))[None]))
    reach = min(_MODEL_REACH, reach)
    return _window_means(functional.pad(models[None], [reach] * 4, mode="replicate")[0], reach)


def _solve(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Solve symmetric equations (3, 3, h, w) with right sides (3, h, w) by Cramer's rule, much faster than LAPACK."""
    first, second, third = matrices
    minors = [torch.linalg.cross(*rows, dim=0) for rows in ((second, third), (third, first), (first, second))]
    solution = (torch.stack(minors) * vectors[:, None]).sum(0)
    solution /= (first * minors[0]).sum(0)
    return solution


def _pad_odd(values: Tensor, reach: int) -> Tensor:
    """Add rows above and below (h, w), mirrored in the outermost row and its value."""
    above, below = values[1 : reach + 1].flip(0), values[len(values) - reach - 1 : -1].flip(0)
    return torch.cat((2 * values[:1] - above, values, 2 * values[-1:] - below))


def _window_means(layers: Tensor, reach: int) -> Tensor:
    """Return the mean of each window of (layers, h + 2 reach, w + 2 reach): (layers, h, w)."""
    side = 2 * reach + 1
    return functional.avg_pool2d(functional.avg_pool2d(layers[None], (side, 1), 1), (1, side), 1)[0]


def _apply_models(models: Map, guide: NDArray[np.uint8]) -> Map:
    """Resize the models bilinearly, and apply them to the colors of the image.

    Args:
        models: as `_fit_models` returns them.
        guide: (height, width, 3) uint8.

    Returns:
        Depth, (height, width) float32.
    """
    height, width, _ = guide.shape
    models = models * np.array([1 / 255, 1 / 255, 1 / 255, 1], np.float32)[:, None, None]
    rows, columns = (_Between.of(*sides) for sides in zip((height, width), models.shape[1:], strict=True))
    result = np.empty((height, width), np.float32)
    rows_at_once = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows_at_once):  # a strip stays in the CPU's cache, and large images need little memory
        strip = guide[top : top + rows_at_once]
        *slopes, log = _resize_strip(models, rows.part(top, top + rows_at_once), columns)
        for channel, slope in enumerate(slopes):
            log += np.multiply(slope, strip[..., channel], out=slope)
        np.exp(log, out=result[top : top + rows_at_once])
    return result


@dataclass(frozen=True, slots=True, eq=False)
class _Between:
    """Between which pixels of a small map the pixels along one side of a larger map lie.

    Attributes:
        first, second: (length,) indices of the small map.
        fraction: (length,) float32, 0 at the first and 1 at the second.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    fraction: NDArray[np.float32]

    @classmethod
    def of(cls, length: int, small: int) -> Self:
        positions = np.clip((np.arange(length) + 0.5) * (small / length) - 0.5, 0, small - 1)
        first = positions.astype(np.intp)
        return cls(first, np.minimum(first + 1, small - 1), (positions - first).astype(np.float32))

    def part(self, start: int, stop: int) -> _Between:
        return _Between(self.first[start:stop], self.second[start:stop], self.fraction[start:stop])


def _resize_strip(models: Map, rows: _Between, columns: _Between) -> Map:
    """Resize models bilinearly: (4, h, w) to (4, rows, columns)."""
    top = rows.first[0]
    used = models[:, top : rows.second[-1] + 1]
    left = used[..., columns.first]
    wide = left + (used[..., columns.second] - left) * columns.fraction
    weights = np.zeros((len(rows.first), used.shape[1]), np.float32)
    each = np.arange(len(weights))
    weights[each, rows.first - top] = 1 - rows.fraction
    weights[each, rows.second - top] += rows.fraction
    strip: Map = weights @ wide
    return strip
