"""Vehicles: simple ones for the distance, and cars, trucks and buses with details for close views.

All stand on the road at the origin of their frame and face z.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scenes.scene import Material

if TYPE_CHECKING:
    from scenes.scene import Frame, Scene

_RUBBER = Material((0.04, 0.04, 0.045))
_DARK = Material((0.06, 0.06, 0.065))
_PLATE = Material((0.85, 0.85, 0.8))


def add_vehicle(frame: Frame) -> None:
    """Add a simple car, van, truck or bicycle."""
    scene = frame.scene
    rng = scene.rng
    paint = Material(scene.color(0.04, 0.95, vivid=0.25 if scene.chance(0.5) else 0.03))
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


def add_car(frame: Frame, *, lit: bool = False) -> None:
    """Add a car with hood, windows, lights and plates.

    Args:
        frame: position and direction.
        lit: whether its lights are on.
    """
    scene = frame.scene
    rng = scene.rng
    paint = _random_paint(scene)
    glass = Material(scene.color(0.03, 0.3, vivid=0.04))
    long, wide = rng.uniform(1.85, 2.5), rng.uniform(0.82, 0.95)
    floor, belt, top = rng.uniform(0.2, 0.32), rng.uniform(0.85, 1.05), rng.uniform(1.4, 1.85)
    # z of both ends of the cabin; that of a station wagon reaches the end of the body.
    front, back = long * rng.uniform(0.25, 0.5), -long * rng.choice((0.55, 0.75, 0.97))
    slant = rng.uniform(0.2, 0.6)
    low = (floor + belt) / 2
    frame.box((0, low, 0), (wide, (belt - floor) / 2, long), paint)
    frame.box((0, low - 0.1, 0), (wide + 0.012, 0.03, long * 0.98), _DARK)
    middle, half = (front + back) / 2, (front - back) / 2
    height = (top - belt) / 2
    inner = wide * 0.86
    frame.box((0, belt + height, middle), (inner, height, half - slant * 0.5), glass)
    frame.box((0, top, middle - slant * 0.2), (inner + 0.01, 0.035, half - slant), paint)
    for z, lean in ((front - slant * 0.4, -1), (back + slant * 0.4, 1)):
        frame.box((0, belt + height, z), (inner * 0.98, math.hypot(height, slant / 2), 0.02), glass, pitch=lean * slant)
    for side in (-1, 1):
        for z in (front - slant, middle, back + slant):
            frame.box((side * inner, belt + height, z), (0.02, height, 0.035), paint)
        frame.ball((side * (wide + 0.1), belt + 0.08, front - slant), (0.1, 0.07, 0.05), paint)
    _add_lights(frame, wide, long, belt - 0.2, lit=lit)
    for z in (-long - 0.02, long + 0.02):
        frame.box((0, floor + 0.12, z), (wide * 0.98, 0.1, 0.06), paint if scene.chance(0.5) else _DARK)
        frame.box((0, floor + rng.uniform(0.15, 0.4), z * 1.02), (0.26, 0.055, 0.02), _PLATE)
    _add_wheels(frame, wide, (-0.62 * long, 0.62 * long), rng.uniform(0.29, 0.36))


def add_truck(frame: Frame, *, lit: bool = False) -> None:
    """Add a truck: a cab with a tank, a box, an open bed with a load, or an empty flatbed.

    Args:
        frame: position and direction.
        lit: whether its lights are on.
    """
    scene = frame.scene
    rng = scene.rng
    paint = _random_paint(scene)
    wide, long = rng.uniform(1.05, 1.27), rng.uniform(2.4, 6.2)
    cab, deep = rng.uniform(0.9, 1.5), rng.uniform(0.8, 1.1)
    base = rng.uniform(0.75, 1.15)
    nose = long + deep + 0.1
    glass = Material((0.06, 0.07, 0.09))
    frame.box((0, base + cab - 0.3, nose), (wide, cab, deep), paint)
    frame.box((0, base + cab * 1.2, nose + deep), (wide * 0.92, cab * 0.35, 0.03), glass)
    frame.box((0, base + cab * 1.25, nose + deep * 0.3), (wide * 1.01, cab * 0.3, deep * 0.45), glass)
    frame.box((0, base - 0.15, 0), (wide * 0.8, 0.15, long), _DARK)
    load = _random_paint(scene)
    style = rng.random()
    tall = rng.uniform(0.9, 1.45)
    if style < 0.3:  # a horizontal tank
        frame.bar((0, base + tall, -long), (0, base + tall, long), min(tall, wide), load)
        for z in (-0.6, 0.0, 0.6):
            frame.box((0, base, z * long), (wide * 0.9, 0.3, 0.12), _DARK)
        for number in range(6):  # ladder
            frame.box((wide * 0.5, base + 0.35 * number, -long - 0.05), (0.2, 0.02, 0.02), _PLATE)
    elif style < 0.65:
        look = load if scene.chance(0.4) else scene.material(rng.choice(("print", "fabric")), repeat_m=(2.0, 6.0))
        frame.box((0, base + tall, 0), (wide, tall, long), look)
        if scene.chance(0.5):
            frame.box((0, base + tall, -long), (0.015, tall * 0.95, 0.03), _DARK)
    elif style < 0.85:  # an open bed with a load
        frame.box((0, base + 0.3, 0), (wide, 0.3, long), load)
        frame.box((0, base + tall * 0.8, 0), (wide * 0.9, tall * 0.7, long * 0.95), scene.material("any", 0.1, 0.9))
    else:
        frame.box((0, base + 0.08, 0), (wide, 0.08, long), scene.material("wood", 0.2, 0.6))
    for number in range(7) if scene.chance(0.4) else ():  # warning stripes
        color = Material((0.9, 0.75, 0.1)) if number % 2 else Material((0.75, 0.1, 0.08))
        frame.box((wide * (number - 3) / 3.6, base - 0.05, -long - 0.03), (wide / 8, 0.09, 0.02), color)
    frame.box((0, 0.5, -long), (wide, 0.06, 0.05), _DARK)
    for side in (-1, 1):
        frame.box((side * wide, 0.65, 0), (0.02, 0.12, long * 0.7), _DARK if scene.chance(0.5) else _PLATE)
    _add_lights(frame, wide, long, base - 0.2, nose + deep, lit=lit)
    axles = (-0.8 * long, -0.8 * long + 1.1, *((-0.8 * long + 2.2,) if long > 4 else ()), nose)
    _add_wheels(frame, wide, axles, rng.uniform(0.45, 0.55))


def add_bus(frame: Frame, *, lit: bool = False) -> None:
    """Add a bus, tram or minibus.

    Args:
        frame: position and direction.
        lit: whether its lights and windows are lit.
    """
    scene = frame.scene
    rng = scene.rng
    paint = _random_paint(scene)
    wide, long, top = rng.uniform(0.95, 1.27), rng.uniform(2.6, 6.5), rng.uniform(2.2, 3.1)
    glass = Material((0.75, 0.72, 0.6), glow=1.0) if lit else Material(scene.color(0.04, 0.3, vivid=0.04))
    frame.box((0, (top + 0.35) / 2, 0), (wide, (top - 0.35) / 2, long), paint)
    frame.box((0, 0.55, 0), (wide + 0.01, 0.15, long * 0.99), _random_paint(scene))
    count = max(2, round(long / 0.8))
    height = (top - 1.15) / 2 - 0.1
    for number in range(count):
        z = ((number + 0.5) / count * 2 - 1) * long * 0.97
        frame.box((0, 1.1 + height, z), (wide + 0.012, height, long / count * 0.86), glass)
    for z in (-long, long):
        frame.box((0, 1.15 + height, z), (wide * 0.9, height * 0.95, 0.02), glass)
    _add_lights(frame, wide, long, 0.75, lit=lit)
    _add_wheels(frame, wide, (-0.6 * long, 0.65 * long), rng.uniform(0.4, 0.5))


def _random_paint(scene: Scene) -> Material:
    """Return a random paint: usually white, gray or black, otherwise a color."""
    if scene.chance(0.65):
        return Material(scene.color(*scene.rng.choice(((0.03, 0.12), (0.2, 0.6), (0.75, 0.95))), vivid=0.03))
    strong = [scene.rng.uniform(0.02, 0.25) for _ in range(3)]
    strong[scene.rng.randrange(3)] = scene.rng.uniform(0.3, 0.85)
    return Material((strong[0], strong[1], strong[2]))


def _add_lights(
    frame: Frame, wide: float, back: float, level: float, front: float | None = None, *, lit: bool = False
) -> None:
    """Add headlights and tail lights; brake lights may also be on by day."""
    brakes = 2.5 if lit else frame.scene.rng.choice((0.0, 0.0, 1.5))
    for side in (-1, 1):
        headlight = Material((0.95, 0.95, 0.88), glow=4.0 if lit else 0.2)
        frame.ball((side * wide * 0.76, level, back if front is None else front), (0.17, 0.08, 0.05), headlight)
        frame.box((side * wide * 0.86, level, -back), (0.11, 0.1, 0.035), Material((0.75, 0.05, 0.04), glow=brakes))


def _add_wheels(frame: Frame, wide: float, axles: tuple[float, ...], radius: float) -> None:
    hub = Material(frame.scene.color(0.3, 0.75, vivid=0.02))
    for side in (-1, 1):
        for z in axles:
            x = side * (wide - 0.08)
            frame.bar((x - 0.1, radius, z), (x + 0.1, radius, z), radius, _RUBBER)
            frame.bar((x - 0.11, radius, z), (x + 0.11, radius, z), radius * 0.55, hub)
