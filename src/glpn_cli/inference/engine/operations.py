"""The operations that an engine consists of, most with a public torch form and a packed oneDNN form.

The packed form uses private operations of torch, the ones that torch's own compiler emits for CPUs. They reorder the
weights for oneDNN once, in advance, and apply an activation or a residual addition while the result is still in
registers, which saves a pass over memory each. Private operations may change or disappear in any release of torch, so
`engine.packed_operations_work` tries them once and compares the results; if it fails, everything uses the public form.

Shapes: B images; C channels; H x W positions of a feature map; N = H·W tokens, one per position, row by row. Feature
maps are "channels last": their memory is that of tokens (B, N, C), so converting between the two never copies. Large
temporaries are avoided by processing a map in strips of whole rows (`split_rows`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from glpn_cli.device import Runtime

# On Linux, the C library requests every larger block from the system, which provides it page by page, zeroed, each
# time. For the first stage this takes longer than computing the contents. Smaller blocks are reused while they are
# still in the cache.
_CPU_STRIP_BYTES = 4 * 2**20
# The second-level caches of all cores together, on the smallest machine considered.
_CPU_CACHE_BYTES = 3 * 2**20
# With more, attention scores leave the cache between two operations; with less, threads wait for each other more often.
_CPU_SCORES_BYTES = 4 * 2**20
# On accelerators, strips only serve to make the largest images fit into memory; every strip costs kernel launches.
_ACCELERATOR_STRIP_BYTES = 2**30

# The activations that oneDNN can fuse with a convolution, and their names there.
_FUSED_ACTIVATIONS: dict[type[nn.Module], str] = {nn.GELU: "gelu", nn.ReLU: "relu"}


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how the parts of an engine compute.

    Attributes:
        device: holds the weights.
        dtype: of weights and activations.
        packed: whether to use the packed oneDNN operations.
        strip_bytes: the largest size of a temporary tensor; larger maps are processed in strips of rows.
        cache_bytes: the largest size of a temporary that should stay in the cache between two operations.
        scores_bytes: the largest size of a block of attention scores.
    """

    device: torch.device
    dtype: torch.dtype
    packed: bool
    strip_bytes: int
    cache_bytes: int
    scores_bytes: int

    @classmethod
    def of(cls, runtime: Runtime, *, packed: bool) -> Target:
        """Return the target for a runtime, with limits that suit its device."""
        if runtime.device.type == "cpu":
            return cls(runtime.device, runtime.dtype, packed, _CPU_STRIP_BYTES, _CPU_CACHE_BYTES, _CPU_SCORES_BYTES)
        limit = _ACCELERATOR_STRIP_BYTES
        return cls(runtime.device, runtime.dtype, packed, strip_bytes=limit, cache_bytes=limit, scores_bytes=limit)

    def copy_weight(self, weight: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Return a contiguous copy of a weight on the device, in `dtype` or the target's dtype.

        Always a copy, because the source may be mapped from a file, and the owner of the network may change it.
        """
        return weight.detach().to(self.device, dtype or self.dtype, copy=True).contiguous()


def split_rows(start: int, stop: int, row_bytes: int, limit_bytes: int) -> Iterator[tuple[int, int]]:
    """Split the rows from `start` to `stop` into strips of nearly equal height.

    Args:
        start: the first row.
        stop: the row after the last.
        row_bytes: the size of one row.
        limit_bytes: the largest size of a strip; a strip of one row may exceed it.

    Yields:
        (first row, row after the last) of each strip, from top to bottom.
    """
    rows = stop - start
    if rows <= 0:
        return
    strips = -(-rows // max(1, limit_bytes // row_bytes))
    for index in range(strips):
        yield start + rows * index // strips, start + rows * (index + 1) // strips


def to_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """View tokens (B, N, C) as a channels-last map (B, C, H, W), where `size` is (H, W)."""
    batch, _, channels = tokens.shape
    return tokens.view(batch, *size, channels).permute(0, 3, 1, 2)


def to_tokens(feature_map: Tensor) -> Tensor:
    """View a channels-last map (B, C, H, W) as tokens (B, N, C); any other layout is copied."""
    return feature_map.permute(0, 2, 3, 1).flatten(1, 2)


def linear_mkldnn(x: Tensor, weight: Tensor, bias: Tensor | None = None, residual: Tensor | None = None) -> Tensor:
    """Return x weightᵀ + bias + residual, computed by oneDNN from unpacked tensors.

    Use it only if the target is packed. A weight that is neither row-major nor column-major would take a thousand
    times as long, so it is made contiguous first.

    Args:
        x: (n, k), in any layout.
        weight: (m, k), the same dtype.
        bias: (m).
        residual: (n, m).

    Returns:
        (n, m), the same dtype.
    """
    if not (weight.is_contiguous() or weight.T.is_contiguous()):
        weight = weight.contiguous()
    private = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001
    if residual is None:
        product: Tensor = private.default(x, weight, bias, "none", [], "")
        return product
    summed: Tensor = private.binary(x, residual, weight, bias, "add")
    return summed


class LayerNorm:
    """Layer normalization over the channels."""

    def __init__(self, norm: nn.LayerNorm, target: Target) -> None:
        self._shape = list(norm.normalized_shape)
        # On CPUs torch accepts float32 weights with half-precision tokens, which is faster and more accurate.
        dtype = torch.float32 if target.device.type == "cpu" else target.dtype
        self._weight, self._bias = target.copy_weight(norm.weight, dtype), target.copy_weight(norm.bias, dtype)
        self._eps = norm.eps

    def __call__(self, tokens: Tensor) -> Tensor:
        """Normalize (B, N, C)."""
        return functional.layer_norm(tokens, self._shape, self._weight, self._bias, self._eps)


class Linear:
    """A linear layer, optionally with a fused residual addition."""

    def __init__(self, weight: Tensor, bias: Tensor | None, target: Target) -> None:
        """Copy the weight (C', C) and the bias (C'), reordered if the target is packed."""
        self._packed = target.packed
        self._weight = target.copy_weight(weight)
        self._bias = None if bias is None else target.copy_weight(bias)
        if self._packed:
            private = torch.ops.mkldnn
            self._weight = private._reorder_linear_weight(self._weight, None)  # noqa: SLF001
            # Bound here, because resolving the overload at every call takes as long as a small product.
            self._linear = private._linear_pointwise.default  # noqa: SLF001
            self._linear_and_add = private._linear_pointwise.binary  # noqa: SLF001

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Map (..., C) to (..., C') and add `residual`, (..., C')."""
        if not self._packed:
            product = functional.linear(x, self._weight, self._bias)
            return product if residual is None else product.add_(residual)
        if residual is None:
            packed: Tensor = self._linear(x, self._weight, self._bias, "none", [], "")
            return packed
        summed: Tensor = self._linear_and_add(x, residual, self._weight, self._bias, "add")
        return summed


class Convolution:
    """A convolution with zero padding, optionally followed by ReLU.

    It has no packed form: oneDNN's gains 1 to 4 % here.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor, target: Target, *, stride: int = 1, padding: int = 0, relu: bool = False
    ) -> None:
        """Copy the weight (C', C, k, k) and the bias (C')."""
        self._stride, self._padding, self._relu = stride, padding, relu
        self._weight = target.copy_weight(weight).contiguous(memory_format=torch.channels_last)
        self._bias = target.copy_weight(bias)

    def __call__(self, feature_map: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H', W'), both channels last."""
        convolved = functional.conv2d(feature_map, self._weight, self._bias, self._stride, self._padding)
        return convolved.relu_() if self._relu else convolved


class DepthwiseConvolution:
    """A 3x3 depthwise convolution followed by an activation, fused if oneDNN has the activation."""

    def __init__(self, weight: Tensor, bias: Tensor, activation: Callable[[Tensor], Tensor], target: Target) -> None:
        """Copy the weight (C, 1, 3, 3) and the bias (C)."""
        self._channels = weight.shape[0]
        self._weight = target.copy_weight(weight).contiguous(memory_format=torch.channels_last)
        self._bias = target.copy_weight(bias)
        self._packed = target.packed
        self._fused = _FUSED_ACTIVATIONS.get(type(activation), "none") if self._packed else "none"  # type: ignore[arg-type]
        self._algorithm = getattr(activation, "approximate", "none")
        self._activation = None if self._fused != "none" else activation
        if self._packed:
            self._convolve = torch.ops.mkldnn._convolution_pointwise.default  # noqa: SLF001

    def __call__(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """Map tokens (B, N, C) to (B, N, C), where `size` is their (H, W)."""
        feature_map, groups = to_map(tokens, size), self._channels
        if self._packed:
            convolved: Tensor = self._convolve(
                feature_map, self._weight, self._bias, [1, 1], [1, 1], [1, 1], groups, self._fused, [], self._algorithm
            )
        else:
            convolved = functional.conv2d(feature_map, self._weight, self._bias, padding=1, groups=groups)
        tokens = to_tokens(convolved)
        return tokens if self._activation is None else self._activation(tokens)
