"""The sun, the sky and the haze of a day."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from glpn_cli.scenes.scene import Light, Sky

if TYPE_CHECKING:
    from glpn_cli.scenes.scene import Scene


def light_outdoors(scene: Scene) -> None:
    """Light a scene by day, under the sun or clouds."""
    rng = scene.rng
    overcast = rng.random()
    height, turn = rng.uniform(0.15, 1.3), rng.uniform(0, math.tau)
    way = (math.cos(height) * math.cos(turn), math.sin(height), math.cos(height) * math.sin(turn))
    low_sun = max(0.0, 1 - height / 0.6)
    strength = 1.4 * (1 - overcast) ** 0.7
    scene.lights = [Light(way, (strength, strength * (1 - 0.2 * low_sun), strength * (0.95 - 0.4 * low_sun)))]
    shade = rng.uniform(0.45, 0.75)
    scene.ambient = (shade * 0.92, shade * 0.97, shade * 1.05)
    gray = rng.uniform(0.75, 1.15)
    blue = 1 - overcast
    scene.sky = Sky(
        (gray * (1 - 0.6 * blue), gray * (1 - 0.4 * blue), gray),
        (gray * (1 - 0.2 * blue), gray * (1 - 0.1 * blue), gray),
        clouds=rng.uniform(0, 0.9),
        haze_m=rng.choice((math.inf, rng.uniform(60, 500), rng.uniform(200, 1500))),
        texture=scene.atlas.pick(rng, "clouds"),
    )
    scene.exposure, scene.gamma = rng.uniform(0.22, 0.45), rng.uniform(1.6, 2.3)
    scene.saturation = rng.uniform(0.5, 1.05)
