"""Streets, and what stands along them and moves on them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from glpn_cli.scenes.buildings import add_fence, add_house
from glpn_cli.scenes.daylight import light_outdoors
from glpn_cli.scenes.figures import add_bush, add_lamp_post, add_person, add_tree
from glpn_cli.scenes.scene import Camera, Frame, Material
from glpn_cli.scenes.vehicles import add_bus, add_car, add_lorry, add_vehicle

if TYPE_CHECKING:
    from glpn_cli.scenes.scene import Scene


_FAR_M = 110.0


def make_jam(scene: Scene) -> None:
    """Build a street whose lanes are full, and wait in it."""
    make_street(scene, queue=1.0)


def make_street(scene: Scene, *, queue: float = 0.22) -> None:
    """Build a street with what stands along it and moves on it, and drive or stand in it.

    Args:
        scene: empty.
        queue: how likely its lanes are full.
    """
    rng = scene.rng
    root = Frame(scene, (0.0, 0.0, 0.0))
    half_road = rng.uniform(2.6, 8.0)
    _add_ground(root, half_road)
    for side in (-1, 1):
        _line_side(root, side, half_road)
    _add_traffic(root, half_road, queue)
    if scene.chance(0.35):
        _close_street(root, half_road)
    if scene.chance(0.2):
        _hang_wires(root, half_road)
    light_outdoors(scene)
    x = (
        rng.uniform(-0.6, 0.6) * half_road
        if scene.chance(0.75)
        else rng.choice((-1, 1)) * (half_road + rng.uniform(0.5, 2.0))
    )
    yaw = rng.gauss(0, 0.1) if scene.chance(0.75) else rng.uniform(-1.2, 1.2)
    eye = rng.choice((rng.uniform(1.2, 1.9), 1.65, rng.uniform(0.8, 3.0)))
    scene.camera = Camera((x, eye, 0.0), yaw, rng.gauss(-0.03, 0.06), rng.gauss(0, 0.025), rng.uniform(50, 92))


def make_traffic(scene: Scene, *, lit: bool = False) -> None:
    """Drive among cars, lorries and buses, beside and before the camera, on a wide street.

    Args:
        scene: empty.
        lit: whether lights are on.
    """
    rng = scene.rng
    root = Frame(scene, (0.0, 0.0, 0.0))
    lanes = rng.randint(2, 6)
    lane_m = rng.uniform(2.9, 3.6)
    half_road = lanes * lane_m / 2
    _add_ground(root, half_road)
    for side in (-1, 1):
        _line_side(root, side, half_road)
    own = rng.randrange(lanes)
    _fill_lanes(root, lanes, lane_m, own, lit=lit)
    if scene.chance(0.3):
        _add_bridge(root)
    if scene.chance(0.3):
        _close_street(root, half_road)
    light_outdoors(scene)
    x = (own + 0.5) * lane_m - half_road + rng.gauss(0, 0.3)
    yaw = rng.gauss(0, 0.06) if scene.chance(0.8) else rng.uniform(-0.7, 0.7)
    eye = rng.choice((1.65, rng.uniform(1.2, 1.8), rng.uniform(1.1, 2.6)))
    scene.camera = Camera((x, eye, 0.0), yaw, rng.gauss(-0.03, 0.05), rng.gauss(0, 0.02), rng.uniform(55, 95))


def _add_ground(root: Frame, half_road: float) -> None:
    scene = root.scene
    rng = scene.rng
    asphalt = scene.material("ground", 0.12, 0.5, vivid=0.02, repeat_m=(2.0, 6.0))
    root.box((0, -0.5, 40), (half_road, 0.5, 140), asphalt)
    for side in (-1, 1):
        step = rng.uniform(0.0, 0.16)
        walk = scene.material(
            rng.choice(("tiles", "ground", "foliage", "bricks")), 0.2, 0.75, vivid=0.05, repeat_m=(1.0, 4.0)
        )
        root.box((side * (half_road + 40), -0.5 + step, 40), (40, 0.5, 140), walk)
        if scene.chance(0.4):  # a strip of green behind the walk
            green = scene.material("foliage", 0.2, 0.8, vivid=0.1, repeat_m=(1.0, 3.0))
            root.box((side * (half_road + 42.5), -0.49 + step, 40), (40, 0.5, 140), green)
    paint = Material((0.85, 0.85, 0.82))
    if scene.chance(0.75):
        for number in range(-2, 22):
            root.box((0, 0.0, number * 4.5), (0.07, 0.004, 1.2), paint)
    if scene.chance(0.4):
        for side in (-1, 1):
            root.box((side * (half_road - 0.3), 0.0, 40), (0.07, 0.004, 140), paint)
    if scene.chance(0.2):  # a crossing
        far = rng.uniform(6, 20)
        for number in range(-8, 9):
            if abs(number * 0.9) < half_road:
                root.box((number * 0.9, 0.0, far), (0.25, 0.004, 1.6), paint)


def _line_side(root: Frame, side: int, half_road: float) -> None:
    """Build what stands along one side: houses, walls, hedges, trees; then what is parked there."""
    scene = root.scene
    rng = scene.rng
    setback = rng.uniform(1.2, 9)
    z = rng.uniform(-14, 0)
    built = rng.choice((0.25, 0.6, 0.9))
    while z < _FAR_M:
        deep = rng.uniform(3, 13)
        x = side * (half_road + setback)
        if scene.chance(built):
            facing = Frame(scene, (x, 0.0, z + deep / 2), -side * math.pi / 2)
            add_house(facing, deep / 2, rng.uniform(3, 16))
        elif scene.chance(0.6):
            for _ in range(rng.randint(1, 3)):
                add_tree(root.inner(x + side * rng.uniform(-1, 6), 0, z + rng.uniform(0, deep)))
        elif scene.chance(0.6):
            add_bush(root.inner(x, 0, z + deep / 2), rng.uniform(0.6, 2.2))
        if scene.chance(0.3):
            add_fence(root.inner(x - side * 0.8, 0, z + deep / 2, math.pi / 2), deep)
        z += deep + (rng.uniform(0, 5) if scene.chance(0.4) else 0.05)
    _park_along(root, side, half_road)


def _park_along(root: Frame, side: int, half_road: float) -> None:
    """Put parked cars, posts, people and young trees along one side."""
    scene = root.scene
    rng = scene.rng
    parked = rng.choice((0.0, 0.3, 0.85))
    z = rng.uniform(2, 10)
    while z < 70:
        if scene.chance(parked):
            add_vehicle(root.inner(side * (half_road - 1.1), 0, z, rng.choice((0.0, math.pi)) + rng.gauss(0, 0.04)))
        z += rng.uniform(5.2, 8)
    for _ in range(rng.randint(0, 6)):
        add_lamp_post(
            root.inner(side * (half_road + rng.uniform(0.3, 1.0)), 0, rng.uniform(3, 60), rng.uniform(0, math.tau))
        )
    for _ in range(rng.randint(0, 4)):
        add_person(
            root.inner(side * (half_road + rng.uniform(0.3, 2)), 0, 2.5 * 14 ** rng.random(), rng.uniform(0, math.tau))
        )
    for _ in range(rng.randint(0, 3)):
        add_tree(root.inner(side * (half_road + rng.uniform(0.6, 2)), 0, rng.uniform(4, 50)))


def _add_traffic(root: Frame, half_road: float, queue: float) -> None:
    scene = root.scene
    rng = scene.rng
    if scene.chance(queue):
        _queue_up(root, half_road)
    for _ in range(rng.choice((0, 1, 2, 3, 5))):
        lane = rng.choice((-1, 1))
        yaw = math.pi if lane < 0 else 0.0
        z = 8.5 * 8 ** rng.random()
        add_vehicle(root.inner(lane * half_road * rng.uniform(0.3, 0.55), 0, z, yaw + rng.gauss(0, 0.05)))
    for _ in range(rng.choice((0, 0, 1, 2))):
        add_person(root.inner(rng.uniform(-1, 1) * half_road, 0, 4 * 8 ** rng.random(), rng.uniform(0, math.tau)))


def _queue_up(root: Frame, half_road: float) -> None:
    """Fill the lanes with vehicles that wait one behind the other; perhaps under a bridge."""
    scene = root.scene
    rng = scene.rng
    lanes = max(2, int(half_road / 1.7))
    for lane in range(lanes):
        x = ((lane + 0.5) / lanes * 2 - 1) * half_road * 0.92
        yaw = math.pi if x < 0 and scene.chance(0.5) else 0.0
        z = rng.uniform(6.5, 20)
        while z < rng.choice((25, 50, 80)):
            add_vehicle(root.inner(x + rng.uniform(-0.2, 0.2), 0, z, yaw + rng.gauss(0, 0.03)))
            z += rng.uniform(6.5, 13)
    if scene.chance(0.25):
        _add_bridge(root)


def _fill_lanes(root: Frame, lanes: int, lane_m: float, own: int, *, lit: bool) -> None:
    """Put cars, lorries and buses into lanes, with room for the camera in its own; some lanes come towards it."""
    scene = root.scene
    rng = scene.rng
    full = rng.choice((0.15, 0.5, 0.85))
    heavy = rng.choice((0.1, 0.3, 0.6))
    oncoming = rng.randrange(lanes + 1)
    for lane in range(lanes):
        x = (lane + 0.5 - lanes / 2) * lane_m
        rear = rng.uniform(4.5, 14) if lane == own else rng.uniform(-5, 8)
        turn = math.pi if lane < oncoming and lane != own else 0.0
        while rear < 75:
            long = 5.5
            if scene.chance(full):
                add, half = (
                    (rng.choice((add_lorry, add_lorry, add_bus)), 3.5) if scene.chance(heavy) else (add_car, 2.0)
                )
                add(root.inner(x + rng.gauss(0, 0.15), 0, rear + half, turn + rng.gauss(0, 0.02)), lit=lit)
                long = 5.5 if add is add_car else 14.0
            rear += long + rng.uniform(0.5, 6)


def _add_bridge(root: Frame) -> None:
    """Lead a bridge across the street."""
    scene = root.scene
    rng = scene.rng
    concrete = scene.material("plaster", 0.25, 0.75, vivid=0.03, repeat_m=(2.0, 6.0))
    place = (0, rng.uniform(5.2, 6.5), rng.uniform(18, 60))
    root.box(place, (40, rng.uniform(0.4, 0.8), rng.uniform(2, 6)), concrete)


def _close_street(root: Frame, half_road: float) -> None:
    """End the street at houses or trees."""
    scene = root.scene
    rng = scene.rng
    far = rng.uniform(25, 100)
    for number in range(-2, 3):
        spot = root.inner(number * half_road * 0.9, 0, far, math.pi)
        if scene.chance(0.6):
            add_house(spot, half_road * 0.5, rng.uniform(4, 18))
        else:
            add_tree(spot)


def _hang_wires(root: Frame, half_road: float) -> None:
    rng = root.scene.rng
    black = Material((0.05, 0.05, 0.05))
    for _ in range(rng.randint(1, 4)):
        y, x = rng.uniform(5, 8), rng.uniform(-1, 1) * half_road
        root.bar((x, y, -5), (x + rng.uniform(-2, 2), y, 60), 0.02, black)
