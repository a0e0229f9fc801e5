"""Settings of prediction, output, input, logging and export, with every default.

The command line, `load()` and the Python API share these dataclasses. A value may be given as text, as on a command
line: it is converted to the type of its field, or refused, when the settings are built.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import ClassVar

from glpn_cli.convert import EMPTY_HINT, SIZE_DIVISOR, Settings, parse_input_size
from glpn_cli.errors import UsageError

MAX_IMAGE_PIXELS = 178_956_970
"""The default limit on the pixels of an image, checked before decoding. Pillow's limit for a decompression bomb."""

FAR_LARGER_FACTOR = 4.0
"""An image with this many times the pixels of the weights' working size gets a note, and tiles if they are "auto"."""

SATURATED_FRACTION = 0.95
"""From this fraction of the depth limit on, depth may be any larger: the network's output is saturated."""

MUCH_SATURATED_FRACTION = 0.2
"""An image with more than this fraction of saturated pixels gets a note."""

ASSUMED_FOV_DEG = 55.0
"""The field of view assumed along the long side of an image without lens data. Phones and kit lenses have 50 to 75."""

MAX_LIST_BYTES = 2**28
"""The largest list of images that is read."""

MAX_STREAM_BYTES = 2**31
"""The largest image that is read from a pipe."""

WEIGHTS_VARIABLE = "GLPN_WEIGHTS"
"""The environment variable that names the weights that "auto" means."""

HOME_VARIABLE = "GLPN_HOME"
"""The environment variable that names the folder of downloaded and imported weights."""

DATA_VARIABLE = "GLPN_DATA"
"""The environment variable that names the folder of the data sets `nyu` and `kitti`."""


# Prediction


class Precision(StrEnum):
    """Number format of the network. Depth is float32 in every case."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    TF32 = "tf32"
    """float32 whose matrix products NVIDIA GPUs round to 10 fraction bits."""


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


@dataclass(frozen=True)
class CameraSettings:
    """What the user knows of the camera: at most one of these.

    Attributes:
        fov_deg: horizontal field of view of the upright image, degrees.
        focal_px: focal length, pixels of the upright image.
        focal_mm_35: 35 mm equivalent focal length, millimeters, by the diagonal.
        camera: a file with the intrinsics; see `geometry.calibration`.
    """

    fov_deg: float | None = None
    focal_px: float | None = None
    focal_mm_35: float | None = None
    camera: str | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: two are given, or one is out of its range.
        """
        given = self._given()
        names = [*given, *(["camera"] if self.camera is not None else [])]
        if len(names) > 1:
            raise UsageError(f"{' and '.join(f'`{name}`' for name in names)} exclude each other")
        if self.camera == "":
            raise UsageError("must not be empty", hint=EMPTY_HINT, setting="camera")
        for name, value in given.items():
            limit = 180 if name == "fov_deg" else math.inf
            if not 0 < value < limit:
                wanted = "between 0 and 180 degrees" if name == "fov_deg" else "above 0"
                raise UsageError(f"must be {wanted}, not {value:g}", setting=name)

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:g}" for name, value in self._given().items()) or "of each image"

    def _given(self) -> dict[str, float]:
        values = {name: getattr(self, name) for name in ("fov_deg", "focal_px", "focal_mm_35")}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class PredictionSettings(Settings):
    """How an image becomes depth.

    Attributes:
        weights: "auto", a name, a path, or OWNER/REPO of the Hugging Face Hub.
        device: "auto", "cpu", "cuda", "cuda:N", "mps" or "xpu".
        precision: number format of the network.
        input_size: size of the network's input; None leaves it to the weights.
        tiles: whether large images are also predicted in tiles.
        sharp_edges: align the edges of depth with those of the image; None leaves it to the weights.
        tta: test-time augmentation.
        threads: CPU threads of the network; None leaves it to torch.
        max_pixels: larger images are refused before they are decoded.
        fov_deg, focal_px, focal_mm_35, camera: the camera; see `CameraSettings`.
        stretch: stretch the values of 16-bit and float images to the range that they use.
        offline: do not use the network for downloads.
        keep_rgb: store the image in the depth map, for formats that show it.
    """

    weights: str = "auto"
    device: str = "auto"
    precision: Precision = Precision.FLOAT32
    input_size: InputSize | None = None
    tiles: Tiles = Tiles()
    sharp_edges: bool | None = None
    tta: Tta = Tta.NONE
    threads: int | None = None
    max_pixels: int = MAX_IMAGE_PIXELS
    fov_deg: float | None = None
    focal_px: float | None = None
    focal_mm_35: float | None = None
    camera: str | None = None
    stretch: bool = False
    offline: bool = False
    keep_rgb: bool = False

    LIMITS: ClassVar = {"threads": (1, math.inf), "max_pixels": (1, math.inf)}

    def __post_init__(self) -> None:
        """Convert and check the values; see `Settings`."""
        super().__post_init__()
        if not self.weights:
            raise UsageError("must not be empty", hint=EMPTY_HINT, setting="weights")
        _ = self.camera_settings  # its checks

    @property
    def camera_settings(self) -> CameraSettings:
        """The camera settings together."""
        return CameraSettings(self.fov_deg, self.focal_px, self.focal_mm_35, self.camera)


# Output

MAX_POINTS = 1_000_000
"""The default limit on the points of a point cloud."""

MAX_MESH_POINTS = 200_000
"""The default limit on the points of a mesh: about 10 MB, which a phone's browser shows."""

AUTO_RANGE = "p1:p99"
"""The range that "auto" means: outliers of 1 % at each end do not stretch the colors."""


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


@dataclass(frozen=True)
class OutputSettings(Settings):
    """How depth becomes the numbers and colors of a file.

    Attributes:
        normalize: of gray images without a range; None is MAX.
        scale: unit of the numbers in files that store depth.
        png_compression: 0 (none) to 9 (smallest). The default writes four times as fast as zlib's own default, and
            files are a quarter larger.
        range: the depths that gray and color images span; None leaves gray images to `normalize` and is "auto" for
            color images.
        range_m: the range of a whole run, meters; None uses the range of each image.
        curve: the quantity that colors or grays are linear in; None is inverse depth in color images and meters in
            gray images.
        near: which end near pixels get; None is dark in gray images and bright in color images.
        colormap: of color images; None is TURBO.
        legend: add a bar with meters below color images.
        side_by_side: put the image to the left of color images.
        edge_filter: drop points between two neighbors that differ from both by more than this fraction, and triangles
            whose corners differ by more; 0 keeps all.
        valid_range: drop points outside; None drops unknown depth and depth at the limit of the weights.
        max_points: subsample to at most this many points; 0 keeps one for each pixel, None is `MAX_POINTS` for point
            clouds and `MAX_MESH_POINTS` for meshes.
        axes: of point clouds.
        png16_scale: values per meter in 16-bit PNG files.
        normal_map: the direction of Y in normal maps.
    """

    normalize: Normalize | None = None
    scale: Scale = Scale.METERS
    png_compression: int = 1
    range: DepthRange | None = None
    range_m: tuple[float, float] | None = None
    curve: Curve | None = None
    near: Near | None = None
    colormap: Colormap | None = None
    legend: bool = False
    side_by_side: bool = False
    edge_filter: float = 0.1
    valid_range: ValidRange | None = None
    max_points: int | None = None
    axes: Axes = Axes.OPENGL
    png16_scale: float = 1000.0
    normal_map: NormalMap = NormalMap.OPENGL

    LIMITS: ClassVar = {
        "png_compression": (0, 9),
        "edge_filter": (0, math.inf),
        "max_points": (0, math.inf),
        "png16_scale": (0.001, 1_000_000),
    }

    def __post_init__(self) -> None:
        """Convert and check the values; see `Settings`."""
        super().__post_init__()
        if self.range is not None and self.normalize is not None:
            raise UsageError("`range` and `normalize` exclude each other: both define what gray means")
        if self.normalize is Normalize.MAX and self.curve not in (None, Curve.LINEAR):
            raise UsageError(
                f"`normalize='max'` starts at 0 m, which has no place on the curve {self.curve}",
                hint="use `normalize='minmax'` or `range`",
                setting="curve",
            )

    def changed(self) -> dict[str, str]:
        """Return the settings that affect the content of files and differ from their defaults, as text by name."""
        return {
            item.name: str(value)
            for item in fields(self)
            if item.name not in ("png_compression", "range_m") and (value := getattr(self, item.name)) != item.default
        }


# Input


@dataclass(frozen=True)
class SearchSettings(Settings):
    """Which images are found in folders and lists.

    Attributes:
        recursive: include subfolders; None leaves it to the command.
        include: patterns; if there are any, only files that match one are used.
        exclude: patterns; files that match one are skipped.
        hidden: include hidden files and folders.
        allow_url: download images from http(s) URLs.
    """

    recursive: bool | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    hidden: bool = False
    allow_url: bool = False


@dataclass(frozen=True)
class RunSettings(Settings):
    """How much of a run over many images happens at once.

    Attributes:
        batch_size: images of one size in one pass of a GPU; None uses what its memory holds. A CPU takes one.
        workers: threads that read images, and as many that write depth; None is the number of cores, at most 4.
    """

    batch_size: int | None = None
    workers: int | None = None

    LIMITS: ClassVar = {"batch_size": (1, math.inf), "workers": (1, math.inf)}

    @property
    def worker_count(self) -> int:
        """The number of workers."""
        return self.workers or min(4, os.cpu_count() or 1)


class ColorPolicy(StrEnum):
    """When terminal output is colored."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True)
class LoggingSettings(Settings):
    """What a command writes to standard error.

    Attributes:
        quiet: errors only.
        verbose: more, such as the time of each stage.
        debug: tracebacks of errors.
        color: when to use color.
    """

    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    color: ColorPolicy = ColorPolicy.AUTO


# Export


@dataclass(frozen=True)
class ExportSettings(Settings):
    """Inputs and outputs of an exported network.

    Attributes:
        size: "HxW", "dynamic" for any batch of any multiples of 32, or None: the weights' working size.
        precision: number format inside; inputs and outputs are float32.
        with_preprocessing: take 8-bit images and return meters, instead of [0, 1] and network units.
    """

    size: str | None = None
    precision: Precision = Precision.FLOAT32
    with_preprocessing: bool = False

    def __post_init__(self) -> None:
        """Convert and check the values; see `Settings`."""
        super().__post_init__()
        if self.precision is Precision.TF32:
            raise UsageError(
                "tf32 is chosen by the program that runs the file", hint="use float32", setting="precision"
            )
        if self.precision is Precision.BFLOAT16:
            raise UsageError("ONNX has no bfloat16 convolutions", hint="use float16 or float32", setting="precision")
        self.size_for((SIZE_DIVISOR, SIZE_DIVISOR))

    def size_for(self, working_size: tuple[int, int]) -> tuple[int, int] | None:
        """Return (height, width) of the input, or None for any size.

        Raises:
            UsageError: the size is invalid, or a side is not a multiple of 32.
        """
        if self.size is None:
            return self.floored(working_size)
        return None if self.size == "dynamic" else parse_input_size(self.size, "size", "dynamic")

    @staticmethod
    def floored(size: tuple[int, int]) -> tuple[int, int]:
        """Return both sides rounded down to multiples of 32, at least 32."""
        height, width = (max(side // SIZE_DIVISOR, 1) * SIZE_DIVISOR for side in size)
        return height, width
