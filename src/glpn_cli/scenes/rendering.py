"""From a seed to images with their depth."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import torch

from glpn_cli.scenes.casting import cast, gather_solids
from glpn_cli.scenes.evenings import make_evening
from glpn_cli.scenes.indoors import make_meal, make_room, make_tabletop
from glpn_cli.scenes.parks import make_park, make_square
from glpn_cli.scenes.portraits import make_portrait
from glpn_cli.scenes.scene import Scene
from glpn_cli.scenes.shading import shade
from glpn_cli.scenes.streets import make_jam, make_street, make_traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from glpn_cli.scenes.textures import Atlas


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
"""Who makes them, and which share of all are such where nobody says."""

_SMALLEST_MEDIAN_M = 0.3
_NEAREST_SHARE = 0.12
_ATTEMPTS = 12
_LOOK_SIDE_PX = 32


def make_scene(seed: int, atlas: Atlas, kinds: Mapping[str, float] | None = None) -> Scene:
    """Make a scene up; the same seed gives the same scene.

    Views that show next to nothing, as with the camera against a wall, are given up for others of the same seed.

    Args:
        seed: decides everything.
        atlas: the textures to choose from.
        kinds: which of `SCENE_KINDS` in which shares; None is as there.
    """
    shares = kinds or {name: share for name, (_, share) in SCENE_KINDS.items()}
    scene = Scene(random.Random(seed), atlas)
    for attempt in range(_ATTEMPTS):
        rng = random.Random(f"{seed} {attempt}")
        scene = Scene(rng, atlas)
        scene.kind = rng.choices(list(shares), list(shares.values()))[0]
        SCENE_KINDS[scene.kind][0](scene)
        if _shows_something(scene):
            break
    return scene


def render(
    scenes: Sequence[Scene], height: int, width: int, *, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Render a batch of scenes that share an atlas.

    Returns:
        (B, H, W, 3) uint8, and depth along the optical axis, (B, H, W) float32, meters, infinite in the sky.
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
    device: torch.device | str = "cpu",
) -> tuple[Tensor, Tensor]:
    """Make up and render one scene per seed; see `make_scene` and `render`."""
    return render([make_scene(seed, atlas, kinds) for seed in seeds], height, width, device=device)


def _shows_something(scene: Scene) -> bool:
    """Tell from a tiny image whether there is more than one thing near the lens to be seen."""
    with torch.inference_mode():
        depth = cast([scene], gather_solids([scene]), _LOOK_SIDE_PX, _LOOK_SIDE_PX).depth.flatten()
    known = depth[depth.isfinite()]
    if len(known) < 0.25 * len(depth):
        return False
    near, far = known.quantile(torch.tensor([0.05, 0.95])).tolist()
    close = (depth < _NEAREST_SHARE).float().mean()
    return bool(known.median() > _SMALLEST_MEDIAN_M and far > 1.25 * near and close < 0.02)
