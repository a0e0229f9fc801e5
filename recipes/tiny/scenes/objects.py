"""Objects indoors and outdoors: people, animals, plants, houses, fences, benches and poles."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scenes.scene import Material

if TYPE_CHECKING:
    from scenes.scene import Frame

_SKIN = ((0.85, 0.65, 0.53), (0.65, 0.45, 0.33), (0.4, 0.26, 0.18), (0.92, 0.75, 0.65))


def add_person(frame: Frame, *, seated: bool = False) -> None:
    """Add a standing, walking or seated person at the origin, facing z."""
    scene = frame.scene
    rng = scene.rng
    size = rng.uniform(0.85, 1.12)
    skin = Material(rng.choice(_SKIN))
    trousers = scene.material("fabric", 0.05, 0.6, vivid=0.15, repeat_m=(0.3, 1.0))
    coat = scene.material("fabric", 0.05, 0.9, repeat_m=(0.2, 1.0))
    hair = Material(scene.color(0.03, 0.4, vivid=0.1))
    hip = 0.5 if seated else 0.88 * size
    stride = 0.0 if seated else rng.uniform(-0.3, 0.3)
    for side in (-1, 1):
        knee = (side * 0.1, 0.48 * size, 0.42 if seated else side * stride * 0.5)
        frame.bar((side * 0.09, hip, 0), knee, 0.08 * size, trousers)
        frame.bar(knee, (side * 0.1, 0.02, 0.42 if seated else side * stride), 0.06 * size, trousers)
        elbow = (side * 0.27 * size, hip + 0.27 * size, rng.uniform(-0.1, 0.2))
        frame.bar((side * 0.2 * size, hip + 0.52 * size, 0), elbow, 0.05 * size, coat)
        hand = (elbow[0] * rng.uniform(0.4, 1.0), hip + rng.uniform(-0.05, 0.4), rng.uniform(0.05, 0.4))
        frame.bar(elbow, hand, 0.04 * size, coat if scene.chance(0.7) else skin)
        frame.ball(hand, (0.05, 0.06, 0.05), skin)
    frame.ball((0, hip + 0.3 * size, 0), (0.22 * size, 0.34 * size, 0.14 * size), coat)
    frame.bar((0, hip + 0.5 * size, 0), (0, hip + 0.66 * size, 0), 0.055, skin)
    frame.ball((0, hip + 0.76 * size, 0), (0.08, 0.115, 0.095), skin)
    frame.ball((0, hip + 0.80 * size, -0.02), (0.088, 0.1, 0.095), hair)


def add_bust(frame: Frame) -> None:
    """Add a person for close-ups, facing z, whose waist is at the origin."""
    scene = frame.scene
    rng = scene.rng
    size = rng.uniform(0.85, 1.1)
    skin = Material(rng.choice(_SKIN))
    coat = scene.material(rng.choice(("fabric", "plain", "fabric")), 0.05, 0.95, repeat_m=(0.1, 0.6))
    hair = Material(scene.color(0.03, 0.55, vivid=0.12))
    frame.ball((0, 0.1 * size, 0), (0.21 * size, 0.36 * size, 0.13 * size), coat)
    frame.ball((0, 0.3 * size, -0.01), (0.22 * size, 0.1 * size, 0.1 * size), coat)
    for side in (-1, 1):
        shoulder = (side * 0.19 * size, 0.32 * size, 0)
        elbow = (side * rng.uniform(0.24, 0.36) * size, 0.05 * size, rng.uniform(-0.1, 0.2))
        hand = (elbow[0] * rng.uniform(-0.3, 1.1), rng.uniform(-0.2, 0.35) * size, rng.uniform(0.05, 0.4))
        frame.ball(shoulder, (0.08 * size, 0.08 * size, 0.08 * size), coat)
        frame.bar(shoulder, elbow, 0.055 * size, coat)
        frame.bar(elbow, hand, 0.045 * size, coat if scene.chance(0.6) else skin)
        frame.ball(hand, (0.05, 0.07, 0.04), skin)
    trousers = scene.material("fabric", 0.05, 0.6, vivid=0.15, repeat_m=(0.3, 1.0))
    for side in (-1, 1):
        frame.bar((side * 0.1, -0.1, 0), (side * 0.11, -frame.origin[1], rng.uniform(-0.1, 0.1)), 0.09 * size, trousers)
    turn = rng.gauss(0, 0.4)
    frame.bar((0, 0.34 * size, 0), (0, 0.48 * size, 0.01), 0.055, skin)
    _add_head(frame.inner(0, 0.56 * size, 0.02, turn), skin, hair)


def _add_head(frame: Frame, skin: Material, hair: Material) -> None:
    """Add a head with a face around the origin, facing z; sometimes with a cap, a helmet or glasses."""
    scene = frame.scene
    rng = scene.rng
    frame.ball((0, 0, 0), (0.078, 0.115, 0.095), skin)
    frame.ball((0, -0.06, 0.03), (0.055, 0.05, 0.06), skin)
    frame.ball((0, -0.015, 0.1), (0.014, 0.028, 0.02), skin)
    white, dark = Material((0.9, 0.9, 0.88)), Material(scene.color(0.04, 0.3, vivid=0.1))
    lip = Material((skin.color[0] * 0.9, skin.color[1] * 0.6, skin.color[2] * 0.6))
    frame.ball((0, -0.063, 0.082), (0.026, rng.uniform(0.005, 0.014), 0.012), white if scene.chance(0.2) else lip)
    for side in (-1, 1):
        frame.ball((side * 0.031, 0.018, 0.083), (0.013, 0.007, 0.008), white)
        frame.ball((side * 0.031, 0.018, 0.087), (0.006, 0.006, 0.006), dark)
        frame.box((side * 0.031, 0.037, 0.088), (0.016, 0.003, 0.005), hair)
        frame.ball((side * 0.079, 0, 0), (0.012, 0.03, 0.02), skin)
    if scene.chance(0.2):
        for side in (-1, 1):
            frame.box((side * 0.033, 0.016, 0.103), (0.025, 0.02, 0.002), Material((0.08, 0.08, 0.09)))
    style = rng.random()
    if style < 0.12:
        return
    if style < 0.3:  # a cap or a helmet
        cap = scene.material("plain", 0.05, 0.95, vivid=0.4)
        frame.ball((0, 0.05, -0.005), (0.095, 0.095, 0.115), cap)
        frame.box((0, 0.055, 0.12), (0.07, 0.006, 0.045), cap)
        return
    frame.ball((0, 0.045, -0.02), (0.09, 0.095, 0.1), hair)
    for side in (-1, 1) if scene.chance(0.5) else ():  # long hair
        frame.ball((side * 0.075, -0.05, -0.03), (0.035, rng.uniform(0.1, 0.2), 0.06), hair)


def add_animal(frame: Frame, size: float) -> None:
    """Add a standing, sitting or lying four-legged animal at the origin, facing z.

    Args:
        frame: position and direction.
        size: height of the shoulders above the ground, meters.
    """
    scene = frame.scene
    rng = scene.rng
    fur = scene.material(
        rng.choice(("plain", "ground", "fabric", "foliage")), 0.05, 0.95, vivid=0.08, repeat_m=(0.2, 1)
    )
    second = fur if scene.chance(0.5) else Material(scene.color(0.05, 0.97, vivid=0.06))
    dark = Material((0.05, 0.05, 0.05))
    style = rng.choice(("stand", "sit", "lie"))
    level = {"stand": 0.8, "sit": 0.6, "lie": 0.28}[style] * size
    long, thick = size * rng.uniform(0.6, 0.85), size * rng.uniform(0.22, 0.32)
    rise = 0.35 * size if style == "sit" else 0.0
    frame.ball((0, level + rise * 0.3, long * 0.35), (thick, thick * 1.1, long * 0.5), fur)
    frame.ball((0, level - rise * 0.6, -long * 0.35), (thick * 1.05, thick * 1.1, long * 0.5), fur)
    for side in (-1, 1):
        for z in (-0.6, 0.6):
            foot = (side * thick * 0.7, 0.04 * size, long * (z + (0.35 if style == "lie" else 0.0)))
            top = (side * thick * 0.6, level - (rise if z < 0 else 0), long * z * 0.8)
            frame.bar(top, foot, 0.08 * size, fur)
            frame.ball(foot, (0.08 * size, 0.05 * size, 0.11 * size), second)
    neck, turn = (0, level + rise + 0.35 * size, long * 0.8), rng.gauss(0, 0.6)
    frame.bar((0, level + rise * 0.5, long * 0.5), neck, thick * 0.6, fur)
    head = frame.inner(*neck, turn)
    wide = size * rng.uniform(0.17, 0.26)
    tail = (rng.uniform(-0.4, 0.4) * size, level * rng.uniform(0.4, 1.6), -long * 1.3)
    frame.bar((0, level - rise, -long * 0.8), tail, 0.04 * size, fur)
    head.ball((0, 0, 0), (wide, wide, wide), fur)
    snout = rng.uniform(0.5, 1.3)
    head.ball((0, -wide * 0.3, wide * 0.8), (wide * 0.5, wide * 0.4, wide * snout), second)
    head.ball((0, -wide * 0.15, wide * (0.75 + snout)), (wide * 0.15, wide * 0.12, wide * 0.1), dark)
    for side in (-1, 1):
        head.ball((side * wide * 0.45, wide * 0.2, wide * 0.85), (wide * 0.13, wide * 0.13, wide * 0.08), dark)
        up = rng.choice((1.1, 0.3))
        head.ball((side * wide * 0.75, wide * up, 0), (wide * 0.3, wide * 0.55, wide * 0.15), fur, roll=side * 0.3)


def add_plant(frame: Frame) -> None:
    """Add a potted plant at the origin."""
    scene = frame.scene
    rng = scene.rng
    pot, height = rng.uniform(0.06, 0.2), rng.uniform(0.08, 0.35)
    frame.rod((0, 0, 0), pot, height, scene.material("plain", 0.1, 0.9))
    leaves = scene.material("foliage", 0.3, 0.9, vivid=0.1, repeat_m=(0.15, 0.5))
    for _ in range(rng.randint(5, 14)):
        turn, tilt, reach = rng.uniform(0, math.tau), rng.uniform(0.1, 1.2), rng.uniform(0.15, 0.9) * (1 + pot)
        tip = (
            math.cos(turn) * math.sin(tilt) * reach,
            height + math.cos(tilt) * reach,
            math.sin(turn) * math.sin(tilt) * reach,
        )
        frame.bar((0, height, 0), tip, rng.uniform(0.004, 0.012), leaves)
        long = rng.uniform(0.04, 0.22)
        frame.ball(
            tip,
            (long, rng.uniform(0.01, 0.06), long * rng.uniform(0.3, 1)),
            leaves,
            yaw=turn,
            roll=rng.uniform(-0.8, 0.8),
        )


def add_tree(frame: Frame) -> None:
    """Add a tree at the origin: leafy, a conifer or bare."""
    scene = frame.scene
    rng = scene.rng
    height = rng.uniform(3, 12)
    trunk = scene.material("wood", 0.1, 0.5, vivid=0.08)
    thick = height * rng.uniform(0.012, 0.035)
    leaves = scene.material("foliage", 0.3, 0.95, vivid=0.12, repeat_m=(0.6, 2.5))
    lean = rng.uniform(-0.4, 0.4)
    style = rng.random()
    if style < 0.2:
        frame.rod((0, 0, 0), thick, height, trunk)
        levels = rng.randint(5, 9)
        for level in range(levels):
            fraction = level / levels
            wide = height * 0.25 * (1 - fraction) + 0.15
            frame.ball((0, height * (0.15 + 0.82 * fraction), 0), (wide, height / levels * 0.9, wide), leaves)
        return
    crown = rng.uniform(0.35, 0.65)
    frame.bar((0, 0, 0), (lean, height * crown * 1.2, 0), thick, trunk)
    branches = rng.randint(4, 8) if style < 0.35 else rng.randint(10, 22)
    for _ in range(branches):
        turn, reach = rng.uniform(0, math.tau), height * rng.uniform(0.05, 0.28)
        tip = (lean + math.cos(turn) * reach, height * rng.uniform(crown, 1.0), math.sin(turn) * reach)
        if style < 0.35 or scene.chance(0.25):
            frame.bar((lean, height * crown * rng.uniform(0.7, 1.1), 0), tip, thick * rng.uniform(0.15, 0.5), trunk)
        if style >= 0.35:
            wide = height * rng.uniform(0.05, 0.15)
            frame.ball(
                tip,
                (wide, wide * rng.uniform(0.5, 1.0), wide * rng.uniform(0.7, 1.2)),
                leaves,
                yaw=turn,
                roll=rng.uniform(-0.5, 0.5),
            )


def add_bush(frame: Frame, size: float) -> None:
    """Add a bush at the origin, about `size` meters high."""
    scene = frame.scene
    rng = scene.rng
    leaves = scene.material("foliage", 0.3, 0.95, vivid=0.12, repeat_m=(0.4, 1.5))
    for _ in range(rng.randint(4, 10)):
        wide = size * rng.uniform(0.2, 0.55)
        place = (rng.uniform(-1, 1) * size * 0.6, size * rng.uniform(0.15, 0.5), rng.uniform(-1, 1) * size * 0.6)
        frame.ball(place, (wide, wide * rng.uniform(0.6, 1.0), wide), leaves, roll=rng.uniform(-0.4, 0.4))


def add_lamp_post(frame: Frame) -> None:
    """Add a street lamp, a sign or a traffic light on a thin pole."""
    scene = frame.scene
    rng = scene.rng
    metal = scene.material("plain", 0.08, 0.7, vivid=0.05)
    height = rng.uniform(2.2, 8.0)
    frame.rod((0, 0, 0), rng.uniform(0.03, 0.1), height, metal)
    style = rng.random()
    if style < 0.4:
        frame.bar((0, height, 0), (rng.uniform(0.4, 1.8), height + 0.2, 0), 0.04, metal)
    elif style < 0.75:
        sign = scene.material(rng.choice(("plain", "print")), 0.2, 0.95, vivid=0.5, repeat_m=(0.5, 1.0))
        frame.box((0, min(height, 2.8) - 0.3, 0.08), (rng.uniform(0.2, 0.5), rng.uniform(0.2, 0.5), 0.015), sign)
    else:
        frame.box((0, height - 0.4, 0.1), (0.15, 0.42, 0.1), scene.material("plain", 0.02, 0.2))
        for number, color in enumerate(((0.9, 0.1, 0.05), (0.9, 0.7, 0.1), (0.1, 0.8, 0.3))):
            glow = 1.2 if rng.random() < 0.4 else 0.0
            frame.ball((0, height - 0.13 - 0.27 * number, 0.2), (0.1, 0.1, 0.04), Material(color, glow=glow))


def add_house(front: Frame, half_width: float, height: float) -> None:
    """Add a house whose front is at the origin and faces z; houses near the camera have windows and doors."""
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
    stories, columns = max(1, min(4, int(height / 3))), max(1, min(4, int(half_width * 2 / 2.4)))
    depth = rng.choice((-0.03, 0.04))
    for story in range(stories):
        for column in range(columns):
            x, y = (column + 0.5) / columns * 2 * half_width - half_width, 1.6 + story * 3.0
            if story == 0 and scene.chance(0.25):
                front.box((x, 1.05, 0), (0.5, 1.05, 0.06), scene.material("wood", 0.1, 0.8))
                continue
            front.box((x, y, 0), (0.58, 0.78, 0.05), frame_paint)
            front.box((x, y, 0.03), (0.5, 0.7, 0.03 + abs(depth)), glass)
    if scene.chance(0.2):  # an awning or a balcony
        front.box(
            (0, 2.8, 0.6), (half_width * 0.8, 0.04, 0.6), scene.material("fabric", 0.2, 0.95, vivid=0.5), pitch=-0.25
        )


def add_building(front: Frame, half_width: float, height: float) -> None:
    """Add a large building with a detailed front that faces z: windows, a door, sometimes columns and steps."""
    scene = front.scene
    rng = scene.rng
    wall = scene.material(rng.choice(("plaster", "bricks", "plain", "tiles")), 0.25, 0.95, vivid=0.08, repeat_m=(1, 4))
    trim = scene.material("plaster", 0.3, 0.97, vivid=0.05)
    deep = rng.uniform(5, 10)
    front.box((0, height / 2, -deep), (half_width, height / 2, deep), wall)
    front.box((0, height, -deep), (half_width + 0.4, 0.2, deep + 0.4), trim)
    glass = Material(scene.color(0.04, 0.35, vivid=0.06), glow=rng.choice((0.0, 0.0, 0.3)))
    story_m, column_m = rng.uniform(2.9, 4.2), rng.uniform(2.0, 4.0)
    for story in range(min(5, int(height / story_m))):
        for column in range(min(12, int(half_width * 2 / column_m))):
            x, y = (column + 0.5) * column_m - half_width, story * story_m + story_m * 0.55
            front.box((x, y, 0), (column_m * 0.28, story_m * 0.32, 0.1), trim)
            front.box((x, y, 0.02), (column_m * 0.23, story_m * 0.28, 0.1), glass)
    if scene.chance(0.4):  # a colonnade
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
    """Add a wall, a hedge or a fence through the origin along x; `length` is in meters."""
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
    """Add a bench at the origin; sometimes a person sits on it."""
    scene = frame.scene
    wood = scene.material("wood", 0.15, 0.7)
    for number in range(3):
        frame.box((0, 0.45, -0.16 + 0.16 * number), (0.8, 0.02, 0.06), wood)
        frame.box((0, 0.6 + 0.13 * number, -0.25), (0.8, 0.05, 0.02), wood)
    for side in (-1, 1):
        frame.box((side * 0.65, 0.22, 0), (0.04, 0.22, 0.2), scene.material("plain", 0.05, 0.5))
    if scene.chance(0.4):
        add_person(frame, seated=True)
