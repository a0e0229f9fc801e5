"""What moves the weights: Adam, with or without decay, in one pass over them where that is to be had; perhaps Muon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from glpn_cli.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    from glpn_cli.settings.training import TrainSettings

__all__ = ["Together", "build_optimizer"]


class Together:
    """Several optimizers, each of some of the weights, as if they were one."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        """Take the optimizers."""
        self._parts = parts

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all, which have the learning rates."""
        return [group for part in self._parts for group in part.param_groups]

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for part in self._parts:
            part.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Move all weights."""
        for part in self._parts:
            part.step()

    def state_dict(self) -> list[dict[str, Any]]:
        """Give the states of all."""
        return [part.state_dict() for part in self._parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Take the states of all."""
        for part, state in zip(self._parts, states, strict=True):
            part.load_state_dict(state)


def build_optimizer(network: nn.Module, settings: TrainSettings) -> Together:
    """Build Adam, or AdamW if there is a decay, which leaves norms and biases alone; and Muon, where that is asked for.

    Muon makes the momentum of a matrix orthogonal before it moves it, by steps as long as those of Adam would be.

    Raises:
        UsageError: this torch has no Muon.

    Source: arXiv 2502.16982, section 2.2, for the length of Muon's steps.
    """
    betas = (0.9, settings.beta2)
    fused = next(network.parameters()).device.type in ("cpu", "cuda")  # one pass over the weights, several times faster
    left = list(network.parameters())
    parts: list[torch.optim.Optimizer] = []
    if settings.muon:
        if not hasattr(torch.optim, "Muon"):
            raise UsageError(
                f"torch {torch.__version__} has no Muon", hint="torch 2.9 or newer, or a recipe without muon"
            )
        matrices = [one for one in left if one.dim() == 2]
        left = [one for one in left if one.dim() != 2]
        parts.append(
            torch.optim.Muon(matrices, settings.learning_rate, settings.weight_decay, adjust_lr_fn="match_rms_adamw")
        )
    if not settings.weight_decay:
        return Together(*parts, torch.optim.Adam(left, settings.learning_rate, betas, fused=fused))
    groups = [
        {"params": [one for one in left if one.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [one for one in left if one.dim() <= 1], "weight_decay": 0.0},
    ]
    return Together(*parts, torch.optim.AdamW(groups, settings.learning_rate, betas, fused=fused))
