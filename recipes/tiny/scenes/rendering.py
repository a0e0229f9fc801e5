"""From random seeds to images with depth: the kinds of scenes, composition and rendering."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import torch

from cameras import relative_focal
from scenes.casting import cast, gather_solids
from scenes.indoors import add_shell, furnish, light_room, make_meal, make_room, make_tabletop
from scenes.objects import add_animal, add_bush, add_bust, add_tree
from scenes.outdoors import (
    light_outdoors,
    make_evening,
    make_jam,
    make_park,
    make_square,
    make_street,
    make_traffic,
)
from scenes.scene import Camera, Frame, Scene
from scenes.shading import shade

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from scenes.textures import Atlas

_SMALLEST_MEDIAN_M = 0.3
_CLOSE_M = 0.12
_ATTEMPTS = 12
_PROBE_SIDE_PX = 32


def make_portrait(scene: Scene) -> None:
    """Build a close-up of people or of an animal, in a room or a garden."""
    rng = scene.rng
    indoors = scene.chance(0.6)
    if indoors:
        width, length, height = rng.uniform(3, 8), rng.uniform(3.5, 10), rng.uniform(2.3, 3.4)
        add_shell(scene, width, length, height)
        for _ in range(rng.randint(2, 12)):
            furnish(scene, width, length)
        light_room(scene, width, length, height)
        back = length / 2
    else:
        _add_garden(Frame(scene, (0.0, 0.0, 0.0)))
        light_outdoors(scene)
        back = 10.0
    animal = scene.chance(0.35)
    # The camera looks along the room, so that there is a background.
    spot = Frame(scene, (rng.uniform(-0.4, 0.4), 0.0, back * rng.uniform(-0.3, 0.5)), math.pi)
    if animal:
        size = rng.choice((rng.uniform(0.2, 0.35), rng.uniform(0.35, 0.7), rng.uniform(0.35, 1.3)))
        level = rng.choice((0.0, 0.0, 0.45, 0.75))
        if level:
            seat = scene.material(rng.choice(("fabric", "wood", "plain")), 0.1, 0.9, vivid=0.2)
            spot.box((0, level / 2, 0), (rng.uniform(0.5, 1.2), level / 2, rng.uniform(0.35, 0.6)), seat)
        add_animal(spot.inner(0, level, 0, rng.uniform(-1.6, 1.6)), size)
        aim, far = level + 0.75 * size, size * rng.uniform(1.6, 4.5) + 0.1
        eye = aim + rng.uniform(-0.1, 0.9) * far
    else:
        waist = rng.choice((0.75, 1.0, 1.05, 1.1)) * rng.uniform(0.9, 1.1)
        add_bust(spot.inner(0, waist, 0, rng.gauss(0, 0.5)))
        for _ in range(rng.choice((0, 0, 0, 1, 2))):
            add_bust(spot.inner(rng.choice((-1, 1)) * rng.uniform(0.45, 0.9), waist, rng.uniform(-0.6, 0.5)))
        aim, far = waist + rng.uniform(0.3, 0.58), rng.uniform(0.55, 2.2)
        eye = aim + rng.gauss(0.05, 0.15)
        if scene.chance(0.3):  # a table or a desk in front of them
            wood = scene.material("wood", 0.15, 0.9)
            spot.box((0, waist - 0.15, 0.45), (0.8, 0.02, 0.25), wood)
    x, _, z = spot.origin
    turn = rng.gauss(0, 0.35)
    place = (x - far * math.sin(turn), max(0.08, eye), z - far * math.cos(turn))
    pitch = math.atan2(aim - place[1], far) + rng.gauss(0, 0.06)
    scene.camera = Camera(place, turn + rng.gauss(0, 0.1), pitch, rng.gauss(0, 0.05), rng.uniform(32, 75))


def _add_garden(root: Frame) -> None:
    scene = root.scene
    rng = scene.rng
    ground = scene.material(rng.choice(("foliage", "ground", "tiles")), 0.2, 0.8, vivid=0.1, repeat_m=(0.6, 3.0))
    root.box((0, -0.5, 0), (120, 0.5, 120), ground)
    if scene.chance(0.6):
        wall = scene.material(rng.choice(("bricks", "plaster", "foliage", "wood")), 0.2, 0.9, vivid=0.1)
        root.box((0, 1.5, rng.uniform(11, 25)), (40, rng.uniform(1.5, 4), 0.2), wall, yaw=rng.uniform(-0.4, 0.4))
    for _ in range(rng.randint(1, 6)):
        add_tree(root.inner(rng.uniform(-12, 12), 0, rng.uniform(8, 40)))
    for _ in range(rng.randint(0, 5)):
        add_bush(root.inner(rng.uniform(-5, 5), 0, rng.uniform(7, 14)), rng.uniform(0.5, 1.8))


SCENE_KINDS: dict[str, tuple[Callable[[Scene], None], float]] = {
    "room": (make_room, 0.46),
    "tabletop": (make_tabletop, 0.14),
    "street": (make_street, 0.3),
    "park": (make_park, 0.1),
    "meal": (make_meal, 0.0),
    "jam": (make_jam, 0.0),
    "traffic": (make_traffic, 0.0),
    "square": (make_square, 0.0),
    "evening": (make_evening, 0.0),
    "portrait": (make_portrait, 0.0),
}
"""The function that builds each kind, and its default fraction of all scenes."""


def make_scene(seed: int, atlas: Atlas, kinds: Mapping[str, float] | None = None) -> Scene:
    """Return a random scene; the same seed gives the same scene.

    A view that shows almost nothing, such as a camera in front of a wall, is replaced by another one of the same seed.

    Args:
        seed: random seed.
        atlas: textures to choose from.
        kinds: names of `SCENE_KINDS` with their weights; None uses the default fractions.
    """
    weights = kinds or {name: fraction for name, (_, fraction) in SCENE_KINDS.items()}
    scene = Scene(random.Random(seed), atlas)
    for attempt in range(_ATTEMPTS):
        rng = random.Random(f"{seed} {attempt}")
        scene = Scene(rng, atlas)
        scene.kind = rng.choices(list(weights), list(weights.values()))[0]
        SCENE_KINDS[scene.kind][0](scene)
        if _is_usable(scene):
            break
    return scene


def render(
    scenes: Sequence[Scene], height: int, width: int, *, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Render a batch of scenes that share an atlas.

    Returns:
        Images, (B, H, W, 3) uint8; depth along the optical axis, (B, H, W) float32, meters, infinite in the sky.
    """
    with torch.inference_mode():
        solids = gather_solids(scenes, device)
        hits = cast(scenes, solids, height, width)
        image = shade(scenes, solids, hits, scenes[0].atlas)
        return (image * 255 + 0.5).to(torch.uint8), hits.depth


def render_scenes(
    seeds: Sequence[int],
    atlas: Atlas,
    height: int,
    width: int,
    *,
    kinds: Mapping[str, float] | None = None,
    canonical: bool = False,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, Tensor]:
    """Render one scene per seed; see `make_scene` and `render`.

    With `canonical`, depth is what a camera with a relative focal length of 1 would need to see the same image; see
    `cameras.py`.
    """
    scenes = [make_scene(seed, atlas, kinds) for seed in seeds]
    images, depth = render(scenes, height, width, device=device)
    if canonical:
        focal = [relative_focal(scene.camera.focal_px(height, width), (height, width)) for scene in scenes]
        depth = depth / torch.tensor(focal, dtype=depth.dtype, device=depth.device)[:, None, None]
    return images, depth


def _is_usable(scene: Scene) -> bool:
    """Return whether a small depth image has enough content, enough contrast and nothing very close to the lens."""
    with torch.inference_mode():
        depth = cast([scene], gather_solids([scene]), _PROBE_SIDE_PX, _PROBE_SIDE_PX).depth.flatten()
    known = depth[depth.isfinite()]
    if len(known) < 0.25 * len(depth):
        return False
    near, far = known.quantile(torch.tensor([0.05, 0.95])).tolist()
    close = (depth < _CLOSE_M).float().mean()
    return bool(known.median() > _SMALLEST_MEDIAN_M and far > 1.25 * near and close < 0.02)
