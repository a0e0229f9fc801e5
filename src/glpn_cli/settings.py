"""Every choice a user has and every default, each written once.

Standard library only: the command line reads this before it knows whether any work will be done.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum

from glpn_cli.errors import UsageError

__all__ = [
    "DATA_VARIABLE",
    "FAR_LARGER_FACTOR",
    "HOME_VARIABLE",
    "MAX_LIST_BYTES",
    "MAX_PICTURE_PIXELS",
    "MAX_STREAM_BYTES",
    "RANDOM_WEIGHTS",
    "SIZE_DIVISOR",
    "WEIGHTS_VARIABLE",
    "BatchSettings",
    "BenchSettings",
    "ColorPolicy",
    "Crop",
    "DataSettings",
    "DownloadSettings",
    "FetchSettings",
    "InputSize",
    "Normalize",
    "OutputSettings",
    "Precision",
    "PredictorSettings",
    "Rival",
    "Scale",
    "SearchSettings",
    "Tiles",
    "parse_size",
]

SIZE_DIVISOR = 32
"""The network halves its input five times, so the sides of what it sees are multiples of this."""

MAX_PICTURE_PIXELS = 178_956_970
"""Pictures of more pixels are refused before they are decoded, unless the user says otherwise. It is Pillow's own limit
for a decompression bomb."""

MAX_LIST_BYTES = 2**28
"""More than this is no list of pictures."""

MAX_STREAM_BYTES = 2**31
"""More than this from a pipe is no picture within the limit of pixels."""

FAR_LARGER_FACTOR = 4.0
"""A picture of more than this many times the pixels of the model's working size earns a hint."""

RANDOM_WEIGHTS = "random"
"""What `glpn bench` calls the published architecture without its weights."""

WEIGHTS_VARIABLE = "GLPN_WEIGHTS"
"""The environment variable that `auto` weights look at first."""

HOME_VARIABLE = "GLPN_HOME"
"""The environment variable that says where downloaded and imported weights are kept."""

DATA_VARIABLE = "GLPN_DATA"
"""The environment variable that says where the data sets are that have names."""


class Precision(StrEnum):
    """The number format that the network computes in. Depth is float32 in every case."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class Normalize(StrEnum):
    """How an 8-bit picture of depth uses its 256 steps."""

    MAX = "max"
    """255·depth/max(depth), the documented way: 0 m is black and the farthest pixel white."""
    MINMAX = "minmax"
    """The nearest pixel is black, the farthest white, as the pipeline of transformers has it since 4.46."""


class Scale(StrEnum):
    """What a 1 in a file stands for."""

    METRES = "metres"
    PUBLISHED = "published"
    """What the published weights say, and transformers gives: for kitti an eighth of the metres."""


class Crop(StrEnum):
    """In which part of a picture true depth counts."""

    NONE = "none"
    NYU = "nyu"
    """Eigen's crop of NYU Depth V2: rows 45 to 470 and columns 41 to 600 of 480x640."""
    GARG = "garg"
    """The lower part of a street scene, without its margins, as shares of height and width."""
    EIGEN = "eigen"
    """Another such part, reaching higher."""


class ColorPolicy(StrEnum):
    """When the terminal output is coloured."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


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
    """What size a picture has when the network sees it.

    Attributes:
        mode: "native" (the picture's own size), "model" (about as many pixels as the model's working size)
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
    """Whether a large picture is also seen in overlapping tiles.

    Attributes:
        mode: "off", "auto" (pictures far larger than the weights were made for) or "fixed".
        height_px: with "fixed", of a tile, a multiple of 32; else 0.
        width_px: likewise.
    """

    mode: str = "off"
    height_px: int = 0
    width_px: int = 0

    def __str__(self) -> str:
        return f"{self.height_px}x{self.width_px}" if self.mode == "fixed" else self.mode

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
class PredictorSettings:
    """What a predictor is built from.

    Attributes:
        weights: "auto", a name, a path, or OWNER/REPO of the Hugging Face Hub.
        device: "auto", "cpu", "cuda", "cuda:N", "mps" or "xpu".
        precision: the number format of the network.
        input_size: None leaves it to the weights.
        tiles: whether large pictures are also seen in tiles.
        threads: CPU threads of the network; None leaves it to torch.
        offline: download nothing.
        keep_rgb: leave the picture in the depth map, for formats that show it.
        max_pixels: pictures of more are refused before they are decoded.
    """

    weights: str = "auto"
    device: str = "auto"
    precision: Precision = Precision.FLOAT32
    input_size: InputSize | None = None
    tiles: Tiles = Tiles()
    threads: int | None = None
    offline: bool = False
    keep_rgb: bool = False
    max_pixels: int = MAX_PICTURE_PIXELS


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """Which pictures are found in the folders that a user names.

    Attributes:
        recursive: also those of the folders below.
        include: patterns; if there are any, only what matches one.
        exclude: patterns; what matches one is left out.
        hidden: also hidden files and folders.
        allow_url: also fetch pictures from http(s) addresses.
    """

    recursive: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    hidden: bool = False
    allow_url: bool = False


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """How much patience a picture from the network gets.

    Attributes:
        max_bytes: more than this is not fetched.
        timeout_s: for one picture, from the first connection to the last byte, redirects included.
        silence_timeout_s: a server that says nothing for so long is given up.
        max_redirects: more than this in a row are a loop.
    """

    max_bytes: int = 256 * 2**20
    timeout_s: float = 60.0
    silence_timeout_s: float = 10.0
    max_redirects: int = 5


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """How much of a batch happens at once.

    Attributes:
        batch_size: pictures of one size that a GPU computes at once. More than a few gain little and need memory.
        workers: threads that read pictures, and as many that write depth.
    """

    batch_size: int = 4
    workers: int = 4

    @classmethod
    def of(cls, *, batch_size: int | None, workers: int | None) -> BatchSettings:
        """Fill in what the user left open; no more workers than cores."""
        return cls(batch_size or cls().batch_size, workers or min(cls().workers, os.cpu_count() or 1))


@dataclass(frozen=True, slots=True)
class DataSettings:
    """Pictures with known depth, and how their files are to be understood.

    Attributes:
        data: "nyu", "kitti", or a folder with NAME.jpg and NAME.png beside each other.
        root: where the named ones are; None is $GLPN_DATA, else the working folder.
        list_file: says which pairs there are; None is the list at its usual place, else all pairs that are found.
        units_per_metre: what a metre is in the depth files; None is what the named ones use.
    """

    data: str
    root: str | None = None
    list_file: str | None = None
    units_per_metre: float | None = None


@dataclass(frozen=True, slots=True)
class DownloadSettings:
    """How long a download keeps trying.

    Attributes:
        attempts: how often in a row without progress.
        first_wait_s: before the second attempt; doubled before each further one.
        longest_wait_s: longer ones are left to the user, also where the server asks for them.
        progress_bytes: what has to arrive for a fault to count as the first one again.
        connect_timeout_s: for a connection, and for an answer about a file.
        silence_timeout_s: a connection that brings nothing for so long counts as cut.
    """

    attempts: int = 5
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    progress_bytes: int = 2**20
    connect_timeout_s: float = 10.0
    silence_timeout_s: float = 30.0


class Rival(StrEnum):
    """Another way to run the same network, to be measured beside ours."""

    TRANSFORMERS = "transformers"
    OPENVINO = "openvino"
    ONNXRUNTIME = "onnxruntime"


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """What `glpn bench` measures.

    Attributes:
        sizes: of made-up photos, as "HxW".
        rounds: how often everything is timed.
        weights: a name or path as everywhere, or "random": the published architecture without its weights.
        device: as everywhere.
    """

    sizes: tuple[str, ...] = ("480x640", "1080x1920")
    rounds: int = 5
    weights: str = RANDOM_WEIGHTS
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """How depth becomes the numbers in a file.

    Attributes:
        normalize: for pictures to look at.
        scale: for files that hold depth.
        png_compression: 0 (none) to 9 (smallest). The default writes four times as fast as zlib's own, for files a
            quarter larger.
    """

    normalize: Normalize = Normalize.MAX
    scale: Scale = Scale.METRES
    png_compression: int = 1
