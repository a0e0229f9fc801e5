"""Depth maps: depth in meters, where it comes from, and the camera. Predictors return them and formats write them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from glpn_cli.settings import SATURATED_FRACTION
from glpn_cli.values import Scale

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike

    from numpy.typing import DTypeLike, NDArray
    from PIL import Image

    from glpn_cli.geometry.measure import Anchor, Measurement
    from glpn_cli.settings import OutputSettings

_NOTEBOOK_PX = 800
"""The longest side of the image that a notebook shows, before the legend."""


def is_known(meters: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return where depth is known, that is finite and above 0: bool, the shape of `meters`."""
    known: NDArray[np.bool_] = np.isfinite(meters) & (meters > 0)
    return known


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a depth map comes from. Every field may be unknown (None).

    Attributes:
        source: file name of the image, without its folder.
        weights: name of the weights, or of their file.
        weights_sha256: SHA-256 of the weights file.
        metric: True if the weights were trained on metric ground truth, False if their meters are approximate,
            "anchored" if known distances determine the scale.
        depth_limit_m: the largest depth that the weights can predict.
        meters_per_unit: factor from the published scale of the weights to meters.
        network_size: (height, width) of the network's input.
        tile_size: (height, width) of the overlapping tiles in pixels of the image; None without tiles.
        device: the device that computed the depth, in torch's notation.
        precision: the number format that the network computed in.
        engine: what computed the network: "torch" or "openvino".
        tool: name and version of the program.
        notes: conversions of the image before prediction.
        approximate: whether the depth was read from a file that rounds it, such as an 8-bit image.
        tta: the test-time augmentation, such as "flip".
        sharp_edges: whether the edges of depth were aligned with those of the image.
        anchor_factor: the factor that fitted the depth to known distances.
        anchors: the known distances: `x`, `y`, `known_m`, `predicted_m` (before the fit) and `residual_m` (after it).
        image_sha256: SHA-256 of the image file.
        fingerprint: digest of the settings and weights that determine the contents of the file.
    """

    source: str | None = None
    weights: str | None = None
    weights_sha256: str | None = None
    metric: bool | str | None = None
    depth_limit_m: float | None = None
    meters_per_unit: float | None = None
    network_size: tuple[int, int] | None = None
    tile_size: tuple[int, int] | None = None
    device: str | None = None
    precision: str | None = None
    engine: str | None = None
    tool: str | None = None
    notes: tuple[str, ...] = ()
    approximate: bool = False
    tta: str | None = None
    sharp_edges: bool = False
    anchor_factor: float | None = None
    anchors: tuple[dict[str, float], ...] = ()
    image_sha256: str | None = None
    fingerprint: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that are known, ready for JSON."""
        return {name: value for name, value in asdict(self).items() if value not in (None, (), False)} | (
            {} if self.metric is None else {"metric": self.metric}
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return what `to_dict` wrote. Fields that a newer version added are ignored.

        Raises:
            ValueError: a field has another type.
        """
        names = {item.name for item in fields(cls)}
        known = {name: value for name, value in values.items() if name in names}
        for name in ("network_size", "tile_size", "notes", "anchors"):
            if isinstance(known.get(name), list):
                known[name] = tuple(known[name])
        for name, value in known.items():
            if value is not None and not _FIELD_CHECKS.get(name, _is_text)(value):
                raise ValueError(f"{name} is invalid")
        return cls(**known)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and abs(value) < _LARGEST  # type: ignore[arg-type]


def _is_size(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(isinstance(side, int) for side in value)


def _is_anchor(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


_LARGEST = 1e30  # of the numbers in a file; float32 can represent it

_FIELD_CHECKS: dict[str, Callable[[Any], bool]] = {
    "metric": lambda value: isinstance(value, bool | str),
    "depth_limit_m": _is_number,
    "meters_per_unit": _is_number,
    "network_size": _is_size,
    "tile_size": _is_size,
    "notes": lambda value: isinstance(value, tuple) and all(map(_is_text, value)),
    "approximate": lambda value: isinstance(value, bool),
    "sharp_edges": lambda value: isinstance(value, bool),
    "anchor_factor": _is_number,
    "anchors": lambda value: isinstance(value, tuple) and all(map(_is_anchor, value)),
}
"""Whether a field of `Provenance` in a file is valid; the others are text."""

PINHOLE = "pinhole"
"""The projection of ordinary lenses: straight lines stay straight. Points in space need it."""


@dataclass(frozen=True, slots=True)
class Camera:
    """The camera of an upright image: a pinhole camera, unless `projection` says otherwise.

    Positions have the origin of OpenCV and ROS: the center of the top left pixel is (0, 0), so the center of the image
    is ((width - 1) / 2, (height - 1) / 2).

    Attributes:
        focal_px: focal length along x in pixels of the upright image.
        source: where it comes from, in words. `geometry.camera.choose_camera` lists them.
        focal_y_px: focal length along y; 0 becomes `focal_px`, as for square pixels.
        center_x_px: where the optical axis meets the image, from the left; None is the center of the image.
        center_y_px: the same, from the top. A `DepthMap` fills in both.
        projection: "pinhole", or what a panorama states, such as "equirectangular".
    """

    focal_px: float
    source: str
    focal_y_px: float = 0.0
    center_x_px: float | None = None
    center_y_px: float | None = None
    projection: str = PINHOLE

    def __post_init__(self) -> None:
        """Check the numbers and fill in square pixels.

        Raises:
            ValueError: a focal length is not positive, or a number is not finite.
        """
        if self.focal_y_px == 0:
            object.__setattr__(self, "focal_y_px", self.focal_px)
        if not all(math.isfinite(focal_px) and focal_px > 0 for focal_px in (self.focal_px, self.focal_y_px)):
            raise ValueError(f"focal lengths must be above 0, not {self.focal_px} and {self.focal_y_px}")
        if not all(math.isfinite(center) for center in (self.center_x_px or 0.0, self.center_y_px or 0.0)):
            raise ValueError(f"the center must be finite, not {self.center_x_px}, {self.center_y_px}")

    @property
    def is_assumed(self) -> bool:
        """Whether neither the user nor the image states the focal length."""
        return self.source.startswith("assumed")

    def center_px(self, size: tuple[int, int]) -> tuple[float, float]:
        """Return (x, y) where the optical axis meets an image of a (height, width)."""
        height, width = size
        x, y = self.center_x_px, self.center_y_px
        return (width - 1) / 2 if x is None else x, (height - 1) / 2 if y is None else y

    def completed(self, size: tuple[int, int]) -> Camera:
        """Return the camera with its center filled in for an image of a (height, width)."""
        if self.center_x_px is not None and self.center_y_px is not None:
            return self
        x, y = self.center_px(size)
        return replace(self, center_x_px=x, center_y_px=y)

    def to_dict(self, size: tuple[int, int]) -> dict[str, Any]:
        """Return the camera of an image of a (height, width), ready for JSON.

        `fx`, `fy`, `cx`, `cy`, `width` and `height` have the names that other programs use. `focal_px` repeats `fx`.
        """
        cx, cy = self.center_px(size)
        projection = {} if self.projection == PINHOLE else {"projection": self.projection}
        return {
            "focal_px": self.focal_px,
            "source": self.source,
            "fx": self.focal_px,
            "fy": self.focal_y_px,
            "cx": cx,
            "cy": cy,
            "width": size[1],
            "height": size[0],
            **projection,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return what `to_dict` wrote, now or in version 0.1, which had only `focal_px` and `source`.

        Raises:
            KeyError, TypeError, ValueError: the values are invalid.
        """
        focal_px = float(values["fx"] if "fx" in values else values["focal_px"])
        cx, cy = values.get("cx"), values.get("cy")
        return cls(
            focal_px,
            str(values["source"]),
            focal_y_px=float(values.get("fy", 0.0)),
            center_x_px=None if cx is None else float(cx),
            center_y_px=None if cy is None else float(cy),
            projection=str(values.get("projection", PINHOLE)),
        )


class PointCloud(NamedTuple):
    """Points in space; unpacks as `xyz, rgb`.

    Attributes:
        xyz: (n, 3) float32, meters.
        rgb: (n, 3) uint8, in [0, 255]; None if the depth map does not contain the image.
    """

    xyz: np.ndarray[Any, np.dtype[np.float32]]
    rgb: np.ndarray[Any, np.dtype[np.uint8]] | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DepthMap:
    """Depth along the optical axis for every pixel of an image.

    It is an array for NumPy: `np.asarray(depth)` is `depth.meters`. A notebook shows it as a colored image.

    Keyword arguments of its methods are the settings of the command line, also as text, such as `range="0:10"`; they
    are the fields of `glpn_cli.settings.OutputSettings`. An unknown one is a TypeError, and an invalid one, or one that
    does not affect the format, is a UsageError.

    Attributes:
        meters: (H, W) float32, meters, at the size of the upright image; 0, NaN and infinite values are unknown.
        provenance: where the depth comes from.
        rgb: (H, W, 3) uint8, in [0, 255], the upright image; None if the predictor did not keep it.
        camera: the camera of the image, known or assumed, with its center; None if there is no information.
        uncertainty_m: (H, W) float32, meters, not negative; None if it was not estimated.
    """

    meters: np.ndarray[tuple[int, int], np.dtype[np.float32]]
    provenance: Provenance = field(default_factory=Provenance)
    rgb: np.ndarray[Any, np.dtype[np.uint8]] | None = None
    camera: Camera | None = None
    uncertainty_m: np.ndarray[tuple[int, int], np.dtype[np.float32]] | None = None

    def __post_init__(self) -> None:
        """Check shapes and dtypes here, so that formats do not have to.

        Raises:
            ValueError: an array has another shape or dtype, or there are no pixels.
        """
        if self.meters.ndim != 2 or self.meters.dtype != np.float32 or self.meters.size == 0:
            raise ValueError(f"meters must be (H, W) float32, not {self.meters.shape} {self.meters.dtype}")
        shape = self.meters.shape
        if self.rgb is not None and (self.rgb.shape != (*shape, 3) or self.rgb.dtype != np.uint8):
            raise ValueError(f"rgb must be {(*shape, 3)} uint8, not {self.rgb.shape} {self.rgb.dtype}")
        uncertainty = self.uncertainty_m
        if uncertainty is not None and (uncertainty.shape != shape or uncertainty.dtype != np.float32):
            raise ValueError(f"uncertainty_m must be {shape} float32, not {uncertainty.shape} {uncertainty.dtype}")
        if self.camera is not None:
            object.__setattr__(self, "camera", self.camera.completed(shape))

    def __repr__(self) -> str:
        """Return one line: width x height, the nearest and the farthest depth, and the weights."""
        known = self.provenance
        depths = self.meters[is_known(self.meters)]
        extent = "no known depth"
        if depths.size:
            extent = f"{_short(float(depths.min()))}–{_short(float(depths.max()))} m"  # noqa: RUF001 - a range
        trust = {False: "approximate", "anchored": "anchored"}.get(known.metric)
        weights = " ".join(filter(None, [known.weights, trust and f"({trust})"]))
        return f"DepthMap {', '.join(filter(None, [f'{self.width}x{self.height}', extent, weights]))}"

    def _repr_png_(self) -> bytes:
        """Return the image that a notebook shows: colors with a legend, at most 800 pixels wide and high."""
        from glpn_cli.output.formats import encode_depth

        factor = max(1.0, max(self.shape) / _NOTEBOOK_PX)
        counts = (max(1, round(side / factor)) for side in self.shape)
        rows, columns = (np.arange(n) * side // n for n, side in zip(counts, self.shape, strict=True))
        small = DepthMap(self.meters[np.ix_(rows, columns)], self.provenance)
        return encode_depth(small, "color", {"legend": True})

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Return `meters`, converted or copied only if NumPy asks for it."""
        return np.array(self.meters, dtype=dtype, copy=copy)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels, as of `meters`."""
        return self.meters.shape

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.meters.shape[1]

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.meters.shape[0]

    @property
    def metres(self) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        """The name of `meters` until version 0.1."""
        return self.meters

    @property
    def saturated_fraction(self) -> float:
        """Fraction of the pixels so close to the depth limit of the weights that they may be farther."""
        limit_m = self.provenance.depth_limit_m
        return 0.0 if limit_m is None else float(np.mean(self.meters >= SATURATED_FRACTION * limit_m))

    def in_scale(self, scale: Scale) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        """Return (H, W) float32 depth, in meters or in the published scale of the weights.

        If the published scale is unknown, the result is in meters.
        """
        if scale is Scale.METERS or self.provenance.meters_per_unit is None:
            return self.meters
        return self.meters / np.float32(self.provenance.meters_per_unit)

    # Images and files

    def image(self, **settings: Any) -> Image.Image:
        """Return the depth in colors, as the format "color" writes it.

        Args:
            **settings: `colormap`, `range`, `near`, `legend`, `side_by_side` and the other settings of that format.

        Raises:
            UsageError: a setting is invalid, or `side_by_side` needs the photo and the depth map does not contain it:
                load the predictor with `keep_rgb=True`.
            TypeError: there is no such setting.
        """
        from glpn_cli.output.formats import draw_depth  # a deliberate import upward, see tests/contracts

        return draw_depth(self, settings)

    def encode(self, format: str, **settings: Any) -> bytes:  # noqa: A002 - as Pillow calls it
        """Return the bytes of a depth file.

        Args:
            format: the name of a format, such as "png16", "npz" or "color".
            **settings: the settings of the command line for that format.

        Raises:
            UsageError: there is no such format, or a setting is invalid for it.
            MissingPackageError: the format needs a package that is not installed.
            TypeError: there is no such setting.
        """
        from glpn_cli.output.formats import encode_depth

        return encode_depth(self, format, settings)

    def save(
        self,
        path: str | PathLike[str],
        *,
        format: str | None = None,  # noqa: A002 - as Pillow calls it
        overwrite: bool = False,
        settings: OutputSettings | None = None,
        **keywords: Any,
    ) -> None:
        """Write the depth map to a file, atomically. The file name selects the format.

        Args:
            path: a name with the ending of a format, such as `.depth16.png`, or with its suffix only, such as `.npy`;
                `.png` alone is the 8-bit gray image. As in `open`, `~` is not expanded.
            format: the name of the format, for a file name that does not select it, such as `x.png` for "png16".
            overwrite: whether to replace an existing file.
            settings: settings for several files; None for the defaults. Those that do not affect the format are
                ignored.
            **keywords: single settings, such as `range="0:10"`; they replace those of `settings`.

        Raises:
            UsageError: no format has this suffix, or a setting is invalid for the format.
            OutputExistsError: the file exists and `overwrite` is False.
            OutputError: the file cannot be written.
            MissingPackageError: the format needs a package that is not installed.
            TypeError: there is no such setting.
        """
        from glpn_cli.output.formats import save_depth

        save_depth(self, path, format=format, overwrite=overwrite, settings=settings, keywords=keywords)

    # Measurements and points

    def measure(self, at: str | Sequence[int] | None = None, *, box: str | Sequence[int] | None = None) -> Measurement:
        """Return the depth of a pixel, of a box, or of the whole image, as `glpn measure` prints it.

        Args:
            at: a pixel of the upright image, (x, y): column from the left and row from the top, from 0.
            box: (x0, y0, x1, y1), without column x1 and row y1.

        Returns:
            `median_m`, `p10_m` and `p90_m` in meters, None if all of it is unknown, and more.

        Raises:
            UsageError: both are given, or one is invalid or outside of the image.
        """
        from glpn_cli.geometry.measure import measure_at

        return measure_at(self, at, box)

    def distance(self, start: str | Sequence[int], end: str | Sequence[int]) -> float:
        """Return the distance in space between what two pixels show, in meters.

        It depends on the camera, too: state it when loading the predictor, if the image does not.

        Args:
            start: a pixel (x, y).
            end: another one.

        Raises:
            UsageError: a pixel is outside of the image, or its depth is unknown.
        """
        from glpn_cli.geometry.measure import measure_distance

        return measure_distance(self, start, end)

    def anchored(self, *anchors: Anchor | str | tuple[int, int, float]) -> DepthMap:
        """Return the depth map scaled to known distances, as `anchor` does on the command line.

        Args:
            *anchors: (x, y, meters): the pixel and its depth along the viewing direction; or text, "320,240=2.4".

        Raises:
            UsageError: an anchor is invalid or outside of the image, or depth is unknown at its pixel.
        """
        from glpn_cli.geometry.measure import Anchor, anchor_depth

        return anchor_depth(self, [Anchor.of(anchor) for anchor in anchors])

    def points(self, **settings: Any) -> PointCloud:
        """Return the points in space that the pixels show.

        By default X is right, Y up, and the camera is at the origin and looks along -Z, so that Z is negative.

        Args:
            **settings: `axes`, `edge_filter`, `valid_range` and `max_points`, as of the format "ply", whose points
                these are: stray points, unknown depth and depth at the limit of the weights are left out, and larger
                images are subsampled. `edge_filter=0, max_points=0` keeps every known pixel.

        Raises:
            UsageError: a setting is invalid, or does not affect points.
            OutputError: the image is a panorama.
            TypeError: there is no such setting.
        """
        from glpn_cli.geometry.camera import in_axes, to_points
        from glpn_cli.output.formats import points_settings

        chosen = points_settings(settings)
        grid = to_points(self, chosen)
        rgb = None if self.rgb is None else self.rgb[np.ix_(grid.rows, grid.columns)][grid.kept]
        return PointCloud(in_axes(grid.xyz[grid.kept], chosen.axes), rgb)


def _short(meters: float) -> str:
    return f"{meters:.2f}" if meters >= 0.1 else f"{meters:.2g}"
