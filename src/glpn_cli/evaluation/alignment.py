"""One factor for an image, found from its true depth, for predictions that know shapes better than meters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from glpn_cli.settings.measuring import Align

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["scale_factor"]


def scale_factor(predicted: NDArray[np.float64], true: NDArray[np.float64], align: Align) -> float:
    """Find the factor that brings a prediction to the true scale.

    Args:
        predicted: (N,) float64, meters, positive: the pixels that count.
        true: (N,) float64, meters, positive.
        align: MEDIAN makes the medians equal; LEAST_SQUARES makes the sum of squared errors in meters smallest.

    Returns:
        Positive.

    Source: Zhou et al., CVPR 2017, for the ratio of medians.
    """
    if align is Align.MEDIAN:
        return float(np.median(true) / np.median(predicted))
    return float(np.dot(predicted, true) / np.dot(predicted, predicted))
