"""The PNG formats: png (8-bit gray), color and png16. Text chunks before the pixels contain the metadata."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from glpn_cli.depth import DepthMap, is_known
from glpn_cli.errors import DepthFileError, UsageError
from glpn_cli.output.color import colorize, near_first_table, resolve_range, unknown_color
from glpn_cli.output.metadata import (
    KEYWORD,
    build_metadata,
    describe_origin,
    metadata_checked,
    metadata_to_json,
    parse_metadata,
    read_camera,
    read_provenance,
)
from glpn_cli.settings import Near, Normalize, Scale

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from glpn_cli.output.legend import Legend
    from glpn_cli.settings import OutputSettings

_MAX_GRAY = 255

_INDOOR_VALUES_PER_METER, _OUTDOOR_VALUES_PER_METER = 1000, 256
_INDOOR_LIMIT_M = 65.0
_MAX_UINT16 = 65_535

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

        With a range, its ends are black and white. Otherwise `normalize` selects the formula: "max" is the documented
        `255·depth/max(depth)`, truncated; "minmax" is that of transformers' pipeline. A constant map, for which the
        formula would divide by zero, is black.

        Source: transformers v4.37.2 documentation of GLPNForDepthEstimation; v4.46 depth-estimation pipeline.
        """
        values = _zero_unknown(depth.in_scale(settings.scale))
        if settings.range is not None:
            meters_per_unit = (depth.provenance.meters_per_unit or 1) if settings.scale is Scale.PUBLISHED else 1
            low, high = (end_m / meters_per_unit for end_m in resolve_range(depth, settings))
            gray = _quantize(np.clip(values, np.float32(low), np.float32(high)), low, high)
        elif settings.normalize is Normalize.MINMAX:
            low, high = float(values.min()), float(values.max())
            gray = _quantize(values, low, high)
        else:
            low, high = 0.0, float(values.max())
            gray = np.zeros(values.shape, np.uint8)
            if high > 0:
                gray = (values * _MAX_GRAY / np.float32(high)).astype(np.uint8)
        near = settings.near or Near.DARK
        if near is Near.BRIGHT:
            gray = _MAX_GRAY - gray
        how = (
            {"normalize": str(settings.normalize or Normalize.MAX)}
            if settings.range is None
            else {"range": str(settings.range)}
        )
        metadata = build_metadata("png", depth, settings.scale, low=low, high=high, near=str(near), **how)
        low_m, span_m = low * metadata["meters_per_unit"], (high - low) * metadata["meters_per_unit"]
        steps = "gray" if near is Near.DARK else "(255 - gray)"
        description = f"{describe_origin(depth)}, for viewing: about {low_m:.6g} m + {steps} / 255 * {span_m:.6g} m"
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
            low, high, meters_per_unit = (float(metadata[key]) for key in ("low", "high", "meters_per_unit"))
            if metadata.get("near") == Near.BRIGHT:
                gray = _MAX_GRAY - gray
            steps = np.minimum(gray.astype(np.float32) + np.float32(0.5), _MAX_GRAY)
            values = np.float32(low) + steps * np.float32((high - low) / _MAX_GRAY)
            meters = values * np.float32(meters_per_unit)
            return DepthMap(meters, read_provenance(metadata, approximate=True), camera=read_camera(metadata))


class ColorPNG(_PNGFile):
    """Colors, for viewing, optionally with a legend and the photo."""

    def encode(self, depth: DepthMap, settings: OutputSettings) -> bytes:
        """Return an RGB PNG.

        Raises:
            UsageError: `side_by_side` is set and the depth map has no image, or the range is that of weights whose
                depth limit is unknown.
        """
        low_m, high_m = resolve_range(depth, settings)
        image = draw_color(depth, replace(settings, range_m=(low_m, high_m)))
        near = settings.near or Near.BRIGHT
        metadata = build_metadata(
            "color",
            depth,
            unit="meter",
            low=low_m,
            high=high_m,
            range=str(settings.range or "auto"),
            colormap=str(settings.colormap),
            near=str(near),
            legend=settings.legend,
            side_by_side=settings.side_by_side,
        )
        colors = f"{low_m:.6g} to {high_m:.6g} m in the colors {settings.colormap}, near is {near}"
        description = f"{describe_origin(depth)}: {colors}"
        return _write_png(image, metadata, description, compression=settings.png_compression)


def draw_color(depth: DepthMap, settings: OutputSettings) -> NDArray[np.uint8]:
    """Return what a color file shows: the colored depth, perhaps with the photo to its left and a legend below.

    Returns:
        (h, w, 3) uint8, sRGB; larger than the depth map with the photo or the legend.

    Raises:
        UsageError: as `ColorPNG.encode`.
    """
    low_m, high_m = resolve_range(depth, settings)
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


class PNG16(_PNGFile):
    """16-bit meters in the scale of the benchmarks."""

    def encode(self, depth: DepthMap, settings: OutputSettings) -> bytes:
        """Return a 16-bit gray PNG: meters times 1000 or 256, rounded to the nearest integer.

        0 is unknown, so known depth is at least 1. Depth beyond the 16-bit range is 65535.
        """
        factor = values_per_meter(depth)
        known = is_known(depth.meters)
        rounded = np.rint(np.where(known, depth.meters, 0) * np.float32(factor))
        values = np.where(known, np.clip(rounded, 1, _MAX_UINT16), 0).astype(np.uint16)
        metadata = build_metadata("png16", depth, unit="meter", values_per_meter=factor, unknown=0)
        description = f"{describe_origin(depth)}: meters = value / {factor}; 0 is unknown"
        return _write_png(values, metadata, description, compression=settings.png_compression)

    def decode(self, data: bytes, name: str) -> DepthMap:
        """Return the depth, accurate to half a step; unknown depth is 0.

        Raises:
            DepthFileError: the file is damaged, or glpn did not write it.
        """
        values, metadata = _read_png(data, name)
        with metadata_checked(name):
            meters = values.astype(np.float32) / np.float32(float(metadata["values_per_meter"]))
            return DepthMap(meters, read_provenance(metadata), camera=read_camera(metadata))


def values_per_meter(depth: DepthMap) -> int:
    """Return the factor of png16: 1000 if 16 bits are enough for the depth limit, else 256.

    If the weights' limit is unknown, the farthest depth counts.

    Source: the authors' evaluation writes NYU Depth V2 in 1000ths and KITTI in 256ths of a meter; the KITTI depth
    benchmark defines its files so.
    """
    limit_m = depth.provenance.depth_limit_m
    if limit_m is None:
        limit_m = float(np.max(depth.meters, where=is_known(depth.meters), initial=0))
    return _INDOOR_VALUES_PER_METER if limit_m <= _INDOOR_LIMIT_M else _OUTDOOR_VALUES_PER_METER


def _zero_unknown(values: NDArray[np.float32]) -> NDArray[np.float32]:
    # Depth from the network is always finite: return it without a copy.
    return values if np.isfinite(values).all() else np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)


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
        is_nearer=bool((known & (depth.meters < low_m)).any()),
        is_farther=bool((known & (depth.meters > high_m)).any()),
        unknown=None if known.all() else unknown_color(settings.colormap),
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
