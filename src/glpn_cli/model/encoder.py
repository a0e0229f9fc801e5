"""The Mix Transformer: from an image to feature maps at several scales, each of which has seen the whole image.

Shapes: B images, C channels, H x W places in a map, N = H·W the same places as a row of tokens.

Source: SegFormer, arXiv 2105.15203, section 3.1; stochastic depth, arXiv 1603.09382.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from glpn_cli.model.config import ActivationName, GLPNConfig


# Not config.layer_norm_eps: the published files say 1e-6 there, but the network they are known by, and whose
# numbers everyone compares with, was always built with 1e-5. Honouring the file would silently change every depth.
LAYER_NORM_EPS = 1e-5

ACTIVATIONS: dict[ActivationName, Callable[[Tensor], Tensor]] = {
    "gelu": nn.GELU(),
    "relu": nn.ReLU(),
    "selu": nn.SELU(),
    "gelu_new": nn.GELU(approximate="tanh"),
}


def stage_sizes(config: GLPNConfig, height: int, width: int) -> list[tuple[int, int]]:
    """Give the (height, width) of every stage's feature map for an image of a given size, in pixels."""
    sizes = []
    for kernel, stride in zip(config.patch_sizes, config.strides, strict=True):
        height, width = ((side + 2 * (kernel // 2) - kernel) // stride + 1 for side in (height, width))
        sizes.append((height, width))
    return sizes


def to_tokens(feature_map: Tensor) -> Tensor:
    """(B, C, H, W) to (B, N, C), row by row."""
    return feature_map.flatten(2).transpose(1, 2)


def to_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, N, C) to (B, C, H, W), where `size` is (H, W)."""
    batch, _, channels = tokens.shape
    return tokens.transpose(1, 2).reshape(batch, channels, *size)


class PatchEmbedding(nn.Module):
    """Shrink a map and widen its channels; patches overlap, so that places next to each other stay related."""

    def __init__(self, in_channels: int, hidden_size: int, patch_size: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, hidden_size, patch_size, stride=stride, padding=patch_size // 2)
        self.layer_norm = nn.LayerNorm(hidden_size, eps=LAYER_NORM_EPS)

    def forward(self, feature_map: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Give the tokens (B, N, C) and the (H, W) that they are laid out in."""
        x = self.proj(feature_map)
        height, width = x.shape[2:]
        return self.layer_norm(to_tokens(x)), (height, width)


class SelfAttention(nn.Module):
    """Let every place look at all places of a map whose sides are `sr_ratio` times smaller."""

    def __init__(self, hidden_size: int, num_heads: int, sr_ratio: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.sr_ratio = sr_ratio
        if sr_ratio > 1:
            self.sr = nn.Conv2d(hidden_size, hidden_size, kernel_size=sr_ratio, stride=sr_ratio)
            self.layer_norm = nn.LayerNorm(hidden_size, eps=LAYER_NORM_EPS)

    def forward(self, x: Tensor, size: tuple[int, int], *, output_attentions: bool) -> tuple[Tensor, Tensor | None]:
        """Give the tokens (B, N, C) and, if wanted, the probabilities (B, heads, N, M)."""
        seen = self.layer_norm(to_tokens(self.sr(to_map(x, size)))) if self.sr_ratio > 1 else x
        query, key, value = (self._split_heads(tokens) for tokens in (self.query(x), self.key(seen), self.value(seen)))
        probabilities = None
        if output_attentions or self.training or torch.is_grad_enabled():
            scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[3])
            probabilities = self.dropout(scores.softmax(dim=3))
            x = probabilities @ value
        else:
            # The same to rounding, but the (N, M) table is never held as a whole, which at the first stage of a
            # large image would be most of the memory. Gradients are kept out of it: their rounding shows.
            x = functional.scaled_dot_product_attention(query, key, value)
        return x.transpose(1, 2).flatten(2), probabilities if output_attentions else None

    def _split_heads(self, tokens: Tensor) -> Tensor:
        """(B, N, C) to (B, heads, N, C/heads)."""
        batch, places, channels = tokens.shape
        return tokens.reshape(batch, places, self.num_heads, channels // self.num_heads).transpose(1, 2)


class AttentionOutput(nn.Module):
    """Mix the heads."""

    def __init__(self, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) to (B, N, C)."""
        mixed: Tensor = self.dropout(self.dense(x))
        return mixed


class Attention(nn.Module):
    """Attention and the mixing of its heads; two modules, because the published keys name two."""

    def __init__(self, config: GLPNConfig, stage: int) -> None:
        super().__init__()
        channels = config.hidden_sizes[stage]
        self.self = SelfAttention(
            channels, config.num_attention_heads[stage], config.sr_ratios[stage], config.attention_probs_dropout_prob
        )
        self.output = AttentionOutput(channels, config.hidden_dropout_prob)

    def forward(self, x: Tensor, size: tuple[int, int], *, output_attentions: bool) -> tuple[Tensor, Tensor | None]:
        """Give the tokens (B, N, C) and, if wanted, the probabilities (B, heads, N, M)."""
        x, probabilities = self.self(x, size, output_attentions=output_attentions)
        return self.output(x), probabilities


class DepthwiseConvolution(nn.Module):
    """Look at the eight neighbors, channel by channel. It is all that tells the network where a place is."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, kernel_size=3, padding=1, groups=channels)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, N, C) to (B, N, C)."""
        return to_tokens(self.dwconv(to_map(x, size)))


class MixFFN(nn.Module):
    """The feed-forward network of a layer, with a depthwise convolution before its activation."""

    def __init__(self, config: GLPNConfig, stage: int) -> None:
        super().__init__()
        channels = config.hidden_sizes[stage]
        hidden = channels * config.mlp_ratios[stage]
        self.dense1 = nn.Linear(channels, hidden)
        self.dwconv = DepthwiseConvolution(hidden)
        act = config.hidden_act
        self.intermediate_act_fn = ACTIVATIONS[act] if isinstance(act, str) else act  # type: ignore[index]
        self.dense2 = nn.Linear(hidden, channels)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, N, C) to (B, N, C)."""
        x = self.intermediate_act_fn(self.dwconv(self.dense1(x), size))
        x = self.dense2(self.dropout(x))
        narrowed: Tensor = self.dropout(x)
        return narrowed


class DropPath(nn.Module):
    """In training, skip a branch for some images of a batch and make up for it in the others."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) to (B, N, C)."""
        if self.rate == 0 or not self.training:
            return x
        kept = torch.rand(x.shape[0], 1, 1, device=x.device) >= self.rate
        keep_rate = max(1 - self.rate, torch.finfo(torch.float32).tiny)  # at a rate of 1 nothing is kept: 0, not 0/0
        return x * (kept / keep_rate).to(x.dtype)

    def extra_repr(self) -> str:
        """Show the rate when the module is printed."""
        return f"rate={self.rate:g}"


class Layer(nn.Module):
    """One transformer layer: attention, then feed-forward, each added to what was there."""

    def __init__(self, config: GLPNConfig, stage: int, drop_path_rate: float) -> None:
        super().__init__()
        self.layer_norm_1 = nn.LayerNorm(config.hidden_sizes[stage], eps=LAYER_NORM_EPS)
        self.attention = Attention(config, stage)
        self.drop_path = DropPath(drop_path_rate)
        self.layer_norm_2 = nn.LayerNorm(config.hidden_sizes[stage], eps=LAYER_NORM_EPS)
        self.mlp = MixFFN(config, stage)

    def forward(self, x: Tensor, size: tuple[int, int], *, output_attentions: bool) -> tuple[Tensor, Tensor | None]:
        """Give the tokens (B, N, C) and, if wanted, the probabilities (B, heads, N, M)."""
        attended, probabilities = self.attention(self.layer_norm_1(x), size, output_attentions=output_attentions)
        x = x + self.drop_path(attended)
        x = x + self.drop_path(self.mlp(self.layer_norm_2(x), size))
        return x, probabilities


class Encoder(nn.Module):
    """All stages: each shrinks the map, runs its layers and normalizes."""

    def __init__(self, config: GLPNConfig) -> None:
        super().__init__()
        stages = range(config.num_encoder_blocks)
        channels = [config.num_channels, *config.hidden_sizes]
        # On the CPU by name: a model is built on the meta device when weights are about to be loaded into it.
        rates = iter(torch.linspace(0, config.drop_path_rate, sum(config.depths), device="cpu").tolist())
        self.patch_embeddings = nn.ModuleList(
            PatchEmbedding(channels[i], channels[i + 1], config.patch_sizes[i], config.strides[i]) for i in stages
        )
        self.block = nn.ModuleList(
            nn.ModuleList(Layer(config, i, next(rates)) for _ in range(config.depths[i])) for i in stages
        )
        self.layer_norm = nn.ModuleList(nn.LayerNorm(config.hidden_sizes[i], eps=LAYER_NORM_EPS) for i in stages)

    def forward(
        self, pixel_values: Tensor, *, output_attentions: bool = False
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Encode images.

        Args:
            pixel_values: (B, 3, H, W) float32, RGB, 0 to 1.
            output_attentions: also give the attention probabilities, at a price in memory.

        Returns:
            One feature map (B, C, H', W') float32 per stage, largest first, and one (B, heads, N, M) float32 of
            probabilities per layer, none unless asked for.
        """
        feature_map, feature_maps, attentions = pixel_values, [], []
        for embed, layers, norm in zip(self.patch_embeddings, self.block, self.layer_norm, strict=True):
            x, size = embed(feature_map)
            for layer in layers:  # type: ignore[attr-defined]
                x, probabilities = layer(x, size, output_attentions=output_attentions)
                attentions.append(probabilities)
            feature_map = to_map(norm(x), size).contiguous()
            feature_maps.append(feature_map)
        return tuple(feature_maps), tuple(attentions) if output_attentions else ()
