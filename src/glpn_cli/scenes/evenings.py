"""Streets, parks and squares at dusk and at night."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glpn_cli.scenes.parks import make_park, make_square
from glpn_cli.scenes.scene import Light, Sky
from glpn_cli.scenes.streets import make_street, make_traffic

if TYPE_CHECKING:
    from glpn_cli.scenes.scene import Scene


def make_evening(scene: Scene) -> None:
    """Be outdoors at dusk or at night, under lamps."""
    rng = scene.rng
    style = rng.random()
    if style < 0.4:
        make_traffic(scene, lit=True)
    elif style < 0.6:
        make_street(scene)
    else:
        (make_park if scene.chance(0.5) else make_square)(scene)
    _light_evening(scene)


def _light_evening(scene: Scene) -> None:
    """Take the day away: a dark sky that may glow at the horizon, and lamps."""
    rng = scene.rng
    dusk = rng.choice((0.0, rng.uniform(0.0, 0.4), rng.uniform(0.2, 1.0)))
    shade = 0.03 + 0.2 * dusk
    scene.ambient = (shade * rng.uniform(0.7, 1.2), shade, shade * rng.uniform(1.0, 1.5))
    warm = rng.uniform(0.4, 1.0)
    scene.lights = []
    for _ in range(rng.randint(1, 4)):
        bright = rng.uniform(0.5, 2.5)
        place = (rng.uniform(-9, 9), rng.uniform(2.5, 8), 3 * 12 ** rng.random())
        scene.lights.append(Light(place, (bright, bright * (0.55 + 0.4 * warm), bright * warm), rng.uniform(4, 18)))
    low = rng.uniform(0.02, 0.1) + 0.6 * dusk * rng.uniform(0.4, 1.0)
    red = rng.uniform(0.6, 1.5)
    high = rng.uniform(0.005, 0.05) + 0.15 * dusk
    scene.sky = Sky(
        (high * 0.5, high * 0.7, high * 1.5),
        (low * red, low * 0.8, low * rng.uniform(0.5, 1.2)),
        clouds=rng.choice((0.0, 0.25 * dusk)),
        texture=scene.atlas.pick(rng, "clouds"),
    )
    scene.exposure = rng.uniform(0.06, 0.3)
