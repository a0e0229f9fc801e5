"""Validation: the metrics of a network on images that it is not trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from glpn_cli.data.sample import MIN_DEPTH_M, valid_pixels
from glpn_cli.errors import InputError
from glpn_cli.image.preprocessing import fitted_size, floored_size, to_meters, to_pixel_values
from glpn_cli.metrics import compute_metrics, mean_over_images, replace_invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from glpn_cli.data.sample import Sample
    from glpn_cli.model.glpn import GLPNForDepthEstimation
    from glpn_cli.training.datasets import ValidationSet
    from glpn_cli.weights.catalog import WeightsCard

ALIGNED_PREFIX = "aligned_"
"""Prefix of metrics of predictions that were scaled to the median of the ground truth."""


def check_samples(sets: Sequence[ValidationSet], card: WeightsCard) -> None:
    """Read all samples once, so that a broken image ends a run before the first step and not hours later.

    Args:
        sets: the validation data.
        card: metadata of the weights.

    Raises:
        InputError: an image or its depth cannot be used, or no image has a pixel of known depth.
    """
    found = [bool(_valid_pixels(sample, dataset, card).any()) for dataset in sets for sample in dataset.samples]
    if found and not any(found):
        raise _no_depth_error()


def validate(
    network: GLPNForDepthEstimation, card: WeightsCard, sets: Sequence[ValidationSet], device: torch.device
) -> dict[str, float]:
    """Return the metrics of a network on all sets; every image has the same weight.

    Args:
        network: in evaluation mode, on the device.
        card: metadata of its weights.
        sets: the validation data.
        device: where the network is.

    Returns:
        The metrics by name, and scale-aligned ones with the prefix `ALIGNED_PREFIX`.

    Raises:
        InputError: an image or its depth cannot be used, or no image has a pixel of known depth.
    """
    rows = []
    for dataset in sets:
        for sample in dataset.samples:
            valid = _valid_pixels(sample, dataset, card)
            if valid.any():
                predicted = _predict(network, card, sample, device)
                rows.append(_measure_image(predicted[valid], sample.meters[valid], _cap_m(dataset, card)))
    if not rows:
        raise _no_depth_error()
    return mean_over_images(rows)


def _cap_m(dataset: ValidationSet, card: WeightsCard) -> float:
    return min(dataset.cap_m or card.depth_limit_m, card.depth_limit_m)


def _valid_pixels(sample: Sample, dataset: ValidationSet, card: WeightsCard) -> NDArray[np.bool_]:
    return valid_pixels(sample.meters, cap_m=_cap_m(dataset, card), crop=dataset.crop)


def _predict(
    network: GLPNForDepthEstimation, card: WeightsCard, sample: Sample, device: torch.device
) -> NDArray[np.float32]:
    """Return (H, W) depth in meters, as `glpn_cli.load` computes it with these weights."""
    height, width = sample.meters.shape
    size = fitted_size(height, width, card.working_size) if card.shrink else floored_size(height, width)
    with torch.inference_mode():
        predicted = network(to_pixel_values(sample.rgb, size).to(device)).predicted_depth.float().cpu()
    return to_meters(predicted, (height, width), meters_per_unit=card.meters_per_unit, limit_m=card.depth_limit_m)


def _measure_image(predicted: NDArray[np.float32], true: NDArray[np.float32], cap_m: float) -> dict[str, float]:
    """Return the metrics of one image from its (N,) valid pixels in meters."""
    usable, _ = replace_invalid(predicted, low_m=MIN_DEPTH_M, high_m=cap_m)
    aligned = usable * (np.median(true) / np.median(usable))
    return compute_metrics(usable, true) | {
        ALIGNED_PREFIX + name: value for name, value in compute_metrics(aligned, true).items()
    }


def _no_depth_error() -> InputError:
    return InputError("no validation image has a pixel of known depth", hint="set `validation` to other data")
