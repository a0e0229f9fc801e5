"""The camera of an image: from what the user says, else from what the image says, else an assumption.

From depth and a camera to points in space, without those that hang in the air between two surfaces.

The axes are those of glTF: X to the right, Y up, and the camera at the origin looks along -Z. Meters everywhere.

From a grid of points to the triangles between them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from glpn_cli.depth import Camera, is_known
from glpn_cli.settings import ASSUMED_FOV_DEG, SATURATED_FRACTION, CameraSettings, OutputSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from glpn_cli.depth import DepthMap
    from glpn_cli.settings import ValidRange


_FILM_DIAGONAL_MM = math.hypot(36.0, 24.0)


def choose_camera(
    settings: CameraSettings,
    size: tuple[int, int],
    *,
    exif_mm_35: float | None = None,
    exif_focal_px: float | None = None,
) -> Camera:
    """Decide what camera an image was taken with.

    Args:
        settings: what the user says; it counts before everything else.
        size: (height, width) of the upright image.
        exif_mm_35: the image's 35 mm equivalent focal length, or None.
        exif_focal_px: its focal length in pixels by the lens and the sensor's resolution, or None.
    """
    height, width = size
    if settings.fov_deg is not None:
        return Camera(focal_px_of_fov(settings.fov_deg, width), f"--fov-deg {settings.fov_deg:g}")
    if settings.focal_px is not None:
        return Camera(settings.focal_px, f"--focal-px {settings.focal_px:g}")
    if settings.focal_mm_35 is not None:
        focal_px = focal_px_of_mm_35(settings.focal_mm_35, size)
        return Camera(focal_px, f"--focal-mm-35 {settings.focal_mm_35:g}")
    if exif_mm_35 is not None:
        return Camera(focal_px_of_mm_35(exif_mm_35, size), f"EXIF: {exif_mm_35:g} mm in 35 mm terms")
    if exif_focal_px is not None:
        return Camera(exif_focal_px, "EXIF: focal length and resolution of the sensor")
    # A camera on its side sees as much along its long side as before, so there it is what can be guessed.
    side = "horizontal" if width >= height else "vertical, along the long side"
    focal_px = focal_px_of_fov(ASSUMED_FOV_DEG, max(height, width))
    return Camera(focal_px, f"assumed: {ASSUMED_FOV_DEG:g}° {side}")


def focal_px_of_fov(fov_deg: float, side_px: int) -> float:
    """Give the focal length in pixels of a camera that sees so many degrees along a side of so many pixels."""
    return side_px / 2 / math.tan(math.radians(fov_deg) / 2)


def focal_px_of_mm_35(focal_mm_35: float, size: tuple[int, int]) -> float:
    """Give the focal length in pixels of a 35 mm equivalent one.

    Equivalent means: the same angle along the diagonal as on film of 36 by 24 mm. Cameras state it so whatever the
    shape of their sensor, and a diagonal does not change when the image is turned upright.

    Source: CIPA DCG-001, on the 35 mm film equivalent focal length.
    """
    return focal_mm_35 / _FILM_DIAGONAL_MM * math.hypot(*size)


def fov_deg_of(focal_px: float, side_px: int) -> float:
    """Give the degrees that a camera sees along a side of so many pixels."""
    return math.degrees(2 * math.atan(side_px / 2 / focal_px))


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
        valid &= depth.meters < SATURATED_FRACTION * limit_m
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


def to_triangles(grid: PointGrid, *, jump: float) -> NDArray[np.uint32]:
    """Span triangles between neighboring points, and none across an edge of depth.

    Each square of four points is cut along the diagonal whose ends are closer in depth; three points alone are one
    triangle. A triangle whose farthest corner is farther than the nearest by more than `jump` is left out.

    Args:
        grid: the points.
        jump: a share, such as 0.1; 0 spans them all.

    Returns:
        (n, 3) uint32, indices of the points in the order of the grid's rows, counter-clockwise from the camera.
    """
    height, width = grid.kept.shape
    index = np.arange(height * width, dtype=np.uint32).reshape(height, width)
    meters = -grid.xyz[..., 2]
    # top left, top right, bottom left, bottom right
    corners = [slice(None, -1), slice(1, None)]
    quads = [index[rows, columns].ravel() for rows in corners for columns in corners]
    top_left, top_right, bottom_left, bottom_right = quads
    kept, depth = grid.kept.ravel(), meters.ravel()
    falling = np.abs(depth[top_left] - depth[bottom_right]) < np.abs(depth[top_right] - depth[bottom_left])
    missing = [~kept[corner] for corner in quads]
    # With a corner missing, the diagonal that does not touch it leaves one whole triangle.
    falling = np.where(missing[1] | missing[2], True, np.where(missing[0] | missing[3], False, falling))
    upper = np.where(falling, bottom_right, top_right)
    lower = np.where(falling, top_left, bottom_left)
    triangles: NDArray[np.uint32] = np.concatenate(
        [np.stack([top_left, bottom_left, upper], axis=1), np.stack([lower, bottom_right, top_right], axis=1)]
    )
    whole: NDArray[np.bool_] = np.logical_and.reduce(kept[triangles], axis=1)
    if jump:
        corner_m = depth[triangles]
        with np.errstate(invalid="ignore"):
            whole &= corner_m.max(axis=1) <= np.float32(1 + jump) * corner_m.min(axis=1)
    return triangles[whole]
