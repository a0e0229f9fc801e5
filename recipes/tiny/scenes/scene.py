"""Description of a scene: solids with materials, a camera, lights and a sky.

Lengths are in meters, angles in radians. Axes: x to the right, y up, z forward.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    from scenes.textures import Atlas

Color = tuple[float, float, float]
Point = tuple[float, float, float]


class SolidKind(IntEnum):
    """Shape inside the cube from -1 to 1, which `Solid.half` scales."""

    BOX = 0
    SPHERE = 1
    CYLINDER = 2
    """Its axis is y; closed at both ends."""


@dataclass(frozen=True, slots=True)
class Material:
    """Appearance of a surface.

    Attributes:
        color: albedo (red, green, blue), 0 to 1.
        texture: index into the atlas, or -1 for none.
        repeat_m: period of the texture, meters.
        strength: weight of the texture in the albedo, 0 to 1.
        glow: emitted light, as a factor of the albedo.
    """

    color: Color
    texture: int = -1
    repeat_m: float = 1.0
    strength: float = 0.6
    glow: float = 0.0


@dataclass(frozen=True, slots=True)
class Solid:
    """A box, an ellipsoid or a cylinder.

    Attributes:
        kind: shape.
        center: meters.
        half: half of the extent along its own axes, meters.
        yaw: rotation about the vertical axis, radians; `pitch` about its own x axis and `roll` about its own z axis
            are applied before it.
        pitch: radians.
        roll: radians.
        material: appearance.
        casts_shadow: whether it blocks light.
    """

    kind: SolidKind
    center: Point
    half: Point
    yaw: float
    pitch: float
    roll: float
    material: Material
    casts_shadow: bool


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera with square pixels; it looks along z if all angles are 0.

    Attributes:
        position: meters.
        yaw: to the right, radians.
        pitch: upward, radians.
        roll: rotates the image clockwise, radians.
        fov_deg: field of view of the longer image side, degrees.
    """

    position: Point
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    fov_deg: float = 60.0

    def focal_px(self, height: int, width: int) -> float:
        """Return the focal length in pixels for an image size."""
        return max(height, width) / 2 / math.tan(math.radians(self.fov_deg) / 2)


@dataclass(frozen=True, slots=True)
class Light:
    """A lamp, or the sun.

    Attributes:
        position: meters; for the sun the unit vector toward it.
        color: color times intensity.
        reach_m: distance at which a lamp has a quarter of its intensity; infinite for the sun.
    """

    position: Point
    color: Color
    reach_m: float = math.inf


@dataclass(frozen=True, slots=True)
class Sky:
    """Background where rays hit nothing.

    Attributes:
        zenith: color overhead.
        horizon: color at eye level; also the color of haze.
        clouds: opacity of clouds, 0 to 1.
        haze_m: distance at which haze has replaced two thirds of a color, meters; infinite for no haze.
        texture: index of the texture that gives the pattern of the clouds.
    """

    zenith: Color
    horizon: Color
    clouds: float = 0.0
    haze_m: float = math.inf
    texture: int = 0


@dataclass(slots=True)
class Scene:
    """A scene under construction.

    Attributes:
        rng: source of all random numbers of the scene.
        atlas: available textures.
        kind: name of the kind, see `rendering.SCENE_KINDS`.
        solids: content.
        lights: only the first casts shadows.
        ambient: light from all directions.
        camera: viewpoint.
        sky: background.
        exposure: mean brightness of the image before the tone curve, 0 to 1.
        gamma: exponent of the tone curve.
        saturation: factor of the color saturation; 1 changes nothing.
    """

    rng: random.Random
    atlas: Atlas
    kind: str = ""
    solids: list[Solid] = field(default_factory=list)
    lights: list[Light] = field(default_factory=list)
    ambient: Color = (0.4, 0.4, 0.4)
    camera: Camera = field(default_factory=lambda: Camera((0.0, 1.5, 0.0)))
    sky: Sky = field(default_factory=lambda: Sky((0.4, 0.6, 0.95), (0.8, 0.88, 0.95)))
    exposure: float = 0.35
    gamma: float = 2.0
    saturation: float = 0.8

    def add(
        self,
        kind: SolidKind,
        center: Point,
        half: Point,
        material: Material,
        *,
        yaw: float = 0.0,
        pitch: float = 0.0,
        roll: float = 0.0,
        casts_shadow: bool = True,
    ) -> None:
        """Add a solid."""
        self.solids.append(Solid(kind, center, half, yaw, pitch, roll, material, casts_shadow))

    def color(self, low: float = 0.1, high: float = 0.9, *, vivid: float = 0.4) -> Color:
        """Return a random albedo; `vivid` is the largest deviation of a channel from gray."""
        gray = self.rng.uniform(low, high)
        red, green, blue = (min(0.97, max(0.02, gray + self.rng.uniform(-vivid, vivid))) for _ in range(3))
        return red, green, blue

    def material(
        self,
        family: str = "any",
        low: float = 0.1,
        high: float = 0.9,
        *,
        vivid: float = 0.3,
        repeat_m: tuple[float, float] = (0.4, 2.5),
        glow: float = 0.0,
    ) -> Material:
        """Return a random material with a texture of a family; the family "plain" has no texture."""
        color = self.color(low, high, vivid=vivid)
        if family == "wood" and self.chance(0.75):  # mostly some brown
            gray = sum(color) / 3
            color = (min(0.97, gray * 1.15), gray * self.rng.uniform(0.7, 0.95), gray * self.rng.uniform(0.4, 0.8))
        if family == "plain":
            return Material(color, glow=glow)
        return Material(
            color,
            self.atlas.pick(self.rng, family),
            self.rng.uniform(*repeat_m),
            1.0 if family == "print" else self.rng.uniform(0.45, 0.95),
            glow,
        )

    def chance(self, probability: float) -> bool:
        """Return True with a probability."""
        return self.rng.random() < probability


@dataclass(frozen=True, slots=True)
class Frame:
    """A local coordinate system in which objects are assembled.

    Attributes:
        scene: receives the solids.
        origin: meters; usually on the floor.
        yaw: direction of its z axis, radians.
    """

    scene: Scene
    origin: Point
    yaw: float = 0.0

    def at(self, x: float, y: float, z: float) -> Point:
        """Return a point of this frame in scene coordinates."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        return self.origin[0] + cos * x + sin * z, self.origin[1] + y, self.origin[2] - sin * x + cos * z

    def inner(self, x: float, y: float, z: float, yaw: float = 0.0) -> Frame:
        """Return a frame that is given relative to this one."""
        return Frame(self.scene, self.at(x, y, z), self.yaw + yaw)

    def box(self, center: Point, half: Point, material: Material, *, yaw: float = 0.0, pitch: float = 0.0) -> None:
        """Add a box."""
        self.scene.add(SolidKind.BOX, self.at(*center), half, material, yaw=self.yaw + yaw, pitch=pitch)

    def ball(self, center: Point, half: Point, material: Material, *, yaw: float = 0.0, roll: float = 0.0) -> None:
        """Add an ellipsoid."""
        self.scene.add(SolidKind.SPHERE, self.at(*center), half, material, yaw=self.yaw + yaw, roll=roll)

    def rod(self, foot: Point, radius: float, height: float, material: Material) -> None:
        """Add a vertical cylinder; `foot` is the center of its lower end."""
        center = self.at(foot[0], foot[1] + height / 2, foot[2])
        self.scene.add(SolidKind.CYLINDER, center, (radius, height / 2, radius), material, yaw=self.yaw)

    def bar(self, start: Point, end: Point, radius: float, material: Material) -> None:
        """Add a cylinder between two points."""
        first, last = self.at(*start), self.at(*end)
        x, y, z = (b - a for a, b in zip(first, last, strict=True))
        level = math.hypot(x, z)
        center = ((first[0] + last[0]) / 2, (first[1] + last[1]) / 2, (first[2] + last[2]) / 2)
        half = (radius, math.hypot(level, y) / 2, radius)
        # A vertical cylinder, tilted forward by its pitch and rotated by its yaw.
        self.scene.add(SolidKind.CYLINDER, center, half, material, yaw=math.atan2(x, z), pitch=-math.atan2(level, y))
