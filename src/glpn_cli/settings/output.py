"""What the numbers and the colors in files are."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import StrEnum

from glpn_cli.errors import UsageError
from glpn_cli.settings.prediction import SIZE_DIVISOR, Precision, parse_size

__all__ = [
    "AUTO_RANGE",
    "Colormap",
    "DepthRange",
    "ExportSettings",
    "Near",
    "Normalize",
    "OutputSettings",
    "Scale",
    "ValidRange",
]

AUTO_RANGE = "p1:p99"
"""What `--range auto` is: a hundredth of the pixels at each end is not worth stretching the colors for."""


class Normalize(StrEnum):
    """How an 8-bit image of depth uses its 256 steps."""

    MAX = "max"
    """255·depth/max(depth), the documented way: 0 m is black and the farthest pixel white."""
    MINMAX = "minmax"
    """The nearest pixel is black, the farthest white, as the pipeline of transformers has it since 4.46."""


class Scale(StrEnum):
    """What a 1 in a file stands for."""

    METERS = "meters"
    PUBLISHED = "published"
    """What the published weights say, and transformers gives: for kitti an eighth of the meters."""


class Colormap(StrEnum):
    """The colors of depth, by the names of `output/colormaps.png`."""

    TURBO = "turbo"
    MAGMA = "magma"
    INFERNO = "inferno"
    PLASMA = "plasma"
    VIRIDIS = "viridis"
    CIVIDIS = "cividis"
    BATLOW = "batlow"
    SPECTRAL = "spectral"
    GRAY = "gray"


class Near(StrEnum):
    """What near looks like in an image of depth: the bright or warm end of its colors, or the dark or cold one."""

    BRIGHT = "bright"
    DARK = "dark"


@dataclass(frozen=True, slots=True)
class DepthRange:
    """Which depths the colors or grays of an image stand for; what is outside looks like the nearest end.

    Attributes:
        mode: "fixed" (meters), "percentiles" (of the depth itself) or "model" (0 to the weights' depth limit).
        low: with "fixed" meters, with "percentiles" percent; else 0.
        high: likewise, and more than low.
        text: as the user wrote it.
    """

    mode: str
    low: float = 0.0
    high: float = 0.0
    text: str = ""

    def __str__(self) -> str:
        return self.text

    @classmethod
    def parse(cls, text: str) -> DepthRange:
        """Read "LO:HI" in meters, "pLO:pHI" in percentiles, "auto" (which is p1:p99) or "model".

        Raises:
            UsageError: it is none of them.
        """
        if text == "model":
            return cls("model", text=text)
        mode, ends = "fixed", (AUTO_RANGE if text == "auto" else text).partition(":")
        numbers = [ends[0], ends[2]]
        if all(end.startswith("p") for end in numbers):
            mode, numbers = "percentiles", [end[1:] for end in numbers]
        try:
            low, high = (float(number) for number in numbers)
        except ValueError:
            raise UsageError(
                f"--range is LO:HI, pLO:pHI, auto or model, not {text!r}", hint="for example 0:10 or p2:p98"
            ) from None
        if not (0 <= low < high < float("inf")) or (mode == "percentiles" and high > 100):
            limit = ", which is at most 100" if mode == "percentiles" else ""
            raise UsageError(f"--range {text}: the first number is at least 0 and less than the second{limit}")
        return cls(mode, low, high, text)


@dataclass(frozen=True, slots=True)
class ValidRange:
    """From where to where depth is valid, both ends included, meters; None leaves an end open."""

    near_m: float | None = None
    far_m: float | None = None

    def __str__(self) -> str:
        return ":".join("" if end is None else f"{end:g}" for end in (self.near_m, self.far_m))

    @classmethod
    def parse(cls, text: str) -> ValidRange:
        """Read "NEAR:FAR", of which one may be missing.

        Raises:
            UsageError: it is something else, or nothing lies between the two.
        """
        near, separator, far = text.partition(":")
        try:
            ends = [float(end) if end.strip() else None for end in (near, far)]
        except ValueError:
            ends = [math.nan]
        known = [end for end in ends if end is not None]
        if not (separator and known and all(0 <= end < math.inf for end in known)):
            raise UsageError(f"--valid-range is NEAR:FAR in meters, not {text!r}", hint="for example 0.5:8, or :8")
        if len(known) == 2 and known[0] >= known[1]:
            raise UsageError(f"--valid-range {text}: nothing lies between the two")
        return cls(*ends)


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """What an exported network takes and gives.

    Attributes:
        size: "HxW", "dynamic" for any batch of any multiples of 32, or None: the weights' working size.
        precision: the number format inside; what goes in and comes out is float32 in any case.
        with_preprocessing: 8-bit images in and meters out, instead of [0, 1] and the published scale.
    """

    size: str | None = None
    precision: Precision = Precision.FLOAT32
    with_preprocessing: bool = False

    def __post_init__(self) -> None:
        """Refuse what no file can hold.

        Raises:
            UsageError: no file computes in such numbers, or the size is none.
        """
        if self.precision is Precision.TF32:
            raise UsageError("--precision tf32 is up to the program that runs the file", hint="--precision float32")
        if self.precision is Precision.BFLOAT16:
            raise UsageError(
                "--precision bfloat16: ONNX has no convolutions in it", hint="--precision float16 or float32"
            )
        self.size_for((SIZE_DIVISOR, SIZE_DIVISOR))

    def size_for(self, working_size: tuple[int, int]) -> tuple[int, int] | None:
        """Give (height, width) of the input, or None for any.

        Raises:
            UsageError: the size is none, or a side is no multiple of 32.
        """
        if self.size is None:
            return self.floored(working_size)
        if self.size == "dynamic":
            return None
        height, width = parse_size(self.size)
        if (height, width) != self.floored((height, width)):
            nearest = "x".join(str(side) for side in self.floored((height, width)))
            raise UsageError(
                f"--size {self.size}: both sides must be multiples of {SIZE_DIVISOR}", hint=f"such as {nearest}"
            )
        return height, width

    @staticmethod
    def floored(size: tuple[int, int]) -> tuple[int, int]:
        """Round both sides down to multiples of 32, but to 32 at least."""
        height, width = (max(side // SIZE_DIVISOR, 1) * SIZE_DIVISOR for side in size)
        return height, width


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """How depth becomes the numbers and colors in a file.

    Attributes:
        normalize: of gray images, where there is no range.
        scale: for files that hold depth.
        png_compression: 0 (none) to 9 (smallest). The default writes four times as fast as zlib's own, for files a
            quarter larger.
        range: which depths gray and colored images span; None for gray ones by `normalize`, colored ones "auto".
        range_m: what the range comes to for a whole run; None for each image by itself.
        near: what near looks like; None is dark in gray images and bright in colored ones.
        colormap: of colored images.
        legend: colored images get a bar with meters below them.
        side_by_side: colored images get the photo to their left.
        edge_filter: in space, a point is left out where it lies between two neighbors and differs from both by more
            than this share, and a triangle where its corners differ by more; 0 keeps all.
        valid_range: in space, what depth is kept; None is all that is known and not at the depth limit.
        max_points: in space, larger images are thinned to at most about so many; 0 keeps a point for every pixel.
    """

    normalize: Normalize = Normalize.MAX
    scale: Scale = Scale.METERS
    png_compression: int = 1
    range: DepthRange | None = None
    range_m: tuple[float, float] | None = None
    near: Near | None = None
    colormap: Colormap = Colormap.TURBO
    legend: bool = False
    side_by_side: bool = False
    edge_filter: float = 0.1
    valid_range: ValidRange | None = None
    max_points: int = 1_000_000

    def that_differ(self) -> dict[str, str]:
        """Give what decides the contents of outputs and is not as by default, as text by name."""
        return {
            item.name: str(value)
            for item in fields(self)
            if item.name not in ("png_compression", "range_m") and (value := getattr(self, item.name)) != item.default
        }
