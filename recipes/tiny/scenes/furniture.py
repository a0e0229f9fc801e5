"""Furniture, and small objects on it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scenes.objects import add_person, add_plant
from scenes.scene import Material

if TYPE_CHECKING:
    from scenes.scene import Frame


def add_furniture(frame: Frame, width: float) -> None:
    """Add a random piece of furniture at the origin, facing z.

    Args:
        frame: position and direction.
        width: largest half width of wide pieces, meters, at least 0.5.
    """
    makers = (
        (_add_table, 5),
        (_add_chair, 5),
        (_add_sofa, 3),
        (_add_shelf, 4),
        (_add_cabinet, 4),
        (_add_cartons, 3),
        (_add_standing_lamp, 1.5),
        (add_plant, 1.5),
        (add_person, 1.5),
    )
    makers_only, weights = zip(*makers, strict=True)
    maker = frame.scene.rng.choices(makers_only, weights)[0]
    if maker in (add_plant, add_person, _add_standing_lamp, _add_cartons, _add_chair):
        maker(frame)
    else:
        maker(frame, max(0.5, width))


def add_counter(frame: Frame, half_width: float, room_height: float) -> None:
    """Add a kitchen counter: cabinets with a worktop, sometimes cabinets or shelves above it.

    Args:
        frame: position and direction; the wall is behind the origin.
        half_width: half of the width, meters.
        room_height: height of the ceiling, meters.
    """
    scene = frame.scene
    rng = scene.rng
    deep, high = rng.uniform(0.25, 0.33), rng.uniform(0.8, 0.95)
    front = scene.material(rng.choice(("wood", "plain", "plain")), 0.05, 0.97, vivid=rng.choice((0.05, 0.5)))
    top = scene.material(rng.choice(("plain", "wood", "tiles", "plaster")), 0.03, 0.9, vivid=0.05)
    handle = scene.material("plain", 0.02, 0.9, vivid=0.05)
    frame.box((0, 0.05 + high / 2, 0), (half_width, high / 2 - 0.05, deep), front)
    frame.box((0, 0.05, -0.04), (half_width, 0.05, deep - 0.04), scene.material("plain", 0.03, 0.4, vivid=0.03))
    frame.box((0, high + 0.015, 0.015), (half_width + 0.02, 0.02, deep + 0.02), top)
    doors = max(1, round(2 * half_width / rng.uniform(0.4, 0.7)))
    for door in range(doors):
        x, half = -half_width + (2 * door + 1) * half_width / doors, half_width / doors - 0.008
        if scene.chance(0.3):  # drawers
            for drawer in range(3):
                y = 0.1 + (high - 0.1) * (drawer + 0.5) / 3
                frame.box((x, y, deep), (half, (high - 0.1) / 6 - 0.008, 0.012), front)
                frame.box((x, y + 0.06, deep + 0.03), (0.07, 0.008, 0.008), handle)
        else:
            frame.box((x, 0.1 + (high - 0.1) / 2, deep), (half, (high - 0.1) / 2 - 0.008, 0.012), front)
            frame.box((x + 0.7 * half, high - 0.12, deep + 0.03), (0.008, 0.06, 0.008), handle)
    add_clutter(frame.inner(0, high + 0.035, 0), half_width, 0.8 * deep, rng.randint(2, 12))
    style = rng.random()
    if style < 0.4:  # wall cabinets
        low = rng.uniform(1.35, 1.5)
        tall = min(room_height - low - 0.02, rng.uniform(0.5, 0.8)) / 2
        frame.box((0, low + tall, -deep + 0.16), (half_width * rng.uniform(0.5, 1), tall, 0.16), front)
    elif style < 0.75:  # shelves
        for board in range(rng.randint(1, 3)):
            y = 1.3 + 0.32 * board
            if y < room_height - 0.2:
                frame.box((0, y, -deep + 0.11), (half_width * 0.9, 0.012, 0.11), top)
                add_clutter(frame.inner(0, y + 0.012, -deep + 0.11), half_width * 0.85, 0.08, rng.randint(1, 9))


def add_dining_table(frame: Frame, half_width: float, half_depth: float) -> float:
    """Add a dining table with chairs and objects on it; return the height of its top, meters."""
    scene = frame.scene
    rng = scene.rng
    high, thick = rng.uniform(0.68, 0.8), rng.uniform(0.012, 0.03)
    top = scene.material(rng.choice(("wood", "wood", "plain", "plaster", "fabric")), 0.15, 0.95, vivid=0.12)
    leg = top if scene.chance(0.6) else scene.material("plain", 0.03, 0.7, vivid=0.05)
    frame.box((0, high - thick, 0), (half_width, thick, half_depth), top)
    for x in (-1, 1):
        for z in (-1, 1):
            frame.rod((x * (half_width - 0.06), 0, z * (half_depth - 0.06)), 0.03, high - 2 * thick, leg)
    add_clutter(frame.inner(0, high, 0), half_width, half_depth, rng.randint(0, 10))
    for side in range(4):
        reach, along = (half_depth, half_width) if side % 2 == 0 else (half_width, half_depth)
        seats = max(1, int(along / 0.32)) if scene.chance(0.75) else 0
        for seat in range(seats):
            if scene.chance(0.8):
                beside = ((seat + 0.5) / seats * 2 - 1) * along
                turn = side * math.pi / 2
                gap = reach + rng.uniform(0.0, 0.35)
                spot = (
                    gap * math.sin(turn) + beside * math.cos(turn),
                    0.0,
                    gap * math.cos(turn) - beside * math.sin(turn),
                )
                _add_chair(frame.inner(*spot, turn + math.pi + rng.gauss(0, 0.2)))
    return high


def add_clutter(frame: Frame, half_width: float, half_depth: float, count: int) -> None:
    """Add small objects on a surface whose center is the origin."""
    scene = frame.scene
    rng = scene.rng
    for _ in range(count):
        spot = frame.inner(
            rng.uniform(-0.9, 0.9) * half_width, 0, rng.uniform(-0.9, 0.9) * half_depth, rng.uniform(0, math.tau)
        )
        rng.choice(_SMALL_THINGS)(spot)


def _add_box(frame: Frame) -> None:
    rng = frame.scene.rng
    half = (rng.uniform(0.02, 0.2), rng.uniform(0.01, 0.16), rng.uniform(0.02, 0.16))
    family = rng.choice(("print", "plain", "plaster", "wood", "any"))
    frame.box((0, half[1], 0), half, frame.scene.material(family, 0.05, 0.95, vivid=0.5, repeat_m=(0.15, 0.6)))


def _add_books(frame: Frame) -> None:
    rng = frame.scene.rng
    height = 0.0
    for _ in range(rng.randint(1, 6)):
        thick = rng.uniform(0.006, 0.025)
        half = (rng.uniform(0.07, 0.12), thick, rng.uniform(0.09, 0.16))
        cover = frame.scene.material("print", 0.1, 0.9, vivid=0.6, repeat_m=(0.2, 0.4))
        frame.box((0, height + thick, 0), half, cover, yaw=rng.uniform(-0.3, 0.3))
        height += 2 * thick


def _add_bottle(frame: Frame) -> None:
    scene = frame.scene
    rng = scene.rng
    radius, height = rng.uniform(0.02, 0.06), rng.uniform(0.08, 0.3)
    look = scene.material(rng.choice(("plain", "print")), 0.05, 0.9, vivid=0.5, repeat_m=(0.1, 0.3))
    frame.rod((0, 0, 0), radius, height * 0.7, look)
    frame.ball((0, height * 0.7, 0), (radius, radius * 0.6, radius), look)
    frame.rod((0, height * 0.7, 0), radius * 0.35, height * 0.3, look)


def _add_cup(frame: Frame) -> None:
    rng = frame.scene.rng
    radius, height = rng.uniform(0.03, 0.12), rng.uniform(0.05, 0.14)
    look = frame.scene.material("plain", 0.2, 0.97, vivid=0.2)
    frame.rod((0, 0, 0), radius, height, look)
    frame.rod((0, height, 0), radius * 0.85, 0.002, frame.scene.material("plain", 0.05, 0.4))
    frame.bar((radius, height * 0.2, 0), (radius * 1.5, height * 0.5, 0), 0.006, look)
    frame.bar((radius * 1.5, height * 0.5, 0), (radius, height * 0.8, 0), 0.006, look)


def _add_ball(frame: Frame) -> None:
    rng = frame.scene.rng
    radius = rng.uniform(0.025, 0.14)
    half = (radius, radius * rng.uniform(0.7, 1.0), radius)
    look = frame.scene.material(rng.choice(("plain", "any")), 0.1, 0.95, vivid=0.6, repeat_m=(0.1, 0.5))
    frame.ball((0, half[1], 0), half, look)


def _add_monitor(frame: Frame) -> None:
    scene = frame.scene
    rng = scene.rng
    dark = Material(scene.color(0.02, 0.15, vivid=0.02))
    half = (rng.uniform(0.2, 0.36), rng.uniform(0.13, 0.22), 0.015)
    frame.box((0, 0.01, 0), (0.12, 0.01, 0.09), dark)
    frame.rod((0, 0, -0.02), 0.02, 0.2, dark)
    frame.box((0, 0.14 + half[1], 0), half, dark)
    glow = rng.choice((0.0, 0.5, 1.2))
    screen = scene.material("print", 0.4, 0.9, glow=glow, repeat_m=(0.4, 0.8)) if glow else Material((0.03, 0.03, 0.04))
    frame.box((0, 0.14 + half[1], 0.015), (half[0] * 0.95, half[1] * 0.93, 0.002), screen)


def _add_laptop(frame: Frame) -> None:
    scene = frame.scene
    gray = scene.material("plain", 0.05, 0.8, vivid=0.03)
    frame.box((0, 0.01, 0), (0.17, 0.01, 0.12), gray)
    screen = scene.material("print", 0.4, 0.9, glow=scene.rng.choice((0.0, 0.8)), repeat_m=(0.3, 0.6))
    frame.box((0, 0.11, -0.14), (0.17, 0.11, 0.006), screen, pitch=scene.rng.uniform(0.05, 0.4))


def _add_cable(frame: Frame) -> None:
    rng = frame.scene.rng
    look = frame.scene.material("plain", 0.02, 0.9, vivid=0.2)
    point = (0.0, 0.006, 0.0)
    for _ in range(rng.randint(2, 6)):
        following = (point[0] + rng.uniform(-0.12, 0.12), 0.006, point[2] + rng.uniform(-0.12, 0.12))
        frame.bar(point, following, 0.004, look)
        point = following


_SMALL_THINGS = (
    _add_box,
    _add_box,
    _add_books,
    _add_bottle,
    _add_cup,
    _add_ball,
    _add_monitor,
    _add_laptop,
    _add_cable,
)


def _add_table(frame: Frame, width: float) -> None:
    scene = frame.scene
    rng = scene.rng
    wide, deep, high = rng.uniform(0.35, width), rng.uniform(0.28, 0.6), rng.uniform(0.4, 0.8)
    thick = rng.uniform(0.01, 0.035)
    top = scene.material(rng.choice(("wood", "plain", "plaster")), 0.1, 0.95, vivid=0.15)
    leg = top if scene.chance(0.5) else scene.material("plain", 0.03, 0.6, vivid=0.05)
    frame.box((0, high, 0), (wide, thick, deep), top)
    style = rng.random()
    for x in (-1, 1):
        for z in (-1, 1):
            if style < 0.8:
                frame.rod((x * (wide - 0.05), 0, z * (deep - 0.05)), rng.uniform(0.015, 0.035), high, leg)
    if style >= 0.8:
        frame.rod((0, 0, 0), 0.05, high, leg)
        frame.rod((0, 0, 0), min(wide, deep) * 0.6, 0.03, leg)
    elif style < 0.25:
        frame.box((wide * 0.6, high / 2, 0), (wide * 0.3, high / 2 - 0.02, deep * 0.9), top)
    add_clutter(frame.inner(0, high + thick, 0), wide, deep, rng.randint(0, 9))
    if scene.chance(0.3):
        add_person(frame.inner(rng.uniform(-0.5, 0.5) * wide, 0, -deep - 0.35), seated=True)


def _add_chair(frame: Frame) -> None:
    scene = frame.scene
    rng = scene.rng
    wide, high = rng.uniform(0.18, 0.26), rng.uniform(0.4, 0.5)
    look = scene.material(rng.choice(("wood", "plain", "fabric")), 0.05, 0.9)
    leg = look if scene.chance(0.4) else scene.material("plain", 0.03, 0.7, vivid=0.05)
    frame.box((0, high, 0), (wide, rng.uniform(0.015, 0.05), wide), look)
    tall = rng.uniform(0.14, 0.3)
    frame.box((0, high + rng.uniform(0.1, 0.2) + tall, -wide), (wide, tall, 0.02), look, pitch=rng.uniform(-0.02, 0.15))
    if scene.chance(0.25):
        frame.rod((0, 0.08, 0), 0.03, high - 0.08, leg)
        for number in range(5):
            turn = math.tau * number / 5
            frame.bar((0, 0.08, 0), (0.28 * math.cos(turn), 0.04, 0.28 * math.sin(turn)), 0.02, leg)
    else:
        for x in (-1, 1):
            for z in (-1, 1):
                top = high + (0.2 if z < 0 else 0)
                frame.rod((x * (wide - 0.02), 0, z * (wide - 0.02)), rng.uniform(0.01, 0.022), top, leg)


def _add_sofa(frame: Frame, width: float) -> None:
    scene = frame.scene
    rng = scene.rng
    wide, deep, high = rng.uniform(0.45, max(0.5, width)), rng.uniform(0.35, 1.0), rng.uniform(0.18, 0.3)
    look = scene.material(rng.choice(("fabric", "plain")), 0.05, 0.9, repeat_m=(0.3, 1.5))
    frame.box((0, high, 0), (wide, high, deep), look)
    frame.box((0, 2 * high + 0.1, -deep), (wide, rng.uniform(0.2, 0.45), 0.1), look)
    if scene.chance(0.6):
        for side in (-1, 1):
            frame.box((side * wide, high + 0.12, 0), (0.1, high + 0.12, deep), look)
    for _ in range(rng.randint(0, 4)):
        cushion = scene.material("fabric", 0.1, 0.95, vivid=0.5, repeat_m=(0.2, 0.8))
        place = (rng.uniform(-0.8, 0.8) * wide, 2 * high + 0.16, -deep * rng.uniform(0.2, 0.8))
        frame.ball(place, (0.22, 0.17, 0.1), cushion, yaw=rng.uniform(-0.5, 0.5), roll=rng.uniform(-0.6, 0.6))


def _add_shelf(frame: Frame, width: float) -> None:
    scene = frame.scene
    rng = scene.rng
    wide, deep, high = rng.uniform(0.25, max(0.3, width)), rng.uniform(0.12, 0.3), rng.uniform(0.6, 2.2)
    look = scene.material(rng.choice(("wood", "plain")), 0.1, 0.97, vivid=0.1)
    boards = rng.randint(2, 6)
    for side in (-1, 1):
        frame.box((side * wide, high / 2, 0), (0.012, high / 2, deep), look)
    if scene.chance(0.6):
        frame.box((0, high / 2, -deep), (wide, high / 2, 0.008), look)
    for board in range(boards + 1):
        frame.box((0, high * board / boards, 0), (wide, 0.012, deep), look)
        if board < boards:
            _fill_shelf(frame.inner(0, high * board / boards + 0.012, 0), wide, deep, high / boards)


def _fill_shelf(frame: Frame, wide: float, deep: float, room: float) -> None:
    scene = frame.scene
    rng = scene.rng
    if scene.chance(0.5):
        x = -wide * 0.95
        end = wide * rng.uniform(-0.2, 0.9)
        while x < end:
            thick, tall = rng.uniform(0.012, 0.06), room * rng.uniform(0.45, 0.85)
            spine = scene.material("print", 0.05, 0.95, vivid=0.6, repeat_m=(0.2, 0.6))
            frame.box((x + thick, tall / 2, rng.uniform(-0.1, 0.2) * deep), (thick, tall / 2, deep * 0.7), spine)
            x += 2 * thick
    else:
        for _ in range(rng.randint(0, 4)):
            half = (rng.uniform(0.03, 0.12), room * rng.uniform(0.1, 0.42), deep * rng.uniform(0.3, 0.7))
            frame.box((rng.uniform(-0.85, 0.85) * wide, half[1], 0), half, scene.material("any", 0.05, 0.95, vivid=0.5))


def _add_cabinet(frame: Frame, width: float) -> None:
    scene = frame.scene
    rng = scene.rng
    wide, deep, high = rng.uniform(0.25, max(0.35, width)), rng.uniform(0.18, 0.35), rng.uniform(0.4, 2.2)
    look = scene.material(rng.choice(("wood", "plain", "plaster")), 0.1, 0.97, vivid=0.12)
    frame.box((0, high / 2, 0), (wide, high / 2, deep), look)
    doors = max(1, round(wide / 0.25))
    handle = scene.material("plain", 0.02, 0.9, vivid=0.05)
    rows = rng.randint(1, 4)
    for door in range(doors):
        for line in range(rows):
            x, y = -wide + (2 * door + 1) * wide / doors, high * (line + 0.5) / rows
            if scene.chance(0.7):
                half = (wide / doors - 0.012, high / rows / 2 - 0.012, 0.008)
                frame.box((x, y, deep), half, look)
            frame.box((x + wide / doors * 0.7, y, deep + 0.02), (0.008, min(0.06, high / rows / 3), 0.012), handle)
    if high < 1.4:
        add_clutter(frame.inner(0, high, 0), wide, deep, rng.randint(0, 5))


def _add_cartons(frame: Frame) -> None:
    scene = frame.scene
    rng = scene.rng
    height = 0.0
    for _ in range(rng.randint(1, 4)):
        half = (rng.uniform(0.1, 0.35), rng.uniform(0.06, 0.25), rng.uniform(0.1, 0.35))
        look = scene.material(rng.choice(("plaster", "print", "wood", "plain")), 0.1, 0.9, vivid=0.3)
        frame.box((rng.uniform(-0.08, 0.08), height + half[1], 0), half, look, yaw=rng.uniform(-0.5, 0.5))
        height += 2 * half[1]


def _add_standing_lamp(frame: Frame) -> None:
    scene = frame.scene
    rng = scene.rng
    height, shade = rng.uniform(1.1, 1.8), rng.uniform(0.1, 0.25)
    metal = scene.material("plain", 0.03, 0.8, vivid=0.05)
    frame.rod((0, 0, 0), 0.14, 0.03, metal)
    frame.rod((0, 0, 0), rng.uniform(0.008, 0.018), height, metal)
    glow = rng.choice((0.0, 0.8, 1.5))
    frame.rod((0, height, 0), shade, shade * 1.4, Material((0.95, 0.88, 0.72), glow=glow))
