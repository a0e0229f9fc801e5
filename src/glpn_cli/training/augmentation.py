"""Augmentation of training samples: vertical CutDepth, mirroring, random crops, color changes.

The order is that of the authors' program: CutDepth on the whole image, mirror, crop, colors. So the pasted strip is
mirrored, cropped and color-changed too.

Source: arXiv 2201.07436, section 3.5; the ranges of the color changes are those of the authors' program.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageFilter

from glpn_cli.errors import InputError
from glpn_cli.training.settings import DEFAULT_CROP, NATIVE_CROP, Photometric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from glpn_cli.data.sample import Sample
    from glpn_cli.training.settings import TrainSettings

    RgbImage = NDArray[np.uint8]
    Depth = NDArray[np.float32]

_HUE_STEPS = 256 / 180  # Pillow counts a circle in 256, OpenCV, which the ranges are for, in 180
_LEVELS = np.arange(256, dtype=np.float32) / 255


@dataclass(frozen=True, slots=True)
class Augmented:
    """An augmented sample.

    Attributes:
        rgb: (h, w, 3) uint8, in [0, 255].
        meters: (h, w) float32, meters; 0 is unknown.
    """

    rgb: RgbImage
    meters: Depth


def augment(
    sample: Sample, size: tuple[int, int], rng: np.random.Generator, settings: TrainSettings, *, limit_m: float
) -> Augmented:
    """Return an augmented version of a sample.

    Args:
        sample: of any size; its depth may be infinite (sky) or NaN (unknown).
        size: (height, width) of the result.
        rng: the source of all randomness.
        settings: probabilities and strength of the changes.
        limit_m: deeper ground truth becomes this depth, in meters.

    Raises:
        InputError: the sample is smaller than a crop at native resolution.
    """
    meters = np.minimum(np.nan_to_num(sample.meters, nan=0.0, posinf=limit_m), np.float32(limit_m))
    rgb = sample.rgb
    if rng.random() < settings.cut_depth:
        rgb = cut_depth(rgb, meters, rng, coverage=settings.cut_depth_coverage)
    if rng.random() < settings.flip:
        rgb, meters = rgb[:, ::-1], meters[:, ::-1]
    rgb, meters, side_fraction = _crop(rgb, meters, size, rng, settings.crop, sample.name)
    if settings.canonical_depth:
        # A crop that fills the input looks like a photo from nearer by. What is beyond the limit, such as sky, stays.
        meters = np.where(meters < limit_m, meters * np.float32(side_fraction), meters)
    rgb = change_colors(rgb, rng, settings.photometric)
    return Augmented(np.ascontiguousarray(rgb), np.ascontiguousarray(meters))


def cut_depth(rgb: RgbImage, meters: Depth, rng: np.random.Generator, *, coverage: float) -> RgbImage:
    """Return an image with a vertical strip replaced by its depth as gray levels.

    The paper describes a strip of depth. The authors' program pastes raw 16-bit depth into 8-bit pixels, which wraps
    around every quarter of a meter, so its strip is noise. Here depth is scaled to the range of the image: the largest
    depth in the image is white, unknown depth is black.

    Args:
        rgb: (H, W, 3) uint8, in [0, 255].
        meters: (H, W) float32, meters; 0 is unknown.
        rng: the source of all randomness.
        coverage: largest fraction of the columns right of its left edge that the strip covers.

    Returns:
        (H, W, 3) uint8, in [0, 255].
    """
    width = rgb.shape[1]
    left = int(rng.random() * width)
    strip = slice(left, left + int(max((width - left) * rng.random() * coverage, 1)))
    gray = (meters[:, strip] * (255 / max(float(meters.max()), 1e-6))).astype(np.uint8)
    pasted = rgb.copy()
    pasted[:, strip] = gray[:, :, None]
    return pasted


def change_colors(rgb: RgbImage, rng: np.random.Generator, photometric: Photometric) -> RgbImage:
    """Return an image with randomly changed colors.

    Args:
        rgb: (h, w, 3) uint8, in [0, 255].
        rng: the source of all randomness.
        photometric: strength of the changes.

    Returns:
        (h, w, 3) uint8, in [0, 255].
    """
    if photometric is Photometric.PAPER:
        return _change_as_in_paper(rgb, rng)
    return _change_strongly(rgb, rng) if photometric is Photometric.STRONG else rgb


def _crop(
    rgb: RgbImage,
    meters: Depth,
    size: tuple[int, int],
    rng: np.random.Generator,
    crop: tuple[float, float] | None,
    name: str,
) -> tuple[RgbImage, Depth, float]:
    """Return a random crop, and the square root of the fraction of the area that it covers."""
    height, width = meters.shape
    if crop == NATIVE_CROP:
        if height < size[0] or width < size[1]:
            raise InputError(
                f"{name}: {height}x{width} is smaller than the crop of {size[0]}x{size[1]}",
                hint="set smaller `sizes`, or a `crop` such as 0.7-1, which resizes",
            )
        top, left = int(rng.integers(height - size[0] + 1)), int(rng.integers(width - size[1] + 1))
        window = slice(top, top + size[0]), slice(left, left + size[1])
        return rgb[window], meters[window], math.sqrt(size[0] * size[1] / (height * width))
    # The largest window of the target's aspect ratio, scaled by a random fraction, at a random position.
    zoom = min(height / size[0], width / size[1]) * rng.uniform(*(crop or DEFAULT_CROP))
    tall, wide = size[0] * zoom, size[1] * zoom
    top, left = rng.uniform(0, height - tall), rng.uniform(0, width - wide)
    shown = Image.fromarray(np.ascontiguousarray(rgb)).resize(
        (size[1], size[0]), Image.Resampling.BILINEAR, box=(left, top, left + wide, top + tall)
    )
    rows = (top + (np.arange(size[0]) + 0.5) * zoom).astype(np.intp).clip(0, height - 1)
    columns = (left + (np.arange(size[1]) + 0.5) * zoom).astype(np.intp).clip(0, width - 1)
    # Nearest neighbor: between a chair and the wall behind it, nothing has the interpolated depth.
    return np.asarray(shown), meters[rows[:, None], columns], math.sqrt(tall * wide / (height * width))


def _change_as_in_paper(rgb: RgbImage, rng: np.random.Generator) -> RgbImage:
    curve: NDArray[Any] = _LEVELS
    if rng.random() < 0.5:
        contrast, brightness = 1 + rng.uniform(-0.2, 0.2), rng.uniform(-0.2, 0.2)
        curve = _quantize(curve * contrast + brightness)
    if rng.random() < 0.5:
        curve = _quantize(curve ** (int(rng.integers(80, 121)) / 100))
    if curve is not _LEVELS:
        rgb = (curve * 255).round().astype(np.uint8)[rgb]
    if rng.random() < 0.5:
        rgb = _shift_hsv(rgb, rng.uniform(-20, 20) * _HUE_STEPS, rng.uniform(-30, 30), rng.uniform(-20, 20))
    return rgb


def _quantize(curve: NDArray[Any]) -> NDArray[np.float32]:
    """Clip a curve to [0, 1] and round it down to 8-bit levels, as the authors' program does."""
    return (np.floor(curve.clip(0, 1) * 255 + 1e-4) / 255).astype(np.float32)


def _shift_hsv(rgb: RgbImage, hue: float, saturation: float, value: float) -> RgbImage:
    hsv = np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).convert("HSV")).astype(np.int16)
    hsv[..., 0] = (hsv[..., 0] + round(hue)) % 256
    hsv[..., 1:] = (hsv[..., 1:] + np.array([round(saturation), round(value)], np.int16)).clip(0, 255)
    planes = [Image.fromarray(np.ascontiguousarray(hsv[..., i].astype(np.uint8))) for i in range(3)]
    return np.asarray(Image.merge("HSV", planes).convert("RGB"))


def _change_strongly(rgb: RgbImage, rng: np.random.Generator) -> RgbImage:
    """Change everything but shapes, so that the network does not infer depth from the colors of one place."""
    if rng.random() < 0.85:
        gamma, contrast, brightness = np.exp(rng.normal(0, 0.35)), np.exp(rng.normal(0, 0.35)), rng.uniform(-0.2, 0.2)
        tint = np.exp(rng.normal(0, 0.12, 3)) if rng.random() < 0.7 else np.ones(3)
        curve = (_LEVELS**gamma - 0.5) * contrast + 0.5 + brightness
        curves = (curve[:, None] * tint).clip(0, 1) * 255
        rgb = np.stack([curves[:, i].astype(np.uint8)[rgb[..., i]] for i in range(3)], -1)
    if rng.random() < 0.6:
        angle = rng.uniform(-np.pi, np.pi) if rng.random() < 0.3 else rng.uniform(-0.3, 0.3)
        rgb = _rotate_hue(rgb, angle, 0.0 if rng.random() < 0.35 else rng.uniform(0.2, 1.6))
    if rng.random() < 0.3:
        rgb = _light_unevenly(rgb, rng)
    if rng.random() < 0.4:
        image = Image.fromarray(np.ascontiguousarray(rgb))
        soft, sharp = (
            ImageFilter.BoxBlur(rng.uniform(0.3, 1.3)),
            ImageFilter.UnsharpMask(1, int(rng.integers(40, 200)), 0),
        )
        rgb = np.asarray(image.filter(soft if rng.random() < 0.55 else sharp))
    if rng.random() < 0.35:
        noise = rng.standard_normal(rgb.shape, np.float32) * np.float32(255 * rng.uniform(0.005, 0.05))
        rgb = (rgb + noise).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.25:
        stream = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(rgb)).save(stream, "JPEG", quality=int(rng.integers(25, 90)))
        rgb = np.asarray(Image.open(stream))
    return rgb


def _light_unevenly(rgb: RgbImage, rng: np.random.Generator) -> RgbImage:
    """Brighten and darken regions smoothly, so that brightness does not tell depth."""
    height, width = rgb.shape[:2]
    coarse = rng.normal(0, 0.3, (int(rng.integers(2, 5)), int(rng.integers(2, 6)))).astype(np.float32)
    gain = np.exp(np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)))
    lit: RgbImage = (rgb * gain[:, :, None]).clip(0, 255).astype(np.uint8)
    return lit


def _rotate_hue(rgb: RgbImage, angle: float, saturation: float) -> RgbImage:
    """Rotate all hues by an angle in radians and scale their saturation, in one pass, unlike a conversion to HSV."""
    along = np.full((3, 3), 1 / 3)
    across = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    turned = along + saturation * (np.cos(angle) * (np.eye(3) - along) + np.sin(angle) * across)
    matrix = tuple(np.concatenate([turned, np.zeros((3, 1))], 1).flatten().tolist())
    return np.asarray(Image.fromarray(np.ascontiguousarray(rgb)).convert("RGB", matrix))
