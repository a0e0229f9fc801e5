"""Optical flow: where each pixel of a frame was in an earlier one. Lucas-Kanade on an image pyramid, in torch."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F  # noqa: N812 - the usual name
from torch import Tensor

FLOW_SIDE_PX = 112
"""The longest side of the images that flow is estimated on: more is slower and no better for depth."""

_SMALLEST_SIDE_PX = 8
_ITERATIONS = 2
_FINEST_ITERATIONS = 1  # the finest level has three quarters of the pixels, and little is left to find
_LARGEST_STEP_PX = 2.0
_DAMPING = 1e-3
"""Of the normal equations, for gray levels in [0, 1]: a window without texture gets little flow."""


def shrink_for_flow(pixel_values: Tensor) -> Tensor:
    """Return a small gray image: (1, 3, H, W) float32 in [0, 1] to (1, 1, h, w)."""
    height, width = pixel_values.shape[-2:]
    factor = max(1.0, max(height, width) / FLOW_SIDE_PX)
    size = max(1, round(height / factor)), max(1, round(width / factor))
    return F.interpolate(pixel_values.mean(dim=1, keepdim=True), size=size, mode="area")


def estimate_flow(current: Tensor, earlier: Tensor) -> Tensor:
    """Return the motion between two gray images of one size.

    Args:
        current: (1, 1, h, w) float32.
        earlier: the same size.

    Returns:
        (1, 2, h, w) float32, pixels (x, y): the pixel `p` of `current` shows what `p + flow` of `earlier` shows.

    Source: Lucas and Kanade 1981, iterated from coarse to fine as Bouguet 2001 does.
    """
    pyramid = [(_even_out(current), _even_out(earlier))]
    while min(pyramid[-1][0].shape[-2:]) >= 2 * _SMALLEST_SIDE_PX:
        pyramid.append(tuple(F.avg_pool2d(image, 2) for image in pyramid[-1]))  # type: ignore[arg-type]
    flow = current.new_zeros(1, 2, *pyramid[-1][0].shape[-2:])
    for level, (now, before) in enumerate(reversed(pyramid)):
        if level:
            flow = resize_flow(flow, (now.shape[-2], now.shape[-1]))
        is_finest = level == len(pyramid) - 1
        flow = _refine(now, before, flow, _FINEST_ITERATIONS if is_finest else _ITERATIONS)
    return flow


def resize_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Return flow for images of another (height, width): (1, 2, h, w) to (1, 2, height, width)."""
    height, width = flow.shape[-2:]
    scale = flow.new_tensor([size[1] / width, size[0] / height]).view(1, 2, 1, 1)
    return F.interpolate(flow, size=size, mode="bilinear", align_corners=False) * scale


def warp(image: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Move an earlier image along the flow to where its content is now.

    Args:
        image: (1, C, H, W) float32.
        flow: (1, 2, H, W), pixels.

    Returns:
        The image, (1, C, H, W), and where its content was inside of it, (1, 1, H, W) bool.
    """
    centers, step, edge = _grid(*image.shape[-2:])
    grid = torch.addcmul(centers, flow, step)
    within = grid.abs() <= edge
    places = grid.permute(0, 2, 3, 1)
    moved = F.grid_sample(image, places, mode="bilinear", padding_mode="border", align_corners=False)
    return moved, within[:, :1] & within[:, 1:]


def distance_inside_px(flow: Tensor) -> Tensor:
    """Return how far inside of the earlier image the content was: (1, 2, H, W) to (1, 1, H, W), 0 at its border."""
    centers, step, edge = _grid(*flow.shape[-2:])
    return ((edge - torch.addcmul(centers, flow, step).abs_()) / step).amin(dim=1, keepdim=True)


@lru_cache(maxsize=16)
def _grid(height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return, in the units of `grid_sample`, the centers of the pixels, the size of a pixel, and the last center.

    (1, 2, height, width), (1, 2, 1, 1) and (1, 2, 1, 1) float32.
    """
    rows, columns = ((2 * torch.arange(side, dtype=torch.float32) + 1) / side - 1 for side in (height, width))
    centers = torch.stack(torch.meshgrid(columns, rows, indexing="xy"))[None]
    step = torch.tensor([2 / width, 2 / height]).view(1, 2, 1, 1)
    return centers, step, 1 - step / 2


def _even_out(image: Tensor) -> Tensor:
    """Return an image with mean 0 and a usual contrast, so that a change of exposure is no motion."""
    centered = image - image.mean()
    return centered * (0.25 / torch.clamp(centered.std(), min=1 / 255))


def _refine(now: Tensor, before: Tensor, flow: Tensor, iterations: int) -> Tensor:
    """Improve flow on one level of the pyramid."""
    padded = F.pad(now, (1, 1, 1, 1), mode="replicate")
    along_x = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    along_y = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    slopes = torch.cat([along_x, along_y], dim=1).div_(2)
    products = window_means(torch.cat([slopes * slopes, slopes[:, :1] * slopes[:, 1:]], dim=1))
    squares, mixed = products[:, :2].add_(_DAMPING), products[:, 2:]
    determinant = squares[:, :1] * squares[:, 1:] - mixed * mixed
    direct, crossed = squares.flip(1).div_(determinant), mixed.div_(determinant)
    for _ in range(iterations):
        moved, inside = warp(before, flow)
        errors = window_means(slopes * (now - moved).mul_(inside))
        step = (direct * errors).sub_(errors.flip(1).mul_(crossed))
        flow = step.clamp_(-_LARGEST_STEP_PX, _LARGEST_STEP_PX).add_(flow)
    return window_means(flow)


def window_means(values: Tensor) -> Tensor:
    """Return the mean of the 7 x 7 window around each pixel; much faster than torch's own pooling."""
    padded = F.pad(values, (3, 3, 3, 3), mode="replicate")
    for axis in (-1, -2):
        count = padded.shape[axis] - 6
        pairs = padded.narrow(axis, 0, count + 5) + padded.narrow(axis, 1, count + 5)
        fours = pairs.narrow(axis, 0, count) + pairs.narrow(axis, 2, count)
        padded = fours.add_(pairs.narrow(axis, 4, count)).add_(padded.narrow(axis, 6, count))
    return padded.div_(49)
