"""Focal lengths, and the canonical depth that takes them out of the training data.

A cup photographed from one meter, and from two meters with twice the focal length, fills the same part of the image. So
a network cannot know meters without the lens. The data of the recipe therefore has canonical depth: meters divided by
the relative focal length, which is the focal length in pixels divided by the square root of the number of pixels. A
relative focal length of 1 is a horizontal field of view of 60 degrees at 4:3.

Source: Yin et al., Metric3D, arXiv 2307.10984 (the transformation of the labels), with a relative focal length, because
the network's input has many sizes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PATCH_PX = 9
_FLAT = 0.002  # largest relative deviation from a plane
_MIN_PATCHES = 40
_MAX_PATCHES = 200
_RIGHT_ANGLE = 0.02  # largest cosine
_FOV_DEG = np.arange(40.0, 100.0, 0.5)
_CLEAR_PEAK = 2.5  # times the mean over all fields of view


def relative_focal(focal_px: float, size: tuple[int, int]) -> float:
    """Return the relative focal length of a camera for images of a (height, width)."""
    return focal_px / math.sqrt(size[0] * size[1])


def relative_focal_of_fov(fov_deg: float, size: tuple[int, int]) -> float:
    """Return the relative focal length for a horizontal field of view and images of a (height, width)."""
    return relative_focal(size[1] / 2 / math.tan(math.radians(fov_deg) / 2), size)


def estimate_fov_deg(depth: NDArray[Any]) -> float | None:
    """Return the horizontal field of view of exact depth that shows a building, or None if it is not clear.

    In a building most planes are parallel or at right angles, and they are so for one focal length only. Where a
    surface is flat, the inverse of its depth is linear in the image, whatever the focal length, and the coefficients
    and the focal length give its normal. The field of view with the most right angles wins.

    Args:
        depth: (H, W) any dtype, any unit, along the optical axis, which is in the middle of the image; 0 is unknown.
    """
    planes = _fit_planes(depth.astype(np.float64))
    if len(planes) < _MIN_PATCHES:
        return None
    focal_px = depth.shape[1] / 2 / np.tan(np.radians(_FOV_DEG) / 2)
    counts = np.array([_count_right_angles(planes * [focal, focal, 1.0]) for focal in focal_px])
    best = int(counts.argmax())
    return float(_FOV_DEG[best]) if counts[best] > _CLEAR_PEAK * counts.mean() else None


def _fit_planes(depth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N, 3): inverse depth per column, per row and in the middle of the image, for each flat patch."""
    height, width = (side // _PATCH_PX * _PATCH_PX for side in depth.shape)
    tiles = depth[:height, :width].reshape(height // _PATCH_PX, _PATCH_PX, width // _PATCH_PX, _PATCH_PX)
    patches = tiles.swapaxes(1, 2).reshape(-1, _PATCH_PX**2)
    tops, lefts = np.mgrid[:height:_PATCH_PX, :width:_PATCH_PX].reshape(2, -1)
    known = (patches > 0).all(axis=1)
    inverse, tops, lefts = 1 / patches[known], tops[known], lefts[known]
    rows, columns = np.mgrid[:_PATCH_PX, :_PATCH_PX].reshape(2, -1)
    terms = np.stack([columns, rows, np.ones(_PATCH_PX**2)], 1)
    planes = inverse @ np.linalg.pinv(terms).T
    flat = np.abs(planes @ terms.T - inverse).max(axis=1) < _FLAT * inverse.mean(axis=1)
    planes, tops, lefts = planes[flat], tops[flat], lefts[flat]
    planes[:, 2] += planes[:, 0] * ((depth.shape[1] - 1) / 2 - lefts) + planes[:, 1] * ((depth.shape[0] - 1) / 2 - tops)
    return planes[:: max(1, len(planes) // _MAX_PATCHES)]


def _count_right_angles(normals: NDArray[np.float64]) -> int:
    units = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    return int((np.abs(units @ units.T) < _RIGHT_ANGLE).sum())
