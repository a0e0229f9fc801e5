"""What stands about indoors and outdoors: people, plants, trees, vehicles, poles."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from glpn_cli.scenes.scene import Material

if TYPE_CHECKING:
    from glpn_cli.scenes.scene import Frame

__all__ = ["add_bush", "add_lamp_post", "add_person", "add_plant", "add_tree", "add_vehicle"]

_SKIN = ((0.85, 0.65, 0.53), (0.65, 0.45, 0.33), (0.4, 0.26, 0.18), (0.92, 0.75, 0.65))


def add_person(frame: Frame, *, seated: bool = False) -> None:
    """Put a person on the frame's origin, standing, walking or seated, looking ahead."""
    scene = frame.scene
    rng = scene.rng
    size = rng.uniform(0.85, 1.12)
    skin = Material(rng.choice(_SKIN))
    trousers = scene.material("fabric", 0.05, 0.6, vivid=0.15, repeat_m=(0.3, 1.0))
    coat = scene.material("fabric", 0.05, 0.9, repeat_m=(0.2, 1.0))
    hair = Material(scene.colour(0.03, 0.4, vivid=0.1))
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


def add_plant(frame: Frame) -> None:
    """Put a pot plant on the frame's origin."""
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
    """Plant a tree: leafy, a cone of a conifer, or bare."""
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
            share = level / levels
            wide = height * 0.25 * (1 - share) + 0.15
            frame.ball((0, height * (0.15 + 0.82 * share), 0), (wide, height / levels * 0.9, wide), leaves)
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
    """Plant a bush or a piece of hedge."""
    scene = frame.scene
    rng = scene.rng
    leaves = scene.material("foliage", 0.3, 0.95, vivid=0.12, repeat_m=(0.4, 1.5))
    for _ in range(rng.randint(4, 10)):
        wide = size * rng.uniform(0.2, 0.55)
        place = (rng.uniform(-1, 1) * size * 0.6, size * rng.uniform(0.15, 0.5), rng.uniform(-1, 1) * size * 0.6)
        frame.ball(place, (wide, wide * rng.uniform(0.6, 1.0), wide), leaves, roll=rng.uniform(-0.4, 0.4))


def add_lamp_post(frame: Frame) -> None:
    """Put up a lamp, a sign or a traffic light on a thin pole."""
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
        for number, colour in enumerate(((0.9, 0.1, 0.05), (0.9, 0.7, 0.1), (0.1, 0.8, 0.3))):
            glow = 1.2 if rng.random() < 0.4 else 0.0
            frame.ball((0, height - 0.13 - 0.27 * number, 0.2), (0.1, 0.1, 0.04), Material(colour, glow=glow))


def add_vehicle(frame: Frame) -> None:
    """Put a car, a van, a lorry or a bicycle on the road, its front ahead."""
    scene = frame.scene
    rng = scene.rng
    paint = Material(scene.colour(0.04, 0.95, vivid=0.25 if scene.chance(0.5) else 0.03))
    glass, rubber = Material((0.07, 0.09, 0.11)), Material((0.04, 0.04, 0.045))
    style = rng.random()
    if style < 0.08:
        for z in (-0.5, 0.5):
            frame.ball((0, 0.33, z), (0.02, 0.33, 0.33), rubber)
        frame.bar((0, 0.4, -0.45), (0, 0.85, 0.3), 0.025, paint)
        frame.bar((0, 0.4, 0.45), (0, 1.0, 0.35), 0.02, paint)
        return
    if style < 0.75:
        long, wide, low, high = (
            rng.uniform(1.8, 2.5),
            rng.uniform(0.8, 0.95),
            rng.uniform(0.3, 0.4),
            rng.uniform(0.24, 0.36),
        )
        frame.box((0, 0.25 + low, 0), (wide, low, long), paint)
        back = rng.uniform(-0.5, 0.1)
        frame.box((0, 0.25 + 2 * low + high, back), (wide * 0.87, high, long * 0.5), glass)
        frame.box((0, 0.25 + 2 * low + 2 * high, back), (wide * 0.84, 0.03, long * 0.45), paint)
        frame.box(
            (0, 0.25 + 2 * low + high * 0.9, back + long * 0.52), (wide * 0.8, 0.02, high * 1.1), glass, pitch=-0.95
        )
        for side in (-1, 1):
            frame.ball(
                (side * wide * 0.7, 0.25 + 1.3 * low, long), (0.14, 0.08, 0.03), Material((0.9, 0.9, 0.85), glow=0.5)
            )
            frame.ball(
                (side * wide * 0.75, 0.25 + 1.4 * low, -long), (0.12, 0.08, 0.03), Material((0.7, 0.05, 0.04), glow=0.3)
            )
    else:
        long, wide, high = rng.uniform(2.2, 5.0), rng.uniform(0.9, 1.25), rng.uniform(0.8, 1.5)
        body = paint if scene.chance(0.6) else scene.material("print", repeat_m=(2.0, 5.0))
        frame.box((0, 0.4 + high, 0), (wide, high, long), body)
        frame.box((0, 0.4 + high * 1.35, long), (wide * 0.9, high * 0.35, 0.03), glass)
        frame.box((0, 0.5 + high * 1.4, long * 0.6), (wide * 1.01, high * 0.25, long * 0.2), glass)
    for side in (-1, 1):
        for z in (-0.62, 0.62):
            frame.ball((side * wide * 0.93, 0.33, z * long), (0.11, 0.33, 0.33), rubber)
