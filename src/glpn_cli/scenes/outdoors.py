"""Streets, yards and parks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from glpn_cli.scenes.figures import add_bush, add_lamp_post, add_person, add_tree
from glpn_cli.scenes.scene import Camera, Frame, Light, Material, Sky
from glpn_cli.scenes.vehicles import add_bus, add_car, add_lorry, add_vehicle

if TYPE_CHECKING:
    from glpn_cli.scenes.scene import Scene

__all__ = ["light_outdoors", "make_evening", "make_jam", "make_park", "make_square", "make_street", "make_traffic"]

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
    full = rng.choice((0.15, 0.5, 0.85))
    heavy = rng.choice((0.1, 0.3, 0.6))
    oncoming = rng.randrange(lanes + 1)
    for lane in range(lanes):
        x = (lane + 0.5) * lane_m - half_road
        z = rng.uniform(4.5, 14) if lane == own else rng.uniform(-5, 8)
        while z < 75:
            yaw = (math.pi if lane < oncoming and lane != own else 0.0) + rng.gauss(0, 0.02)
            room = 5.5
            if scene.chance(full):
                spot = root.inner(x + rng.gauss(0, 0.15), 0, z, yaw)
                if scene.chance(heavy):
                    rng.choice((add_lorry, add_lorry, add_bus))(spot.inner(0, 0, 3.5 if yaw < 1 else -3.5), lit=lit)
                    room = 14.0
                else:
                    add_car(spot.inner(0, 0, 2.0 if yaw < 1 else -2.0), lit=lit)
            z += room + rng.uniform(0.5, 6)
    if scene.chance(0.3):
        concrete = scene.material("plaster", 0.25, 0.75, vivid=0.03, repeat_m=(2.0, 6.0))
        place = (0, rng.uniform(5.2, 7.5), rng.uniform(18, 70))
        root.box(place, (45, rng.uniform(0.4, 0.8), rng.uniform(2, 6)), concrete)
    if scene.chance(0.3):
        _close_street(root, half_road)
    light_outdoors(scene)
    x = (own + 0.5) * lane_m - half_road + rng.gauss(0, 0.3)
    yaw = rng.gauss(0, 0.06) if scene.chance(0.8) else rng.uniform(-0.7, 0.7)
    eye = rng.choice((1.65, rng.uniform(1.2, 1.8), rng.uniform(1.1, 2.6)))
    scene.camera = Camera((x, eye, 0.0), yaw, rng.gauss(-0.03, 0.05), rng.gauss(0, 0.02), rng.uniform(55, 95))


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
        _add_building(facing, rng.uniform(5, 22), rng.uniform(4, 18))
    if scene.chance(0.4):
        _add_hills(root)
    for _ in range(rng.randint(0, 7)):
        add_tree(_somewhere(root, 4, 40))
    for _ in range(rng.randint(0, 4)):
        add_bush(_somewhere(root, 2, 25), rng.uniform(0.4, 1.5))
    for _ in range(rng.randint(0, 7)):
        add_person(_somewhere(root, 1.8, 30))
    for _ in range(rng.randint(0, 4)):
        add_lamp_post(_somewhere(root, 3, 25))
    for _ in range(rng.randint(0, 3)):
        add_car(_somewhere(root, 4, 25))
    for _ in range(rng.randint(0, 3)):
        _add_bench(_somewhere(root, 2, 14))
    if scene.chance(0.5):
        _add_fence(_somewhere(root, 3, 20), rng.uniform(4, 20))
    light_outdoors(scene)
    eye = rng.choice((rng.uniform(0.4, 1.2), rng.uniform(1.3, 1.8), rng.uniform(1.4, 1.8), rng.uniform(2, 6)))
    scene.camera = Camera(
        (0.0, eye, 0.0), rng.gauss(0, 0.2), rng.gauss(0.02, 0.12), rng.gauss(0, 0.04), rng.uniform(45, 88)
    )


def _add_hills(root: Frame) -> None:
    """Put hills far behind everything."""
    scene = root.scene
    rng = scene.rng
    for _ in range(rng.randint(1, 4)):
        green = scene.material(rng.choice(("foliage", "ground")), 0.2, 0.7, vivid=0.1, repeat_m=(6.0, 20.0))
        size = rng.uniform(40, 160)
        place = (rng.uniform(-250, 250), -size * 0.1, rng.uniform(200, 500))
        root.ball(place, (size * 1.8, size * rng.uniform(0.4, 0.9), size), green)


def _add_building(front: Frame, half_width: float, height: float) -> None:
    """Build a large house whose front has windows in relief, and perhaps columns, steps, a way through."""
    scene = front.scene
    rng = scene.rng
    wall = scene.material(rng.choice(("plaster", "bricks", "plain", "tiles")), 0.25, 0.95, vivid=0.08, repeat_m=(1, 4))
    trim = scene.material("plaster", 0.3, 0.97, vivid=0.05)
    deep = rng.uniform(5, 10)
    front.box((0, height / 2, -deep), (half_width, height / 2, deep), wall)
    front.box((0, height, -deep), (half_width + 0.4, 0.2, deep + 0.4), trim)
    glass = Material(scene.colour(0.04, 0.35, vivid=0.06), glow=rng.choice((0.0, 0.0, 0.3)))
    storey_m, column_m = rng.uniform(2.9, 4.2), rng.uniform(2.0, 4.0)
    for storey in range(min(5, int(height / storey_m))):
        for column in range(min(12, int(half_width * 2 / column_m))):
            x, y = (column + 0.5) * column_m - half_width, storey * storey_m + storey_m * 0.55
            front.box((x, y, 0), (column_m * 0.28, storey_m * 0.32, 0.1), trim)
            front.box((x, y, 0.02), (column_m * 0.23, storey_m * 0.28, 0.1), glass)
    if scene.chance(0.4):  # columns before it, under a roof
        out, tall = rng.uniform(1.2, 3.0), rng.uniform(2.6, min(7.0, height))
        for number in range(min(14, int(half_width / 1.3))):
            front.rod((-half_width + 0.5 + 2.6 * number, 0, out), rng.uniform(0.15, 0.4), tall, trim)
        front.box((0, tall + 0.2, out / 2), (half_width, 0.2, out / 2 + 0.4), trim)
    if scene.chance(0.4):
        reach = rng.uniform(1.5, half_width)
        for number in range(rng.randint(2, 6)):
            front.box((0, 0.08 + 0.16 * number, 1.6 - 0.3 * number), (reach, 0.08, 0.5), trim)
    front.box((rng.uniform(-0.6, 0.6) * half_width, 1.2, 0), (0.7, 1.2, 0.1), scene.material("wood", 0.05, 0.6))


def make_park(scene: Scene) -> None:
    """Stand on a meadow, a yard or a square, among trees, people, walls and houses."""
    rng = scene.rng
    root = Frame(scene, (0.0, 0.0, 0.0))
    family = rng.choice(("foliage", "ground", "tiles", "ground"))
    root.box((0, -0.5, 0), (160, 0.5, 160), scene.material(family, 0.15, 0.8, vivid=0.1, repeat_m=(0.8, 4.0)))
    if scene.chance(0.5):  # a path
        path = scene.material(rng.choice(("ground", "tiles", "bricks")), 0.3, 0.8, vivid=0.08)
        root.box((rng.uniform(-2, 2), -0.49, 40), (rng.uniform(0.6, 2.5), 0.5, 60), path, yaw=rng.uniform(-0.3, 0.3))
    for _ in range(rng.randint(2, 14)):
        add_tree(_somewhere(root, 3, 60))
    for _ in range(rng.randint(0, 8)):
        add_bush(_somewhere(root, 2, 40), rng.uniform(0.4, 1.8))
    for _ in range(rng.randint(0, 5)):
        add_person(_somewhere(root, 1.5, 20))
    for _ in range(rng.randint(0, 3)):
        add_lamp_post(_somewhere(root, 3, 25))
    for _ in range(rng.randint(0, 3)):
        _add_house(_somewhere(root, 10, 70), rng.uniform(3, 10), rng.uniform(4, 9))
    if scene.chance(0.5):
        _add_fence(_somewhere(root, 3, 20), rng.uniform(4, 20))
    for _ in range(rng.randint(0, 3)):
        _add_bench(_somewhere(root, 1.5, 12))
    for _ in range(rng.randint(0, 2)):
        add_vehicle(_somewhere(root, 5, 30))
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


def _somewhere(root: Frame, near: float, far: float) -> Frame:
    """Give a place that the camera at the origin may see; nearer ones are more likely."""
    rng = root.scene.rng
    distance = near * (far / near) ** rng.random()
    turn = rng.uniform(-0.8, 0.8)
    return root.inner(distance * math.sin(turn), 0, distance * math.cos(turn), rng.uniform(0, math.tau))


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
            _add_house(facing, deep / 2, rng.uniform(3, 16))
        elif scene.chance(0.6):
            for _ in range(rng.randint(1, 3)):
                add_tree(root.inner(x + side * rng.uniform(-1, 6), 0, z + rng.uniform(0, deep)))
        elif scene.chance(0.6):
            add_bush(root.inner(x, 0, z + deep / 2), rng.uniform(0.6, 2.2))
        if scene.chance(0.3):
            _add_fence(root.inner(x - side * 0.8, 0, z + deep / 2, math.pi / 2), deep)
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


def _add_house(front: Frame, half_width: float, height: float) -> None:
    """Build a house whose front is at the frame's origin and looks ahead; near ones get windows and doors."""
    scene = front.scene
    rng = scene.rng
    deep = rng.uniform(3, 7)
    near = math.hypot(front.origin[0], front.origin[2]) < 35
    family = rng.choice(("plaster", "bricks", "plain")) if near else rng.choice(("facade", "plaster", "bricks"))
    wall = scene.material(family, 0.2, 0.95, vivid=0.15, repeat_m=(3.0, 8.0) if family == "facade" else (1.0, 3.0))
    front.box((0, height / 2, -deep), (half_width, height / 2, deep), wall)
    if scene.chance(0.5):
        roof = scene.material(rng.choice(("tiles", "bricks", "plain")), 0.1, 0.6, vivid=0.2)
        slope = rng.uniform(0.35, 0.8)
        for way in (-1, 1):
            front.box(
                (0, height + deep * 0.5 * math.tan(slope), -deep + way * deep * 0.5),
                (half_width + 0.3, 0.12, deep * 0.62 / math.cos(slope)),
                roof,
                pitch=-way * slope,
            )
    if not near:
        return
    glass = Material(scene.colour(0.05, 0.4, vivid=0.08), glow=rng.choice((0.0, 0.0, 0.5)))
    frame_paint = scene.material("plain", 0.3, 0.97, vivid=0.08)
    storeys, columns = max(1, min(4, int(height / 3))), max(1, min(4, int(half_width * 2 / 2.4)))
    depth = rng.choice((-0.03, 0.04))
    for storey in range(storeys):
        for column in range(columns):
            x, y = (column + 0.5) / columns * 2 * half_width - half_width, 1.6 + storey * 3.0
            if storey == 0 and scene.chance(0.25):
                front.box((x, 1.05, 0), (0.5, 1.05, 0.06), scene.material("wood", 0.1, 0.8))
                continue
            front.box((x, y, 0), (0.58, 0.78, 0.05), frame_paint)
            front.box((x, y, 0.03), (0.5, 0.7, 0.03 + abs(depth)), glass)
    if scene.chance(0.2):  # an awning or a balcony
        front.box(
            (0, 2.8, 0.6), (half_width * 0.8, 0.04, 0.6), scene.material("fabric", 0.2, 0.95, vivid=0.5), pitch=-0.25
        )


def _add_fence(frame: Frame, length: float) -> None:
    scene = frame.scene
    rng = scene.rng
    height = rng.uniform(0.6, 2.0)
    style = rng.random()
    if style < 0.35:
        look = scene.material(rng.choice(("bricks", "plaster")), 0.2, 0.9, vivid=0.1)
        frame.box((0, height / 2, 0), (length / 2, height / 2, 0.12), look)
    elif style < 0.6:
        leaves = scene.material("foliage", 0.3, 0.9, vivid=0.1, repeat_m=(0.5, 1.5))
        frame.box((0, height / 2, 0), (length / 2, height / 2, 0.4), leaves)
    else:
        look = scene.material(rng.choice(("wood", "plain")), 0.05, 0.9, vivid=0.1)
        count = min(24, int(length / rng.uniform(0.25, 1.2)) + 2)
        for number in range(count):
            frame.rod((-length / 2 + length * number / (count - 1), 0, 0), rng.uniform(0.015, 0.04), height, look)
        for y in (0.3, 0.95):
            frame.box((0, height * y, 0), (length / 2, 0.03, 0.02), look)


def _add_bench(frame: Frame) -> None:
    scene = frame.scene
    wood = scene.material("wood", 0.15, 0.7)
    for number in range(3):
        frame.box((0, 0.45, -0.16 + 0.16 * number), (0.8, 0.02, 0.06), wood)
        frame.box((0, 0.6 + 0.13 * number, -0.25), (0.8, 0.05, 0.02), wood)
    for side in (-1, 1):
        frame.box((side * 0.65, 0.22, 0), (0.04, 0.22, 0.2), scene.material("plain", 0.05, 0.5))
    if scene.chance(0.4):
        add_person(frame, seated=True)


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
            _add_house(spot, half_road * 0.5, rng.uniform(4, 18))
        else:
            add_tree(spot)


def _hang_wires(root: Frame, half_road: float) -> None:
    rng = root.scene.rng
    black = Material((0.05, 0.05, 0.05))
    for _ in range(rng.randint(1, 4)):
        y, x = rng.uniform(5, 8), rng.uniform(-1, 1) * half_road
        root.bar((x, y, -5), (x + rng.uniform(-2, 2), y, 60), 0.02, black)


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
    grey = rng.uniform(0.75, 1.15)
    blue = 1 - overcast
    scene.sky = Sky(
        (grey * (1 - 0.6 * blue), grey * (1 - 0.4 * blue), grey),
        (grey * (1 - 0.2 * blue), grey * (1 - 0.1 * blue), grey),
        clouds=rng.uniform(0, 0.9),
        haze_m=rng.choice((math.inf, rng.uniform(60, 500), rng.uniform(200, 1500))),
        texture=scene.atlas.pick(rng, "clouds"),
    )
    scene.exposure, scene.gamma = rng.uniform(0.22, 0.45), rng.uniform(1.6, 2.3)
    scene.saturation = rng.uniform(0.5, 1.05)


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
