"""Houses, large buildings, fences and benches."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from glpn_cli.scenes.figures import add_person
from glpn_cli.scenes.scene import Material

if TYPE_CHECKING:
    from glpn_cli.scenes.scene import Frame


def add_house(front: Frame, half_width: float, height: float) -> None:
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
    glass = Material(scene.color(0.05, 0.4, vivid=0.08), glow=rng.choice((0.0, 0.0, 0.5)))
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


def add_building(front: Frame, half_width: float, height: float) -> None:
    """Build a large house whose front has windows in relief, and perhaps columns, steps, a way through."""
    scene = front.scene
    rng = scene.rng
    wall = scene.material(rng.choice(("plaster", "bricks", "plain", "tiles")), 0.25, 0.95, vivid=0.08, repeat_m=(1, 4))
    trim = scene.material("plaster", 0.3, 0.97, vivid=0.05)
    deep = rng.uniform(5, 10)
    front.box((0, height / 2, -deep), (half_width, height / 2, deep), wall)
    front.box((0, height, -deep), (half_width + 0.4, 0.2, deep + 0.4), trim)
    glass = Material(scene.color(0.04, 0.35, vivid=0.06), glow=rng.choice((0.0, 0.0, 0.3)))
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


def add_fence(frame: Frame, length: float) -> None:
    """Put a wall, a hedge or a fence of so many meters across the frame's origin."""
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


def add_bench(frame: Frame) -> None:
    """Put a bench on the frame's origin; perhaps somebody sits on it."""
    scene = frame.scene
    wood = scene.material("wood", 0.15, 0.7)
    for number in range(3):
        frame.box((0, 0.45, -0.16 + 0.16 * number), (0.8, 0.02, 0.06), wood)
        frame.box((0, 0.6 + 0.13 * number, -0.25), (0.8, 0.05, 0.02), wood)
    for side in (-1, 1):
        frame.box((side * 0.65, 0.22, 0), (0.04, 0.22, 0.2), scene.material("plain", 0.05, 0.5))
    if scene.chance(0.4):
        add_person(frame, seated=True)
