"""What an engine is built for: a device, a number format, and the operations that exist there.

Maps in strips of whole rows, so that temporaries stay small.

The operations that an engine is made of, each in two forms: public torch, and packed for oneDNN.

The packed form uses operations of torch that are private, those that its own compiler emits for CPUs. They lay the
weights out in advance and compute an activation or a sum while the result is still in registers. They may change or
vanish in any release of torch, so `probe` tries them once, and where they fail everything uses the public form.

Shapes: B images, N places as a row of tokens, C channels, H x W the same places as a map. A map is always a view
of tokens, "channels last" in torch's words, so that turning one into the other costs nothing.
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


# On Linux every larger block comes from the system page by page, zeroed, each time anew: at the first stage that
# takes longer than computing what goes into it. Smaller ones are used again while they are still in the cache.
_CPU_STRIP_BYTES = 4 * 2**20
# Elsewhere strips are only there so that the largest images fit; each costs launches.
_ACCELERATOR_STRIP_BYTES = 2**30
# Attention's table: larger ones leave the cache between two operations, with smaller ones the threads wait more.
_CPU_TABLE_BYTES = 4 * 2**20

_CPU_TILE_BYTES = 3 * 2**20  # what the cores' second-level caches hold, all together, of the smallest machine in mind


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how the parts of an engine compute.

    Attributes:
        device: holds the weights.
        dtype: of weights and activations.
        packed: use the operations whose weights are laid out for oneDNN in advance.
        strip_bytes: how large a temporary tensor may be; maps that would be larger are worked on in strips of rows.
        tile_bytes: likewise, for what should stay in the cache between two operations.
        table_bytes: likewise, for a piece of attention's table.
    """

    device: torch.device
    dtype: torch.dtype
    packed: bool
    strip_bytes: int
    tile_bytes: int
    table_bytes: int

    @classmethod
    def of(cls, runtime: Runtime, *, packed: bool) -> Target:
        """Give the target of a runtime with the strips that suit its device."""
        if runtime.device.type == "cpu":
            return cls(runtime.device, runtime.dtype, packed, _CPU_STRIP_BYTES, _CPU_TILE_BYTES, _CPU_TABLE_BYTES)
        most = _ACCELERATOR_STRIP_BYTES
        return cls(runtime.device, runtime.dtype, packed, strip_bytes=most, tile_bytes=most, table_bytes=most)

    def place(self, tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Give a contiguous copy of a weight on the device, in `dtype` or the target's own.

        Always a copy: the source may be mapped from a file, or may be changed by whoever owns the network.
        """
        return tensor.detach().to(self.device, dtype or self.dtype, copy=True).contiguous()


def split_rows(start: int, stop: int, row_bytes: int, budget_bytes: int) -> Iterator[tuple[int, int]]:
    """Split rows `start` to `stop` into strips as equal as can be, none larger than the budget or else one row.

    Args:
        start: the first row.
        stop: the row after the last.
        row_bytes: what one row takes.
        budget_bytes: what a strip may take.

    Yields:
        (first row, row after the last) of each strip, from the top.
    """
    rows = stop - start
    if rows <= 0:
        return
    strips = -(-rows // max(1, budget_bytes // row_bytes))
    for index in range(strips):
        yield start + rows * index // strips, start + rows * (index + 1) // strips


# Activations that oneDNN computes behind a convolution: our module's class, and how it is asked for.
_FUSED_ACTIVATIONS: dict[type[nn.Module], str] = {nn.GELU: "gelu", nn.ReLU: "relu"}


def to_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """View tokens (B, N, C) as a map (B, C, H, W) in channels-last layout, where `size` is (H, W)."""
    batch, _, channels = tokens.shape
    return tokens.view(batch, *size, channels).permute(0, 3, 1, 2)


def to_tokens(feature_map: Tensor) -> Tensor:
    """View a channels-last map (B, C, H, W) as tokens (B, N, C); another layout is copied."""
    return feature_map.permute(0, 2, 3, 1).flatten(1, 2)


def multiply(rows: Tensor, columns: Tensor, bias: Tensor | None = None, added: Tensor | None = None) -> Tensor:
    """Multiply (n, k) with the transpose of (m, k) by oneDNN and add (m) and (n, m); only where operations are packed.

    Columns that lie in several pieces would take a thousand times as long, so they are gathered first.
    """
    if not (columns.is_contiguous() or columns.T.is_contiguous()):
        columns = columns.contiguous()
    private = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001
    if added is None:
        product: Tensor = private.default(rows, columns, bias, "none", [], "")
        return product
    summed: Tensor = private.binary(rows, added, columns, bias, "add")
    return summed


class LayerNorm:
    """Layer normalization over the channels."""

    def __init__(self, norm: nn.LayerNorm, target: Target) -> None:
        self._shape = list(norm.normalized_shape)
        # On CPUs torch takes float32 weights with tokens of half precision, which is faster and more exact.
        dtype = torch.float32 if target.device.type == "cpu" else target.dtype
        self._weight, self._bias = target.place(norm.weight, dtype), target.place(norm.bias, dtype)
        self._eps = norm.eps

    def __call__(self, tokens: Tensor) -> Tensor:
        """(B, N, C) to (B, N, C)."""
        return functional.layer_norm(tokens, self._shape, self._weight, self._bias, self._eps)


class Linear:
    """A matrix product over the channels, with bias, and with something added if wanted."""

    def __init__(self, weight: Tensor, bias: Tensor | None, target: Target) -> None:
        """Lay the weight (C', C) and the bias (C') out."""
        self._packed = target.packed
        self._weight = target.place(weight)
        self._bias = None if bias is None else target.place(bias)
        if self._packed:
            private = torch.ops.mkldnn
            self._weight = private._reorder_linear_weight(self._weight, None)  # noqa: SLF001
            # By their full names: looking for the right one of both takes as long as a small product.
            self._multiply = private._linear_pointwise.default  # noqa: SLF001
            self._multiply_and_add = private._linear_pointwise.binary  # noqa: SLF001

    def __call__(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """(..., C) to (..., C'); `added` is (..., C')."""
        if not self._packed:
            product = functional.linear(x, self._weight, self._bias)
            return product if added is None else product.add_(added)
        if added is None:
            packed: Tensor = self._multiply(x, self._weight, self._bias, "none", [], "")
            return packed
        summed: Tensor = self._multiply_and_add(x, added, self._weight, self._bias, "add")
        return summed


class Convolution:
    """A convolution of maps, with bias, and with ReLU if wanted."""

    def __init__(
        self, weight: Tensor, bias: Tensor, target: Target, *, stride: int = 1, padding: int = 0, relu: bool = False
    ) -> None:
        """Lay the weight (C', C, k, k) and the bias (C') out; `padding` is of zeros."""
        self._packed = target.packed
        self._stride, self._padding = [stride, stride], [padding, padding]
        self._relu = relu
        self._weight = target.place(weight).contiguous(memory_format=torch.channels_last)
        self._bias = target.place(bias)
        if self._packed:
            private = torch.ops.mkldnn
            self._weight = private._reorder_convolution_weight(  # noqa: SLF001
                self._weight, self._padding, self._stride, [1, 1], 1, None
            )
            self._convolve = private._convolution_pointwise.default  # noqa: SLF001

    def __call__(self, feature_map: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H', W'), channels last."""
        if not self._packed:
            convolved = functional.conv2d(feature_map, self._weight, self._bias, self._stride, self._padding)
            return convolved.relu_() if self._relu else convolved
        fused: Tensor = self._convolve(
            feature_map,
            self._weight,
            self._bias,
            self._padding,
            self._stride,
            [1, 1],
            1,
            "relu" if self._relu else "none",
            [],
            "",
        )
        return fused


class DepthwiseActivation:
    """A 3x3 convolution of each channel by itself, and the activation behind it."""

    def __init__(self, weight: Tensor, bias: Tensor, activation: Callable[[Tensor], Tensor], target: Target) -> None:
        """Lay the weight (C, 1, 3, 3) and the bias (C) out."""
        self._channels = weight.shape[0]
        self._weight = target.place(weight).contiguous(memory_format=torch.channels_last)
        self._bias = target.place(bias)
        self._packed = target.packed
        self._fused = _FUSED_ACTIVATIONS.get(type(activation), "none") if self._packed else "none"  # type: ignore[arg-type]
        self._algorithm = getattr(activation, "approximate", "none")
        self._activation = None if self._fused != "none" else activation
        if self._packed:
            self._convolve = torch.ops.mkldnn._convolution_pointwise.default  # noqa: SLF001

    def __call__(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, N, C) to (B, N, C), where `size` is the (H, W) that the tokens are laid out in."""
        feature_map, groups = to_map(tokens, size), self._channels
        if self._packed:
            convolved: Tensor = self._convolve(
                feature_map, self._weight, self._bias, [1, 1], [1, 1], [1, 1], groups, self._fused, [], self._algorithm
            )
        else:
            convolved = functional.conv2d(feature_map, self._weight, self._bias, padding=1, groups=groups)
        tokens = to_tokens(convolved)
        return tokens if self._activation is None else self._activation(tokens)
