"""People and animals from near, indoors and outdoors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from glpn_cli.scenes.daylight import light_outdoors
from glpn_cli.scenes.figures import add_animal, add_bush, add_bust, add_tree
from glpn_cli.scenes.indoors import add_shell, furnish, light_room
from glpn_cli.scenes.scene import Camera, Frame

if TYPE_CHECKING:
    from glpn_cli.scenes.scene import Scene


def make_portrait(scene: Scene) -> None:
    """Look at somebody, or at an animal, from one or two meters, with a room or a garden behind."""
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
    # Along the room, so that there is something behind.
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
        if scene.chance(0.3):  # a table or a desk before them
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
