"""Settings of prediction, output, input, logging and export, with every default.

The command line, `load()` and the Python API share these dataclasses. A value may be given as text, as on a command
line: it is converted to the type of its field, or refused, when the settings are built.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, fields
from typing import ClassVar

from glpn_cli.convert import EMPTY_HINT, SIZE_DIVISOR, Settings, parse_input_size
from glpn_cli.errors import UsageError
from glpn_cli.values import (
    AUTO_ENGINE,
    NO_TILES,
    Axes,
    Colormap,
    ColorPolicy,
    Curve,
    DepthRange,
    EngineChoice,
    InputSize,
    Near,
    Normalize,
    NormalMap,
    Precision,
    Scale,
    Shard,
    Tiles,
    Tta,
    ValidRange,
)

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
        device: "auto", "cpu", "cuda", "cuda:N", "mps", "xpu", or "openvino:GPU" for a device of OpenVINO; for a run
            over many images also several, separated by commas, or "all".
        precision: number format of the network.
        engine: what computes the network on a CPU.
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
    engine: EngineChoice = AUTO_ENGINE
    input_size: InputSize | None = None
    tiles: Tiles = NO_TILES
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


_CLUSTER = re.compile(r"(\[[0-9a-fA-F:]+\]|[^\s:/]+):\d{1,5}")


@dataclass(frozen=True)
class RunSettings(Settings):
    """How much of a run over many images happens at once.

    Attributes:
        batch_size: images of one size in one pass of a GPU; None uses what its memory holds. On a CPU torch takes one,
            and OpenVINO one for each thread, at most so many.
        workers: threads that read images, and as many that write depth; None is the number of cores, at most 4.
        shard: the part of a batch to process; None is all of it.
        cluster: a running Ray cluster that computes: "auto" for that of this machine, or HOST:PORT; None is this
            process.
    """

    batch_size: int | None = None
    workers: int | None = None
    shard: Shard | None = None
    cluster: str | None = None

    LIMITS: ClassVar = {"batch_size": (1, math.inf), "workers": (1, math.inf)}

    def __post_init__(self) -> None:
        """Convert and check the values; see `Settings`."""
        super().__post_init__()
        if self.cluster is None:
            return
        if self.cluster != "auto" and not _CLUSTER.fullmatch(self.cluster):
            hint = "for example 10.0.0.1:6379" if self.cluster else EMPTY_HINT
            raise UsageError(f"must be auto or HOST:PORT, not {self.cluster!r}", hint=hint, setting="cluster")
        if self.shard is not None:
            raise UsageError("`cluster` and `shard` exclude each other: a cluster shares out the images itself")

    @property
    def worker_count(self) -> int:
        """The number of workers."""
        return self.workers or min(4, os.cpu_count() or 1)


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
