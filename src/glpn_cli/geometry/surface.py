"""From a grid of points to the triangles between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from glpn_cli.geometry.points import PointGrid

__all__ = ["to_triangles"]


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
