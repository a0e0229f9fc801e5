"""How an image becomes depth: what the network sees, where it runs, and what the camera was."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

from glpn_cli.errors import UsageError

__all__ = [
    "ASSUMED_FOV_DEG",
    "FAR_LARGER_FACTOR",
    "MAX_IMAGE_PIXELS",
    "MUCH_SATURATED_SHARE",
    "SATURATED_SHARE",
    "SIZE_DIVISOR",
    "CameraSettings",
    "InputSize",
    "Precision",
    "PredictorSettings",
    "Tiles",
    "Tta",
    "parse_size",
]

SIZE_DIVISOR = 32
"""The network halves its input five times, so the sides of what it sees are multiples of this."""


MAX_IMAGE_PIXELS = 178_956_970
"""Images of more pixels are refused before they are decoded, unless the user says otherwise. It is Pillow's own limit
for a decompression bomb."""


FAR_LARGER_FACTOR = 4.0
"""An image of more than this many times the pixels of the model's working size earns a hint."""


SATURATED_SHARE = 0.95
"""Depth from this share of the weights' depth limit on may as well be any farther: the network cannot say more."""


MUCH_SATURATED_SHARE = 0.2
"""More than this share of an image at the depth limit earns a hint at weights that see farther."""


ASSUMED_FOV_DEG = 55.0
"""What a camera is taken to see along the long side of an image that says nothing of its lens. Phones and kit lenses
lie between 50 and 75."""


class Precision(StrEnum):
    """The number format that the network computes in. Depth is float32 in every case."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    TF32 = "tf32"
    """float32 whose products NVIDIA GPUs round to TF32, ten bits behind the point."""


class Tta(StrEnum):
    """What else the network is asked about an image, to average the answers."""

    NONE = "none"
    FLIP = "flip"
    """The mirrored image: steadier depth, and by how much the two differ, for twice the time."""


def parse_size(text: str) -> tuple[int, int]:
    """Read (height, width) from "HxW".

    Raises:
        UsageError: it is something else.
    """
    height, separator, width = text.lower().partition("x")
    if not (separator and height.isascii() and width.isascii() and height.isdecimal() and width.isdecimal()):
        raise UsageError(f"a size is HEIGHTxWIDTH, not {text!r}", hint="for example 480x640")
    if not (int(height) and int(width)):
        raise UsageError(f"a size of {text} has no pixels")
    return int(height), int(width)


@dataclass(frozen=True, slots=True)
class InputSize:
    """What size an image has when the network sees it.

    Attributes:
        mode: "native" (the image's own size), "model" (about as many pixels as the model's working size)
            or "fixed".
        height_px: with "fixed", a multiple of 32; else 0.
        width_px: likewise.
    """

    mode: str
    height_px: int = 0
    width_px: int = 0

    def __str__(self) -> str:
        return f"{self.height_px}x{self.width_px}" if self.mode == "fixed" else self.mode

    @classmethod
    def parse(cls, text: str) -> InputSize:
        """Read "native", "model" or "HxW" as a user writes it.

        Raises:
            UsageError: it is none of them, or a side is no positive multiple of 32.
        """
        return (
            cls(text)
            if text in ("native", "model")
            else cls("fixed", *_parse_sides(text, "--input-size", "native, model"))
        )


@dataclass(frozen=True, slots=True)
class Tiles:
    """Whether a large image is also seen in overlapping tiles.

    Attributes:
        mode: "off", "auto" (images far larger than the weights were made for) or "fixed".
        height_px: with "fixed", of a tile, a multiple of 32; else 0.
        width_px: likewise.
    """

    mode: str = "off"
    height_px: int = 0
    width_px: int = 0

    def __str__(self) -> str:
        return f"{self.height_px}x{self.width_px}" if self.mode == "fixed" else self.mode

    @property
    def is_on(self) -> bool:
        """Whether any image might be seen in tiles."""
        return self.mode != "off"

    @classmethod
    def parse(cls, text: str) -> Tiles:
        """Read "off", "auto" or "HxW" as a user writes it.

        Raises:
            UsageError: it is none of them, or a side is no positive multiple of 32.
        """
        return cls(text) if text in ("off", "auto") else cls("fixed", *_parse_sides(text, "--tiles", "off, auto"))


def _parse_sides(text: str, option: str, words: str) -> tuple[int, int]:
    try:
        sides = parse_size(text)
    except UsageError as error:
        raise UsageError(f"{option} is {words} or a size: {error.message}", hint=error.hint) from None
    if any(side % SIZE_DIVISOR for side in sides):
        nearest = "x".join(str(max(1, round(side / SIZE_DIVISOR)) * SIZE_DIVISOR) for side in sides)
        raise UsageError(
            f"{option} {text}: both sides must be multiples of {SIZE_DIVISOR}", hint=f"the nearest is {nearest}"
        )
    return sides


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """What the user says of the camera; at most one of these.

    Attributes:
        fov_deg: degrees that it sees horizontally in the upright image.
        focal_px: focal length in pixels of the upright image.
        focal_mm_35: focal length in 35 mm terms, as cameras state it: by the diagonal.
    """

    fov_deg: float | None = None
    focal_px: float | None = None
    focal_mm_35: float | None = None

    def __post_init__(self) -> None:
        """Refuse what is no camera.

        Raises:
            UsageError: two are given, or one is out of bounds.
        """
        said = {name: getattr(self, name) for name in ("fov_deg", "focal_px", "focal_mm_35")}
        given = {name: value for name, value in said.items() if value is not None}
        options = [f"--{name.replace('_', '-')}" for name in given]
        if len(given) > 1:
            raise UsageError(f"{' and '.join(options)} say the same in two ways", hint="leave one out")
        for name, value in given.items():
            if not 0 < value < (180 if name == "fov_deg" else math.inf):
                raise UsageError(f"{options[0]} {value:g}: there is no such camera")

    def __str__(self) -> str:
        said = {name: getattr(self, name) for name in ("fov_deg", "focal_px", "focal_mm_35")}
        return ", ".join(f"{name} {value:g}" for name, value in said.items() if value is not None) or "of each image"


@dataclass(frozen=True, slots=True)
class PredictorSettings:
    """What a predictor is built from.

    Attributes:
        weights: "auto", a name, a path, or OWNER/REPO of the Hugging Face Hub.
        device: "auto", "cpu", "cuda", "cuda:N", "mps" or "xpu".
        precision: the number format of the network.
        input_size: None leaves it to the weights.
        tiles: whether large images are also seen in tiles.
        threads: CPU threads of the network; None leaves it to torch.
        offline: download nothing.
        keep_rgb: leave the image in the depth map, for formats that show it.
        max_pixels: images of more are refused before they are decoded.
        tta: what else the network is asked about each image.
        camera: what the user says of the camera.
    """

    weights: str = "auto"
    device: str = "auto"
    precision: Precision = Precision.FLOAT32
    input_size: InputSize | None = None
    tiles: Tiles = Tiles()
    threads: int | None = None
    offline: bool = False
    keep_rgb: bool = False
    max_pixels: int = MAX_IMAGE_PIXELS
    tta: Tta = Tta.NONE
    camera: CameraSettings = field(default_factory=CameraSettings)
