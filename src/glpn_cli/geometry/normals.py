"""Surface normals from depth and camera."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from glpn_cli.geometry.camera import find_stray, find_valid, network_pixel_reach, pinhole_camera, ray_slopes
from glpn_cli.settings import OutputSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from glpn_cli.depth import DepthMap

_STRIP_PIXELS = 2**20
"""About as many pixels are computed at once; each takes about 100 bytes."""

_MAX_GAP = 4
"""Gaps of up to so many pixels of the network are filled."""

_NOWHERE = 2**40
"""A position farther from every pixel than any other."""


def iter_normals(depth: DepthMap, settings: OutputSettings | None = None) -> Iterator[NDArray[np.float32]]:
    """Yield the surface normal of every pixel, in strips of rows from the top.

    The normal is that of the plane through the points to the left and right and above and below, one pixel of the
    network away, because depth in between is interpolated. Differences across a depth edge do not count: there, the
    plane is that of the pixel's own surface. Pixels between two surfaces get the normal of the nearest pixel that has
    one.

    Args:
        depth: if it has no camera, the assumed one for its size is used.
        settings: only `edge_filter` and `valid_range` are used; None for the defaults.

    Yields:
        (h, W, 3) float32, unit vectors: X right, Y up, Z towards the viewer, along the optical axis. A wall that faces
        the camera is (0, 0, 1), and so is unknown depth.

    Raises:
        OutputError: the image is a panorama.
    """
    settings = settings or OutputSettings()
    height, width = size = depth.meters.shape
    camera = pinhole_camera(depth)
    rows, columns = np.arange(height), np.arange(width)
    right, down = ray_slopes(camera, size, rows, columns)
    reach = network_pixel_reach(depth)
    valid = find_valid(depth, settings.valid_range)
    on_surface = valid
    if settings.edge_filter:
        on_surface = valid & ~find_stray(depth.meters, jump=settings.edge_filter, reach=reach)
    # With less than two distances in a side, pixels in the middle would have no neighbor.
    distances = [max(1, min(distance, side // 2)) for distance, side in zip(reach, size, strict=True)]
    gap = _MAX_GAP * max(reach)
    margin = distances[0] + gap
    strip = max(64, _STRIP_PIXELS // width)
    for start in range(0, height, strip):
        stop = min(height, start + strip)
        around = slice(max(0, start - margin), min(height, stop + margin))
        meters = np.where(valid[around], depth.meters[around], np.float32(0))
        xyz = np.stack([meters * right, -meters * down[around, None], -meters])
        here = on_surface[around]
        along = [_tangents(xyz, here, axis, distances[axis], settings.edge_filter) for axis in (0, 1)]
        normals = np.cross(along[0][0], along[1][0], axis=0)
        length = np.sqrt((normals * normals).sum(axis=0))
        found = along[0][1] & along[1][1] & (length > 0)
        np.divide(normals, length, out=normals, where=found)
        normals = np.moveaxis(normals, 0, -1)
        normals[~found] = (0, 0, 1)
        _fill_gaps(normals, found, valid[around] & ~found, gap)
        yield normals[start - around.start : stop - around.start]


def _tangents(
    xyz: NDArray[np.float32], on_surface: NDArray[np.bool_], axis: int, distance: int, jump: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the differences between neighbors along an axis, and where there are any.

    The sum of the differences to both neighbors is that between them; if one does not count, the other is left.

    Args:
        xyz: (3, h, w) points.
        on_surface: (h, w); the other points do not count.
        axis: 0 for rows, 1 for columns.
        distance: of a neighbor, pixels.
        jump: a neighbor whose depth differs by more than this fraction does not count; 0 counts all.

    Returns:
        (3, h, w) float32 downward or to the right, and (h, w) bool.
    """
    behind: list[slice] = [slice(None), slice(None)]
    ahead: list[slice] = [slice(None), slice(None)]
    behind[axis], ahead[axis] = slice(None, -distance), slice(distance, None)
    one, two = tuple(behind), tuple(ahead)
    connected = on_surface[one] & on_surface[two]
    if jump:
        near, far = -xyz[2][one], -xyz[2][two]
        connected &= np.maximum(near, far) <= np.float32(1 + jump) * np.minimum(near, far)
    steps = np.where(connected, xyz[:, *two] - xyz[:, *one], np.float32(0))
    tangents, found = np.zeros_like(xyz), np.zeros_like(on_surface)
    for part in (one, two):
        tangents[:, *part] += steps
        found[part] |= connected
    return tangents, found


def _fill_gaps(
    normals: NDArray[np.float32], found: NDArray[np.bool_], missing: NDArray[np.bool_], max_distance: int
) -> None:
    """Replace missing normals by the nearest one in the same row or column, in place.

    Args:
        normals: (h, w, 3).
        found: (h, w), where there are normals.
        missing: (h, w), where to fill in.
        max_distance: normals farther away are not used.
    """
    if not missing.any():
        return
    rows, columns = np.nonzero(missing)
    nearest = np.full(len(rows), max_distance + 1)
    source_rows, source_columns = rows.copy(), columns.copy()
    for axis, position in ((0, rows), (1, columns)):
        index = np.arange(found.shape[axis]).reshape((-1, 1) if axis == 0 else (1, -1))
        before = np.maximum.accumulate(np.where(found, index, -_NOWHERE), axis=axis)[missing]
        flipped = np.flip(np.where(found, index, _NOWHERE), axis=axis)
        after = np.flip(np.minimum.accumulate(flipped, axis=axis), axis=axis)[missing]
        for source in (before, after):
            distance = np.abs(source - position)
            closer = distance < nearest
            nearest[closer] = distance[closer]
            source_rows[closer] = source[closer] if axis == 0 else rows[closer]
            source_columns[closer] = source[closer] if axis == 1 else columns[closer]
    normals[rows, columns] = normals[source_rows, source_columns]
