"""Averaged weights: they lag behind, and are better than those of any one step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

__all__ = ["AveragedWeights"]

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
