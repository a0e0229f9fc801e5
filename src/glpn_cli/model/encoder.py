"""The encoder, a Mix Transformer: from an image to feature maps at several scales, each with global attention.

Shapes: B images, C channels, H x W positions of a feature map, N = H·W query tokens, M key/value tokens.

Source: SegFormer, arXiv 2105.15203, section 3.1; stochastic depth, arXiv 1603.09382.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from glpn_cli.model.outputs import BaseModelOutput

if TYPE_CHECKING:
    from collections.abc import Callable

    from glpn_cli.model.config import GLPNConfig


# Not config.layer_norm_eps: the published files contain 1e-6, but the reference implementation, whose numbers are
# published, has always used 1e-5. Using the value of the file would change every depth slightly.
LAYER_NORM_EPS = 1e-5


class QuickGELU(nn.Module):
    """GELU, approximated by a sigmoid.

    Source: Hendrycks and Gimpel, arXiv 1606.08415, section 2.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to every value."""
        return x * torch.sigmoid(1.702 * x)


_GELU_BY_TANH = partial(nn.GELU, approximate="tanh")

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_accurate": _GELU_BY_TANH,
    "gelu_fast": _GELU_BY_TANH,
    "gelu_new": _GELU_BY_TANH,
    "gelu_python": nn.GELU,
    "gelu_python_tanh": _GELU_BY_TANH,
    "gelu_pytorch_tanh": _GELU_BY_TANH,
    "hardswish": nn.Hardswish,
    "leaky_relu": nn.LeakyReLU,
    "linear": nn.Identity,
    "mish": nn.Mish,
    "prelu": nn.PReLU,
    "quick_gelu": QuickGELU,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "swish": nn.SiLU,
    "tanh": nn.Tanh,
}
"""What builds each activation; every layer has its own, as one of them has weights."""


def stage_sizes(config: GLPNConfig, height: int, width: int) -> list[tuple[int, int]]:
    """Return the (height, width) of every stage's feature map for an image of a given size, in pixels."""
    sizes = []
    for kernel, stride in list(zip(config.patch_sizes, config.strides, strict=False))[: config.num_encoder_blocks]:
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
    """Downsample a feature map with a strided convolution; its patches overlap, which preserves local continuity."""

    def __init__(self, in_channels: int, hidden_size: int, patch_size: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, hidden_size, patch_size, stride=stride, padding=patch_size // 2)
        self.layer_norm = nn.LayerNorm(hidden_size, eps=LAYER_NORM_EPS)

    def forward(self, feature_map: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Return the tokens (B, N, C), and the (H, W) of their grid."""
        x = self.proj(feature_map)
        height, width = x.shape[2:]
        return self.layer_norm(to_tokens(x)), (height, width)


class SelfAttention(nn.Module):
    """Multi-head self-attention whose keys and values come from a map with sides reduced by `sr_ratio`."""

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
        """Return the tokens (B, N, C) and, if requested, the attention probabilities (B, heads, N, M)."""
        kv = self.layer_norm(to_tokens(self.sr(to_map(x, size)))) if self.sr_ratio > 1 else x  # (B, M, C)
        query, key, value = (self._split_heads(tokens) for tokens in (self.query(x), self.key(kv), self.value(kv)))
        probabilities = None
        if output_attentions or self.training or torch.is_grad_enabled():
            scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[3])
            probabilities = self.dropout(scores.softmax(dim=3))
            x = probabilities @ value
        else:
            # Equal up to rounding, but the (N, M) scores are never in memory at once; in the first stage of a large
            # image they would need most of the memory. Not used with gradients, where the rounding matters.
            x = functional.scaled_dot_product_attention(query, key, value)
        return x.transpose(1, 2).flatten(2), probabilities if output_attentions else None

    def _split_heads(self, tokens: Tensor) -> Tensor:
        """(B, N, C) to (B, heads, N, C/heads)."""
        batch, positions, channels = tokens.shape
        return tokens.reshape(batch, positions, self.num_heads, channels // self.num_heads).transpose(1, 2)


class AttentionOutput(nn.Module):
    """The linear layer that combines the attention heads."""

    def __init__(self, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) to (B, N, C)."""
        mixed: Tensor = self.dropout(self.dense(x))
        return mixed


class Attention(nn.Module):
    """Self-attention and its output layer; two modules, as in the published state-dict keys."""

    def __init__(self, config: GLPNConfig, stage: int) -> None:
        super().__init__()
        channels = config.hidden_sizes[stage]
        self.self = SelfAttention(
            channels, config.num_attention_heads[stage], config.sr_ratios[stage], config.attention_probs_dropout_prob
        )
        self.output = AttentionOutput(channels, config.hidden_dropout_prob)

    def forward(self, x: Tensor, size: tuple[int, int], *, output_attentions: bool) -> tuple[Tensor, Tensor | None]:
        """Return the tokens (B, N, C) and, if requested, the attention probabilities (B, heads, N, M)."""
        x, probabilities = self.self(x, size, output_attentions=output_attentions)
        return self.output(x), probabilities


class DepthwiseConvolution(nn.Module):
    """A depthwise 3x3 convolution. Its zero padding is the network's only source of positional information."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, kernel_size=3, padding=1, groups=channels)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, N, C) to (B, N, C)."""
        return to_tokens(self.dwconv(to_map(x, size)))


class MixFFN(nn.Module):
    """The feed-forward network of a layer, with a depthwise convolution before the activation."""

    def __init__(self, config: GLPNConfig, stage: int) -> None:
        super().__init__()
        channels = config.hidden_sizes[stage]
        hidden = channels * config.mlp_ratios[stage]
        self.dense1 = nn.Linear(channels, hidden)
        self.dwconv = DepthwiseConvolution(hidden)
        act = config.hidden_act
        self.intermediate_act_fn = ACTIVATIONS[act]() if isinstance(act, str) else act
        self.dense2 = nn.Linear(hidden, channels)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, N, C) to (B, N, C)."""
        x = self.intermediate_act_fn(self.dwconv(self.dense1(x), size))
        x = self.dense2(self.dropout(x))
        projected: Tensor = self.dropout(x)
        return projected


class DropPath(nn.Module):
    """Stochastic depth: in training, skip a branch for some images of a batch and scale it up for the others."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) to (B, N, C)."""
        if self.rate == 0 or not self.training:
            return x
        kept = torch.rand(x.shape[0], 1, 1, device=x.device) >= self.rate
        keep_rate = max(1 - self.rate, torch.finfo(torch.float32).tiny)  # at a rate of 1 the result is 0, not 0/0
        return x * (kept / keep_rate).to(x.dtype)

    def extra_repr(self) -> str:
        """Return the rate, for the printed form of the module."""
        return f"rate={self.rate:g}"


class Layer(nn.Module):
    """One transformer layer: attention, then a feed-forward network, each with a residual connection."""

    def __init__(self, config: GLPNConfig, stage: int, drop_path_rate: float) -> None:
        super().__init__()
        self.layer_norm_1 = nn.LayerNorm(config.hidden_sizes[stage], eps=LAYER_NORM_EPS)
        self.attention = Attention(config, stage)
        self.drop_path = DropPath(drop_path_rate)
        self.layer_norm_2 = nn.LayerNorm(config.hidden_sizes[stage], eps=LAYER_NORM_EPS)
        self.mlp = MixFFN(config, stage)

    def forward(self, x: Tensor, size: tuple[int, int], *, output_attentions: bool) -> tuple[Tensor, Tensor | None]:
        """Return the tokens (B, N, C) and, if requested, the attention probabilities (B, heads, N, M)."""
        attended, probabilities = self.attention(self.layer_norm_1(x), size, output_attentions=output_attentions)
        x = x + self.drop_path(attended)
        x = x + self.drop_path(self.mlp(self.layer_norm_2(x), size))
        return x, probabilities


class Encoder(nn.Module):
    """All encoder stages: each downsamples the feature map, runs its layers and normalizes."""

    def __init__(self, config: GLPNConfig) -> None:
        super().__init__()
        stages = range(config.num_encoder_blocks)
        channels = [config.num_channels, *config.hidden_sizes]
        # Explicitly on the CPU: a model that weights will be loaded into is built on the meta device.
        rates = iter(torch.linspace(0, config.drop_path_rate, sum(config.depths), device="cpu").tolist())
        self.patch_embeddings = nn.ModuleList(
            PatchEmbedding(channels[i], channels[i + 1], config.patch_sizes[i], config.strides[i]) for i in stages
        )
        self.block = nn.ModuleList(
            nn.ModuleList(Layer(config, i, next(rates)) for _ in range(config.depths[i])) for i in stages
        )
        self.layer_norm = nn.ModuleList(nn.LayerNorm(config.hidden_sizes[i], eps=LAYER_NORM_EPS) for i in stages)

    def forward(
        self,
        pixel_values: Tensor,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        return_dict: bool = True,
    ) -> BaseModelOutput | tuple[Any, ...]:
        """Encode images.

        Args:
            pixel_values: (B, 3, H, W) float32, RGB, 0 to 1.
            output_attentions: also return the attention probabilities, which needs more memory.
            output_hidden_states: also return the feature map of every stage.
            return_dict: return an object with named fields instead of a tuple.

        Returns:
            The last feature map, and what was requested. A tuple omits what was not requested.
        """
        feature_map, feature_maps, attentions = pixel_values, [], []
        for embed, layers, norm in zip(self.patch_embeddings, self.block, self.layer_norm, strict=True):
            x, size = embed(feature_map)
            for layer in layers:  # type: ignore[attr-defined]
                x, probabilities = layer(x, size, output_attentions=output_attentions)
                attentions.append(probabilities)
            feature_map = to_map(norm(x), size).contiguous()
            feature_maps.append(feature_map)
        output = BaseModelOutput(
            last_hidden_state=feature_map,
            hidden_states=tuple(feature_maps) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )
        return output if return_dict else output.to_tuple()
