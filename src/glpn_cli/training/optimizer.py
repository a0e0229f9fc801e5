"""What moves the weights: Adam, with or without decay, in one pass over them where that is to be had."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn

    from glpn_cli.settings.training import TrainSettings

__all__ = ["build_optimizer"]


def build_optimizer(network: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """Build Adam, or AdamW if there is a decay, which leaves norms and biases alone."""
    betas = (0.9, settings.beta2)
    fused = next(network.parameters()).device.type in ("cpu", "cuda")  # one pass over the weights, several times faster
    if not settings.weight_decay:
        return torch.optim.Adam(network.parameters(), settings.learning_rate, betas, fused=fused)
    parameters = list(network.parameters())
    groups = [
        {"params": [one for one in parameters if one.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [one for one in parameters if one.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, settings.learning_rate, betas, fused=fused)
