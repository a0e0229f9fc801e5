"""The decoder fuses the encoder's feature maps from coarse to fine; the head turns the result into depth.

Source: GLPN, arXiv 2201.07436, sections 3.3 and 3.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glpn_cli.model.config import GLPNConfig


def build_upsampling() -> nn.Upsample:
    """Return a layer that doubles height and width bilinearly."""
    return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)


class SelectiveFeatureFusion(nn.Module):
    """Add two feature maps, weighted per pixel by their content."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolutional_layer1 = nn.Sequential(
            nn.Conv2d(2 * channels, channels, kernel_size=3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()
        )
        self.convolutional_layer2 = nn.Sequential(
            nn.Conv2d(channels, channels // 2, kernel_size=3, padding=1), nn.BatchNorm2d(channels // 2), nn.ReLU()
        )
        self.convolutional_layer3 = nn.Conv2d(channels // 2, 2, kernel_size=3, padding=1)

    def forward(self, local: Tensor, overall: Tensor) -> Tensor:
        """Fuse local and global features.

        Args:
            local: (B, C, H, W) float32, from the encoder stage of this resolution.
            overall: (B, C, H, W) float32, from the coarser decoder stages.

        Returns:
            (B, C, H, W) float32.
        """
        x = torch.cat((local, overall), dim=1)
        x = self.convolutional_layer3(self.convolutional_layer2(self.convolutional_layer1(x)))
        weights: Tensor = x.sigmoid()  # (B, 2, H, W), 0 to 1
        return local * weights[:, :1] + overall * weights[:, 1:]


class DecoderStage(nn.Module):
    """Project a feature map to the decoder's channels, fuse it with the coarser stages, double its size."""

    def __init__(self, in_channels: int, channels: int, *, fuses: bool) -> None:
        super().__init__()
        # A stage that already has the decoder's channels is not projected; the published files have no keys for it.
        self.convolution = nn.Identity() if in_channels == channels else nn.Conv2d(in_channels, channels, kernel_size=1)
        self.fusion = SelectiveFeatureFusion(channels) if fuses else None
        self.upsample = build_upsampling()

    def forward(self, feature_map: Tensor, coarser: Tensor | None) -> Tensor:
        """(B, C', H, W), and (B, C, H, W) from the coarser stage, to (B, C, 2H, 2W)."""
        x = self.convolution(feature_map)
        if self.fusion is not None:
            x = self.fusion(x, coarser)
        upsampled: Tensor = self.upsample(x)
        return upsampled


class Decoder(nn.Module):
    """All decoder stages, coarsest first."""

    def __init__(self, config: GLPNConfig) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            DecoderStage(in_channels, config.decoder_hidden_size, fuses=index > 0)
            for index, in_channels in enumerate(reversed(config.hidden_sizes[: config.num_encoder_blocks]))
        )
        self.final_upsample = build_upsampling()

    def forward(self, feature_maps: Sequence[Tensor]) -> list[Tensor]:
        """Decode the encoder's feature maps.

        Args:
            feature_maps: one (B, C', H', W') float32 per stage, largest first, each side half of the one before.

        Returns:
            One (B, C, H', W') float32 per stage, smallest first; each twice as large as its feature map, the last one
            four times, which is the size of the image.
        """
        x, decoded = None, []
        for stage, feature_map in zip(self.stages, reversed(feature_maps), strict=True):
            x = stage(feature_map, x)
            decoded.append(x)
        decoded[-1] = self.final_upsample(x)
        return decoded


class DepthHead(nn.Module):
    """Two convolutions and a sigmoid, scaled to `max_depth`."""

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
        """Predict depth from the decoder output that `head_in_index` selects.

        Args:
            decoded: one (B, C, H', W') float32 per decoder stage, smallest first.

        Returns:
            (B, H', W') float32, 0 to `max_depth` in the published scale.
        """
        depth: Tensor = self.head(decoded[self.config.head_in_index]).sigmoid() * self.config.max_depth
        return depth.squeeze(1)
