"""From depth and a camera to points in space, without those that hang in the air between two surfaces.

The axes are those of glTF: X to the right, Y up, and the camera at the origin looks along -Z. Meters everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from glpn_cli.depth import is_known
from glpn_cli.geometry.camera import choose_camera
from glpn_cli.settings.output import OutputSettings
from glpn_cli.settings.prediction import SATURATED_SHARE, CameraSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from glpn_cli.depth import Camera, DepthMap
    from glpn_cli.settings.output import ValidRange

__all__ = ["PointGrid", "find_flying", "find_valid", "to_points"]


@dataclass(frozen=True, slots=True, eq=False)
class PointGrid:
    """Points in the order of the pixels that they come from, so that neighbors stay neighbors.

    Attributes:
        xyz: (h, w, 3) float32, meters; X right, Y up, Z towards the camera.
        kept: (h, w) bool; False where there is no depth, it is out of range, or the point would hang in the air.
        rows: (h,) of the pixels in the image.
        columns: (w,) likewise.
        camera: that they were seen by.
    """

    xyz: NDArray[np.float32]
    kept: NDArray[np.bool_]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    camera: Camera


def to_points(depth: DepthMap, settings: OutputSettings | None = None) -> PointGrid:
    """Put every pixel of a depth map at its place in space.

    Pixels are square, the axis of the camera goes through the middle of the image, and a point lies on the ray
    through the middle of its pixel.

    Args:
        depth: with its camera; one without gets the one that is assumed for its size.
        settings: of which `edge_filter`, `valid_range` and `max_points` count; None for the defaults.
    """
    settings = settings or OutputSettings()
    height, width = depth.meters.shape
    camera = depth.camera or choose_camera(CameraSettings(), (height, width))
    kept = find_valid(depth, settings.valid_range)
    if settings.edge_filter:
        kept &= ~find_flying(depth.meters, jump=settings.edge_filter, reach=_reach(depth))
    step = 1 if not settings.max_points else max(1, math.ceil(math.sqrt(height * width / settings.max_points)))
    rows, columns = (np.arange(min(step // 2, side - 1), side, step) for side in (height, width))
    meters = depth.meters[np.ix_(rows, columns)]
    across = ((columns + 0.5 - width / 2) / camera.focal_px).astype(np.float32)
    down = ((rows + 0.5 - height / 2) / camera.focal_px).astype(np.float32)
    kept = kept[np.ix_(rows, columns)]
    meters = np.where(kept, meters, np.float32(0))
    xyz = np.stack([meters * across, -meters * down[:, None], -meters], axis=-1)
    return PointGrid(xyz, kept, rows, columns, camera)


def find_valid(depth: DepthMap, valid_range: ValidRange | None = None) -> NDArray[np.bool_]:
    """Mark the pixels whose depth is known and in range.

    Depth close to the limit of the weights only says "so far or farther", so it is left out unless the range says
    how far is still valid.

    Returns:
        (H, W) bool.
    """
    near_m, far_m = (valid_range.near_m, valid_range.far_m) if valid_range else (None, None)
    limit_m = depth.provenance.depth_limit_m
    valid = is_known(depth.meters)
    if near_m is not None:
        valid &= depth.meters >= near_m
    if far_m is not None:
        valid &= depth.meters <= far_m
    elif limit_m is not None:
        valid &= depth.meters < SATURATED_SHARE * limit_m
    return valid


def find_flying(meters: NDArray[np.float32], *, jump: float, reach: tuple[int, int] = (1, 1)) -> NDArray[np.bool_]:
    """Mark the pixels that lie between a near and a far surface and belong to neither.

    Such a pixel is farther than one neighbor by more than `jump`, and nearer than another one by more than it. The
    last pixel of the near surface and the first of the far one have only one such neighbor and stay.

    Args:
        meters: (H, W) float32, meters; what is not positive and finite is unknown and nobody's neighbor.
        jump: a share, such as 0.1.
        reach: how many rows and columns away a neighbor is.

    Returns:
        (H, W) bool.
    """
    known = is_known(meters)
    nearest = np.where(known, meters, np.float32(np.inf))
    farthest = np.where(known, meters, np.float32(0))
    low, high = nearest.copy(), farthest.copy()
    for axis, distance in enumerate(reach):
        ahead: list[slice] = [slice(None), slice(None)]
        behind: list[slice] = [slice(None), slice(None)]
        ahead[axis], behind[axis] = slice(distance, None), slice(None, -distance)
        for here, there in ((tuple(ahead), tuple(behind)), (tuple(behind), tuple(ahead))):
            np.minimum(low[here], nearest[there], out=low[here])
            np.maximum(high[here], farthest[there], out=high[here])
    with np.errstate(invalid="ignore"):
        factor = np.float32(1 + jump)
        return known & (meters > factor * low) & (high > factor * meters)


def _reach(depth: DepthMap) -> tuple[int, int]:
    """Give how far apart two pixels are of which the network itself said something; between them is interpolation."""
    if depth.provenance.tile_size is not None:
        return 1, 1
    height, width = depth.meters.shape
    seen_height, seen_width = depth.provenance.network_size or (height, width)
    return max(1, round(height / seen_height)), max(1, round(width / seen_width))
