"""What a scene is made of: solids with materials, a camera, lights and a sky. Meters; x right, y up, z ahead."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    from glpn_cli.scenes.textures import Atlas


Color = tuple[float, float, float]
Point = tuple[float, float, float]


class SolidKind(IntEnum):
    """What fills the cube from -1 to 1 that `Solid.half` stretches."""

    BOX = 0
    SPHERE = 1
    CYLINDER = 2
    """Upright, closed at both ends."""


@dataclass(frozen=True, slots=True)
class Material:
    """How a surface looks.

    Attributes:
        color: albedo, each 0 to 1.
        texture: index into the atlas, or -1 for none.
        repeat_m: after how many meters the texture begins again.
        strength: how much of the albedo is the texture's, 0 to 1.
        glow: light of its own, as a factor on the albedo.
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
        kind: which.
        center: meters.
        half: half of its extent along its own axes, meters.
        yaw: about the upright axis, radians; then `pitch` about its own x axis and `roll` about its own z axis.
        pitch: radians.
        roll: radians.
        material: how it looks.
        casts_shadow: whether light is kept from others by it.
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
    """A pinhole with square pixels that looks along z when all angles are 0.

    Attributes:
        position: meters.
        yaw: to the right, radians.
        pitch: upward, radians.
        roll: clockwise image, radians.
        fov_deg: what the longer side of the image sees, degrees.
    """

    position: Point
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    fov_deg: float = 60.0

    def focal_px(self, height: int, width: int) -> float:
        """Give the focal length in pixels for an image of a size."""
        return max(height, width) / 2 / math.tan(math.radians(self.fov_deg) / 2)


@dataclass(frozen=True, slots=True)
class Light:
    """A lamp, or the sun.

    Attributes:
        position: meters; for the sun the direction to it, of length 1.
        color: with its strength.
        reach_m: where a lamp is a quarter as bright; infinite for the sun.
    """

    position: Point
    color: Color
    reach_m: float = math.inf


@dataclass(frozen=True, slots=True)
class Sky:
    """What is seen where nothing is.

    Attributes:
        zenith: color above.
        horizon: color at eye level, and of haze.
        clouds: 0 to 1.
        haze_m: after how many meters two thirds of a color are haze; infinite for none.
        texture: whose pattern the clouds have.
    """

    zenith: Color
    horizon: Color
    clouds: float = 0.0
    haze_m: float = math.inf
    texture: int = 0


@dataclass(slots=True)
class Scene:
    """A scene in the making.

    Attributes:
        rng: where all chance comes from.
        atlas: the textures to choose from.
        kind: the name of its maker.
        solids: what is in it.
        lights: the first casts shadows.
        ambient: light from everywhere.
        camera: who sees it.
        sky: behind everything.
        exposure: mean brightness of the image before the tone curve, 0 to 1.
        gamma: of the tone curve.
        saturation: 1 leaves colors as they are.
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
        """Put a solid in."""
        self.solids.append(Solid(kind, center, half, yaw, pitch, roll, material, casts_shadow))

    def color(self, low: float = 0.1, high: float = 0.9, *, vivid: float = 0.4) -> Color:
        """Draw an albedo; `vivid` is how far its channels go apart."""
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
        """Draw a material with a texture of a family; "plain" has none."""
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
        """Draw whether something is so."""
        return self.rng.random() < probability


@dataclass(frozen=True, slots=True)
class Frame:
    """A place and a direction in which things are put together.

    Attributes:
        scene: what they go into.
        origin: meters; usually on the floor.
        yaw: which way is ahead, radians.
    """

    scene: Scene
    origin: Point
    yaw: float = 0.0

    def at(self, x: float, y: float, z: float) -> Point:
        """Give a point of this frame in the scene."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        return self.origin[0] + cos * x + sin * z, self.origin[1] + y, self.origin[2] - sin * x + cos * z

    def inner(self, x: float, y: float, z: float, yaw: float = 0.0) -> Frame:
        """Give a frame within this one."""
        return Frame(self.scene, self.at(x, y, z), self.yaw + yaw)

    def box(self, center: Point, half: Point, material: Material, *, yaw: float = 0.0, pitch: float = 0.0) -> None:
        """Put a box in."""
        self.scene.add(SolidKind.BOX, self.at(*center), half, material, yaw=self.yaw + yaw, pitch=pitch)

    def ball(self, center: Point, half: Point, material: Material, *, yaw: float = 0.0, roll: float = 0.0) -> None:
        """Put an ellipsoid in."""
        self.scene.add(SolidKind.SPHERE, self.at(*center), half, material, yaw=self.yaw + yaw, roll=roll)

    def rod(self, foot: Point, radius: float, height: float, material: Material) -> None:
        """Put an upright cylinder on its foot."""
        center = self.at(foot[0], foot[1] + height / 2, foot[2])
        self.scene.add(SolidKind.CYLINDER, center, (radius, height / 2, radius), material, yaw=self.yaw)

    def bar(self, start: Point, end: Point, radius: float, material: Material) -> None:
        """Put a cylinder between two points."""
        first, last = self.at(*start), self.at(*end)
        x, y, z = (b - a for a, b in zip(first, last, strict=True))
        level = math.hypot(x, z)
        center = ((first[0] + last[0]) / 2, (first[1] + last[1]) / 2, (first[2] + last[2]) / 2)
        half = (radius, math.hypot(level, y) / 2, radius)
        # An upright cylinder, laid down ahead by its pitch and turned by its yaw.
        self.scene.add(SolidKind.CYLINDER, center, half, material, yaw=math.atan2(x, z), pitch=-math.atan2(level, y))
