"""The head: from a map of the decoder to depth.

Source: GLPN, arXiv 2201.07436, section 3.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glpn_cli.model.config import GLPNConfig

__all__ = ["DepthHead"]


class DepthHead(nn.Module):
    """Two convolutions and a sigmoid, stretched to the largest depth."""

    def __init__(self, config: GLPNConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.decoder_hidden_size
        self.head = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, 1, kernel_size=3, padding=1),
        )

    def forward(self, decoded: Sequence[Tensor]) -> Tensor:
        """Turn the map that `head_in_index` picks into depth.

        Args:
            decoded: one (B, C, H', W') float32 per decoder stage, smallest first.

        Returns:
            (B, H', W') float32, 0 to `max_depth` in the published scale.
        """
        depth: Tensor = self.head(decoded[self.config.head_in_index]).sigmoid() * self.config.max_depth
        return depth.squeeze(1)
