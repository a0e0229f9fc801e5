"""Every choice a user has and every default, each written once.

Standard library only: the command line reads this before it knows whether any work will be done.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, fields
from enum import StrEnum

from glpn_cli.errors import UsageError

__all__ = [
    "ASSUMED_FOV_DEG",
    "AUTO_RANGE",
    "DATA_VARIABLE",
    "FAR_LARGER_FACTOR",
    "HOME_VARIABLE",
    "MAX_LIST_BYTES",
    "MAX_PICTURE_PIXELS",
    "MAX_STREAM_BYTES",
    "MUCH_SATURATED_SHARE",
    "NATIVE_CROP",
    "RANDOM_WEIGHTS",
    "SATURATED_SHARE",
    "SHARED_CROP",
    "SIZE_DIVISOR",
    "WEIGHTS_VARIABLE",
    "Align",
    "BatchSettings",
    "BenchSettings",
    "CameraSettings",
    "ColorPolicy",
    "Colormap",
    "Crop",
    "DataSettings",
    "DepthRange",
    "DownloadSettings",
    "EvaluationSettings",
    "ExportSettings",
    "FetchSettings",
    "InputSize",
    "Near",
    "Normalize",
    "OutputSettings",
    "Photometric",
    "Precision",
    "PredictorSettings",
    "Rival",
    "Scale",
    "SceneSettings",
    "SearchSettings",
    "Tiles",
    "TrainRun",
    "TrainSettings",
    "Tta",
    "ValidRange",
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

AUTO_RANGE = "p1:p99"
"""What `--range auto` is: a hundredth of the pixels at each end is not worth stretching the colours for."""

FAR_LARGER_FACTOR = 4.0
"""A picture of more than this many times the pixels of the model's working size earns a hint."""

SATURATED_SHARE = 0.95
"""Depth from this share of the weights' depth limit on may as well be any farther: the network cannot say more."""

MUCH_SATURATED_SHARE = 0.2
"""More than this share of a picture at the depth limit earns a hint at weights that see farther."""

ASSUMED_FOV_DEG = 55.0
"""What a camera is taken to see along the long side of a picture that says nothing of its lens. Phones and kit lenses
lie between 50 and 75."""

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


class Colormap(StrEnum):
    """The colours of depth, by the names of `output/colormaps.png`."""

    TURBO = "turbo"
    MAGMA = "magma"
    INFERNO = "inferno"
    PLASMA = "plasma"
    VIRIDIS = "viridis"
    CIVIDIS = "cividis"
    BATLOW = "batlow"
    SPECTRAL = "spectral"
    GREY = "grey"


class Near(StrEnum):
    """What near looks like in a picture of depth: the bright or warm end of its colours, or the dark or cold one."""

    BRIGHT = "bright"
    DARK = "dark"


class Align(StrEnum):
    """What a picture's predicted depth is multiplied with before it is measured once more."""

    MEDIAN = "median"
    """What makes its median that of the true depth."""
    LEAST_SQUARES = "least-squares"
    """What makes the sum of squared errors smallest."""


class ColorPolicy(StrEnum):
    """When the terminal output is coloured."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Tta(StrEnum):
    """What else the network is asked about a picture, to average the answers."""

    NONE = "none"
    FLIP = "flip"
    """The mirrored picture: steadier depth, and by how much the two differ, for twice the time."""


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

    @property
    def is_on(self) -> bool:
        """Whether any picture might be seen in tiles."""
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
class DepthRange:
    """Which depths the colours or greys of a picture stand for; what is outside looks like the nearest end.

    Attributes:
        mode: "fixed" (metres), "percentiles" (of the depth itself) or "model" (0 to the weights' depth limit).
        low: with "fixed" metres, with "percentiles" percent; else 0.
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
        """Read "LO:HI" in metres, "pLO:pHI" in percentiles, "auto" (which is p1:p99) or "model".

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
class CameraSettings:
    """What the user says of the camera; at most one of these.

    Attributes:
        fov_deg: degrees that it sees horizontally in the upright picture.
        focal_px: focal length in pixels of the upright picture.
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
        return ", ".join(f"{name} {value:g}" for name, value in said.items() if value is not None) or "of each picture"


@dataclass(frozen=True, slots=True)
class ValidRange:
    """From where to where depth is valid, both ends included, metres; None leaves an end open."""

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
            raise UsageError(f"--valid-range is NEAR:FAR in metres, not {text!r}", hint="for example 0.5:8, or :8")
        if len(known) == 2 and known[0] >= known[1]:
            raise UsageError(f"--valid-range {text}: nothing lies between the two")
        return cls(*ends)


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
        tta: what else the network is asked about each picture.
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
    max_pixels: int = MAX_PICTURE_PIXELS
    tta: Tta = Tta.NONE
    camera: CameraSettings = field(default_factory=CameraSettings)


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
        batch_size: pictures of one size that the network sees at once; None is as many as a GPU has memory for, and
            one on a CPU.
        workers: threads that read pictures, and as many that write depth.
    """

    batch_size: int | None = None
    workers: int = 4

    @classmethod
    def of(cls, *, batch_size: int | None, workers: int | None) -> BatchSettings:
        """Fill in what the user left open; no more workers than cores."""
        return cls(batch_size, workers or min(cls().workers, os.cpu_count() or 1))


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
class ExportSettings:
    """What an exported network takes and gives.

    Attributes:
        size: "HxW", "dynamic" for any batch of any multiples of 32, or None: the weights' working size.
        precision: the number format inside; what goes in and comes out is float32 in any case.
        with_preprocessing: 8-bit pictures in and metres out, instead of [0, 1] and the published scale.
    """

    size: str | None = None
    precision: Precision = Precision.FLOAT32
    with_preprocessing: bool = False

    def __post_init__(self) -> None:
        """Refuse what no file can hold.

        Raises:
            UsageError: ONNX has no such convolutions, or the size is none.
        """
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
class EvaluationSettings:
    """What counts in an evaluation, and how sure it is made to be.

    Attributes:
        crop: in which true depth counts; None is what belongs to the data.
        cap_m: true depth of this or more does not count; None is what belongs to the data.
        align: measure once more with the scale of each picture aligned; None does not.
        baselines: measure predictions that do not look at the picture, too.
        resamples: how often pictures are drawn for an interval; 0 gives no intervals.
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
    """How depth becomes the numbers and colours in a file.

    Attributes:
        normalize: of grey pictures, where there is no range.
        scale: for files that hold depth.
        png_compression: 0 (none) to 9 (smallest). The default writes four times as fast as zlib's own, for files a
            quarter larger.
        range: which depths grey and coloured pictures span; None for grey ones by `normalize`, coloured ones "auto".
        range_m: what the range comes to for a whole run; None for each picture by itself.
        near: what near looks like; None is dark in grey pictures and bright in coloured ones.
        colormap: of coloured pictures.
        legend: coloured pictures get a bar with metres below them.
        side_by_side: coloured pictures get the photo to their left.
        edge_filter: in space, a point is left out where it lies between two neighbours and differs from both by more
            than this share, and a triangle where its corners differ by more; 0 keeps all.
        valid_range: in space, what depth is kept; None is all that is known and not at the depth limit.
        max_points: in space, larger pictures are thinned to at most about so many; 0 keeps a point for every pixel.
    """

    normalize: Normalize = Normalize.MAX
    scale: Scale = Scale.METRES
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


NATIVE_CROP = (0.0, 0.0)
"""What `TrainSettings.crop` says for pieces at a picture's own resolution."""

SHARED_CROP = (0.7, 1.0)
"""Which share of a picture's sides is shown where nothing else is said."""


class Photometric(StrEnum):
    """How much the colours of training pictures are changed."""

    NONE = "none"
    PAPER = "paper"
    """Brightness and contrast, gamma, hue, saturation and value, each of every second picture."""
    STRONG = "strong"
    """Farther, and with tints, grey pictures, noise, blur and the traces of JPEG."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """What a training does. Two trainings of the same settings and seed do the same, step by step.

    Attributes:
        data: what is learnt from, each "nyu", "kitti", a folder of pairs or of kept scenes, or "scenes" (rendered
            when they are needed); "=NUMBER" at the end says how often each of its samples is seen in an epoch.
        root: see `DataSettings`; also the two below.
        units_per_metre: what a metre is in depth files of plain folders.
        validation: what is measured, in the same words. None for the test split of nyu and kitti and the last tenth
            of each folder, which is then not learnt from.
        validation_pictures: at most so many, spread evenly.
        textures: folders of pictures of which scenes get pieces.
        init: "tiny", "nyu", any weights, or "none".
        config: with "none": the name of an architecture, or a JSON file.
        sizes: (height, width) of what the network sees, and the share of the steps for which it does.
        varied_shapes: whether batches also have other shapes of as many pixels.
        crop: (low, high) cuts such a share of a picture's sides and resizes, `NATIVE_CROP` cuts the size out of it as
            it is. None is native for nyu and kitti, where that is the paper's way, and else `SHARED_CROP`.
        flip: how often pictures are mirrored.
        cut_depth: how often a strip of the picture is replaced by its depth.
        cut_depth_coverage: the strip is at most this share of the columns right of where it begins.
        photometric: changes of colour.
        batch_size: of a step, over all processes.
        accumulate: a step's batch is computed in so many parts, each with its own statistics and loss.
        epochs: how often everything is seen.
        steps: instead of epochs; 0 for epochs.
        learning_rate: the highest.
        learning_rate_end: at the beginning and the end.
        peak_at: the share of the steps after which the learning rate is highest.
        power: of the rise and the fall.
        weight_decay: 0 is Adam, else AdamW, whose decay leaves norms and biases alone.
        beta2: of Adam.
        clip_norm: gradients are shortened to this; 0 for never.
        drop_path: the rate of the last layer; None leaves it to the weights.
        ema: the decay of the averaged weights, which are the ones that are measured and kept; 0 for none.
        scale_forgiveness: of the loss.
        loss_per_picture: whether a batch's loss is the mean of the pictures' own.
        gradient_weight: how much the slopes of log depth count beside the loss of the paper.
        depth_limit_m: true depth beyond it counts as this deep, and the network's largest where it is built anew.
        precision: float32, or bfloat16 by autocast.
        seed: of everything.
    """

    data: tuple[str, ...]
    root: str | None = None
    units_per_metre: float | None = None
    validation: tuple[str, ...] | None = None
    validation_pictures: int = 100
    textures: tuple[str, ...] = ()
    init: str = "tiny"
    config: str | None = None
    sizes: tuple[tuple[int, int, float], ...] = ()
    varied_shapes: bool = False
    crop: tuple[float, float] | None = None
    flip: float = 0.5
    cut_depth: float = 0.25
    cut_depth_coverage: float = 0.75
    photometric: Photometric = Photometric.PAPER
    batch_size: int = 12
    accumulate: int = 1
    epochs: float = 25
    steps: int = 0
    learning_rate: float = 1e-4
    learning_rate_end: float = 3e-5
    peak_at: float = 0.5
    power: float = 0.9
    weight_decay: float = 0.0
    beta2: float = 0.999
    clip_norm: float = 0.0
    drop_path: float | None = None
    ema: float = 0.0
    scale_forgiveness: float = 0.5
    loss_per_picture: bool = False
    gradient_weight: float = 0.0
    depth_limit_m: float | None = None
    precision: Precision = Precision.FLOAT32
    seed: int = 0


@dataclass(frozen=True, slots=True)
class TrainRun:
    """How a training is carried out; none of it changes what comes out.

    Attributes:
        out: the folder for weights, state and logs.
        overwrite: begin anew where a training has been.
        workers: processes that make samples; 0 makes them in between.
        save_every: steps between states that a training can go on from.
        validate_every: steps between validations; 0 for once per epoch, but not more often than every hundred steps.
        max_minutes: stop after so long, to go on another time; 0 for never.
        device: as everywhere.
        threads: likewise.
        tensorboard: also write logs for TensorBoard.
        name: what the weights are called.
    """

    out: str
    overwrite: bool = False
    workers: int = 2
    save_every: int = 500
    validate_every: int = 0
    max_minutes: float = 0.0
    device: str = "auto"
    threads: int | None = None
    tensorboard: bool = False
    name: str = "glpn"


@dataclass(frozen=True, slots=True)
class SceneSettings:
    """What `glpn scenes` renders.

    Attributes:
        out: the folder that keeps them.
        count: how many.
        size: (height, width) in pixels.
        textures: folders of pictures of which surfaces get pieces.
        seed: of the first scene.
        workers: processes that render; 0 renders in this one.
    """

    out: str
    count: int = 10_000
    size: tuple[int, int] = (192, 256)
    textures: tuple[str, ...] = ()
    seed: int = 0
    workers: int = 2
