"""Data for tests of the recipe: small pairs of images and depth, and the depth of a room."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def write_pairs(folder: Path, count: int, *, meters: float = 1.5) -> None:
    """Write COUNT images of 32x48 with depth in millimeters: N.jpg and N.png."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (32, 48, 3), np.uint8)).save(folder / f"{number}.jpg")
        Image.fromarray(np.full((32, 48), round(1000 * meters), np.uint16)).save(folder / f"{number}.png")


def room_depth(fov_deg: float, *, height: int = 240, width: int = 320) -> NDArray[Any]:
    """Return the exact depth of an empty room, seen by a camera that is turned and tilted: (H, W) float64, meters."""
    focal_px = width / 2 / math.tan(math.radians(fov_deg) / 2)
    rows, columns = np.mgrid[:height, :width]
    rays = np.stack([columns - (width - 1) / 2, rows - (height - 1) / 2, np.full(rows.shape, focal_px)], -1) / focal_px
    yaw, pitch = 0.6, 0.3
    turn = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    tilt = np.array([[1, 0, 0], [0, math.cos(pitch), math.sin(pitch)], [0, -math.sin(pitch), math.cos(pitch)]])
    directions = rays @ (turn @ tilt).T
    walls = np.where(directions > 0, [2.0, 1.5, 3.0], [-2.5, -1.2, -3.0])
    depth: NDArray[Any] = (walls / directions).min(-1)
    return depth
