"""The engine's encoder: the Mix Transformer of `model.encoder`.

It computes the same as the readable encoder, with these differences:

- Tokens (B, N, C) and channels-last maps (B, C, H, W) share their memory, so the reshaping between transformer layers
  and convolutions, a fifth of the readable network's time, disappears.
- The strided convolution that reduces the keys and values is a matrix product over non-overlapping patches.
- Projections that read the same tokens are one product. The scale 1 / sqrt(c) of the scores is folded into the query
  projection. A single head folds its query and output projections, too (see `attention`).
- Residual additions are part of the preceding product.
- The hidden tokens of the feed-forward network, `mlp_ratio` times the channels, are computed in strips of rows, so that
  they stay in the cache.

Shapes: B images; C channels; H x W positions of a map; N = H·W query tokens; M key/value tokens.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from glpn_cli.inference.engine.attention import FoldedKeyValues, KeyValues, fold_projections
from glpn_cli.inference.engine.operations import (
    Convolution,
    DepthwiseConvolution,
    LayerNorm,
    Linear,
    split_rows,
    to_map,
    to_tokens,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import Tensor

    from glpn_cli.inference.engine.operations import Target
    from glpn_cli.model import encoder as readable

    Activation = Callable[[Tensor], Tensor]


class Encoder:
    """All stages of the encoder."""

    def __init__(
        self,
        encoder: readable.Encoder,
        target: Target,
        release: Callable[[torch.nn.Module], None],
    ) -> None:
        """Build from the readable encoder; `release` is called with each of its modules once its weights are copied."""
        activations = copy_activations(encoder, target)
        self._stages = [
            EncoderStage(embedding, layers, norm, activations, target, release)  # type: ignore[arg-type]
            for embedding, layers, norm in zip(encoder.patch_embeddings, encoder.block, encoder.layer_norm, strict=True)
        ]

    def __call__(self, pixel_values: Tensor) -> list[Tensor]:
        """Encode images.

        Args:
            pixel_values: (B, 3, H, W), channels last.

        Returns:
            One (B, C, H', W') per stage, channels last, largest first.
        """
        feature_maps = []
        x = pixel_values
        del pixel_values
        for stage in self._stages:
            x = stage(x)
            feature_maps.append(x)
        return feature_maps


def copy_activations(encoder: readable.Encoder, target: Target) -> Iterator[Activation]:
    """Yield the activation of each layer for a target.

    All are copied at once, because layers may share an activation with weights, which is released with the first.
    """
    originals = [layer.mlp.intermediate_act_fn for layers in encoder.block for layer in layers]  # type: ignore[attr-defined]
    copies = {
        id(act): copy.deepcopy(act).to(target.device, target.dtype).eval() if isinstance(act, torch.nn.Module) else act
        for act in originals
    }
    return iter([copies[id(act)] for act in originals])


class EncoderStage:
    """Patch embedding, transformer layers and a final normalization."""

    def __init__(
        self,
        embedding: readable.PatchEmbedding,
        layers: Iterable[readable.Layer],
        norm: torch.nn.LayerNorm,
        activations: Iterator[Activation],
        target: Target,
        release: Callable[[torch.nn.Module], None],
    ) -> None:
        """Build from the modules of a readable stage; see `Encoder`."""
        proj = embedding.proj
        assert proj.bias is not None  # noqa: S101 - as the network builds it
        self._embed = Convolution(proj.weight, proj.bias, target, stride=proj.stride[0], padding=int(proj.padding[0]))
        self._embedding_norm = LayerNorm(embedding.layer_norm, target)
        release(embedding)
        self._layers: list[tuple[Attention, FeedForward]] = []
        for layer in layers:
            attention = Attention(LayerNorm(layer.layer_norm_1, target), layer.attention, target)
            feed_forward = FeedForward(LayerNorm(layer.layer_norm_2, target), layer.mlp, next(activations), target)
            self._layers.append((attention, feed_forward))
            release(layer)
        self._norm = LayerNorm(norm, target)
        release(norm)

    def __call__(self, feature_map: Tensor) -> Tensor:
        """Map (B, C', H', W') to (B, C, H, W), both channels last."""
        embedded = self._embed(feature_map)
        size = (embedded.shape[2], embedded.shape[3])
        x = self._embedding_norm(to_tokens(embedded))
        del embedded, feature_map  # large at the first stage, and not needed any more
        for attention, feed_forward in self._layers:
            x = feed_forward(attention(x, size), size)
        return to_map(self._norm(x), size)


class Attention:
    """Self-attention over keys and values of a reduced map, including normalization and residual."""

    def __init__(self, norm: LayerNorm, attention: readable.Attention, target: Target) -> None:
        split = attention.self
        self._norm = norm
        self._target = target
        self._heads, self._sr_ratio = split.num_heads, split.sr_ratio
        self._channels = split.query.out_features
        self._is_folded = target.packed and self._heads == 1 and self._sr_ratio > 1
        if self._is_folded:
            # In float32, because in half precision it would be rounded twice; M is small.
            self._folded_layer = fold_projections(attention)
            self._output_bias = target.copy_weight(attention.output.dense.bias)
        else:
            self._copy_projections(attention, target)
        if split.sr_ratio > 1:
            # Kernel size and stride are equal, so this convolution is a product over non-overlapping patches.
            assert split.sr.bias is not None  # noqa: S101 - as the network builds it
            self._reduce = Linear(split.sr.weight.permute(0, 2, 3, 1).flatten(1), split.sr.bias, target)
            self._reduced_norm = LayerNorm(split.layer_norm, target)

    def _copy_projections(self, attention: readable.Attention, target: Target) -> None:
        split = attention.self
        scale = (self._channels // self._heads) ** -0.5
        query = (split.query.weight * scale, split.query.bias * scale)
        parts = [(part.weight, part.bias) for part in (split.key, split.value)]
        if split.sr_ratio == 1:
            parts.insert(0, query)
        else:
            self._project_query = Linear(*query, target)
        weights, biases = zip(*parts, strict=True)
        self._project = Linear(torch.cat(weights), torch.cat(biases), target)  # key and value, or all three
        self._project_output = Linear(attention.output.dense.weight, attention.output.dense.bias, target)

    def __call__(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Map tokens (B, N, C) to (B, N, C), where `size` is their (H, W). `x` may be overwritten."""
        source = self._norm(x)
        if self._sr_ratio > 1:
            reduced = self._reduced_norm(self._reduce(self._gather_patches(source, size)))
            if self._is_folded:
                folded = functional.linear(reduced.float(), *self._folded_layer)
                folded_key_values = FoldedKeyValues(folded, self._output_bias, self._target)
            else:
                key_values = KeyValues(self._project(reduced), self._heads, self._target)
        else:
            source = self._project(source)
            key_values = KeyValues(source[..., self._channels :], self._heads, self._target)

        def attend(start: int, stop: int) -> Tensor:
            if self._is_folded:
                return folded_key_values.attend(source[:, start:stop], x[:, start:stop])
            if self._sr_ratio > 1:
                query = self._project_query(source[:, start:stop])
            else:
                query = source[:, start:stop, : self._channels]
            return self._project_output(key_values.attend(query), x[:, start:stop])

        token_bytes = x.shape[0] * self._channels * x.element_size()
        strips = list(split_rows(0, x.shape[1], token_bytes, self._target.strip_bytes))
        if len(strips) == 1:
            return attend(0, x.shape[1])
        for start, stop in strips:
            x[:, start:stop] = attend(start, stop)  # in place: these tokens of x are not needed for the others
        return x

    def _gather_patches(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """Map tokens (B, N, C) to patches (B, M, sr²·C), without rows and columns that do not fill a patch."""
        sr, (batch, _, channels) = self._sr_ratio, tokens.shape
        height, width = size[0] // sr, size[1] // sr
        whole = tokens.view(batch, *size, channels)[:, : height * sr, : width * sr]
        patches = whole.reshape(batch, height, sr, width, sr, channels).transpose(2, 3)
        return patches.reshape(batch, height * width, sr * sr * channels)


class FeedForward:
    """The feed-forward network with its depthwise convolution, including normalization and residual."""

    def __init__(self, norm: LayerNorm, mlp: readable.MixFFN, activation: Activation, target: Target) -> None:
        self._norm = norm
        self._dense1 = Linear(mlp.dense1.weight, mlp.dense1.bias, target)
        dwconv = mlp.dwconv.dwconv
        assert dwconv.bias is not None  # noqa: S101 - as the network builds it
        self._dwconv = DepthwiseConvolution(dwconv.weight, dwconv.bias, activation, target)
        self._dense2 = Linear(mlp.dense2.weight, mlp.dense2.bias, target)
        self._hidden_channels = mlp.dense1.out_features
        # A function of the user may depend on all positions, so it gets the whole map, as in the readable network.
        self._strip_bytes = target.strip_bytes if isinstance(activation, torch.nn.Module) else 2**63

    def __call__(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Map tokens (B, N, C) to (B, N, C), where `size` is their (H, W). `x` may be overwritten."""
        height, width = size
        row_bytes = x.shape[0] * width * self._hidden_channels * x.element_size()
        strips = list(split_rows(0, height, row_bytes, self._strip_bytes))
        if len(strips) == 1:
            return self._dense2(self._dwconv(self._dense1(self._norm(x)), size), x)
        pending = None
        for start, stop in strips:
            above, below = max(0, start - 1), min(height, stop + 1)  # the convolution reads one more row on each side
            hidden = self._dense1(self._norm(x[:, above * width : below * width]))
            hidden = self._dwconv(hidden, (below - above, width))
            hidden = hidden[:, (start - above) * width : (stop - above) * width]
            result = self._dense2(hidden, x[:, start * width : stop * width])
            # A result is written after the next strip is computed, because that reads the last row above it.
            if pending is not None:
                x[:, pending[0] : pending[1]] = pending[2]
            pending = (start * width, stop * width, result)
        assert pending is not None  # noqa: S101 - there are at least two strips
        x[:, pending[0] : pending[1]] = pending[2]
        return x
