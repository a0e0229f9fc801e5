"""The loss that GLPN is trained with."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["silog_loss"]


def silog_loss(predicted: Tensor, target: Tensor, *, scale_forgiveness: float = 0.5) -> Tensor:
    """Measure how far two depths differ, forgiving part of a common factor.

    The pixels of the whole batch count as one set: with d = log(target) - log(predicted), the loss is the square
    root of mean(d²) - scale_forgiveness · mean(d)².

    Args:
        predicted: (B, H, W) float32, meters, positive.
        target: (B, H, W) any number type, meters; 0 where there is no ground truth.
        scale_forgiveness: 0 counts a wrong overall scale in full, 1 not at all.

    Returns:
        () float32, unitless, not negative; 0 if no pixel has ground truth.

    Raises:
        ValueError: the two have different shapes.

    Source: Eigen et al., arXiv 1406.2283, equation 4, under the square root that GLPN's authors put over it.
    """
    if predicted.shape != target.shape:
        raise ValueError(
            f"the target must have the prediction's shape {tuple(predicted.shape)}, not {(*target.shape,)}"
        )
    known = target > 0
    # Logarithms need the range and the digits of float32, also where the network runs in half precision.
    precise = torch.promote_types(predicted.dtype, torch.float32)
    seen = predicted[known].to(precise)
    if seen.numel() == 0:
        return seen.sum()  # 0, with a gradient of zeros; the mean of nothing would be NaN
    # A sigmoid can underflow to 0, whose logarithm is infinite; the smallest normal number stands in for it.
    difference = target[known].to(precise).log() - seen.clamp_min(torch.finfo(precise).tiny).log()
    variance = difference.square().mean() - scale_forgiveness * difference.mean().square()
    # The slope of a square root is infinite at 0 and would turn the gradient into NaN, so 0 goes round the root.
    perfect = variance <= 0
    return torch.where(perfect, 0.0, torch.where(perfect, 1.0, variance).sqrt())
