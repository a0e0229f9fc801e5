"""The PNG formats: png (8-bit gray), color, disparity16, png16. Text chunks before the pixels contain the metadata."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from glpn_cli.depth import DepthMap, is_known
from glpn_cli.errors import DepthFileError, UsageError
from glpn_cli.output.color import (
    color_curve,
    colorize,
    colormap_of,
    curve_fraction,
    curve_meters,
    fit_range,
    measure_range,
    near_first_table,
    resolve_range,
    unknown_color,
)
from glpn_cli.output.metadata import (
    KEYWORD,
    build_metadata,
    describe_origin,
    metadata_checked,
    metadata_to_json,
    parse_metadata,
    read_camera,
    read_number,
    read_provenance,
)
from glpn_cli.values import Curve, DepthRange, Near, Normalize, Scale

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from glpn_cli.output.legend import Legend
    from glpn_cli.settings import OutputSettings

_MAX_GRAY = 255

MAX_UINT16 = 65_535
"""The largest value of png16."""

_PIXEL_KINDS = {"1": "black and white", "L": "8-bit gray", "I;16": "16-bit values", "I": "16-bit values"}
_HINT = "use a PNG that glpn wrote"
_HINTS = {"16-bit values": "divide them yourself: data sets use 1000ths of a meter (NYU Depth V2) or 256ths (KITTI)"}


class _PNGFile:
    """The part that all PNG formats share."""

    def read_metadata(self, stream: BinaryIO) -> dict[str, Any] | None:
        """Return the metadata, without reading the pixels."""
        try:
            with Image.open(stream, formats=["PNG"]) as image:
                return parse_metadata(image.info.get(KEYWORD))
        except Exception:  # noqa: BLE001 - a damaged file has no metadata
            return None


class PNG(_PNGFile):
    """8-bit gray, for viewing. The metadata states what the gray values mean."""

    def encode(self, depth: DepthMap, settings: OutputSettings) -> bytes:
        """Return an 8-bit gray PNG. Near is dark unless the settings say bright.

        Without a range and a curve, `normalize` selects the formula: "max" is the documented `255·depth/max(depth)`,
        truncated; "minmax" is that of transformers' pipeline. A constant map, for which the formula would divide by
        zero, is black. Otherwise black and white are the ends of the range, and the grays between follow the curve.
        Unknown depth counts as 0 m, and on curves that 0 m has no place on as the far end.

        Source: transformers v4.37.2 documentation of GLPNForDepthEstimation; v4.46 depth-estimation pipeline.
        """
        values = _zero_unknown(depth.in_scale(settings.scale))
        curve = settings.curve or Curve.LINEAR
        low, high = _gray_ends(depth, values, settings)
        if not (settings.normalize is Normalize.MINMAX or _spans_range(settings)):
            gray = np.zeros(values.shape, np.uint8)
            if high > 0:
                gray = (values * _MAX_GRAY / np.float32(high)).astype(np.uint8)
        elif curve is Curve.LINEAR:
            gray = _quantize(np.clip(values, np.float32(low), np.float32(high)), low, high)
        else:
            known = np.where(values > 0, values, np.float32(high))
            gray = (curve_fraction(known, low, high, curve) * _MAX_GRAY).astype(np.uint8)
        near = settings.near or Near.DARK
        if near is Near.BRIGHT:
            gray = _MAX_GRAY - gray
        is_ranged = _spans_range(settings)
        how = {"range": str(settings.range or "auto")} if is_ranged else {"normalize": str(settings.normalize or "max")}
        if settings.curve is not None:
            how["curve"] = str(curve)
        metadata = build_metadata("png", depth, settings.scale, low=low, high=high, near=str(near), **how)
        description = f"{describe_origin(depth)}, for viewing: {self.explain(metadata)}"
        return _write_png(gray, metadata, description, compression=settings.png_compression)

    def decode(self, data: bytes, name: str) -> DepthMap:
        """Return the depth, accurate to one of the 255 steps.

        A gray value stands for the middle of the interval that was truncated to it, except white, which stands for
        the farthest depth.

        Raises:
            DepthFileError: the file is damaged, or glpn did not write it.
        """
        gray, metadata = _read_png(data, name)
        with metadata_checked(name):
            low, high = read_number(metadata, "low"), read_number(metadata, "high")
            meters_per_unit = read_number(metadata, "meters_per_unit", positive=True)
            curve = Curve(metadata.get("curve", Curve.LINEAR))
            if metadata.get("near") == Near.BRIGHT:
                gray = _MAX_GRAY - gray
            steps = np.minimum(gray.astype(np.float32) + np.float32(0.5), _MAX_GRAY)
            values = curve_meters(steps / np.float32(_MAX_GRAY), low, high, curve)
            meters = values * np.float32(meters_per_unit)
            return DepthMap(meters, read_provenance(metadata, approximate=True), camera=read_camera(metadata))

    def explain(self, metadata: dict[str, Any]) -> str:
        """Return the formula that turns gray values into meters, for people.

        Raises:
            KeyError, TypeError, ValueError: the metadata is invalid.
        """
        meters_per_unit = read_number(metadata, "meters_per_unit", positive=True)
        low_m, high_m = (read_number(metadata, key) * meters_per_unit for key in ("low", "high"))
        fraction = ("gray" if metadata.get("near") != Near.BRIGHT else "(255 - gray)") + " / 255"
        curve = metadata.get("curve", Curve.LINEAR)
        if curve == Curve.INVERSE:
            return f"depth is about 1 / ({1 / low_m:.6g} - {fraction} * {1 / low_m - 1 / high_m:.6g}) m"
        if curve == Curve.LOG:
            return f"depth is about {low_m:.6g} m * {high_m / low_m:.6g} ** ({fraction})"
        start = f"{low_m:.6g} m + " if low_m else ""
        return f"depth is about {start}{fraction} * {high_m - low_m:.6g} m"


class ColorPNG(_PNGFile):
    """Colors, for viewing, optionally with a legend and the photo."""

    def encode(self, depth: DepthMap, settings: OutputSettings) -> bytes:
        """Return an RGB PNG.

        Raises:
            UsageError: `side_by_side` is set and the depth map has no image, or the range is that of weights whose
                depth limit is unknown.
        """
        low_m, high_m = resolve_range(depth, settings, color_curve(settings))
        image = draw_color(depth, replace(settings, range_m=(low_m, high_m)))
        near = settings.near or Near.BRIGHT
        metadata = build_metadata(
            "color",
            depth,
            unit="meter",
            low=low_m,
            high=high_m,
            range=str(settings.range or "auto"),
            curve=str(color_curve(settings)),
            colormap=str(colormap_of(settings)),
            near=str(near),
            legend=settings.legend,
            side_by_side=settings.side_by_side,
        )
        colors = f"{low_m:.6g} to {high_m:.6g} m in the colors {colormap_of(settings)}, near is {near}"
        description = f"{describe_origin(depth)}: {colors}"
        return _write_png(image, metadata, description, compression=settings.png_compression)


def draw_color(depth: DepthMap, settings: OutputSettings) -> NDArray[np.uint8]:
    """Return what a color file shows: the colored depth, perhaps with the photo to its left and a legend below.

    Returns:
        (h, w, 3) uint8, sRGB; larger than the depth map with the photo or the legend.

    Raises:
        UsageError: as `ColorPNG.encode`.
    """
    low_m, high_m = resolve_range(depth, settings, color_curve(settings))
    image = colorize(depth, settings, low_m, high_m)
    if settings.side_by_side:
        if depth.rgb is None:
            raise UsageError(
                "the depth map does not contain the image",
                hint="predict with `keep_rgb=True`",
                setting="side_by_side",
            )
        image = np.concatenate([depth.rgb, image], axis=1)
    if settings.legend:
        from glpn_cli.output.legend import draw_legend  # imports Pillow's fonts, which take 10 ms

        image = draw_legend(image, _build_legend(depth, settings, low_m, high_m))
    return image


class Disparity16(_PNGFile):
    """Inverse depth in 16 bits, near white, for programs that displace or shift pixels by it."""

    def encode(self, depth: DepthMap, settings: OutputSettings) -> bytes:
        """Return a 16-bit gray PNG: inverse depth from the far end of the range (0) to the near end (65535).

        Unknown depth is 0, so known depth is at least 1.
        """
        low_m, high_m = resolve_range(depth, settings, Curve.INVERSE)
        known = is_known(depth.meters)
        fraction = 1 - curve_fraction(np.where(known, depth.meters, np.float32(high_m)), low_m, high_m, Curve.INVERSE)
        values = np.where(known, np.maximum(np.rint(fraction * MAX_UINT16), 1), 0).astype(np.uint16)
        metadata = build_metadata(
            "disparity16",
            depth,
            unit="1/meter",
            low=low_m,
            high=high_m,
            range=str(settings.range or "auto"),
            curve=str(Curve.INVERSE),
            near=str(Near.BRIGHT),
            unknown=0,
            strength_m=high_m - low_m,
            mid_level=0.0,
            mid_level_m=high_m,
        )
        description = f"{describe_origin(depth)}, inverse: {self.explain(metadata)}"
        return _write_png(values, metadata, description, compression=settings.png_compression)

    def decode(self, data: bytes, name: str) -> DepthMap:
        """Return the depth, accurate to one step of inverse depth within the range; unknown depth is 0.

        Raises:
            DepthFileError: the file is damaged, or glpn did not write it.
        """
        values, metadata = _read_png(data, name)
        with metadata_checked(name):
            fraction = 1 - values.astype(np.float32) / np.float32(MAX_UINT16)
            low_m, high_m = (read_number(metadata, key, positive=True) for key in ("low", "high"))
            meters = curve_meters(fraction, low_m, high_m, Curve.INVERSE)
            meters = np.where(values == 0, np.float32(0), meters)
            return DepthMap(meters, read_provenance(metadata, approximate=True), camera=read_camera(metadata))

    def explain(self, metadata: dict[str, Any]) -> str:
        """Return what displaces a plane by the file, and the formula of exact meters, for people.

        Raises:
            KeyError, TypeError, ValueError: the metadata is invalid.
        """
        low_m, high_m = (read_number(metadata, key, positive=True) for key in ("low", "high"))
        return (
            f"displacement: strength {high_m - low_m:.4g} m, mid-level 0 (black is {high_m:.4g} m from the camera, "
            f"white {low_m:.4g} m); exact depth is 1 / (white * {1 / low_m - 1 / high_m:.6g} + {1 / high_m:.6g}) m"
        )


class PNG16(_PNGFile):
    """16-bit meters, by default in millimeters, as ROS, Open3D and RealSense cameras store depth."""

    def encode(self, depth: DepthMap, settings: OutputSettings) -> bytes:
        """Return a 16-bit gray PNG: meters times `png16_scale`, rounded to the nearest integer.

        0 is unknown, so known depth is at least 1. Depth beyond the 16-bit range is 65535.

        Source: ROS REP 118; 1000 is also that of NYU Depth V2, and 256 that of the KITTI depth benchmark.
        """
        scale = settings.png16_scale
        known = is_known(depth.meters)
        with np.errstate(over="ignore"):
            rounded = np.rint(np.where(known, depth.meters, 0) * np.float32(scale))
        values = np.where(known, np.clip(rounded, 1, MAX_UINT16), 0).astype(np.uint16)
        metadata = build_metadata("png16", depth, unit="meter", values_per_meter=_shortest(scale), unknown=0)
        description = f"{describe_origin(depth)}: meters = value / {_shortest(scale)}; 0 is unknown"
        return _write_png(values, metadata, description, compression=settings.png_compression)

    def decode(self, data: bytes, name: str) -> DepthMap:
        """Return the depth, accurate to half a step; unknown depth is 0.

        Raises:
            DepthFileError: the file is damaged, or glpn did not write it.
        """
        values, metadata = _read_png(data, name)
        with metadata_checked(name):
            meters = values.astype(np.float32) / np.float32(read_number(metadata, "values_per_meter", positive=True))
            return DepthMap(meters, read_provenance(metadata), camera=read_camera(metadata))


def beyond_16_bits(depth: DepthMap, settings: OutputSettings) -> float:
    """Return the fraction of pixels that png16 stores as 65535 although they are farther."""
    known = is_known(depth.meters)
    limit_m = np.float32((MAX_UINT16 + 0.5) / settings.png16_scale)
    return float(np.mean(known & (depth.meters > limit_m)))


def _shortest(number: float) -> int | float:
    return int(number) if number == int(number) else number


def _zero_unknown(values: NDArray[np.float32]) -> NDArray[np.float32]:
    # Depth from the network is always finite: return it without a copy.
    return values if np.isfinite(values).all() else np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)


def _spans_range(settings: OutputSettings) -> bool:
    """Return whether gray levels span a range, instead of being normalized."""
    return settings.normalize is None and (settings.range is not None or settings.curve is not None)


def _gray_ends(depth: DepthMap, values: NDArray[np.float32], settings: OutputSettings) -> tuple[float, float]:
    """Return the depth that is black and the depth that is white, if near is dark, in the scale of the values."""
    curve = settings.curve or Curve.LINEAR
    if _spans_range(settings):
        meters_per_unit = (depth.provenance.meters_per_unit or 1) if settings.scale is Scale.PUBLISHED else 1
        low_m, high_m = resolve_range(depth, settings, curve)
        return low_m / meters_per_unit, high_m / meters_per_unit
    if curve is Curve.LINEAR:
        return (float(values.min()) if settings.normalize is Normalize.MINMAX else 0.0), float(values.max())
    return fit_range(*measure_range(DepthMap(values), DepthRange.parse("p0:p100")), curve)


def _quantize(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """Return 8-bit steps: `low` is 0, `high` is 255, truncated between."""
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    # The order of the operations is that of transformers' pipeline; another order rounds other pixels down.
    return ((values - np.float32(low)) / np.float32(high - low) * _MAX_GRAY).astype(np.uint8)


def _build_legend(depth: DepthMap, settings: OutputSettings, low_m: float, high_m: float) -> Legend:
    from glpn_cli.output.legend import Legend

    known = is_known(depth.meters)
    provenance = depth.provenance
    return Legend(
        colors=near_first_table(settings),
        low_m=low_m,
        high_m=high_m,
        curve=color_curve(settings),
        is_nearer=bool((known & (depth.meters < low_m)).any()),
        is_farther=bool((known & (depth.meters > high_m)).any()),
        unknown=None if known.all() else unknown_color(colormap_of(settings)),
        caption=" ".join(filter(None, [provenance.weights, "(approximate)" if provenance.metric is False else ""])),
    )


def _write_png(pixels: NDArray[Any], metadata: dict[str, Any], description: str, *, compression: int) -> bytes:
    """Return a PNG with its text chunks before the pixels, so that metadata is read without them.

    Args:
        pixels: (H, W) uint8 or uint16, or (H, W, 3) uint8.
        metadata: for programs.
        description: one line for people.
        compression: 0 (none) to 9 (smallest).
    """
    text = PngInfo()
    text.add_text(KEYWORD, metadata_to_json(metadata))
    text.add_text("Description", description)
    text.add_text("Software", metadata["provenance"].get("tool", "glpn-cli"))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=text, compress_level=compression)
    return buffer.getvalue()


def _read_png(data: bytes, name: str) -> tuple[NDArray[Any], dict[str, Any]]:
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            metadata = parse_metadata(image.info.get(KEYWORD))
            kind = _PIXEL_KINDS.get(image.mode, "colors")
            pixels = np.asarray(image)
    except Exception as error:  # Pillow's parsers raise many types
        raise DepthFileError(f"{name}: damaged PNG") from error
    if metadata is None:
        raise DepthFileError(f"{name}: contains {kind} of unknown scale", hint=_HINTS.get(kind, _HINT))
    return pixels, metadata
