"""Scenes indoors: rooms, halls and corridors, meals at a table, and close-ups of tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scenes.furniture import add_clutter, add_counter, add_dining_table, add_furniture
from scenes.objects import add_tree
from scenes.scene import Camera, Frame, Light, Material, Sky, SolidKind

if TYPE_CHECKING:
    from scenes.scene import Scene


_THICK_M = 0.12


def make_room(scene: Scene) -> None:
    """Build a furnished room, hall or corridor; the camera is in it."""
    rng = scene.rng
    style = rng.random()
    if style < 0.12:  # a corridor
        width, length, height = rng.uniform(1.3, 2.6), rng.uniform(6, 22), rng.uniform(2.2, 3.0)
    elif style < 0.28:  # a hall
        width, length, height = rng.uniform(6, 16), rng.uniform(8, 22), rng.uniform(2.8, 6.0)
    else:
        width, length, height = rng.uniform(2.3, 6.5), rng.uniform(2.6, 8.0), rng.uniform(2.2, 3.4)
    add_shell(scene, width, length, height)
    count = rng.randint(0, 4) if width < 2.7 else rng.randint(5, 18)
    for _ in range(count):
        furnish(scene, width, length)
    light_room(scene, width, length, height)
    _place_camera(scene, width, length, height)


def make_meal(scene: Scene) -> None:
    """Build a room with a table and chairs, seen by a person at the table, and furniture along the walls."""
    rng = scene.rng
    width, length, height = rng.uniform(2.6, 6.0), rng.uniform(3.0, 7.0), rng.uniform(2.3, 3.0)
    add_shell(scene, width, length, height)
    for number in range(4):
        across, away = (width, length) if number % 2 == 0 else (length, width)
        turn = number * math.pi / 2
        wall = Frame(scene, (math.sin(turn) * away / 2, 0.0, math.cos(turn) * away / 2), turn + math.pi)
        if scene.chance(0.55 if number == 0 else 0.35):
            add_counter(wall.inner(rng.uniform(-0.15, 0.15) * across, 0, 0.3), rng.uniform(0.25, 0.5) * across, height)
    for _ in range(rng.randint(0, 6)):
        furnish(scene, width, length)
    table = Frame(
        scene, (rng.uniform(-0.15, 0.15) * width, 0.0, rng.uniform(-0.15, 0.1) * length), rng.uniform(-0.5, 0.5)
    )
    wide, deep = rng.uniform(0.4, min(1.1, width / 3)), rng.uniform(0.3, 0.55)
    level = add_dining_table(table, wide, deep)
    light_room(scene, width, length, height)
    # The camera is at a side of the table; the near edge is below it or just in front.
    turn = rng.choice((0.0, 0.0, math.pi, math.pi / 2, -math.pi / 2)) + rng.uniform(-0.6, 0.6)
    away = (deep if abs(math.sin(turn)) < 0.7 else wide) + rng.uniform(-0.25, 0.9)
    x = max(-width / 2 + 0.2, min(width / 2 - 0.2, table.origin[0] - away * math.sin(turn)))
    z = max(-length / 2 + 0.2, min(length / 2 - 0.2, table.origin[2] - away * math.cos(turn)))
    eye = min(height - 0.3, level + rng.choice((rng.uniform(0.3, 0.6), rng.uniform(0.5, 1.0))))
    roll = rng.gauss(0, 0.05) if scene.chance(0.7) else rng.gauss(0, 0.25)
    scene.camera = Camera((x, eye, z), turn + rng.gauss(0, 0.3), rng.uniform(-0.85, 0.05), roll, rng.uniform(45, 78))


def make_tabletop(scene: Scene) -> None:
    """Build a close-up of objects on a table or on the floor."""
    rng = scene.rng
    on_floor = scene.chance(0.2)
    level = 0.0 if on_floor else rng.uniform(0.6, 0.9)
    root = Frame(scene, (0.0, 0.0, 0.0))
    root.box(
        (0, -0.05, 0),
        (6, 0.05, 6),
        scene.material(rng.choice(("wood", "tiles", "fabric", "plain")), 0.1, 0.9, vivid=0.12),
    )
    wide, deep = rng.uniform(0.5, 1.4), rng.uniform(0.35, 0.9)
    table = Frame(scene, (0.0, level, 0.0), rng.uniform(-0.8, 0.8))
    if not on_floor:
        table.box(
            (0, -0.02, 0),
            (wide, 0.02, deep),
            scene.material(rng.choice(("wood", "plain", "fabric", "plaster")), 0.1, 0.97, vivid=0.2),
        )
        for x in (-0.9, 0.9):
            for z in (-0.9, 0.9):
                table.rod((x * wide, -level, z * deep), 0.03, level - 0.02, scene.material("plain", 0.05, 0.8))
    add_clutter(table, wide * 0.8, deep * 0.8, rng.randint(4, 18))
    paint = scene.material(rng.choice(("plain", "plaster", "bricks")), 0.3, 0.97, vivid=0.15)
    back = rng.uniform(0.8, 4.0)
    root.box((0, 1.4, back), (6, 1.5, 0.05), paint, yaw=rng.uniform(-0.3, 0.3))
    for side in (-1, 1):
        if scene.chance(0.4):
            root.box((side * rng.uniform(1.3, 3.5), 1.4, 0), (0.05, 1.5, 5), paint, yaw=rng.uniform(-0.2, 0.2))
    for _ in range(rng.randint(0, 7)):
        spot = (rng.uniform(-2.5, 2.5), 0.0, rng.uniform(1.0, max(1.1, back - 0.4)))
        add_furniture(Frame(scene, spot, rng.uniform(0, math.tau)), 0.8)
    light_room(scene, 4, 4, 2.6)
    far, pitch, yaw = rng.uniform(0.35, 1.5), rng.uniform(-1.3, -0.1), rng.uniform(-0.6, 0.6)
    place = (
        -far * math.cos(pitch) * math.sin(yaw),
        level + 0.06 - far * math.sin(pitch),
        -far * math.cos(pitch) * math.cos(yaw),
    )
    scene.camera = Camera(
        place, yaw + rng.gauss(0, 0.12), pitch + rng.gauss(0.04, 0.1), rng.gauss(0, 0.08), rng.uniform(42, 75)
    )


def add_shell(scene: Scene, width: float, length: float, height: float) -> None:
    """Build floor, ceiling and walls of a room around the origin, with objects on the walls; sizes in meters."""
    rng = scene.rng
    root = Frame(scene, (0.0, 0.0, 0.0))
    vivid = rng.choice((0.03, 0.05, 0.15))  # most rooms are white, gray or beige
    floor = scene.material(
        rng.choice(("wood", "wood", "tiles", "fabric", "ground", "plaster", "plain")), 0.1, 0.8, vivid=vivid
    )
    ceiling = scene.material(rng.choice(("plaster", "plain", "tiles")), 0.55, 0.97, vivid=0.04)
    root.box((0, -_THICK_M, 0), (width / 2 + 1, _THICK_M, length / 2 + 1), floor)
    root.box((0, height + _THICK_M, 0), (width / 2 + 1, _THICK_M, length / 2 + 1), ceiling)
    paint = scene.material(rng.choice(("plain", "plaster", "plaster", "bricks", "tiles")), 0.35, 0.97, vivid=vivid)
    for number in range(4):
        turn = number * math.pi / 2
        across, away = (width, length) if number % 2 == 0 else (length, width)
        wall = Frame(scene, (math.sin(turn) * away / 2, 0.0, math.cos(turn) * away / 2), turn)
        _add_wall(wall, across, height, paint if scene.chance(0.85) else scene.material("any", 0.2, 0.95))
    if scene.chance(0.5):
        _add_ceiling_lamps(root, width, length, height)


def furnish(scene: Scene, width: float, length: float) -> None:
    """Add a piece of furniture to a room of the given size, usually with its back to a wall."""
    rng = scene.rng
    if scene.chance(0.7):  # with its back to a wall
        number = rng.randrange(4)
        across, away = (width, length) if number % 2 == 0 else (length, width)
        turn = number * math.pi / 2
        gap = rng.uniform(0.3, 0.5)
        wall = Frame(scene, (math.sin(turn) * (away / 2 - gap), 0.0, math.cos(turn) * (away / 2 - gap)), turn + math.pi)
        add_furniture(wall.inner(rng.uniform(-0.45, 0.45) * across, 0, 0), min(1.2, across / 4))
    else:
        spot = (rng.uniform(-0.42, 0.42) * width, 0.0, rng.uniform(-0.42, 0.42) * length)
        add_furniture(Frame(scene, spot, rng.uniform(0, math.tau)), min(1.1, width / 4))


def light_room(scene: Scene, width: float, length: float, height: float) -> None:
    """Set lamps and ambient light of a room, and the exposure of the camera."""
    rng = scene.rng
    warm = rng.uniform(0.7, 1.0)
    shade = rng.choice((rng.uniform(0.12, 0.45), rng.uniform(0.3, 0.8)))
    scene.ambient = (shade, shade * (0.5 + 0.5 * warm), shade * warm)
    scene.lights = [
        Light(
            (rng.uniform(-0.4, 0.4) * width, height * rng.uniform(0.75, 0.97), rng.uniform(-0.4, 0.4) * length),
            (strength, strength * (0.6 + 0.4 * warm), strength * warm),
            rng.uniform(2, 8),
        )
        for strength in (rng.uniform(0.5, 2.0) for _ in range(rng.randint(1, 3)))
    ]
    bright = rng.uniform(1.0, 3.0)
    scene.sky = Sky((0.5 * bright, 0.7 * bright, bright), (0.9 * bright, 0.95 * bright, bright))
    scene.exposure, scene.gamma = rng.uniform(0.16, 0.42), rng.uniform(1.6, 2.3)
    scene.saturation = rng.uniform(0.4, 1.0)


def _place_camera(scene: Scene, width: float, length: float, height: float) -> None:
    """Set a random camera, which usually faces the larger part of the room."""
    rng = scene.rng
    eye = min(
        height - 0.2,
        rng.choice((rng.uniform(0.15, 0.6), rng.uniform(0.7, 1.3), rng.uniform(1.2, 1.75), rng.uniform(1.3, 1.9))),
    )
    x, z = rng.uniform(-0.42, 0.42) * width, rng.uniform(-0.45, 0.45) * length
    aim_x, aim_z = rng.uniform(-0.4, 0.4) * width, rng.uniform(-0.4, 0.4) * length
    if math.hypot(aim_x - x, aim_z - z) < 0.35 * min(width, length):
        aim_x, aim_z = -x, -z
    yaw = math.atan2(aim_x - x, aim_z - z) + rng.gauss(0, 0.25)
    pitch = rng.gauss(-0.14 if eye > 0.8 else -0.02, 0.2)
    roll = rng.gauss(0, 0.04) if scene.chance(0.75) else rng.gauss(0, 0.3)
    scene.camera = Camera((x, eye, z), yaw, max(-1.3, min(0.9, pitch)), roll, rng.uniform(48, 86))


def _add_wall(wall: Frame, across: float, height: float, paint: Material) -> None:
    """Add a wall through the origin, sometimes with a window; the room is on the side of negative z."""
    scene = wall.scene
    rng = scene.rng
    if scene.chance(0.3) and across > 1.8:
        half, low = rng.uniform(0.35, min(1.6, across * 0.4)), rng.choice((0.05, rng.uniform(0.6, 1.1)))
        high = min(height - 0.1, low + rng.uniform(0.8, 1.8))
        middle = rng.uniform(-1, 1) * (across / 2 - half)
        left, right = (middle - half + across / 2) / 2, (across / 2 - middle - half) / 2
        wall.box((-across / 2 + left, height / 2, _THICK_M), (left + 1e-3, height / 2, _THICK_M), paint)
        wall.box((across / 2 - right, height / 2, _THICK_M), (right + 1e-3, height / 2, _THICK_M), paint)
        wall.box((middle, low / 2, _THICK_M), (half, low / 2, _THICK_M), paint)
        wall.box((middle, (high + height) / 2, _THICK_M), (half, (height - high) / 2, _THICK_M), paint)
        _add_window(wall.inner(middle, low, 0), half, high - low)
    else:
        wall.box((0, height / 2, _THICK_M), (across / 2 + _THICK_M, height / 2, _THICK_M), paint)
    if scene.chance(0.5):
        skirting = scene.material("plain", 0.2, 0.97, vivid=0.05)
        wall.box((0, 0.04, -0.005), (across / 2, rng.uniform(0.03, 0.07), 0.01), skirting)
    for _ in range(rng.randint(0, 6)):
        _add_wall_object(wall.inner(rng.uniform(-0.45, 0.45) * across, 0, 0), height)


def _add_window(frame: Frame, half: float, height: float) -> None:
    """Add a window frame, sometimes curtains, and bright objects outside."""
    scene = frame.scene
    rng = scene.rng
    wood = scene.material("plain", 0.1, 0.97, vivid=0.08)
    for x in (-half, half, *((0.0,) if scene.chance(0.6) else ())):
        frame.box((x, height / 2, 0.05), (0.03, height / 2, 0.03), wood)
    for y in (0.0, height, *((height / 2,) if scene.chance(0.3) else ())):
        frame.box((0, y, 0.05), (half, 0.03, 0.03), wood)
    if scene.chance(0.4):
        cloth = scene.material("fabric", 0.3, 0.95, repeat_m=(0.3, 1.0))
        for side in (-1, 1):
            for fold in range(rng.randint(2, 6)):
                frame.rod((side * (half - 0.07 * fold), -0.2, -0.1), 0.045, height + 0.4, cloth)
    far = rng.uniform(3, 30)
    outside = scene.material(
        rng.choice(("facade", "foliage", "plaster")), 0.5, 0.95, glow=rng.uniform(1, 3), repeat_m=(2, 6)
    )
    if scene.chance(0.6):
        tall = rng.uniform(0.5, 4)
        scene.add(
            SolidKind.BOX,
            frame.at(rng.uniform(-3, 3), tall - 2, far),
            (rng.uniform(2, 8), tall, 1.0),
            outside,
            yaw=frame.yaw,
            casts_shadow=False,
        )
    if scene.chance(0.4):
        add_tree(frame.inner(rng.uniform(-2, 2), -1.5, rng.uniform(3, 9)))


def _add_wall_object(frame: Frame, height: float) -> None:
    """Add an object to a wall at the origin: a door, an image, a shelf, a radiator or pipes."""
    scene = frame.scene
    rng = scene.rng
    style = rng.random()
    if style < 0.25:  # a door
        look = scene.material(rng.choice(("wood", "plain")), 0.1, 0.97, vivid=0.2)
        tall = min(height - 0.05, 2.05)
        frame.box((0, tall / 2, -0.01), (0.43, tall / 2, 0.025), look)
        frame.box((0, tall / 2, 0.0), (0.5, tall / 2 + 0.05, 0.02), scene.material("plain", 0.1, 0.97, vivid=0.1))
        frame.bar((0.3, 1.02, -0.08), (0.4, 1.02, -0.08), 0.012, scene.material("plain", 0.3, 0.9, vivid=0.05))
    elif style < 0.6:  # an image, a poster, a board, a screen
        half, tall = rng.uniform(0.12, 0.8), rng.uniform(0.12, 0.55)
        y = rng.uniform(1.1, max(1.2, height - 0.6))
        rim = scene.material("plain", 0.02, 0.95, vivid=0.1)
        frame.box((0, y, -0.01), (half + 0.03, tall + 0.03, rng.uniform(0.008, 0.03)), rim)
        glow = rng.choice((0.0, 0.0, 0.0, 1.0))
        frame.box(
            (0, y, -0.03), (half, tall, 0.012), scene.material("print", 0.1, 0.95, glow=glow, repeat_m=(0.4, 1.5))
        )
    elif style < 0.8:  # a wall cabinet, or a shelf with objects
        half, y = rng.uniform(0.2, 0.7), rng.uniform(1.2, max(1.3, height - 0.6))
        if scene.chance(0.5):
            frame.box((0, y, -0.17), (half, rng.uniform(0.15, 0.4), 0.17), scene.material("wood", 0.2, 0.95, vivid=0.1))
        else:
            frame.box((0, y, -0.12), (half, 0.012, 0.12), scene.material("wood", 0.2, 0.95, vivid=0.1))
            add_clutter(frame.inner(0, y + 0.012, -0.12), half, 0.1, rng.randint(1, 5))
    elif style < 0.9:  # a radiator
        paint = scene.material("plain", 0.6, 0.97, vivid=0.04)
        for number in range(rng.randint(6, 14)):
            frame.box((-0.4 + 0.07 * number, 0.45, -0.08), (0.025, 0.28, 0.05), paint)
    else:  # pipes, a cable duct
        x = rng.uniform(-0.2, 0.2)
        frame.bar(
            (x, 0, -0.05), (x, height, -0.05), rng.uniform(0.01, 0.06), scene.material("plain", 0.2, 0.9, vivid=0.1)
        )


def _add_ceiling_lamps(root: Frame, width: float, length: float, height: float) -> None:
    scene = root.scene
    rng = scene.rng
    glow = Material((1.0, 0.97, 0.9), glow=rng.uniform(1, 4))
    for number in range(rng.randint(1, 4)):
        x, z = rng.uniform(-0.3, 0.3) * width, (number / 4 - 0.4) * length
        style = rng.random()
        if style < 0.4:
            scene.add(SolidKind.BOX, root.at(x, height - 0.02, z), (0.3, 0.03, 0.3), glow, casts_shadow=False)
        elif style < 0.7:
            scene.add(SolidKind.BOX, root.at(x, height - 0.06, z), (0.06, 0.04, 0.6), glow, casts_shadow=False)
        else:
            drop = rng.uniform(0.2, 0.8)
            root.bar((x, height, z), (x, height - drop, z), 0.006, Material((0.1, 0.1, 0.1)))
            root.ball((x, height - drop, z), (0.16, 0.12, 0.16), glow)
