"""What updates the weights: Adam, AdamW or Muon, the learning rate schedule, and averaged weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from glpn_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from glpn_cli.training.settings import TrainSettings

_EMA_WARM_UP_STEPS = 10


def build_optimizer(network: nn.Module, settings: TrainSettings) -> CombinedOptimizer:
    """Build Adam, or AdamW if there is weight decay (not applied to norms and biases), and Muon if it is set.

    Muon orthogonalizes the momentum of a matrix before the update, and scales it to the length of Adam's updates.

    Raises:
        UsageError: the installed torch has no Muon.

    Source: arXiv 2502.16982, section 2.2, for the scale of Muon's updates.
    """
    betas = (0.9, settings.beta2)
    fused = next(network.parameters()).device.type in ("cpu", "cuda")  # several times faster
    rest = list(network.parameters())
    optimizers: list[torch.optim.Optimizer] = []
    if settings.muon:
        if not hasattr(torch.optim, "Muon"):
            raise UsageError(
                f"torch {torch.__version__} has no Muon optimizer", hint="install torch 2.9 or newer", setting="muon"
            )
        matrices = [parameter for parameter in rest if parameter.dim() == 2]
        rest = [parameter for parameter in rest if parameter.dim() != 2]
        optimizers.append(
            torch.optim.Muon(matrices, settings.learning_rate, settings.weight_decay, adjust_lr_fn="match_rms_adamw")
        )
    if not settings.weight_decay:
        return CombinedOptimizer(*optimizers, torch.optim.Adam(rest, settings.learning_rate, betas, fused=fused))
    groups = [
        {"params": [parameter for parameter in rest if parameter.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [parameter for parameter in rest if parameter.dim() <= 1], "weight_decay": 0.0},
    ]
    return CombinedOptimizer(*optimizers, torch.optim.AdamW(groups, settings.learning_rate, betas, fused=fused))


class CombinedOptimizer:
    """Several optimizers, each of some of the parameters, with the interface of one."""

    def __init__(self, *optimizers: torch.optim.Optimizer) -> None:
        self._optimizers = optimizers

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The parameter groups of all optimizers."""
        return [group for optimizer in self._optimizers for group in optimizer.param_groups]

    def zero_grad(self) -> None:
        """Zero all gradients."""
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Update all parameters."""
        for optimizer in self._optimizers:
            optimizer.step()

    def state_dict(self) -> list[dict[str, Any]]:
        """Return the states of all optimizers."""
        return [optimizer.state_dict() for optimizer in self._optimizers]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Load the states that `state_dict` returned."""
        for optimizer, state in zip(self._optimizers, states, strict=True):
            optimizer.load_state_dict(state)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Learning rate that rises to a peak and falls again, both by a power, over the steps of the run.

    The authors' program counts in steps of one data set and one batch size; with others its rate falls below the
    lowest one and finally below zero. Here it stays in [end, peak].

    Attributes:
        steps: steps of the whole run.
        peak: highest rate.
        end: rate before the first and after the last step.
        peak_at: fraction of the steps at which the rate peaks; 0 starts at the peak.
        power: exponent of the rise and fall; 0.9 in the paper.

    Source: arXiv 2201.07436, section 4.1.
    """

    steps: int
    peak: float
    end: float
    peak_at: float = 0.5
    power: float = 0.9

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step; the first one is step 0."""
        done = min(1.0, (step + 1) / self.steps)
        if done < self.peak_at:
            height = (done / self.peak_at) ** self.power
        else:
            falling = (done - self.peak_at) / (1 - self.peak_at) if self.peak_at < 1 else 0.0
            height = 1 - falling**self.power
        return min(self.peak, max(self.end, self.end + (self.peak - self.end) * float(height)))


class AveragedWeights:
    """Exponential moving average of a network's parameters and buffers.

    Args:
        network: its current weights are the first average.
        decay: fraction of the average that a step leaves; smaller in the first steps.

    Attributes:
        tensors: by the keys of the network's state dict. Integers are copied, not averaged.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self.tensors = {key: value.detach().clone() for key, value in network.state_dict().items()}

    def update(self, network: nn.Module, step: int) -> None:
        """Include the weights after a step; the first one is step 0."""
        decay = min(self._decay, (1 + step) / (_EMA_WARM_UP_STEPS + step))
        averages, values = [], []
        with torch.no_grad():
            for key, value in network.state_dict().items():
                if value.is_floating_point():
                    averages.append(self.tensors[key])
                    values.append(value)
                else:
                    self.tensors[key].copy_(value)
            torch._foreach_lerp_(averages, values, 1 - decay)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Replace the average by a saved one."""
        for key, value in tensors.items():
            self.tensors[key].copy_(value)
