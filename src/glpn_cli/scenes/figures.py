"""What stands about indoors and outdoors: people, animals, plants, trees, poles."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from glpn_cli.scenes.scene import Material

if TYPE_CHECKING:
    from glpn_cli.scenes.scene import Frame


_SKIN = ((0.85, 0.65, 0.53), (0.65, 0.45, 0.33), (0.4, 0.26, 0.18), (0.92, 0.75, 0.65))


def add_person(frame: Frame, *, seated: bool = False) -> None:
    """Put a person on the frame's origin, standing, walking or seated, looking ahead."""
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
    """Put somebody whose waist is at the frame's origin, looking ahead, to be seen from near."""
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
    """Put a head around the frame's origin, looking ahead, with what a face has; perhaps a cap, a helmet, glasses."""
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
    for side in (-1, 1) if scene.chance(0.5) else ():  # down to the shoulders
        frame.ball((side * 0.075, -0.05, -0.03), (0.035, rng.uniform(0.1, 0.2), 0.06), hair)


def add_animal(frame: Frame, size: float) -> None:
    """Put a dog, a cat or a larger animal on the frame's origin, standing, sitting or lying; its head is ahead.

    Args:
        frame: where.
        size: from the ground to the shoulders, meters.
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
        for number, color in enumerate(((0.9, 0.1, 0.05), (0.9, 0.7, 0.1), (0.1, 0.8, 0.3))):
            glow = 1.2 if rng.random() < 0.4 else 0.0
            frame.ball((0, height - 0.13 - 0.27 * number, 0.2), (0.1, 0.1, 0.04), Material(color, glow=glow))
