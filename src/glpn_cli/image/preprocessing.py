"""Preprocessing of one image to the network's input, and conversion of its output to meters.

The arithmetic is that of `GLPNImageProcessor`, bit for bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from PIL.Image import Resampling

from glpn_cli.convert import SIZE_DIVISOR
from glpn_cli.image.upsampling import upsample, upsample_guided
from glpn_cli.values import SizeMode

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from glpn_cli.values import InputSize

_CHANNELS = 3
_WHITE = 255


def floored_size(height: int, width: int, divisor: int = SIZE_DIVISOR) -> tuple[int, int]:
    """Return (height, width) in pixels, rounded down to multiples of the divisor, at least one divisor each."""
    return max(height // divisor, 1) * divisor, max(width // divisor, 1) * divisor


def fitted_size(height: int, width: int, working_size: tuple[int, int]) -> tuple[int, int]:
    """Return the size at which the network sees an image, given the working size of its weights.

    The aspect ratio is preserved, because the network was not trained on distorted images.

    Args:
        height: of the image, pixels.
        width: of the image, pixels.
        working_size: (height, width) in pixels; only the product counts.

    Returns:
        (height, width) in pixels, multiples of 32, about as many pixels as `working_size`.
    """
    zoom = (working_size[0] * working_size[1] / (height * width)) ** 0.5
    fitted_height, fitted_width = (max(1, round(side * zoom / SIZE_DIVISOR)) * SIZE_DIVISOR for side in (height, width))
    return fitted_height, fitted_width


def wanted_size(size: tuple[int, int], input_size: InputSize, working_size: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) that the network should see of an image of a (height, width), if it takes it."""
    if input_size.mode is SizeMode.FIXED:
        return input_size.height_px, input_size.width_px
    if input_size.mode is SizeMode.NATIVE:
        return floored_size(*size, SIZE_DIVISOR)
    return fitted_size(*size, working_size)


def usable_size(size: tuple[int, int], usable_sides: tuple[int, int]) -> tuple[int, int]:
    """Return the smallest size that a network takes and that is not smaller than a size, as (height, width).

    Args:
        size: (height, width).
        usable_sides: the smallest side that the network takes, and the step to the next.
    """
    smallest, step = usable_sides
    height, width = (max(smallest, -(-side // step) * step) for side in size)
    return height, width


def to_pixel_values(rgb: NDArray[np.uint8], size: tuple[int, int], *, resample: int = Resampling.BILINEAR) -> Tensor:
    """Convert an image to the network's input, bit for bit as `GLPNImageProcessor` does.

    Args:
        rgb: (H, W, 3) uint8, in [0, 255].
        size: (height, width) of the network's input in pixels; the processor uses `floored_size(H, W)`.
        resample: a Pillow filter.

    Returns:
        (1, 3, height, width) float32, in [0, 1], on the CPU.
    """
    resized = resize_8_bits(rgb, size, resample)
    pixel_values = np.empty((1, _CHANNELS, *size), np.float32)
    divide_by_255(resized.transpose(2, 0, 1), out=pixel_values[0])
    return torch.from_numpy(pixel_values)


def to_meters(
    predicted: Tensor,
    size: tuple[int, int],
    *,
    meters_per_unit: float,
    limit_m: float,
    guide: NDArray[np.uint8] | None = None,
) -> NDArray[np.float32]:
    """Convert the network's output to meters at the size of the image; the counterpart of `to_pixel_values`.

    The order matters: first bicubic interpolation to the size of the image, then the scale, then the limits. Next to an
    edge, interpolation overshoots; the result is limited to the depths that the network predicted around each pixel.

    Args:
        predicted: (1, h, w) of any float dtype, finite, in the unit of the weights, on any device.
        size: (height, width) of the image, pixels.
        meters_per_unit: the factor from that unit to meters.
        limit_m: the largest depth that the weights can predict, meters.
        guide: the image, (height, width, 3) uint8, with whose edges those of depth are aligned; None does not.

    Returns:
        (height, width) float32, meters, in [0, limit_m].
    """
    predicted = predicted.detach().to(torch.float32)
    if guide is not None:
        return upsample_guided(predicted[0].cpu(), guide, factor=meters_per_unit, limit=limit_m)
    return upsample(predicted[0], size, factor=meters_per_unit, limit=limit_m)


def resize_8_bits(rgb: NDArray[np.uint8], size: tuple[int, int], resample: int) -> NDArray[np.uint8]:
    """Resize an image, (H, W, 3) uint8, to (height, width) with a Pillow filter."""
    if rgb.shape[:2] == size:  # no filter of Pillow would change the image
        return rgb
    height, width = size
    image = Image.fromarray(np.ascontiguousarray(rgb))
    return np.asarray(image.resize((width, height), Resampling(resample)))


def divide_by_255(values: NDArray[np.uint8], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Return the same as `to_unit_range`, three times as fast: equal for all 256 values of uint8."""
    quotient: NDArray[np.float32] = np.divide(values, np.float32(_WHITE), out=out, dtype=np.float32)
    return quotient
