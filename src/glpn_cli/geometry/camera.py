"""From depth to 3D: the camera of an image, the points in space, and the triangles between them.

The axes are those of glTF: X is right, Y up, and the camera is at the origin and looks along -Z, unless a function says
otherwise. All lengths are in meters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from glpn_cli.depth import PINHOLE, Camera, is_known
from glpn_cli.errors import OutputError
from glpn_cli.settings import ASSUMED_FOV_DEG, MAX_POINTS, SATURATED_FRACTION, CameraSettings, OutputSettings
from glpn_cli.values import Axes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from glpn_cli.depth import DepthMap
    from glpn_cli.values import ValidRange

_FILM_DIAGONAL_MM = math.hypot(36.0, 24.0)


# Camera


def choose_camera(
    settings: CameraSettings,
    size: tuple[int, int],
    *,
    exif_mm_35: float | None = None,
    exif_focal_px: float | None = None,
    panorama: str | None = None,
) -> Camera:
    """Return the camera of an image. Settings come before metadata, and metadata before the assumption.

    Args:
        settings: what the user states; a camera file is not read here.
        size: (height, width) of the upright image.
        exif_mm_35: 35 mm equivalent focal length in EXIF, or None.
        exif_focal_px: focal length in pixels, from focal length and sensor resolution in EXIF, or None.
        panorama: the projection that a panorama states, such as "equirectangular", or None.
    """
    height, width = size
    stated = _stated_camera(settings, size)
    if stated is not None:
        return stated
    if panorama is not None:
        # All around the horizon: pixels per radian, which is the focal length in the middle.
        return Camera(width / math.tau, f"GPano: a panorama, {panorama}", projection=panorama)
    if exif_mm_35 is not None:
        return Camera(focal_px_of_mm_35(exif_mm_35, size), f"EXIF: 35 mm equivalent focal length {exif_mm_35:g} mm")
    if exif_focal_px is not None:
        return Camera(exif_focal_px, "EXIF: focal length and sensor resolution")
    # Turning a camera on its side does not change the field of view along its long side, so that is what is assumed.
    side = "horizontal" if width >= height else "vertical, along the long side"
    focal_px = focal_px_of_fov(ASSUMED_FOV_DEG, max(height, width))
    return Camera(focal_px, f"assumed: {ASSUMED_FOV_DEG:g}° {side}")


def _stated_camera(settings: CameraSettings, size: tuple[int, int]) -> Camera | None:
    if settings.fov_deg is not None:
        focal_px = focal_px_of_fov(settings.fov_deg, size[1])
        return Camera(focal_px, f"user: horizontal field of view {settings.fov_deg:g} degrees")
    if settings.focal_px is not None:
        return Camera(settings.focal_px, f"user: focal length {settings.focal_px:g} pixels")
    if settings.focal_mm_35 is not None:
        focal_px = focal_px_of_mm_35(settings.focal_mm_35, size)
        return Camera(focal_px, f"user: 35 mm equivalent focal length {settings.focal_mm_35:g} mm")
    return None


def pinhole_camera(depth: DepthMap) -> Camera:
    """Return the camera of a depth map, or the assumed one for its size, if points in space follow from it.

    Raises:
        OutputError: the image is a panorama.
    """
    size = depth.meters.shape
    camera = (depth.camera or choose_camera(CameraSettings(), size)).completed(size)
    if camera.projection != PINHOLE:
        name = depth.provenance.source or "the image"
        raise OutputError(
            f"{name}: is a panorama ({camera.projection}), for which there are no points in space, only depth images",
            hint="if it is an ordinary photo after all, set `fov_deg`",
        )
    return camera


def ray_slopes(
    camera: Camera, size: tuple[int, int], rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return how far the rays through pixel centers are from the optical axis at a depth of 1 m.

    Args:
        camera: the camera.
        size: (height, width) of the image.
        rows: rows of pixels.
        columns: columns of pixels.

    Returns:
        (len(columns),) float32 to the right, and (len(rows),) float32 downward.
    """
    center_x, center_y = camera.center_px(size)
    right = ((columns - center_x) / camera.focal_px).astype(np.float32)
    down = ((rows - center_y) / camera.focal_y_px).astype(np.float32)
    return right, down


def focal_px_of_fov(fov_deg: float, side_px: int) -> float:
    """Return the focal length in pixels for a field of view in degrees along a side of the image."""
    return side_px / 2 / math.tan(math.radians(fov_deg) / 2)


def fov_deg_of(focal_px: float, side_px: int) -> float:
    """Return the field of view in degrees along a side of the image for a focal length in pixels."""
    return math.degrees(2 * math.atan(side_px / 2 / focal_px))


def focal_px_of_mm_35(focal_mm_35: float, size: tuple[int, int]) -> float:
    """Return the focal length in pixels for a 35 mm equivalent focal length.

    Equivalent means: the same diagonal field of view as film of 36 by 24 mm. Camera makers define it this way for
    sensors of any shape, and turning an image upright does not change its diagonal.

    Source: CIPA DCG-001, on the 35 mm film equivalent focal length.
    """
    return focal_mm_35 / _FILM_DIAGONAL_MM * math.hypot(*size)


# Points


@dataclass(frozen=True, slots=True, eq=False)
class PointGrid:
    """Points in the order of their pixels, so that neighboring pixels are neighboring points.

    Attributes:
        xyz: (h, w, 3) float32, meters; X right, Y up, Z towards the camera.
        kept: (h, w) bool; False if depth is unknown or out of range, or if the point is a stray point.
        rows: (h,) row of each point in the image.
        columns: (w,) column of each point in the image.
        camera: the camera that the points are computed with.
    """

    xyz: NDArray[np.float32]
    kept: NDArray[np.bool_]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    camera: Camera


def to_points(depth: DepthMap, settings: OutputSettings | None = None) -> PointGrid:
    """Return the point of every pixel of a depth map, or of every second, third, ... pixel.

    A point is on the ray through the center of its pixel.

    Args:
        depth: if it has no camera, the assumed one for its size is used.
        settings: only `edge_filter`, `valid_range` and `max_points` are used; None for the defaults.

    Raises:
        OutputError: the image is a panorama.
    """
    settings = settings or OutputSettings()
    height, width = depth.meters.shape
    camera = pinhole_camera(depth)
    kept = find_valid(depth, settings.valid_range)
    if settings.edge_filter:
        kept &= ~find_stray(depth.meters, jump=settings.edge_filter, reach=network_pixel_reach(depth))
    max_points = MAX_POINTS if settings.max_points is None else settings.max_points
    step = 1 if not max_points else max(1, math.ceil(math.sqrt(height * width / max_points)))
    rows, columns = (np.arange(min(step // 2, side - 1), side, step) for side in (height, width))
    meters = depth.meters[np.ix_(rows, columns)]
    right, down = ray_slopes(camera, (height, width), rows, columns)
    kept = kept[np.ix_(rows, columns)]
    meters = np.where(kept, meters, np.float32(0))
    xyz = np.stack([meters * right, -meters * down[:, None], -meters], axis=-1)
    return PointGrid(xyz, kept, rows, columns, camera)


def in_axes(xyz: NDArray[np.float32], axes: Axes) -> NDArray[np.float32]:
    """Return (..., 3) points or directions of this module in other axes."""
    x, y, z = np.moveaxis(xyz, -1, 0)
    if axes is Axes.OPENCV:
        return np.stack([x, -y, -z], axis=-1)
    if axes is Axes.BLENDER:
        return np.stack([x, -z, y], axis=-1)
    return xyz


def find_valid(depth: DepthMap, valid_range: ValidRange | None = None) -> NDArray[np.bool_]:
    """Return the pixels whose depth is known and in range.

    Depth near the limit of the weights only means "at least this far", so it is not valid unless the range has a far
    end.

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


def find_stray(meters: NDArray[np.float32], *, jump: float, reach: tuple[int, int] = (1, 1)) -> NDArray[np.bool_]:
    """Return the stray pixels at depth edges: they lie between a near and a far surface and belong to neither.

    A stray pixel is farther than one neighbor and nearer than another, each by more than the fraction `jump`. The last
    pixel of the near surface and the first of the far surface have only one such neighbor, so they are not stray.

    Args:
        meters: (H, W) float32, meters; values that are not positive and finite are unknown and not neighbors.
        jump: a fraction, such as 0.1.
        reach: distance of neighbors in rows and columns.

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


def network_pixel_reach(depth: DepthMap) -> tuple[int, int]:
    """Return the distance in (rows, columns) between pixels of the network; depth between them is interpolated."""
    if depth.provenance.tile_size is not None:
        return 1, 1
    height, width = depth.meters.shape
    network_height, network_width = depth.provenance.network_size or (height, width)
    return max(1, round(height / network_height)), max(1, round(width / network_width))


# Triangles


def to_triangles(grid: PointGrid, *, jump: float) -> NDArray[np.uint32]:
    """Return the triangles between neighboring points, without those across a depth edge.

    A square of four points is split along the diagonal whose ends are closer in depth; three points are one triangle.

    Args:
        grid: the points; only those that are `kept` become corners.
        jump: a triangle is left out if its farthest corner is farther than its nearest by more than this fraction,
            such as 0.1; 0 keeps all.

    Returns:
        (n, 3) uint32, indices into the points of the grid in row order, counter-clockwise as seen from the camera.
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
    # If a corner is missing, the diagonal that does not touch it leaves one complete triangle.
    falling = np.where(missing[1] | missing[2], True, np.where(missing[0] | missing[3], False, falling))
    upper = np.where(falling, bottom_right, top_right)
    lower = np.where(falling, top_left, bottom_left)
    triangles: NDArray[np.uint32] = np.concatenate(
        [np.stack([top_left, bottom_left, upper], axis=1), np.stack([lower, bottom_right, top_right], axis=1)]
    )
    complete: NDArray[np.bool_] = np.logical_and.reduce(kept[triangles], axis=1)
    if jump:
        corner_m = depth[triangles]
        with np.errstate(invalid="ignore"):
            complete &= corner_m.max(axis=1) <= np.float32(1 + jump) * corner_m.min(axis=1)
    return triangles[complete]
