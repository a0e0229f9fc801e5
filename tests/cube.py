"""A cube of known size, traced by a synthetic camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from glpn_cli.depth import Camera, DepthMap, Provenance

SIDE_M = 0.8


@dataclass(frozen=True)
class TracedCube:
    """The depth map of a cube, and its pose: `rotation` turns the axes of the cube to those of the world.

    In the world, X is right, Y up and Z back.
    """

    depth: DepthMap
    center: np.ndarray
    rotation: np.ndarray

    def to_cube_axes(self, points: np.ndarray) -> np.ndarray:
        return (points - self.center) @ self.rotation


def trace_cube(camera: Camera, *, height: int = 240, width: int = 320, wall_m: float = 0.0) -> TracedCube:
    """Trace a rotated cube of `SIDE_M` in front of a wall; with `wall_m=0`, depth behind it is unknown."""
    rotation = _about_y(0.6) @ _about_x(0.5)
    center = np.array([0.15, -0.1, -2.5])
    x = (np.arange(width) + 0.5 - width / 2) / camera.focal_px
    y = (np.arange(height) + 0.5 - height / 2) / camera.focal_px
    rays = np.stack(np.broadcast_arrays(x, -y[:, None], -1.0), axis=-1) @ rotation  # 1 m long along -Z of the world
    origin = -center @ rotation
    with np.errstate(divide="ignore"):
        faces = np.stack([(-SIDE_M / 2 - origin) / rays, (SIDE_M / 2 - origin) / rays])
    enters, leaves = faces.min(axis=0).max(axis=-1), faces.max(axis=0).min(axis=-1)
    meters = np.where(enters < leaves, enters, wall_m).astype(np.float32)
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[enters < leaves] = (200, 30, 60)
    provenance = Provenance(source="cube.png", weights="traced", depth_limit_m=10.0, tool="glpn-cli 0")
    return TracedCube(DepthMap(meters, provenance, rgb=rgb, camera=camera), center, rotation)


def _about_y(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _about_x(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
