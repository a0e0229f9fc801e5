"""The encoder, fast: the Mix Transformer of `model.encoder` on tokens that are maps without a copy.

Shapes: B images, C channels, H x W places in a map, N = H·W the same places as a row of tokens, M places that
attention looks at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from glpn_cli.inference.engine.attention import FoldedHead, KeysValues, fold_head
from glpn_cli.inference.engine.operations import (
    Convolution,
    DepthwiseActivation,
    LayerNorm,
    Linear,
    split_rows,
    to_map,
    to_tokens,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

    from glpn_cli.inference.engine.operations import Target
    from glpn_cli.model import encoder as readable

    Activation = Callable[[Tensor], Tensor]


class Attention:
    """Every place looks at all places of a map whose sides are `sr_ratio` times smaller; the residual included."""

    def __init__(self, norm: LayerNorm, attention: readable.Attention, target: Target) -> None:
        split = attention.self
        self._norm = norm
        self._target = target
        self._heads, self._sr_ratio = split.num_heads, split.sr_ratio
        self._channels = split.query.out_features
        # With one head, queries and the output's projection are folded into what is looked at.
        self._folded = target.packed and self._heads == 1 and self._sr_ratio > 1
        if self._folded:
            # In float32, as in half precision it would be rounded twice; there are few places that are looked at.
            self._fold = fold_head(attention)
            self._mix_bias = target.place(attention.output.dense.bias)
        else:
            self._project_apart(attention, target)
        if split.sr_ratio > 1:
            # Kernel and stride are the same, so this convolution is a product over patches that do not overlap.
            assert split.sr.bias is not None  # noqa: S101 - as the network builds it
            self._reduce = Linear(split.sr.weight.permute(0, 2, 3, 1).flatten(1), split.sr.bias, target)
            self._reduced_norm = LayerNorm(split.layer_norm, target)

    def _project_apart(self, attention: readable.Attention, target: Target) -> None:
        split = attention.self
        # Scores are divided by the square root of a head's channels; here the queries are, before the first image.
        scale = (self._channels // self._heads) ** -0.5
        query = (split.query.weight * scale, split.query.bias * scale)
        parts = [(part.weight, part.bias) for part in (split.key, split.value)]
        if split.sr_ratio == 1:
            parts.insert(0, query)
        else:
            self._query = Linear(*query, target)
        weights, biases = zip(*parts, strict=True)
        self._together = Linear(torch.cat(weights), torch.cat(biases), target)
        self._mix = Linear(attention.output.dense.weight, attention.output.dense.bias, target)

    def __call__(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, N, C) to (B, N, C), where `size` is (H, W). `x` may be overwritten."""
        source = self._norm(x)
        if self._sr_ratio > 1:
            reduced = self._reduced_norm(self._reduce(self._patches(source, size)))
            if self._folded:
                folded = functional.linear(reduced.float(), *self._fold)
                head = FoldedHead(folded, self._mix_bias, self._target)
            else:
                looked_at = KeysValues(self._together(reduced), self._heads, self._target)
        else:
            source = self._together(source)
            looked_at = KeysValues(source[..., self._channels :], self._heads, self._target)

        def attend(start: int, stop: int) -> Tensor:
            if self._folded:
                return head.seen_by(source[:, start:stop], x[:, start:stop])
            query = (
                self._query(source[:, start:stop]) if self._sr_ratio > 1 else source[:, start:stop, : self._channels]
            )
            return self._mix(looked_at.seen_by(query), x[:, start:stop])

        token_bytes = x.shape[0] * self._channels * x.element_size()
        strips = list(split_rows(0, x.shape[1], token_bytes, self._target.strip_bytes))
        if len(strips) == 1:
            return attend(0, x.shape[1])
        for start, stop in strips:
            x[:, start:stop] = attend(start, stop)  # a token's sum needs no other token of x any more
        return x

    def _patches(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """Gather patches: (B, N, C) to (B, M, sr²·C). Rows and columns that fill no patch are left out."""
        sr, (batch, _, channels) = self._sr_ratio, tokens.shape
        height, width = size[0] // sr, size[1] // sr
        whole = tokens.view(batch, *size, channels)[:, : height * sr, : width * sr]
        patches = whole.reshape(batch, height, sr, width, sr, channels).transpose(2, 3)
        return patches.reshape(batch, height * width, sr * sr * channels)


class FeedForward:
    """The feed-forward network with its depthwise convolution; the residual included."""

    def __init__(self, norm: LayerNorm, mlp: readable.MixFFN, activation: Activation, target: Target) -> None:
        self._norm = norm
        self._widen = Linear(mlp.dense1.weight, mlp.dense1.bias, target)
        depthwise = mlp.dwconv.dwconv
        assert depthwise.bias is not None  # noqa: S101 - as the network builds it
        self._convolve = DepthwiseActivation(depthwise.weight, depthwise.bias, activation, target)
        self._narrow = Linear(mlp.dense2.weight, mlp.dense2.bias, target)
        self._hidden = mlp.dense1.out_features
        # What a user's own function looks at is not known; it gets the whole map, as in the readable network.
        self._strip_bytes = target.strip_bytes if isinstance(activation, torch.nn.Module) else 2**63

    def __call__(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, N, C) to (B, N, C), where `size` is (H, W). `x` may be overwritten."""
        height, width = size
        row_bytes = x.shape[0] * width * self._hidden * x.element_size()
        strips = list(split_rows(0, height, row_bytes, self._strip_bytes))
        if len(strips) == 1:
            return self._narrow(self._convolve(self._widen(self._norm(x)), size), x)
        waiting = None
        for start, stop in strips:
            above, below = max(0, start - 1), min(height, stop + 1)  # the convolution looks one row further
            hidden = self._widen(self._norm(x[:, above * width : below * width]))
            hidden = self._convolve(hidden, (below - above, width))
            hidden = hidden[:, (start - above) * width : (stop - above) * width]
            done = self._narrow(hidden, x[:, start * width : stop * width])
            # Written one strip late, because the row above a strip must be read as it was.
            if waiting is not None:
                x[:, waiting[0] : waiting[1]] = waiting[2]
            waiting = (start * width, stop * width, done)
        assert waiting is not None  # noqa: S101 - there are at least two strips
        x[:, waiting[0] : waiting[1]] = waiting[2]
        return x


class Stage:
    """Shrink a map, run the layers on it, normalize."""

    def __init__(
        self,
        embedding: readable.PatchEmbedding,
        layers: Iterable[readable.Layer],
        norm: torch.nn.LayerNorm,
        activation: Activation,
        target: Target,
        release: Callable[[torch.nn.Module], None],
    ) -> None:
        """Build from the modules of a stage, and hand each to `release` once its weights are laid out."""
        proj = embedding.proj
        assert proj.bias is not None  # noqa: S101 - as the network builds it
        self._shrink = Convolution(proj.weight, proj.bias, target, stride=proj.stride[0], padding=int(proj.padding[0]))
        self._shrunk_norm = LayerNorm(embedding.layer_norm, target)
        release(embedding)
        self._layers: list[tuple[Attention, FeedForward]] = []
        for layer in layers:
            attention = Attention(LayerNorm(layer.layer_norm_1, target), layer.attention, target)
            feed_forward = FeedForward(LayerNorm(layer.layer_norm_2, target), layer.mlp, activation, target)
            self._layers.append((attention, feed_forward))
            release(layer)
        self._norm = LayerNorm(norm, target)
        release(norm)

    def __call__(self, feature_map: Tensor) -> Tensor:
        """(B, C', H', W') to (B, C, H, W), both channels last."""
        shrunk = self._shrink(feature_map)
        size = (shrunk.shape[2], shrunk.shape[3])
        x = self._shrunk_norm(to_tokens(shrunk))
        del shrunk, feature_map  # large at the first stage, and not looked at again
        for attention, feed_forward in self._layers:
            x = feed_forward(attention(x, size), size)
        return to_map(self._norm(x), size)


class Encoder:
    """All stages."""

    def __init__(
        self,
        encoder: readable.Encoder,
        activation: Activation,
        target: Target,
        release: Callable[[torch.nn.Module], None],
    ) -> None:
        """Build from the readable encoder; see `Stage`."""
        self._stages = [
            Stage(embedding, layers, norm, activation, target, release)  # type: ignore[arg-type]
            for embedding, layers, norm in zip(encoder.patch_embeddings, encoder.block, encoder.layer_norm, strict=True)
        ]

    def __call__(self, pixel_values: Tensor) -> list[Tensor]:
        """Encode (B, 3, H, W) in channels last; one (B, C, H', W') per stage, channels last, largest first."""
        feature_maps = []
        x = pixel_values
        del pixel_values
        for stage in self._stages:
            x = stage(x)
            feature_maps.append(x)
        return feature_maps
