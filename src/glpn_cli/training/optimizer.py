"""Averaged weights: they lag behind, and are better than those of any one step.

The learning rate over a training.

What moves the weights: Adam, with or without decay, in one pass over them where that is to be had; perhaps Muon.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from glpn_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from glpn_cli.training.settings import TrainSettings


_WARM_UP = 10


class AveragedWeights:
    """An exponential moving average of a network's parameters and statistics.

    Attributes:
        tensors: by key, as in the network's state dict.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Begin with the network as it is.

        Args:
            network: what is averaged.
            decay: what is left of the average after a step; less in the first steps, which are far from where it ends.
        """
        self._decay = decay
        self.tensors = {key: value.detach().clone() for key, value in network.state_dict().items()}

    def update(self, network: nn.Module, step: int) -> None:
        """Take in a step; the first is step 0."""
        kept = min(self._decay, (1 + step) / (_WARM_UP + step))
        ours, theirs = [], []
        with torch.no_grad():
            for key, value in network.state_dict().items():
                if value.is_floating_point():
                    ours.append(self.tensors[key])
                    theirs.append(value)
                else:
                    self.tensors[key].copy_(value)
            torch._foreach_lerp_(ours, theirs, 1 - kept)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from an average that was kept."""
        for key, value in tensors.items():
            self.tensors[key].copy_(value)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Up to a peak and down again, both by a power, over the steps that there really are.

    The authors' program counts in steps of one data set and one batch size, so that with others its rate falls below
    the lowest and at last below zero. Here it never leaves [end, peak].

    Attributes:
        steps: of the whole training.
        peak: the highest rate.
        end: the rate before the first and after the last step.
        peak_at: where the peak is, as a share of the steps; 0 begins there.
        power: 0.9 in the paper.

    Source: arXiv 2201.07436, section 4.1.
    """

    steps: int
    peak: float
    end: float
    peak_at: float = 0.5
    power: float = 0.9

    def __call__(self, step: int) -> float:
        """Give the rate of a step; the first is step 0."""
        done = min(1.0, (step + 1) / self.steps)
        if done < self.peak_at:
            height = (done / self.peak_at) ** self.power
        else:
            falling = (done - self.peak_at) / (1 - self.peak_at) if self.peak_at < 1 else 0.0
            height = 1 - falling**self.power
        return min(self.peak, max(self.end, self.end + (self.peak - self.end) * float(height)))


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
