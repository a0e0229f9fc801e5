"""A cube of known size as a synthetic camera sees it: depth that was traced, not predicted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from glpn_cli.depth import Camera, DepthMap, Provenance

SIDE_M = 0.8


@dataclass(frozen=True)
class SeenCube:
    """The depth map, and how the cube stands: `turn` takes its axes to the world's (X right, Y up, Z back)."""

    depth: DepthMap
    center: np.ndarray
    turn: np.ndarray

    def in_its_own_axes(self, points: np.ndarray) -> np.ndarray:
        return (points - self.center) @ self.turn


def see_cube(camera: Camera, *, height: int = 240, width: int = 320, wall_m: float = 0.0) -> SeenCube:
    """Trace a cube of `SIDE_M` that stands askew; behind it a wall, or at 0 nothing that is known."""
    turn = _about_y(0.6) @ _about_x(0.5)
    center = np.array([0.15, -0.1, -2.5])
    across = (np.arange(width) + 0.5 - width / 2) / camera.focal_px
    down = (np.arange(height) + 0.5 - height / 2) / camera.focal_px
    rays = np.stack(np.broadcast_arrays(across, -down[:, None], -1.0), axis=-1) @ turn  # along -Z they are 1 m long
    start = -center @ turn
    with np.errstate(divide="ignore"):
        faces = np.stack([(-SIDE_M / 2 - start) / rays, (SIDE_M / 2 - start) / rays])
    enters, leaves = faces.min(axis=0).max(axis=-1), faces.max(axis=0).min(axis=-1)
    meters = np.where(enters < leaves, enters, wall_m).astype(np.float32)
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[enters < leaves] = (200, 30, 60)
    provenance = Provenance(source="cube.png", weights="traced", depth_limit_m=10.0, tool="glpn-cli 0")
    return SeenCube(DepthMap(meters, provenance, rgb=rgb, camera=camera), center, turn)


def _about_y(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _about_x(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
