"""How good a network is on images that it does not learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from glpn_cli.data.sample import MIN_DEPTH_M, valid_pixels
from glpn_cli.errors import InputError
from glpn_cli.image.processor import fitted_size, floored_size, to_meters, to_pixel_values
from glpn_cli.metrics import compute_metrics, mean_over_images, replace_invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from glpn_cli.data.sample import Sample
    from glpn_cli.model.glpn import GLPNForDepthEstimation
    from glpn_cli.training.datasets import ValidationSet
    from glpn_cli.weights.catalog import WeightsCard


ALIGNED = "aligned_"
"""What metrics begin with that were measured after the median of a prediction was set to that of the truth."""

_NOTHING_COUNTS = "no image to validate with has a pixel of known depth"
_NAME_OTHERS = "name others with --validation"


def check_samples(sets: Sequence[ValidationSet], card: WeightsCard) -> None:
    """Read everything once: a broken image is to end a training before it begins and not hours later.

    Args:
        sets: what will be measured.
        card: of the weights that will be.

    Raises:
        InputError: an image or its depth cannot be used, or no image has a pixel that counts.
    """
    found = [bool(_counts(sample.meters, one, card).any()) for one in sets for sample in one.samples]
    if found and not any(found):
        raise InputError(_NOTHING_COUNTS, hint=_NAME_OTHERS)


def validate(
    network: GLPNForDepthEstimation, card: WeightsCard, sets: Sequence[ValidationSet], device: torch.device
) -> dict[str, float]:
    """Measure a network on all sets; every image counts once.

    Args:
        network: in evaluation mode, on the device.
        card: what turns its output into meters.
        sets: what is measured.
        device: where it computes.

    Returns:
        The metrics by name, each also scale-aligned.

    Raises:
        InputError: no image has a pixel that counts.
    """
    rows = []
    for one in sets:
        for sample in one.samples:
            valid = _counts(sample.meters, one, card)
            if valid.any():
                predicted = _predict(network, card, sample, device)
                rows.append(_measured(predicted[valid], sample.meters[valid], _cap_m(one, card)))
    if not rows:
        raise InputError(_NOTHING_COUNTS, hint=_NAME_OTHERS)
    return mean_over_images(rows)


def _cap_m(one: ValidationSet, card: WeightsCard) -> float:
    return min(one.cap_m or card.depth_limit_m, card.depth_limit_m)


def _counts(meters: NDArray[np.float32], one: ValidationSet, card: WeightsCard) -> NDArray[np.bool_]:
    return valid_pixels(meters, cap_m=_cap_m(one, card), crop=one.crop)


def _predict(
    network: GLPNForDepthEstimation, card: WeightsCard, sample: Sample, device: torch.device
) -> NDArray[np.float32]:
    """Do what `glpn predict` does with these weights."""
    height, width = sample.meters.shape
    size = fitted_size(height, width, card.working_size) if card.shrink else floored_size(height, width)
    with torch.inference_mode():
        predicted = network(to_pixel_values(sample.rgb, size).to(device)).predicted_depth.float().cpu()
    return to_meters(predicted, (height, width), meters_per_unit=card.meters_per_unit, limit_m=card.depth_limit_m)


def _measured(predicted: NDArray[np.float32], true: NDArray[np.float32], cap_m: float) -> dict[str, float]:
    usable, _ = replace_invalid(predicted, low_m=MIN_DEPTH_M, high_m=cap_m)
    aligned = usable * (np.median(true) / np.median(usable))
    plain = compute_metrics(usable, true)
    return plain | {ALIGNED + name: value for name, value in compute_metrics(aligned, true).items()}
