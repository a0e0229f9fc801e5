"""How an image becomes depth: what the network sees, where it runs, and what the camera was.

What the numbers and the colors in files are.

Which images there are, where they come from, and how many are in work at once.

How the program talks.

Where weights are, and how patiently they are fetched.

How good and how fast: known depth, evaluation, benchmarks.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, fields
from enum import StrEnum

from glpn_cli.errors import UsageError

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

    @classmethod
    def _missing_(cls, value: object) -> Scale | None:
        return cls.METERS if value == "metres" else None


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

    @classmethod
    def _missing_(cls, value: object) -> Colormap | None:
        return cls.GRAY if value == "grey" else None


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


MAX_LIST_BYTES = 2**28

"""More than this is no list of images."""


MAX_STREAM_BYTES = 2**31

"""More than this from a pipe is no image within the limit of pixels."""


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """Which images are found in the folders that a user names.

    Attributes:
        recursive: also those of the folders below.
        include: patterns; if there are any, only what matches one.
        exclude: patterns; what matches one is left out.
        hidden: also hidden files and folders.
        allow_url: also fetch images from http(s) addresses.
    """

    recursive: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    hidden: bool = False
    allow_url: bool = False


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """How much patience an image from the network gets.

    Attributes:
        max_bytes: more than this is not fetched.
        timeout_s: for one image, from the first connection to the last byte, redirects included.
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
        batch_size: images of one size that the network sees at once; None is as many as a GPU has memory for, and
            one on a CPU.
        workers: threads that read images, and as many that write depth.
    """

    batch_size: int | None = None
    workers: int = 4

    @classmethod
    def of(cls, *, batch_size: int | None, workers: int | None) -> BatchSettings:
        """Fill in what the user left open; no more workers than cores."""
        return cls(batch_size, workers or min(cls().workers, os.cpu_count() or 1))


class ColorPolicy(StrEnum):
    """When the terminal output is colored."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


RANDOM_WEIGHTS = "random"

"""What `glpn bench` calls the published architecture without its weights."""


WEIGHTS_VARIABLE = "GLPN_WEIGHTS"

"""The environment variable that `auto` weights look at first."""


HOME_VARIABLE = "GLPN_HOME"

"""The environment variable that says where downloaded and imported weights are kept."""


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


DATA_VARIABLE = "GLPN_DATA"

"""The environment variable that says where the data sets are that have names."""


class Crop(StrEnum):
    """In which part of an image true depth counts."""

    NONE = "none"
    NYU = "nyu"
    """Eigen's crop of NYU Depth V2: rows 45 to 470 and columns 41 to 600 of 480x640."""
    GARG = "garg"
    """The lower part of a street scene, without its margins, as shares of height and width."""
    EIGEN = "eigen"
    """Another such part, reaching higher."""


class Align(StrEnum):
    """What an image's predicted depth is multiplied with before it is measured once more."""

    MEDIAN = "median"
    """What makes its median that of the true depth."""
    LEAST_SQUARES = "least-squares"
    """What makes the sum of squared errors smallest."""


@dataclass(frozen=True, slots=True)
class DataSettings:
    """Images with known depth, and how their files are to be understood.

    Attributes:
        data: "nyu", "kitti", or a folder with NAME.jpg and NAME.png beside each other.
        root: where the named ones are; None is $GLPN_DATA, else the working folder.
        list_file: says which pairs there are; None is the list at its usual place, else all pairs that are found.
        units_per_meter: what a meter is in the depth files; None is what the named ones use.
    """

    data: str
    root: str | None = None
    list_file: str | None = None
    units_per_meter: float | None = None


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """What counts in an evaluation, and how sure it is made to be.

    Attributes:
        crop: in which true depth counts; None is what belongs to the data.
        cap_m: true depth of this or more does not count; None is what belongs to the data.
        align: measure once more with the scale of each image aligned; None does not.
        baselines: measure predictions that do not look at the image, too.
        resamples: how often images are drawn for an interval; 0 gives no intervals.
        confidence_percent: how many of those draws lie within an interval.
        seed: of the draws.
    """

    crop: Crop | None = None
    cap_m: float | None = None
    align: Align | None = None
    baselines: bool = False
    resamples: int = 5000
    confidence_percent: float = 95.0
    seed: int = 0


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
