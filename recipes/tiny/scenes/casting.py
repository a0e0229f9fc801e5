"""Cast one ray per pixel into a batch of scenes: the first solid that each ray hits, and its depth.

A solid is an affine map of the cube from -1 to 1, or of the sphere or cylinder inscribed in it. An affine map does not
change the parameter of a point on a ray. Rays have length 1 along the optical axis, so the parameter of a hit is its
depth. Images are split into tiles; a tile is only tested against solids whose bounding box projects into it. All
computation is on tensors and also runs on a GPU.

Source: the slab test for boxes is from Kay and Kajiya, SIGGRAPH 1986.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scenes.scene import SolidKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scenes.scene import Camera, Scene, Solid

TILE_PX = 16
NEAREST_M = 0.02
"""Near clipping distance."""

_CORNERS = torch.tensor(list(product((-1.0, 1.0), repeat=3)))
_EDGES = torch.tensor([(a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b) in (1, 2, 4)])
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Solids:
    """The solids of a batch of scenes, one row each.

    Attributes:
        scene: (N,) int64, index of its scene.
        kind: (N,) int64, see `SolidKind`.
        to_world: (N, 3, 3) float32, maps its local axes to those of the scene.
        to_local: (N, 3, 3) float32, the inverse of `to_world`.
        center: (N, 3) float32, meters.
    """

    scene: Tensor
    kind: Tensor
    to_world: Tensor
    to_local: Tensor
    center: Tensor


@dataclass(frozen=True, slots=True)
class Hits:
    """Results of casting.

    Attributes:
        depth: (B, H, W) float32, meters along the optical axis; infinite where a ray hits nothing.
        solid: (B, H, W) int64, row of the solid in `Solids`; -1 where a ray hits nothing.
    """

    depth: Tensor
    solid: Tensor


def gather_solids(scenes: Sequence[Scene], device: torch.device | str = "cpu") -> Solids:
    """Return the solids of scenes as tensors."""
    rows: list[Solid] = [solid for scene in scenes for solid in scene.solids]
    index = [number for number, scene in enumerate(scenes) for _ in scene.solids]
    turned = rotation(
        torch.tensor([row.yaw for row in rows], dtype=torch.float64),
        torch.tensor([row.pitch for row in rows], dtype=torch.float64),
        torch.tensor([row.roll for row in rows], dtype=torch.float64),
    )
    half = torch.tensor([row.half for row in rows], dtype=torch.float64)
    return Solids(
        torch.tensor(index, device=device),
        torch.tensor([int(row.kind) for row in rows], device=device),
        (turned * half[:, None, :]).float().to(device),
        (turned / half[:, None, :]).transpose(1, 2).float().to(device),
        torch.tensor([row.center for row in rows], dtype=torch.float32, device=device),
    )


def rotation(yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """Return rotations from local axes to those of the scene: roll first, then pitch (up), then yaw (right).

    Args:
        yaw: (N,), radians.
        pitch: (N,), radians.
        roll: (N,), radians.

    Returns:
        (N, 3, 3), of the same dtype.
    """
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)

    def matrix(*rows: Tensor) -> Tensor:
        return torch.stack(rows, -1).reshape(-1, 3, 3)

    cos_yaw, sin_yaw, cos_pitch, sin_pitch = yaw.cos(), yaw.sin(), pitch.cos(), pitch.sin()
    cos_roll, sin_roll = roll.cos(), roll.sin()
    about_y = matrix(cos_yaw, zero, sin_yaw, zero, one, zero, -sin_yaw, zero, cos_yaw)
    about_x = matrix(one, zero, zero, zero, cos_pitch, sin_pitch, zero, -sin_pitch, cos_pitch)
    about_z = matrix(cos_roll, -sin_roll, zero, sin_roll, cos_roll, zero, zero, zero, one)
    return about_y @ about_x @ about_z


def camera_rotation(cameras: Sequence[Camera]) -> Tensor:
    """Return (B, 3, 3) float32, which maps camera axes (x right, y up, z forward) to those of the scenes."""
    angles = torch.tensor([(camera.yaw, camera.pitch, camera.roll) for camera in cameras], dtype=torch.float64)
    return rotation(angles[:, 0], angles[:, 1], angles[:, 2]).float()


def cast(scenes: Sequence[Scene], solids: Solids, height: int, width: int) -> Hits:
    """Cast the rays of all pixels of all cameras.

    Args:
        scenes: B scenes.
        solids: their solids, from `gather_solids`.
        height: height of the images, pixels.
        width: width of the images, pixels.
    """
    device = solids.center.device
    turned = camera_rotation([scene.camera for scene in scenes]).to(device)
    position = torch.tensor([scene.camera.position for scene in scenes], device=device)
    focal = torch.tensor([scene.camera.focal_px(height, width) for scene in scenes], device=device)
    own = solids.scene
    # From camera axes to the local axes of each solid, and the camera position in these.
    into = solids.to_local @ turned[own]
    origin = torch.einsum("nij,nj->ni", solids.to_local, position[own] - solids.center)
    rectangles = _outlines(solids, turned, position, focal, height, width)
    rows, columns = math.ceil(height / TILE_PX), math.ceil(width / TILE_PX)
    best = torch.full((len(scenes) * rows * columns, TILE_PX, TILE_PX), torch.inf, device=device)
    which = torch.full(best.shape, -1, dtype=torch.int32, device=device)
    for kind in SolidKind:
        _cast_kind(kind, solids, rectangles, (rows, columns), into, origin, focal, (height, width), best, which)

    def untiled(values: Tensor) -> Tensor:
        whole = values.reshape(len(scenes), rows, columns, TILE_PX, TILE_PX).transpose(2, 3)
        return whole.reshape(len(scenes), rows * TILE_PX, columns * TILE_PX)[:, :height, :width].contiguous()

    return Hits(untiled(best), untiled(which).long())


def _outlines(solids: Solids, turned: Tensor, position: Tensor, focal: Tensor, height: int, width: int) -> Tensor:
    """Return (N, 4) int64: first and last row, first and last column of the tiles that a bounding box projects into.

    Corners behind the camera cannot be projected, so boxes are clipped at the near plane. If nothing is visible, the
    last row or column is smaller than the first.
    """
    own = solids.scene
    corners = torch.einsum("nij,kj->nki", solids.to_world, _CORNERS.to(solids.center.device))
    corners = torch.einsum("nji,nkj->nki", turned[own], corners + (solids.center - position[own])[:, None])
    start, end = corners[:, _EDGES[:, 0]], corners[:, _EDGES[:, 1]]
    fraction = (NEAREST_M - start[..., 2]) / (end[..., 2] - start[..., 2])
    crossing = start + fraction.nan_to_num(0.0, 0.0, 0.0)[..., None] * (end - start)
    crosses = (start[..., 2] > NEAREST_M) != (end[..., 2] > NEAREST_M)
    points = torch.cat((corners, crossing), 1)
    seen = torch.cat((corners[..., 2] > NEAREST_M, crosses), 1)
    z = points[..., 2].clamp_min(NEAREST_M)
    limits = []
    for axis, side, sign in ((1, height, -1.0), (0, width, 1.0)):
        pixel = sign * points[..., axis] / z * focal[own, None] + side / 2
        first = torch.where(seen, pixel, torch.inf).amin(1)
        last = torch.where(seen, pixel, -torch.inf).amax(1)
        tiles = math.ceil(side / TILE_PX)
        limits.append((first.clamp(-1.0, side + 1.0) - 0.01).div(TILE_PX).floor().clamp(0, tiles))
        limits.append((last.clamp(-1.0, side + 1.0) + 0.01).div(TILE_PX).floor().clamp(-1, tiles - 1))
    return torch.stack(limits, 1).long()


def _cast_kind(
    kind: SolidKind,
    solids: Solids,
    rectangles: Tensor,
    tiles: tuple[int, int],
    into: Tensor,
    origin: Tensor,
    focal: Tensor,
    size: tuple[int, int],
    best: Tensor,
    which: Tensor,
) -> None:
    """Test all solids of a kind against the tiles that they project into; update `best` and `which` in place.

    The k-th solids of all tiles are tested together. Tiles are sorted by their number of solids, so the tiles that
    have a k-th solid are a slice at the beginning.
    """
    members = (solids.kind == int(kind)).nonzero()[:, 0]
    tile, member = _pairs(solids.scene[members], rectangles[members], tiles)
    if not len(tile):
        return
    order = tile.argsort(stable=True)
    tile, member = tile[order], members[member[order]]
    present, counts = torch.unique_consecutive(tile, return_counts=True)
    starts = counts.cumsum(0) - counts
    by_count = counts.argsort(descending=True, stable=True)
    present, counts, starts = present[by_count], counts[by_count], starts[by_count]
    x, y = _tile_rays(present, tiles, focal, size)
    near, owner = best[present], which[present]
    test = _TESTS[kind]
    remaining = (counts[None] > torch.arange(int(counts[0]), device=counts.device)[:, None]).sum(1).tolist()
    for rank, count in enumerate(remaining):
        row = member[starts[:count] + rank]
        matrix = into[row]
        direction = [
            matrix[:, i, 0, None, None] * x[:count]
            + (matrix[:, i, 1, None, None] * y[:count] + matrix[:, i, 2, None, None])
            for i in range(3)
        ]
        place = origin[row]
        depth = test(direction, [place[:, i, None, None] for i in range(3)])
        nearer = depth < near[:count]
        near[:count] = torch.where(nearer, depth, near[:count])
        owner[:count] = torch.where(nearer, row.to(owner.dtype)[:, None, None], owner[:count])
    best[present], which[present] = near, owner


def _pairs(scene: Tensor, rectangles: Tensor, tiles: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return all pairs of a tile and a solid that projects into it: (P,) tile and (P,) solid."""
    first_row, last_row, first_column, last_column = rectangles.unbind(1)
    across = (last_column - first_column + 1).clamp_min(0)
    counts = (last_row - first_row + 1).clamp_min(0) * across
    solid = torch.arange(len(scene), device=scene.device).repeat_interleave(counts)
    within = torch.arange(len(solid), device=scene.device) - (counts.cumsum(0) - counts)[solid]
    row = first_row[solid] + within // across[solid].clamp_min(1)
    column = first_column[solid] + within % across[solid].clamp_min(1)
    return (scene[solid] * tiles[0] + row) * tiles[1] + column, solid


def _tile_rays(present: Tensor, tiles: tuple[int, int], focal: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return x (T, 1, 16) and y (T, 16, 1) of the rays of the given tiles; their z is 1."""
    steps = torch.arange(TILE_PX, device=present.device) + 0.5
    own = focal[present // (tiles[0] * tiles[1])]
    row, column = present // tiles[1] % tiles[0], present % tiles[1]
    x = (column[:, None] * TILE_PX + steps - size[1] / 2) / own[:, None]
    y = (size[0] / 2 - row[:, None] * TILE_PX - steps) / own[:, None]
    return x[:, None, :], y[:, :, None]


def intersect(kind: SolidKind, direction: Sequence[Tensor], origin: Sequence[Tensor]) -> Tensor:
    """Return where rays enter a solid, as a factor of their direction; infinite where they miss it.

    Args:
        kind: shape of the solid.
        direction: x, y and z in the local axes of the solid, of shapes that broadcast.
        origin: x, y and z in the same axes.
    """
    return _TESTS[kind](direction, origin)


def _enter(near: Tensor, far: Tensor) -> Tensor:
    """Return where a ray enters the interval from `near` to `far`; a solid around the camera is invisible."""
    return torch.where((near <= far) & (near > NEAREST_M), near, torch.inf)


def _slab(direction: Tensor, origin: Tensor) -> tuple[Tensor, Tensor]:
    inverse = (direction + _TINY).reciprocal()
    middle, reach = inverse * -origin, inverse.abs()
    return middle - reach, middle + reach


def _test_box(direction: Sequence[Tensor], origin: Sequence[Tensor]) -> Tensor:
    near, far = _slab(direction[0], origin[0])
    for axis in (1, 2):
        one_near, one_far = _slab(direction[axis], origin[axis])
        near, far = torch.maximum(near, one_near), torch.minimum(far, one_far)
    return _enter(near, far)


def _round_interval(direction: Sequence[Tensor], origin: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the interval in which a line is within 1 of the origin.

    It is computed from the point of the line nearest to the origin, which avoids cancellation.
    """
    square = sum((d * d for d in direction), torch.zeros(())) + _TINY
    nearest = -sum((d * o for d, o in zip(direction, origin, strict=True)), torch.zeros(())) / square
    away = sum(((o + nearest * d) ** 2 for d, o in zip(direction, origin, strict=True)), torch.zeros(()))
    half = ((1 - away) / square).sqrt()  # NaN if the line misses; every comparison with it is false
    return nearest - half, nearest + half


def _test_sphere(direction: Sequence[Tensor], origin: Sequence[Tensor]) -> Tensor:
    return _enter(*_round_interval(direction, origin))


def _test_cylinder(direction: Sequence[Tensor], origin: Sequence[Tensor]) -> Tensor:
    near, far = _round_interval((direction[0], direction[2]), (origin[0], origin[2]))
    low, high = _slab(direction[1], origin[1])
    return _enter(torch.maximum(near, low), torch.minimum(far, high))


_TESTS: dict[SolidKind, Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]] = {
    SolidKind.BOX: _test_box,
    SolidKind.SPHERE: _test_sphere,
    SolidKind.CYLINDER: _test_cylinder,
}
