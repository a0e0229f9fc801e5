"""The network with a tensor in and a tensor out, as exporters want it; the model itself knows nothing of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from glpn_cli.model.glpn import GLPNForDepthEstimation
    from glpn_cli.weights.card import WeightsCard

__all__ = ["FromImages", "FromPixelValues"]

_WHITE = 255


class FromPixelValues(nn.Module):
    """What the network computes, in the number format of its weights, between float32 and float32."""

    def __init__(self, network: GLPNForDepthEstimation) -> None:
        """Take a network in evaluation mode."""
        super().__init__()
        self.network = network
        self.dtype = next(network.parameters()).dtype

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Predict.

        Args:
            pixel_values: (B, 3, H, W) float32 in [0, 1], RGB, sides multiples of 32.

        Returns:
            (B, H, W) float32 in the published scale.
        """
        predicted: Tensor = self.network(pixel_values.to(self.dtype), return_dict=False)[0]
        return predicted.to(torch.float32)


class FromImages(nn.Module):
    """The network between the 8-bit images that everybody has and meters."""

    def __init__(self, network: GLPNForDepthEstimation, card: WeightsCard) -> None:
        """Take a network in evaluation mode and the facts that turn its output into meters."""
        super().__init__()
        self.inner = FromPixelValues(network)
        self.meters_per_unit = card.meters_per_unit
        self.depth_limit_m = card.depth_limit_m

    def forward(self, images: Tensor) -> Tensor:
        """Predict.

        Args:
            images: (B, H, W, 3) uint8 in [0, 255], RGB, sides multiples of 32.

        Returns:
            (B, H, W) float32, meters.
        """
        pixel_values = images.permute(0, 3, 1, 2).to(torch.float32) / _WHITE
        predicted: Tensor = self.inner(pixel_values)
        return (predicted * self.meters_per_unit).clamp(0.0, self.depth_limit_m)
