"""What training makes small: the paper's loss, by batch or by image, and the slopes of depth beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from glpn_cli.model.loss import silog_loss

if TYPE_CHECKING:
    from torch import Tensor

    from glpn_cli.settings.training import TrainSettings

__all__ = ["slope_loss", "training_loss"]

_STRIDES = (1, 2, 4)


def training_loss(predicted: Tensor, target: Tensor, settings: TrainSettings) -> Tensor:
    """Measure a batch.

    Args:
        predicted: (B, H, W) float32, meters, positive.
        target: (B, H, W) float32, meters; 0 where nothing is known.
        settings: which parts count how much.

    Returns:
        () float32.
    """
    if settings.loss_per_image:
        per_image = [
            silog_loss(one[None], truth[None], scale_forgiveness=settings.scale_forgiveness)
            for one, truth in zip(predicted, target, strict=True)
        ]
        loss = torch.stack(per_image).mean()
    else:
        loss = silog_loss(predicted, target, scale_forgiveness=settings.scale_forgiveness)
    if settings.gradient_weight:
        loss = loss + settings.gradient_weight * slope_loss(predicted, target)
    return loss


def slope_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Measure how much the slopes of log depth differ, from a pixel to the next, the second and the fourth.

    Edges and small things weigh little in the paper's loss; here they weigh most.

    Args:
        predicted: (B, H, W) float32, meters, positive.
        target: (B, H, W) float32, meters; 0 where nothing is known.

    Returns:
        () float32, the sum over the three distances of the mean absolute difference.

    Source: the gradient-matching term of MegaDepth, arXiv 1804.00607, section 4.2, on fewer scales.
    """
    known = target > 0
    error = predicted.clamp_min(torch.finfo(predicted.dtype).tiny).log() - torch.where(known, target, 1.0).log()
    error = torch.where(known, error, 0.0)
    total = error.new_zeros(())
    for stride in _STRIDES:
        part, seen = error[:, ::stride, ::stride], known[:, ::stride, ::stride]
        across = (part[:, :, 1:] - part[:, :, :-1]).abs() * (seen[:, :, 1:] & seen[:, :, :-1])
        down = (part[:, 1:] - part[:, :-1]).abs() * (seen[:, 1:] & seen[:, :-1])
        total = total + (across.sum() + down.sum()) / seen.sum().clamp_min(1)
    return total
