"""The ply format: a point cloud in meters, colored, for MeshLab, CloudCompare, Blender and programs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from glpn_cli.errors import OutputError
from glpn_cli.geometry.camera import to_points
from glpn_cli.output.facts import facts_from_json, facts_to_json, state_facts

if TYPE_CHECKING:
    from glpn_cli.depth import DepthMap
    from glpn_cli.settings import OutputSettings


_FACTS = "comment glpn "
_LONGEST_HEADER = 2**20


def encode(depth: DepthMap, settings: OutputSettings) -> bytes:
    """Turn depth into a binary little-endian PLY file of x, y, z (float32, meters) and red, green, blue (uint8).

    X is right, Y up, and the camera at the origin looks along -Z. Without an image there are no colors.

    Raises:
        OutputError: no point is left.
    """
    grid = to_points(depth, settings)
    xyz = grid.xyz[grid.kept]
    if not len(xyz):
        raise OutputError(
            f"{depth.provenance.source or 'the image'}: no point is left for a ply file",
            hint="all depth is unknown, out of --valid-range or at the depth limit of the weights",
        )
    fields: list[tuple[str, str]] = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
    if depth.rgb is not None:
        fields += [("red", "u1"), ("green", "u1"), ("blue", "u1")]
    points = np.empty(len(xyz), fields)
    for axis, name in enumerate("xyz"):
        points[name] = xyz[:, axis]
    if depth.rgb is not None:
        rgb = depth.rgb[np.ix_(grid.rows, grid.columns)][grid.kept]
        for channel, name in enumerate(("red", "green", "blue")):
            points[name] = rgb[:, channel]
    facts = state_facts("ply", replace(depth, camera=grid.camera), image_size=list(depth.meters.shape))
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment meters; X right, Y up, and the camera at the origin looks along -Z",
        _FACTS + facts_to_json(facts),
        f"element vertex {len(points)}",
        *(f"property {'float' if kind == '<f4' else 'uchar'} {name}" for name, kind in fields),
        "end_header\n",
    ]
    return "\n".join(header).encode("ascii") + points.tobytes()


def read_facts(stream: BinaryIO) -> dict[str, Any] | None:
    """Give what one of our files says of itself; None if it says nothing."""
    left = _LONGEST_HEADER
    while left > 0:
        line = stream.readline(left)
        left -= len(line)
        if line.startswith(_FACTS.encode()):
            return facts_from_json(line[len(_FACTS) :])
        if not line or line.startswith(b"end_header"):
            break
    return None
