"""Parks, yards and squares."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from glpn_cli.scenes.buildings import add_bench, add_building, add_fence, add_house
from glpn_cli.scenes.daylight import light_outdoors
from glpn_cli.scenes.figures import add_bush, add_lamp_post, add_person, add_tree
from glpn_cli.scenes.scene import Camera, Frame
from glpn_cli.scenes.vehicles import add_car, add_vehicle

if TYPE_CHECKING:
    from collections.abc import Callable

    from glpn_cli.scenes.scene import Scene


def make_park(scene: Scene) -> None:
    """Stand on a meadow, a yard or a square, among trees, people, walls and houses."""
    rng = scene.rng
    root = Frame(scene, (0.0, 0.0, 0.0))
    family = rng.choice(("foliage", "ground", "tiles", "ground"))
    root.box((0, -0.5, 0), (160, 0.5, 160), scene.material(family, 0.15, 0.8, vivid=0.1, repeat_m=(0.8, 4.0)))
    if scene.chance(0.5):  # a path
        path = scene.material(rng.choice(("ground", "tiles", "bricks")), 0.3, 0.8, vivid=0.08)
        root.box((rng.uniform(-2, 2), -0.49, 40), (rng.uniform(0.6, 2.5), 0.5, 60), path, yaw=rng.uniform(-0.3, 0.3))
    _scatter(root, rng.randint(2, 14), add_tree, 3, 60)
    _scatter(root, rng.randint(0, 8), lambda spot: add_bush(spot, rng.uniform(0.4, 1.8)), 2, 40)
    _scatter(root, rng.randint(0, 5), add_person, 1.5, 20)
    _scatter(root, rng.randint(0, 3), add_lamp_post, 3, 25)
    _scatter(root, rng.randint(0, 3), lambda spot: add_house(spot, rng.uniform(3, 10), rng.uniform(4, 9)), 10, 70)
    if scene.chance(0.5):
        add_fence(_somewhere(root, 3, 20), rng.uniform(4, 20))
    _scatter(root, rng.randint(0, 3), add_bench, 1.5, 12)
    _scatter(root, rng.randint(0, 2), add_vehicle, 5, 30)
    light_outdoors(scene)
    scene.camera = Camera(
        (
            0.0,
            rng.choice((rng.uniform(0.3, 1.0), rng.uniform(1.3, 1.8), rng.uniform(1.3, 1.8), rng.uniform(2, 5))),
            0.0,
        ),
        0.0,
        rng.gauss(-0.06, 0.12),
        rng.gauss(0, 0.04),
        rng.uniform(48, 85),
    )


def make_square(scene: Scene) -> None:
    """Stand before buildings with columns, steps and walls, on a square or in a court."""
    rng = scene.rng
    root = Frame(scene, (0.0, 0.0, 0.0))
    floor = scene.material(
        rng.choice(("tiles", "ground", "bricks", "foliage")), 0.2, 0.8, vivid=0.06, repeat_m=(0.8, 4)
    )
    root.box((0, -0.5, 0), (160, 0.5, 160), floor)
    far = rng.uniform(7, 40)
    for turn in (0.0, *rng.sample((-1.0, 1.0, -0.6, 0.6), rng.randint(0, 3))):
        away = far * rng.uniform(0.8, 1.3)
        facing = root.inner(away * math.sin(turn * 1.3), 0, away * math.cos(turn * 1.3), math.pi + turn * 1.3)
        add_building(facing, rng.uniform(5, 22), rng.uniform(4, 18))
    if scene.chance(0.4):
        _add_hills(root)
    _scatter(root, rng.randint(0, 7), add_tree, 4, 40)
    _scatter(root, rng.randint(0, 4), lambda spot: add_bush(spot, rng.uniform(0.4, 1.5)), 2, 25)
    _scatter(root, rng.randint(0, 7), add_person, 1.8, 30)
    _scatter(root, rng.randint(0, 4), add_lamp_post, 3, 25)
    _scatter(root, rng.randint(0, 3), add_car, 4, 25)
    _scatter(root, rng.randint(0, 3), add_bench, 2, 14)
    if scene.chance(0.5):
        add_fence(_somewhere(root, 3, 20), rng.uniform(4, 20))
    light_outdoors(scene)
    eye = rng.choice((rng.uniform(0.4, 1.2), rng.uniform(1.3, 1.8), rng.uniform(1.4, 1.8), rng.uniform(2, 6)))
    scene.camera = Camera(
        (0.0, eye, 0.0), rng.gauss(0, 0.2), rng.gauss(0.02, 0.12), rng.gauss(0, 0.04), rng.uniform(45, 88)
    )


def _scatter(root: Frame, count: int, add: Callable[[Frame], None], near_m: float, far_m: float) -> None:
    """Put so many things of a sort where the camera may see them."""
    for _ in range(count):
        add(_somewhere(root, near_m, far_m))


def _somewhere(root: Frame, near: float, far: float) -> Frame:
    """Give a place that the camera at the origin may see; nearer ones are more likely."""
    rng = root.scene.rng
    distance = near * (far / near) ** rng.random()
    turn = rng.uniform(-0.8, 0.8)
    return root.inner(distance * math.sin(turn), 0, distance * math.cos(turn), rng.uniform(0, math.tau))


def _add_hills(root: Frame) -> None:
    """Put hills far behind everything."""
    scene = root.scene
    rng = scene.rng
    for _ in range(rng.randint(1, 4)):
        green = scene.material(rng.choice(("foliage", "ground")), 0.2, 0.7, vivid=0.1, repeat_m=(6.0, 20.0))
        size = rng.uniform(40, 160)
        place = (rng.uniform(-250, 250), -size * 0.1, rng.uniform(200, 500))
        root.ball(place, (size * 1.8, size * rng.uniform(0.4, 0.9), size), green)
