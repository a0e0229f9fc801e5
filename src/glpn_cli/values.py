"""Values of settings that have a form as text, such as `Curve` and `DepthRange`."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from enum import StrEnum

from glpn_cli.convert import closest_hint, parse_input_size
from glpn_cli.errors import UsageError


class Precision(StrEnum):
    """Number format of the network. Depth is float32 in every case."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    TF32 = "tf32"
    """float32 whose matrix products NVIDIA GPUs round to 10 fraction bits."""


class EngineName(StrEnum):
    """What computes the network."""

    AUTO = "auto"
    """OpenVINO in a run that is long enough to pay for compiling, else torch."""
    TORCH = "torch"
    OPENVINO = "openvino"


@dataclass(frozen=True)
class EngineChoice:
    """What computes the network.

    Attributes:
        name: which engine.
        sizes: with OPENVINO, the (height, width) of the inputs that it computes, and torch computes the others; empty
            for all.
    """

    name: EngineName = EngineName.AUTO
    sizes: tuple[tuple[int, int], ...] = ()

    def __str__(self) -> str:
        sizes = ",".join(f"{height}x{width}" for height, width in self.sizes)
        return f"{self.name}:{sizes}" if sizes else str(self.name)

    def for_size(self, size: tuple[int, int]) -> EngineName:
        """Return the engine for an input of a (height, width); AUTO that nothing has decided is TORCH."""
        uses_openvino = self.name is EngineName.OPENVINO and (not self.sizes or size in self.sizes)
        return EngineName.OPENVINO if uses_openvino else EngineName.TORCH

    @classmethod
    def parse(cls, text: str) -> EngineChoice:
        """Read "auto", "torch", "openvino" or "openvino:HxW,HxW".

        Raises:
            UsageError: the text is none of them, or a side is not a multiple of 32.
        """
        name, separator, sizes = text.lower().partition(":")
        if name not in list(EngineName) or (separator and name != EngineName.OPENVINO):
            raise UsageError(
                f"{text!r} is not one of {', '.join(EngineName)}", hint=closest_hint(name, EngineName), setting="engine"
            )
        parsed = sorted({parse_input_size(size.strip(), "engine") for size in sizes.split(",")}) if separator else []
        return cls(EngineName(name), tuple(parsed))


AUTO_ENGINE = EngineChoice()


class Tta(StrEnum):
    """Test-time augmentation: additional views of the image, whose predictions are averaged."""

    NONE = "none"
    FLIP = "flip"
    """The mirrored image. Depth is steadier and its uncertainty is estimated, in twice the time."""


class SizeMode(StrEnum):
    """How `InputSize` chooses the size of the network's input."""

    NATIVE = "native"
    """The size of the image, rounded down to multiples of 32."""
    MODEL = "model"
    """The shape of the image, with about as many pixels as the weights' working size."""
    FIXED = "fixed"


@dataclass(frozen=True)
class InputSize:
    """Size of the network's input.

    Attributes:
        mode: how it is chosen.
        height_px, width_px: with FIXED, multiples of 32; else 0.
    """

    mode: SizeMode
    height_px: int = 0
    width_px: int = 0

    def __str__(self) -> str:
        return f"{self.height_px}x{self.width_px}" if self.mode is SizeMode.FIXED else str(self.mode)

    @classmethod
    def parse(cls, text: str) -> InputSize:
        """Read "native", "model" or "HxW".

        Raises:
            UsageError: the text is none of them, or a side is not a multiple of 32.
        """
        if text.lower() in (SizeMode.NATIVE, SizeMode.MODEL):
            return cls(SizeMode(text.lower()))
        return cls(SizeMode.FIXED, *parse_input_size(text, "input_size", "native, model"))


class TileMode(StrEnum):
    """Which images are also predicted in tiles."""

    OFF = "off"
    AUTO = "auto"
    """Images far larger than the weights' working size."""
    FIXED = "fixed"
    """Images larger than the given tile."""


@dataclass(frozen=True)
class Tiles:
    """Whether large images are also predicted in overlapping tiles.

    Attributes:
        mode: which images.
        height_px, width_px: with FIXED, the size of a tile, multiples of 32; else 0.
    """

    mode: TileMode = TileMode.OFF
    height_px: int = 0
    width_px: int = 0

    def __str__(self) -> str:
        return f"{self.height_px}x{self.width_px}" if self.mode is TileMode.FIXED else str(self.mode)

    @property
    def is_on(self) -> bool:
        """Whether any image might be predicted in tiles."""
        return self.mode is not TileMode.OFF

    @classmethod
    def parse(cls, text: str) -> Tiles:
        """Read "off", "auto" or "HxW".

        Raises:
            UsageError: the text is none of them, or a side is not a multiple of 32.
        """
        if text.lower() in (TileMode.OFF, TileMode.AUTO):
            return cls(TileMode(text.lower()))
        return cls(TileMode.FIXED, *parse_input_size(text, "tiles", "off, auto"))


AUTO_RANGE = "p1:p99"
"""The range that "auto" means: outliers of 1 % at each end do not stretch the colors."""


NO_TILES = Tiles()


class Normalize(StrEnum):
    """How 8-bit gray images use their 256 levels."""

    MAX = "max"
    """255·depth/max(depth), as documented for GLPN: 0 m is black and the farthest pixel is white."""
    MINMAX = "minmax"
    """The nearest pixel is black and the farthest white, as in the pipeline of transformers since 4.46."""


class Scale(StrEnum):
    """Unit of the numbers in a depth file."""

    METERS = "meters"
    PUBLISHED = "published"
    """The network's output, as transformers returns it: an eighth of the meters for kitti."""

    @classmethod
    def _missing_(cls, value: object) -> Scale | None:
        return cls.METERS if value == "metres" else None


class Colormap(StrEnum):
    """Color maps, by their names in `output/colormaps.png`."""

    TURBO = "turbo"
    MAGMA = "magma"
    INFERNO = "inferno"
    PLASMA = "plasma"
    VIRIDIS = "viridis"
    CIVIDIS = "cividis"
    BATLOW = "batlow"
    SPECTRAL = "spectral"
    GRAY = "gray"

    @classmethod
    def _missing_(cls, value: object) -> Colormap | None:
        return cls.GRAY if value == "grey" else None


class Curve(StrEnum):
    """The quantity that colors and gray levels are linear in, from the nearest to the farthest depth of their range."""

    INVERSE = "inverse"
    """1/depth: most colors go to near objects, as in the images of MiDaS, Depth Anything and Depth Pro."""
    LOG = "log"
    """The logarithm: twice the depth is the same step anywhere."""
    LINEAR = "linear"
    """Meters."""


class Near(StrEnum):
    """Which end of the colors or grays near pixels get."""

    BRIGHT = "bright"
    DARK = "dark"


class RangeMode(StrEnum):
    """How `DepthRange` is given."""

    FIXED = "fixed"
    """In meters."""
    PERCENTILES = "percentiles"
    """Of the depth itself."""
    MODEL = "model"
    """From 0 to the depth limit of the weights."""
    RUN = "run"
    """The range that suits most images of a run; for a single image, that of "auto"."""


@dataclass(frozen=True)
class DepthRange:
    """The depths that the colors or grays of an image span; depth outside gets the nearest end's color.

    Attributes:
        mode: how the range is given.
        low, high: meters with FIXED, percent with PERCENTILES, else 0.
        text: the text that was parsed; empty if there was none.
    """

    mode: RangeMode
    low: float = 0.0
    high: float = 0.0
    text: str = ""

    def __str__(self) -> str:
        if self.text or self.mode in (RangeMode.MODEL, RangeMode.RUN):
            return self.text or str(self.mode)
        sign = "p" if self.mode is RangeMode.PERCENTILES else ""
        return f"{sign}{self.low:g}:{sign}{self.high:g}"

    @classmethod
    def parse(cls, text: str) -> DepthRange:
        """Read "LO:HI" in meters, "pLO:pHI" in percentiles, "auto", "run" or "model".

        Raises:
            UsageError: the text is none of them, or the range is empty.
        """
        text = text.lower()
        if text in (RangeMode.MODEL, RangeMode.RUN):
            return cls(RangeMode(text), text=text)
        mode = RangeMode.FIXED
        low_text, _, high_text = (AUTO_RANGE if text == "auto" else text).partition(":")
        if low_text.startswith("p") and high_text.startswith("p"):
            mode, low_text, high_text = RangeMode.PERCENTILES, low_text[1:], high_text[1:]
        try:
            low, high = float(low_text), float(high_text)
        except ValueError:
            raise UsageError(
                f"must be LO:HI, pLO:pHI, auto, run or model, not {text!r}",
                hint="for example 0:10 or p2:p98",
                setting="range",
            ) from None
        if not (0 <= low < high < math.inf) or (mode is RangeMode.PERCENTILES and high > 100):
            limit = " and at most 100" if mode is RangeMode.PERCENTILES else ""
            raise UsageError(f"{text}: the first number must be at least 0, the second larger{limit}", setting="range")
        return cls(mode, low, high, text)


@dataclass(frozen=True)
class ValidRange:
    """The depths that count as valid, meters, ends included; None leaves an end open."""

    near_m: float | None = None
    far_m: float | None = None

    def __str__(self) -> str:
        return ":".join("" if end is None else f"{end:g}" for end in (self.near_m, self.far_m))

    @classmethod
    def parse(cls, text: str) -> ValidRange:
        """Read "NEAR:FAR", "NEAR:" or ":FAR".

        Raises:
            UsageError: the text is none of them, or the range is empty.
        """
        near, separator, far = text.partition(":")
        try:
            ends = [float(end) if end.strip() else None for end in (near, far)]
        except ValueError:
            ends = [math.nan]
        known = [end for end in ends if end is not None]
        if not (separator and known and all(0 <= end < math.inf for end in known)):
            raise UsageError(
                f"must be NEAR:FAR in meters, not {text!r}", hint="for example 0.5:8 or :8", setting="valid_range"
            )
        if len(known) == 2 and known[0] >= known[1]:
            raise UsageError(f"{text} is empty: NEAR must be below FAR", setting="valid_range")
        return cls(*ends)


class Axes(StrEnum):
    """Axes of point clouds. The camera is at the origin in all of them."""

    OPENGL = "opengl"
    """X right, Y up, the camera looks along -Z: also those of glTF."""
    OPENCV = "opencv"
    """X right, Y down, Z forward: also those of ROS optical frames and Open3D's depth functions."""
    BLENDER = "blender"
    """X right, Y forward, Z up."""


class NormalMap(StrEnum):
    """The green channel of normal maps."""

    OPENGL = "opengl"
    """Bright where a surface faces up, as in Blender, Unity and Godot."""
    DIRECTX = "directx"
    """Bright where a surface faces down, as in Unreal Engine."""


class ColorPolicy(StrEnum):
    """When terminal output is colored."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


# Runs


@dataclass(frozen=True)
class Shard:
    """One of several disjoint parts of a batch.

    Attributes:
        number: from 1.
        count: of all shards.
    """

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read "NUMBER/COUNT".

        Raises:
            UsageError: the text is something else, or there is no such shard.
        """
        number, separator, count = text.partition("/")
        is_valid = separator and all(part.isascii() and part.isdecimal() for part in (number, count))
        if not is_valid or not 1 <= int(number) <= int(count):
            raise UsageError(
                f"must be NUMBER/COUNT, such as 3/20, not {text!r}", hint="the first one is 1/20", setting="shard"
            )
        return cls(int(number), int(count))

    def has(self, path: str) -> bool:
        """Return whether an image belongs to this shard, by its path relative to the folder, or its URL."""
        digest = hashlib.sha256(path.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8]) % self.count == self.number - 1
