"""The content of a report: what it stores of each image, as scripts that the page loads.

A page that is opened from disk may load scripts but not fetch files. Photos and depth are therefore text in scripts.
"""

from __future__ import annotations

import base64
import io
import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from glpn_cli.depth import is_known
from glpn_cli.errors import DepthFileError, GLPNError
from glpn_cli.image.fetching import is_address
from glpn_cli.image.reading import read_image
from glpn_cli.inference.record import is_same_image
from glpn_cli.output.formats import FORMATS, ReadsBack
from glpn_cli.output.reading import read_depth

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from glpn_cli.depth import DepthMap
    from glpn_cli.inference.record import Record

LARGE_PX = 1024
"""Longest side of the photo in the large view."""

THUMBNAIL_PX = 480
"""Longest side of the photo in the overview, where it is about 200 CSS pixels wide: sharp on screens of 2x density."""

_LARGE_QUALITY = 82
_THUMBNAIL_QUALITY = 75

_STEP_M = 0.001
_MAX_STEPS = 65_534
_INVERSE_STEPS = 512
_ZLIB_LEVEL = 1  # higher levels take ten times as long and save a fifth of the bytes

_MOST_EXACT_FIRST = (ReadsBack.METERS, ReadsBack.VALUES, ReadsBack.APPROXIMATE)


# Scripts


def to_script(function: str, *values: Any) -> bytes:
    r"""Return a script that passes values to a function of the page.

    All characters outside of ASCII are escaped, including the lone surrogates of invalid file names. So is `<`: a name
    such as `</script>` is harmless even if the script is pasted into a page.

    Args:
        function: a function of the page's `glpn` object.
        values: ready for JSON, without NaN.
    """
    arguments = ", ".join(
        json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c") for value in values
    )
    return f"glpn.{function}({arguments});\n".encode("ascii")


# Photos


def to_jpegs(rgb: NDArray[np.uint8]) -> tuple[str, str]:
    """Return the large and the small copy of a photo as data URLs of JPEGs.

    JPEG files would be images in the batch folder, which the next batch would process.

    Args:
        rgb: (H, W, 3) uint8, in [0, 255], upright.
    """
    image = Image.fromarray(rgb)
    image.thumbnail((LARGE_PX, LARGE_PX), Resampling.BILINEAR, reducing_gap=2.0)
    large = _to_data_url(image, _LARGE_QUALITY)
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Resampling.BILINEAR, reducing_gap=1.5)
    return large, _to_data_url(image, _THUMBNAIL_QUALITY)


def _to_data_url(image: Image.Image, quality: int) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


# Depth grids


def subsample(meters: NDArray[np.float32], max_side_px: int) -> NDArray[np.float32]:
    """Return depth on a regular grid with limited sides.

    Depth is sampled and not averaged: at an edge, the mean of near and far is the depth of nothing.

    Args:
        meters: (H, W) float32, meters.
        max_side_px: limit of both sides; a smaller map is returned as it is.

    Returns:
        (h, w) float32, meters; the value at (r, c) is that of the pixel ((r + 0.5)·H/h, (c + 0.5)·W/w), rounded down.
    """
    height, width = meters.shape
    longest = max(height, width)
    if longest <= max_side_px:
        return meters
    rows, columns = (
        (np.arange(count) * 2 + 1) * side // (2 * count)
        for side, count in ((side, max(1, side * max_side_px // longest)) for side in (height, width))
    )
    sampled: NDArray[np.float32] = meters[rows[:, None], columns]
    return sampled


def encode_grid(meters: NDArray[np.float32], *, max_steps: int = _MAX_STEPS) -> dict[str, Any]:
    """Return depth as text, in integer steps that are fine in meters and in inverse depth.

    Depth d becomes (d - low)/step + 512·(1 - low/d)/(1 - low/high): steps of at most 1 mm, or of an equal fraction of
    the span if that has more than 65 m, and at least 512 steps from low to high that are equal in 1/d. So near
    depth is fine enough for colors by inverse depth, even if the image spans few millimeters or many meters.

    Each value is stored as its difference from the prediction by its left, upper and upper left neighbors, first all
    high bytes and then all low bytes, compressed with zlib.

    Args:
        meters: (h, w) float32, meters; values that are not finite and positive are unknown.
        max_steps: the number of steps at most, above 512; fewer make the text shorter.

    Returns:
        The input of `decode_grid` and of `store.js` in the page, ready for JSON.
    """
    known = is_known(meters)
    all_known = bool(known.all())
    depths = meters if all_known else meters[known]
    low, high = (float(depths.min()), float(depths.max())) if depths.size else (0.0, 0.0)
    step_m = max(_STEP_M, (high - low) / (max_steps - _INVERSE_STEPS))
    filled = meters if all_known else np.where(known, meters, np.float32(low))
    steps = filled - np.float32(low)
    if high > low:
        steps *= np.float32(1 / step_m) + np.float32(_inverse_factor(low, high)) / filled
    values = (steps + np.float32(1.5)).astype(np.uint16)
    if not all_known:
        values[~known] = 0
    horizontal = np.diff(values, axis=1, prepend=np.uint16(0))
    residual = np.diff(horizontal, axis=0, prepend=np.uint16(0)).view(np.int16)
    zigzag = ((residual << 1) ^ (residual >> 15)).view(np.uint16)  # 0, -1, 1, -2, ... as 0, 1, 2, 3, ...
    planes = np.empty((2, *meters.shape), np.uint8)
    np.right_shift(zigzag, 8, out=planes[0], casting="unsafe")
    np.bitwise_and(zigzag, 255, out=planes[1], casting="unsafe")
    return {
        "height": meters.shape[0],
        "width": meters.shape[1],
        "low_m": low,
        "high_m": high,
        "step_m": step_m,
        "data": base64.b64encode(zlib.compress(planes.tobytes(), _ZLIB_LEVEL)).decode("ascii"),
    }


def decode_grid(grid: dict[str, Any]) -> NDArray[np.float32]:
    """Return the depth that `encode_grid` encoded: (h, w) float32, meters; NaN is unknown.

    Grids of earlier versions have no `high_m`: all their steps are equal in meters.
    """
    planes = np.frombuffer(zlib.decompress(base64.b64decode(grid["data"])), np.uint8)
    first, second = planes.reshape(2, grid["height"], grid["width"]).astype(np.uint16)
    zigzag = (first << 8) | second
    residual = (zigzag >> 1) ^ (0 - (zigzag & 1))
    values = residual.cumsum(axis=0, dtype=np.uint16).cumsum(axis=1, dtype=np.uint16)
    low, step_m = grid["low_m"], grid["step_m"]
    high = grid.get("high_m", low)
    meters = low + (values.astype(np.float64) - 1) * step_m
    if high > low:
        # Solves d/step - factor·low/d = offset for d.
        factor = _inverse_factor(low, high)
        offset = meters / step_m - factor
        meters = np.clip(step_m / 2 * (offset + np.sqrt(offset**2 + 4 * factor * low / step_m)), low, high)
    return np.where(values == 0, np.nan, meters).astype(np.float32)


def _inverse_factor(low_m: float, high_m: float) -> float:
    """Return k, where k·(d - low)/d are the steps that are equal in inverse depth."""
    return _INVERSE_STEPS * high_m / (high_m - low_m)


# Images that were finished without a report


def recover_depth(record: Record, folder: Path, *, meters_per_unit: float) -> DepthMap | None:
    """Return the depth in the most exact output of an image; None if no output can be read back.

    Args:
        record: of the image in the manifest.
        folder: the output folder of the batch.
        meters_per_unit: for outputs in the published scale whose format has no metadata.
    """
    rows = [FORMATS[name] for name in record.outputs if name in FORMATS]
    readable = [row for row in rows if row.reads_back in _MOST_EXACT_FIRST]
    for row in sorted(readable, key=lambda row: _MOST_EXACT_FIRST.index(row.reads_back)):
        try:
            depth = read_depth(folder / record.outputs[row.name])
        except DepthFileError:  # missing or changed: try the next
            continue
        if row.reads_back is ReadsBack.VALUES and record.settings.get("scale") == "published":
            return replace(depth, meters=depth.meters * np.float32(meters_per_unit))
        return depth
    return None


def recover_photo(record: Record) -> NDArray[np.uint8] | None:
    """Return the image of a record, (H, W, 3) uint8; None if it is missing, was changed, or came from a URL."""
    if is_address(record.source):
        return None
    source = Path(record.source)
    if not record.source_mark or not is_same_image(record, source):
        return None
    try:
        return read_image(source).rgb
    except GLPNError:  # also if an optional package is no longer installed
        return None
