"""Scenes outdoors: streets, traffic, parks, squares and evenings, with the light of day and dusk."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scenes.objects import (
    add_bench,
    add_building,
    add_bush,
    add_fence,
    add_house,
    add_lamp_post,
    add_person,
    add_tree,
)
from scenes.scene import Camera, Frame, Light, Material, Sky
from scenes.vehicles import add_bus, add_car, add_truck, add_vehicle

if TYPE_CHECKING:
    from collections.abc import Callable

    from scenes.scene import Scene


_FAR_M = 110.0


def make_street(scene: Scene, *, queue: float = 0.22) -> None:
    """Build a street with houses, trees, parked cars and traffic; the camera is on the road or beside it.

    Args:
        scene: an empty scene.
        queue: probability that its lanes are full.
    """
    rng = scene.rng
    root = Frame(scene, (0.0, 0.0, 0.0))
    half_road = rng.uniform(2.6, 8.0)
    _add_ground(root, half_road)
    for side in (-1, 1):
        _build_side(root, side, half_road)
    _add_traffic(root, half_road, queue)
    if scene.chance(0.35):
        _close_street(root, half_road)
    if scene.chance(0.2):
        _add_wires(root, half_road)
    light_outdoors(scene)
    x = (
        rng.uniform(-0.6, 0.6) * half_road
        if scene.chance(0.75)
        else rng.choice((-1, 1)) * (half_road + rng.uniform(0.5, 2.0))
    )
    yaw = rng.gauss(0, 0.1) if scene.chance(0.75) else rng.uniform(-1.2, 1.2)
    eye = rng.choice((rng.uniform(1.2, 1.9), 1.65, rng.uniform(0.8, 3.0)))
    scene.camera = Camera((x, eye, 0.0), yaw, rng.gauss(-0.03, 0.06), rng.gauss(0, 0.025), rng.uniform(50, 92))


def make_jam(scene: Scene) -> None:
    """Build a street with a traffic jam; the camera is in it."""
    make_street(scene, queue=1.0)


def make_traffic(scene: Scene, *, lit: bool = False) -> None:
    """Build a wide street with cars, trucks and buses in front of the camera and next to it.

    Args:
        scene: an empty scene.
        lit: whether the lights of the vehicles are on.
    """
    rng = scene.rng
    root = Frame(scene, (0.0, 0.0, 0.0))
    lanes = rng.randint(2, 6)
    lane_m = rng.uniform(2.9, 3.6)
    half_road = lanes * lane_m / 2
    _add_ground(root, half_road)
    for side in (-1, 1):
        _build_side(root, side, half_road)
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


def make_park(scene: Scene) -> None:
    """Build a meadow, yard or square with trees, people, walls and houses."""
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
        add_fence(_random_frame(root, 3, 20), rng.uniform(4, 20))
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
    """Build a square or court with large buildings that have columns and steps."""
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
        add_fence(_random_frame(root, 3, 20), rng.uniform(4, 20))
    light_outdoors(scene)
    eye = rng.choice((rng.uniform(0.4, 1.2), rng.uniform(1.3, 1.8), rng.uniform(1.4, 1.8), rng.uniform(2, 6)))
    scene.camera = Camera(
        (0.0, eye, 0.0), rng.gauss(0, 0.2), rng.gauss(0.02, 0.12), rng.gauss(0, 0.04), rng.uniform(45, 88)
    )


def make_evening(scene: Scene) -> None:
    """Build an outdoor scene at dusk or night."""
    rng = scene.rng
    style = rng.random()
    if style < 0.4:
        make_traffic(scene, lit=True)
    elif style < 0.6:
        make_street(scene)
    else:
        (make_park if scene.chance(0.5) else make_square)(scene)
    _light_evening(scene)


def light_outdoors(scene: Scene) -> None:
    """Set daylight: sun, clouds, sky and haze, and the exposure of the camera."""
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


def _light_evening(scene: Scene) -> None:
    """Replace daylight by lamps and a dark sky, which may glow at the horizon."""
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
        if scene.chance(0.4):  # a green strip behind the sidewalk
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


def _build_side(root: Frame, side: int, half_road: float) -> None:
    """Build one side of a street: houses, walls, hedges and trees, then parked cars."""
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
    _add_parked(root, side, half_road)


def _add_parked(root: Frame, side: int, half_road: float) -> None:
    """Add parked cars, poles, people and trees along one side."""
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
        _add_queue(root, half_road)
    for _ in range(rng.choice((0, 1, 2, 3, 5))):
        lane = rng.choice((-1, 1))
        yaw = math.pi if lane < 0 else 0.0
        z = 8.5 * 8 ** rng.random()
        add_vehicle(root.inner(lane * half_road * rng.uniform(0.3, 0.55), 0, z, yaw + rng.gauss(0, 0.05)))
    for _ in range(rng.choice((0, 0, 1, 2))):
        add_person(root.inner(rng.uniform(-1, 1) * half_road, 0, 4 * 8 ** rng.random(), rng.uniform(0, math.tau)))


def _add_queue(root: Frame, half_road: float) -> None:
    """Fill the lanes with queues of vehicles; sometimes add a bridge."""
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
    """Fill lanes with cars, trucks and buses; lane `own` has room for the camera, and some lanes are oncoming."""
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
                    (rng.choice((add_truck, add_truck, add_bus)), 3.5) if scene.chance(heavy) else (add_car, 2.0)
                )
                add(root.inner(x + rng.gauss(0, 0.15), 0, rear + half, turn + rng.gauss(0, 0.02)), lit=lit)
                long = 5.5 if add is add_car else 14.0
            rear += long + rng.uniform(0.5, 6)


def _add_bridge(root: Frame) -> None:
    """Add a bridge across the street."""
    scene = root.scene
    rng = scene.rng
    concrete = scene.material("plaster", 0.25, 0.75, vivid=0.03, repeat_m=(2.0, 6.0))
    place = (0, rng.uniform(5.2, 6.5), rng.uniform(18, 60))
    root.box(place, (40, rng.uniform(0.4, 0.8), rng.uniform(2, 6)), concrete)


def _close_street(root: Frame, half_road: float) -> None:
    """Close the end of the street with houses or trees."""
    scene = root.scene
    rng = scene.rng
    far = rng.uniform(25, 100)
    for number in range(-2, 3):
        spot = root.inner(number * half_road * 0.9, 0, far, math.pi)
        if scene.chance(0.6):
            add_house(spot, half_road * 0.5, rng.uniform(4, 18))
        else:
            add_tree(spot)


def _add_wires(root: Frame, half_road: float) -> None:
    rng = root.scene.rng
    black = Material((0.05, 0.05, 0.05))
    for _ in range(rng.randint(1, 4)):
        y, x = rng.uniform(5, 8), rng.uniform(-1, 1) * half_road
        root.bar((x, y, -5), (x + rng.uniform(-2, 2), y, 60), 0.02, black)


def _scatter(root: Frame, count: int, add: Callable[[Frame], None], near_m: float, far_m: float) -> None:
    """Call `add` with `count` random positions in front of the camera."""
    for _ in range(count):
        add(_random_frame(root, near_m, far_m))


def _random_frame(root: Frame, near: float, far: float) -> Frame:
    """Return a random frame in front of a camera at the origin; near ones are more likely."""
    rng = root.scene.rng
    distance = near * (far / near) ** rng.random()
    turn = rng.uniform(-0.8, 0.8)
    return root.inner(distance * math.sin(turn), 0, distance * math.cos(turn), rng.uniform(0, math.tau))


def _add_hills(root: Frame) -> None:
    """Add hills in the far distance."""
    scene = root.scene
    rng = scene.rng
    for _ in range(rng.randint(1, 4)):
        green = scene.material(rng.choice(("foliage", "ground")), 0.2, 0.7, vivid=0.1, repeat_m=(6.0, 20.0))
        size = rng.uniform(40, 160)
        place = (rng.uniform(-250, 250), -size * 0.1, rng.uniform(200, 500))
        root.ball(place, (size * 1.8, size * rng.uniform(0.4, 0.9), size), green)
