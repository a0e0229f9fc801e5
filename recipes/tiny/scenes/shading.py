"""Colors of the pixels: textures, lamps, sun and shadows, ambient occlusion, haze, sky and the camera's tone curve."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from scenes.casting import Hits, Solids, camera_rotation, intersect
from scenes.scene import SolidKind
from scenes.textures import LEVELS, TEXTURE_SIDE_PX, Atlas

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scenes.scene import Light, Scene, Solid

_SHADOW_STEP_PX = 4
_DARKEST_SHADOW = 0.12
_LIFT_M = 2e-3

Triple = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class _Surface:
    """The M pixels whose ray hits a solid. Every tensor is (M,).

    Attributes:
        pixel: index into the flattened batch.
        scene: index of the scene.
        row: row of the solid in `Solids`.
        point: x, y and z of the hit, meters.
        normal: x, y and z of the unit normal.
        albedo: red, green and blue, 0 to 1.
        glow: emitted light.
    """

    pixel: Tensor
    scene: Tensor
    row: Tensor
    point: Triple
    normal: Triple
    albedo: Triple
    glow: Tensor


def shade(scenes: Sequence[Scene], solids: Solids, hits: Hits, atlas: Atlas) -> Tensor:
    """Return the images, (B, H, W, 3) float32 in [0, 1]."""
    height, width = hits.depth.shape[1:]
    rays = _pixel_rays(scenes, height, width, hits.depth.device)
    image = torch.stack(_shade_sky(scenes, rays, atlas), 1)
    surface = _find_surfaces(scenes, solids, hits, rays, atlas)
    if len(surface.pixel):
        image[surface.pixel] = torch.stack(_light_surfaces(scenes, solids, hits, surface), 1)
    return _develop(scenes, image.reshape(len(scenes), height, width, 3))


def _pixel_rays(scenes: Sequence[Scene], height: int, width: int, device: torch.device) -> Triple:
    """Return x, y and z, (B·H·W,) each, of the rays of all pixels in scene axes; length 1 along the optical axis."""
    turned = camera_rotation([scene.camera for scene in scenes]).to(device)
    focal = torch.tensor([scene.camera.focal_px(height, width) for scene in scenes], device=device)[:, None, None]
    x = (torch.arange(width, device=device) + 0.5 - width / 2) / focal
    y = (height / 2 - 0.5 - torch.arange(height, device=device)[:, None]) / focal
    along = [
        turned[:, i, 0, None, None] * x + (turned[:, i, 1, None, None] * y + turned[:, i, 2, None, None])
        for i in range(3)
    ]
    return along[0].flatten(), along[1].flatten(), along[2].flatten()


def _per_scene(values: Sequence[Sequence[float]], scene: Tensor) -> Triple:
    """Return the triple of its scene for each pixel."""
    table = torch.tensor(values, dtype=torch.float32, device=scene.device)
    return _pick(table[:, 0], scene), _pick(table[:, 1], scene), _pick(table[:, 2], scene)


def _pick(table: Tensor, places: Tensor) -> Tensor:
    """Return `table[places]`; `index_select` is much faster than indexing in one dimension."""
    return table.contiguous().index_select(0, places)


def _shade_sky(scenes: Sequence[Scene], rays: Triple, atlas: Atlas) -> list[Tensor]:
    x, y, z = rays
    device = x.device
    scene = torch.arange(len(scenes), device=device).repeat_interleave(len(x) // len(scenes))
    rise = (y * (x * x + y * y + z * z).rsqrt()).clamp_min(0)
    above = rise.sqrt()
    far = (rise + 0.08).reciprocal()
    size = 0.35
    texture = _pick(torch.tensor([item.sky.texture for item in scenes], device=device), scene)
    clouds = _pick(torch.tensor([item.sky.clouds for item in scenes], device=device), scene)
    pattern = _look_up(atlas, texture, x * far * size, z * far * size, torch.zeros_like(x))[0] * clouds * (rise > 0)
    low = _per_scene([item.sky.horizon for item in scenes], scene)
    high = _per_scene([item.sky.zenith for item in scenes], scene)
    blue = [a + (b - a) * above for a, b in zip(low, high, strict=True)]
    return [c + (0.95 - c) * pattern for c in blue]


def _look_up(atlas: Atlas, texture: Tensor, u: Tensor, v: Tensor, level: Tensor) -> Triple:
    """Return the texture colors red, green and blue, (M,) each in [0, 1].

    Args:
        atlas: the textures.
        texture: (M,) int64, index into the atlas.
        u: (M,), horizontal position in periods of the texture.
        v: (M,), vertical position in periods of the texture.
        level: (M,), mipmap level: how often the resolution is halved.
    """
    sides = [TEXTURE_SIDE_PX >> number for number in range(LEVELS)]
    offsets = torch.tensor([sum(side * side for side in sides[:number]) for number in range(LEVELS)], device=u.device)
    level = level.clamp(0, LEVELS - 1).long()
    side = TEXTURE_SIDE_PX >> level
    column = ((u - u.floor()) * side).long().clamp_max(TEXTURE_SIDE_PX - 1)
    line = ((v - v.floor()) * side).long().clamp_max(TEXTURE_SIDE_PX - 1)
    place = texture * atlas.texels.shape[1] + _pick(offsets, level) + torch.minimum(line, side - 1) * side
    place += torch.minimum(column, side - 1)
    red, green, blue = (_pick(plane, place).float() / 255 for plane in atlas.planes(u.device))
    return red, green, blue


def _find_surfaces(scenes: Sequence[Scene], solids: Solids, hits: Hits, rays: Triple, atlas: Atlas) -> _Surface:
    pixel = (hits.solid.flatten() >= 0).nonzero()[:, 0]
    row = _pick(hits.solid.flatten(), pixel)
    scene = _pick(solids.scene, row)
    depth = _pick(hits.depth.flatten(), pixel)
    position = _per_scene([item.camera.position for item in scenes], scene)
    point = tuple(o + depth * _pick(ray, pixel) for o, ray in zip(position, rays, strict=True))
    across = [point[i] - _pick(solids.center[:, i], row) for i in range(3)]
    inverse = [[_pick(solids.to_local[:, i, j], row) for j in range(3)] for i in range(3)]
    local = [sum((inverse[i][j] * across[j] for j in range(1, 3)), inverse[i][0] * across[0]) for i in range(3)]
    kind = _pick(solids.kind, row)
    own_normal, face = _local_normal(kind, local)
    turned = [
        sum((inverse[j][i] * own_normal[j] for j in range(1, 3)), inverse[0][i] * own_normal[0]) for i in range(3)
    ]
    length = (turned[0] ** 2 + turned[1] ** 2 + turned[2] ** 2 + 1e-20).rsqrt()
    normal = (turned[0] * length, turned[1] * length, turned[2] * length)
    u, v = _surface_coordinates(solids, row, face, local)
    focal = torch.tensor([item.camera.focal_px(*hits.depth.shape[1:]) for item in scenes], device=pixel.device)
    rows = [solid for item in scenes for solid in item.solids]
    albedo, glow = _albedo(rows, row, u, v, depth / _pick(focal, scene), atlas)
    return _Surface(pixel, scene, row, (point[0], point[1], point[2]), normal, albedo, glow)


def _local_normal(kind: Tensor, local: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Return normals in local axes, and the axis of the flat face of a box or cylinder; 3 on curved surfaces."""
    x, y, z = local
    size = [x.abs(), y.abs(), z.abs()]
    wide, high = (size[0] >= size[1]) & (size[0] >= size[2]), size[1] >= size[2]
    axis = torch.where(wide, 0, torch.where(high, 1, 2))
    is_box = kind == int(SolidKind.BOX)
    is_cylinder = kind == int(SolidKind.CYLINDER)
    cap = is_cylinder & (y * y > x * x + z * z)
    face = torch.where(is_box, axis, torch.where(cap, 1, 3))
    flat = [torch.where(face == i, local[i].sign(), 0.0) for i in range(3)]
    curved = face == 3
    return [
        torch.where(curved, x, flat[0]),
        torch.where(curved & ~is_cylinder, y, flat[1]),
        torch.where(curved, z, flat[2]),
    ], face


def _surface_coordinates(solids: Solids, row: Tensor, face: Tensor, local: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    half = solids.to_world.norm(dim=1)
    meters = [local[i] * _pick(half[:, i], row) for i in range(3)]
    around = torch.atan2(local[0], local[2]) * _pick(half[:, 0], row)
    u = torch.where(face == 3, around, torch.where(face == 0, meters[2], meters[0]))
    v = torch.where(face == 1, meters[2], meters[1])
    # The texture has a different offset on each solid of a scene, independent of the other scenes of the batch.
    counts = solids.scene.bincount()
    number = torch.arange(len(solids.scene), device=row.device) - (counts.cumsum(0) - counts)[solids.scene]
    start = _pick(number.float(), row)
    return u + start * 0.618, v + start * 0.414


def _albedo(
    rows: Sequence[Solid], row: Tensor, u: Tensor, v: Tensor, pixel_m: Tensor, atlas: Atlas
) -> tuple[Triple, Tensor]:
    device = row.device
    materials = [solid.material for solid in rows]
    repeat = _pick(torch.tensor([item.repeat_m for item in materials], device=device), row)
    texture = _pick(torch.tensor([item.texture for item in materials], device=device), row)
    strength = _pick(
        torch.tensor([item.strength if item.texture >= 0 else 0.0 for item in materials], device=device), row
    )
    level = (pixel_m * (TEXTURE_SIDE_PX / repeat)).clamp_min(1e-6).log2()
    found = _look_up(atlas, texture.clamp_min(0), u / repeat, -v / repeat, level + 0.5)
    color = torch.tensor([item.color for item in materials], device=device)
    albedo = []
    for i in range(3):
        plain = _pick(color[:, i], row)
        albedo.append(plain * (1 - strength) + found[i] * strength * (strength + (1 - strength) * plain))
    glow = _pick(torch.tensor([item.glow for item in materials], device=device), row)
    return (albedo[0], albedo[1], albedo[2]), glow


def _light_surfaces(scenes: Sequence[Scene], solids: Solids, hits: Hits, surface: _Surface) -> list[Tensor]:
    """Return the light that reaches the camera from surfaces, including haze: red, green and blue, (M,) each."""
    ambient = _per_scene([scene.ambient for scene in scenes], surface.scene)
    upward = (0.7 + 0.3 * surface.normal[1]) * _pick(_ambient_occlusion(hits), surface.pixel)
    light = [part * upward + surface.glow for part in ambient]
    for number in range(max(len(scene.lights) for scene in scenes)):
        lights = [scene.lights[number] if number < len(scene.lights) else None for scene in scenes]
        falling = _incidence(lights, surface)
        if number == 0:
            falling = falling * _pick(_cast_shadows(scenes, lights, solids, hits, surface), surface.pixel)
        color = _per_scene([(0.0, 0.0, 0.0) if item is None else item.color for item in lights], surface.scene)
        light = [part + falling * shade for part, shade in zip(light, color, strict=True)]
    shown = [albedo * part for albedo, part in zip(surface.albedo, light, strict=True)]
    depth = _pick(hits.depth.flatten(), surface.pixel)
    haze_m = _pick(torch.tensor([scene.sky.haze_m for scene in scenes], device=depth.device), surface.scene)
    clear = torch.exp(-depth / haze_m)
    horizon = _per_scene([scene.sky.horizon for scene in scenes], surface.scene)
    return [part * clear + haze * (1 - clear) for part, haze in zip(shown, horizon, strict=True)]


def _light_direction(lights: Sequence[Light | None], scene: Tensor, point: Triple) -> tuple[Triple, Tensor]:
    """Return the vectors from points to the lights, not normalized, and whether the light is a lamp."""
    place = _per_scene([(0.0, 1.0, 0.0) if light is None else light.position for light in lights], scene)
    lamp = torch.tensor([light is not None and math.isfinite(light.reach_m) for light in lights], device=scene.device)
    is_lamp = _pick(lamp, scene)
    way = [torch.where(is_lamp, a - b, a) for a, b in zip(place, point, strict=True)]
    return (way[0], way[1], way[2]), is_lamp


def _incidence(lights: Sequence[Light | None], surface: _Surface) -> Tensor:
    way, is_lamp = _light_direction(lights, surface.scene, surface.point)
    square = way[0] ** 2 + way[1] ** 2 + way[2] ** 2 + 1e-6
    slope = sum((a * b for a, b in zip(way[1:], surface.normal[1:], strict=True)), way[0] * surface.normal[0])
    reach = [light.reach_m if light is not None and math.isfinite(light.reach_m) else 1.0 for light in lights]
    reach_m = _pick(torch.tensor(reach, device=square.device), surface.scene)
    faded = torch.where(is_lamp, (1 + square.sqrt() / reach_m) ** -2, 1.0)
    return (slope * square.rsqrt()).clamp_min(0) * faded


def _ambient_occlusion(hits: Hits) -> Tensor:
    """Return ambient light per pixel, (B·H·W,), 0.4 to 1; it is darker where neighbors are slightly nearer."""
    near = 1 / hits.depth[:, None].clamp(0.05, 1e3)
    shrunk = functional.avg_pool2d(near, 4, ceil_mode=True, count_include_pad=False)
    shadow = torch.zeros_like(near)
    for reach in (3, 9):
        around = functional.avg_pool2d(shrunk, reach, 1, reach // 2, count_include_pad=False)
        excess = (_upsample(around, near.shape[2:]) / near - 1).clamp_min(0)
        shadow += excess * torch.exp(-9 * excess)  # a much nearer surface is an occluder in front, not a neighbor
    return (1 - 2.5 * shadow).clamp(0.4, 1).flatten()


def _upsample(small: Tensor, size: Sequence[int]) -> Tensor:
    return functional.interpolate(small, size=tuple(size), mode="bilinear", align_corners=False)


def _cast_shadows(
    scenes: Sequence[Scene], lights: Sequence[Light | None], solids: Solids, hits: Hits, surface: _Surface
) -> Tensor:
    """Return the fraction of the first light that reaches each pixel, (B·H·W,).

    Shadow rays are cast from every fourth pixel in both directions, and the result is interpolated.
    """
    batch, height, width = hits.depth.shape
    lattice = torch.zeros((batch, height, width), dtype=torch.bool, device=hits.depth.device)
    lattice[:, _SHADOW_STEP_PX // 2 :: _SHADOW_STEP_PX, _SHADOW_STEP_PX // 2 :: _SHADOW_STEP_PX] = True
    chosen = _pick(lattice.flatten(), surface.pixel).nonzero()[:, 0]
    point = [_pick(part, chosen) for part in surface.point]
    normal = [_pick(part, chosen) for part in surface.normal]
    scene = _pick(surface.scene, chosen)
    way, is_lamp = _light_direction(lights, scene, (point[0], point[1], point[2]))
    start = torch.stack([p + _LIFT_M * n for p, n in zip(point, normal, strict=True)], 1)
    blocked = torch.zeros(len(chosen), dtype=torch.bool, device=start.device)
    casts = torch.tensor([solid.casts_shadow for item in scenes for solid in item.solids], device=start.device)
    radius = solids.to_world.square().sum((1, 2)).sqrt()
    for number in range(batch):
        rays = (scene == number).nonzero()[:, 0]
        casters = ((solids.scene == number) & casts).nonzero()[:, 0]
        if len(rays) and len(casters) and lights[number] is not None:
            toward = torch.stack([part[rays] for part in way], 1)
            blocked[rays] = _blocked(
                start[rays], toward, solids, casters, radius, 1.0 if bool(is_lamp[rays[0]]) else torch.inf
            )
    small = torch.ones_like(lattice, dtype=torch.float32).flatten()
    small[surface.pixel[chosen]] = torch.where(blocked, _DARKEST_SHADOW, 1.0)
    rows = slice(_SHADOW_STEP_PX // 2, None, _SHADOW_STEP_PX)
    picked = small.reshape(batch, 1, height, width)[:, :, rows, rows]
    return _upsample(picked, (height, width)).flatten()


def _blocked(start: Tensor, toward: Tensor, solids: Solids, casters: Tensor, radius: Tensor, limit: float) -> Tensor:
    """Return which rays hit a shadow caster before `limit` times their direction.

    Bounding spheres select the pairs that are tested exactly.
    """
    length = toward.norm(dim=1, keepdim=True)
    middle, unit, reach = solids.center[casters], toward / length, radius[casters][None] * 1.001 + 0.01
    along = unit @ middle.T - (unit * start).sum(1, keepdim=True)
    apart = start.square().sum(1, keepdim=True) - 2 * start @ middle.T + middle.square().sum(1) - along.square()
    maybe = (apart < reach.square()) & (along > -reach)
    if limit < torch.inf:
        maybe &= along < length + reach
    ray, member = maybe.nonzero(as_tuple=True)
    row = casters[member]
    direction = torch.einsum("nij,nj->in", solids.to_local[row], toward[ray])
    origin = torch.einsum("nij,nj->in", solids.to_local[row], start[ray] - solids.center[row])
    found = torch.full((len(ray),), torch.inf, device=start.device)
    for kind in SolidKind:
        of_kind = _pick(solids.kind, row) == int(kind)
        chosen = of_kind.nonzero()[:, 0]
        found[chosen] = intersect(kind, list(direction[:, chosen]), list(origin[:, chosen]))
    blocked = torch.zeros(len(start), dtype=torch.bool, device=start.device)
    blocked[ray[found < limit]] = True
    return blocked


def _develop(scenes: Sequence[Scene], light: Tensor) -> Tensor:
    """Return the image of a camera: saturation, exposure, tone curve and gamma."""

    def per_scene(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, device=light.device)[:, None, None, None]

    gray = light.mean(3, keepdim=True)
    light = gray + (light - gray) * per_scene([scene.saturation for scene in scenes])
    # The average of mean and median, so that a bright window does not make a room black.
    middle = 0.5 * light.mean((1, 2, 3)) + 0.5 * light.flatten(1).median(1).values
    light = light * (per_scene([scene.exposure for scene in scenes]) / middle.clamp_min(1e-3)[:, None, None, None])
    light = (light * 1.25 / (1 + 0.25 * light)).clamp(0, 1)
    return torch.pow(light, 1 / per_scene([scene.gamma for scene in scenes]))
