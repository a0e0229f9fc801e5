"""The engine's decoder and depth head: those of `model.decoder`, in strips and without full-size maps.

**Decoder.** The batch normalizations are folded into the convolutions before them. The fusion of two maps runs in
strips of rows, each with the rows around it that three 3x3 convolutions read. Stages after the one that `head_in_index`
selects are not computed, and the last upsampling is left to the head.

**Head.** The readable head upsamples a map twofold or fourfold, then applies a 3x3 convolution, ReLU, and another 3x3
convolution. The upsampled map contains no more information than the small one, so `DepthHead` never computes it. Along
one axis, with `factor` 2 or 4:

- A position of the upsampled map is a linear combination of at most two neighbors of the small map, and the three
  positions that the convolution reads are linear combinations of three. So upsampling and convolution together are a
  convolution of the small map with three taps and `factor` times the output channels: one set of channels per phase,
  the position between two neighbors of the small map.
- Across columns, this is a product over three neighbors for each row of the kernel (`ColumnConvolution`).
- Across rows, only scalars remain: a row of the result is a linear combination of at most nine rows, three neighbors
  for each of the three rows of the kernel. That is a product with a small matrix (`row_matrix`).

The result is exact up to rounding, with a quarter of the multiplications if the factor is 4. The last convolution, to a
single channel, is a product to nine numbers per position, one for each tap, which are added to the positions around.
Everything runs in strips, so that no tensor of the image's full size has more than one channel.

At the border, upsampling repeats the last row or column, but the convolution pads with zeros. The row matrices include
this; for columns, the contribution of the repeated neighbor is subtracted.

Shapes: B images; C channels; a small map of h x w; depth of H x W = factor·h x factor·w.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from glpn_cli.inference.engine.operations import Convolution, Linear, linear_mkldnn, split_rows, to_map, to_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from glpn_cli.inference.engine.operations import Target
    from glpn_cli.model import decoder as readable

_HALO = 3  # rows that three 3x3 convolutions read beyond a strip, on each side
_TAPS = 3
_MAX_ROW_MATRICES = 32  # one pass uses about six


class Decoder:
    """All stages of the decoder, coarsest first."""

    def __init__(self, decoder: readable.Decoder, target: Target, release: Callable[[torch.nn.Module], None]) -> None:
        """Build from the readable decoder; `release` is called with each of its stages once its weights are copied."""
        self._stages = []
        for stage in decoder.stages:
            self._stages.append(DecoderStage(stage, target))  # type: ignore[arg-type]
            release(stage)

    def __call__(self, feature_maps: Sequence[Tensor], last: int) -> Tensor:
        """Decode the encoder's feature maps up to one stage, without the upsampling at the end of that stage.

        Args:
            feature_maps: one (B, C', H', W') per stage, channels last, largest first, each half as high and wide as the
                one before.
            last: index of the last stage to compute, 0 for the coarsest.

        Returns:
            (B, C, H', W'), channels last, of the size of the feature map of that stage.
        """
        x = None
        for stage, feature_map in zip(self._stages[: last + 1], reversed(feature_maps), strict=False):
            x = stage(feature_map, x)
        assert x is not None  # noqa: S101 - there is at least one stage
        return x


class DecoderStage:
    """Project a feature map to the decoder's channels and fuse it with the output of the stage before."""

    def __init__(self, stage: readable.DecoderStage, target: Target) -> None:
        convolution = stage.convolution
        self._project = (
            Linear(convolution.weight.flatten(1), convolution.bias, target)
            if isinstance(convolution, nn.Conv2d)
            else None
        )
        self._fusion = None if stage.fusion is None else Fusion(stage.fusion, target)

    def __call__(self, feature_map: Tensor, coarse: Tensor | None) -> Tensor:
        """Decode one stage.

        Args:
            feature_map: (B, C', H, W), channels last.
            coarse: (B, C, H/2, W/2), channels last, from the stage before; None for the first.

        Returns:
            (B, C, H, W), channels last.
        """
        if self._project is not None:
            size = (feature_map.shape[2], feature_map.shape[3])
            feature_map = to_map(self._project(to_tokens(feature_map)), size)
        return feature_map if self._fusion is None or coarse is None else self._fusion(feature_map, coarse)


class Fusion:
    """Selective feature fusion: add a feature map and an upsampled coarse map, each weighted per position."""

    def __init__(self, fusion: readable.SelectiveFeatureFusion, target: Target) -> None:
        self._strip_bytes = target.strip_bytes
        first, second, third = fusion.convolutional_layer1, fusion.convolutional_layer2, fusion.convolutional_layer3
        assert third.bias is not None  # noqa: S101 - as the network builds it
        self._convolutions = [
            Convolution(*fold_batch_norm(first[0], first[1]), target, padding=1, relu=True),  # type: ignore[arg-type]
            Convolution(*fold_batch_norm(second[0], second[1]), target, padding=1, relu=True),  # type: ignore[arg-type]
            Convolution(third.weight, third.bias, target, padding=1),
        ]

    def __call__(self, local: Tensor, coarse: Tensor) -> Tensor:
        """Fuse two maps.

        Args:
            local: (B, C, H, W), channels last.
            coarse: (B, C, H/2, W/2), channels last.

        Returns:
            (B, C, H, W), channels last.
        """
        batch, channels, height, width = local.shape
        row_bytes = batch * width * 2 * channels * local.element_size()
        strips = list(split_rows(0, height, row_bytes, self._strip_bytes))
        if len(strips) == 1:
            return self._fuse(local, upsample_rows(coarse, 0, height))
        fused = torch.empty_like(local)
        for start, stop in strips:
            above, below = max(0, start - _HALO), min(height, stop + _HALO)
            strip = self._fuse(local[:, :, above:below], upsample_rows(coarse, above, below))
            fused[:, :, start:stop] = strip[:, :, start - above : stop - above]
        return fused

    def _fuse(self, local: Tensor, overall: Tensor) -> Tensor:
        x = torch.cat((local, overall), dim=1)
        for convolution in self._convolutions:
            x = convolution(x)
        weights = x.sigmoid_()
        return (local * weights[:, :1]).addcmul_(overall, weights[:, 1:])


def fold_batch_norm(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a single convolution that is equal to a convolution and a batch normalization."""
    assert convolution.bias is not None  # noqa: S101 - as the network builds it
    assert norm.running_var is not None  # noqa: S101 - as the network builds it
    assert norm.running_mean is not None  # noqa: S101 - as the network builds it
    gain = norm.weight / (norm.running_var + norm.eps).sqrt()
    return convolution.weight * gain[:, None, None, None], (convolution.bias - norm.running_mean) * gain + norm.bias


def upsample_rows(feature_map: Tensor, start: int, stop: int) -> Tensor:
    """Upsample a map twofold, bilinearly between pixel centers, and return only some rows of the result.

    Args:
        feature_map: (B, C, H, W), channels last.
        start: the first row of the upsampled map.
        stop: the row after the last.

    Returns:
        (B, C, stop - start, 2W), channels last.
    """
    first, last = max(0, start // 2 - 1), min(feature_map.shape[2], (stop + 1) // 2 + 1)
    upsampled = functional.interpolate(feature_map[:, :, first:last], scale_factor=2, mode="bilinear")
    return upsampled[:, :, start - 2 * first : stop - 2 * first]


class DepthHead:
    """Map the decoder's output to depth before the sigmoid; see the module's description."""

    def __init__(self, head: nn.Sequential, target: Target) -> None:
        """Build from the convolution, ReLU and convolution of the readable head."""
        first, last = head[0], head[2]
        assert isinstance(first, nn.Conv2d)  # noqa: S101 - as the network builds it
        assert isinstance(last, nn.Conv2d)  # noqa: S101 - as the network builds it
        assert first.bias is not None  # noqa: S101 - as the network builds it
        assert last.bias is not None  # noqa: S101 - as the network builds it
        self._target = target
        self._columns = {factor: ColumnConvolution(first.weight, factor, target) for factor in (2, 4)}
        # relu(x + b) = max(x, -b) + b, and the last convolution turns the second b into a constant per tap: the bias
        # needs no pass over the map.
        self._floor = target.copy_weight(-first.bias)
        taps = last.weight.detach()[0].flatten(1).T  # (9, C)
        self._taps = target.copy_weight(taps, torch.float32)  # rounding here would be visible in the depth
        self._tap_bias = target.copy_weight(taps @ first.bias.detach(), torch.float32)[:, None]
        self._bias = float(last.bias)
        self._row_matrices: dict[tuple[int, int, bool, bool], Tensor] = {}
        self._row_matrices_lock = threading.Lock()  # threads may share a predictor

    def __call__(self, feature_map: Tensor, factor: int) -> Tensor:
        """Compute the logits of depth.

        Args:
            feature_map: (B, C, h, w), channels last.
            factor: 2 or 4.

        Returns:
            (B, factor·h, factor·w) float32.
        """
        small = feature_map.permute(0, 2, 3, 1)
        batch, height, width, channels = small.shape
        columns = self._columns[factor]
        floor = self._floor.repeat(width * factor)
        result_row_bytes = factor * factor * small[:, 0].numel() * small.element_size()
        # With a margin of one, to which the taps at the border are added.
        logits = torch.full(
            (batch, factor * height + 2, factor * width + 2), self._bias, dtype=torch.float32, device=small.device
        )
        strips = list(split_rows(0, height, 2 * columns.row_bytes(small), self._target.strip_bytes))
        highest = max(stop - start for start, stop in strips)
        # One buffer for all strips, because new memory would have to enter the cache first.
        shape = (batch, highest + 2, _TAPS, width * factor * channels)
        rows = torch.empty(shape, dtype=small.dtype, device=small.device)
        # Rows of the small map: those before `done` have results; `rows` begins with row `first`.
        done = first = 0
        for start, stop in strips:
            needed = max(0, done - 1)  # the first row that is still read: up to two rows of the strip before
            carried = start - needed
            if carried:
                rows[:, :carried] = rows[:, needed - first : start - first].clone()
            first = needed
            columns(small[:, start:stop], rows[:, carried : carried + stop - start])
            ready = stop if stop == height else stop - 1  # a result needs the row below
            for top, bottom in split_rows(done, ready, result_row_bytes, self._target.cache_bytes):
                above, below = top > 0, bottom < height
                inputs = rows[:, top - above - first : bottom + below - first].flatten(1, 2)
                matrix = self._row_matrix(bottom - top, factor, above=above, below=below)
                result = self._multiply(matrix, inputs)
                torch.maximum(result, floor, out=result)
                self._add_taps(result, logits[:, factor * top : factor * bottom + 2])
            done = ready
        return logits[:, 1:-1, 1:-1]

    def cached_matrices(self) -> tuple[Tensor, ...]:
        """Return the matrices that passes have created; they are dropped when too many other sizes follow."""
        return tuple(self._row_matrices.values())

    def _add_taps(self, result: Tensor, logits: Tensor) -> None:
        """Apply the last convolution to (B, rows, W · C) and add it to logits (B, rows + 2, W + 2)."""
        batch, rows, _ = result.shape
        width = logits.shape[2] - 2
        pixels = result.float().view(batch, rows * width, -1).transpose(1, 2)
        taps = self._multiply(self._taps, pixels).add_(self._tap_bias).view(batch, -1, rows, width)
        for index in range(_TAPS * _TAPS):
            # A tap that reads the position above contributes to the position below, and so on.
            down, right = _TAPS - 1 - index // _TAPS, _TAPS - 1 - index % _TAPS
            logits[:, down : down + rows, right : right + width] += taps[:, index]

    def _row_matrix(self, rows: int, factor: int, *, above: bool, below: bool) -> Tensor:
        key = (rows, factor, above, below)
        with self._row_matrices_lock:
            if key not in self._row_matrices:
                if len(self._row_matrices) >= _MAX_ROW_MATRICES:  # a batch may have any number of image sizes
                    del self._row_matrices[next(iter(self._row_matrices))]
                self._row_matrices[key] = self._target.copy_weight(row_matrix(rows, factor, above=above, below=below))
            return self._row_matrices[key]

    def _multiply(self, matrix: Tensor, batch: Tensor) -> Tensor:
        """Multiply a matrix (n, k) with each of (B, k, m); without batching for one, which is faster.

        On a CPU by oneDNN, because the bits of torch's own product depend on the number of threads.
        """
        if batch.shape[0] > 1:
            return torch.matmul(matrix, batch)
        return (linear_mkldnn(matrix, batch[0].T) if self._target.packed else torch.mm(matrix, batch[0]))[None]


class ColumnConvolution:
    """Upsampling and convolution across columns, for each row of the kernel."""

    def __init__(self, weight: Tensor, factor: int, target: Target) -> None:
        """Build from the weight (C, C, 3, 3) of the convolution."""
        self._factor, self._channels = factor, weight.shape[0]
        # The upsampled positions of the middle of three neighbors, and one more on each side, from those neighbors.
        phases = upsampling_matrix(_TAPS, factor)[factor - 1 : 2 * factor + 1]
        combinations = torch.stack(
            [phases[tap : tap + factor] for tap in range(_TAPS)]
        )  # (column tap, phase, neighbor)
        weights = torch.einsum("oikt,tpn->kponi", weight.detach().double(), combinations)
        # One product per row of the kernel, so that each writes contiguous rows of the result.
        self._products = [Linear(product, None, target) for product in weights.flatten(3).flatten(1, 2).float()]
        edges = weight.detach().permute(3, 2, 0, 1)  # (column tap, row tap, C out, C in)
        self._left = Linear(edges[0].flatten(0, 1), None, target)
        self._right = Linear(edges[2].flatten(0, 1), None, target)

    def row_bytes(self, small: Tensor) -> int:
        """Return the size of the result for one row of the small map (B, h, w, C)."""
        return _TAPS * self._factor * small[:, 0].numel() * small.element_size()

    def __call__(self, small: Tensor, out: Tensor) -> None:
        """Compute rows of the small map.

        Args:
            small: (B, rows, w, C).
            out: (B, rows, 3, w · factor · C), overwritten with one result per row of the kernel.
        """
        batch, rows, width, channels = small.shape
        columns = torch.cat((small[:, :, :1], small, small[:, :, -1:]), dim=2)
        neighbors = columns.unfold(2, _TAPS, 1).transpose(3, 4).reshape(batch, rows * width, _TAPS * channels)
        for tap, product in enumerate(self._products):
            out[:, :, tap] = product(neighbors).view(batch, rows, -1)
        by_phase = out.view(batch, rows, _TAPS, width, self._factor, self._channels)
        left, right = self._left(small[:, :, 0].contiguous()), self._right(small[:, :, -1].contiguous())
        by_phase[:, :, :, 0, 0] -= left.view(batch, rows, _TAPS, -1)
        by_phase[:, :, :, -1, -1] -= right.view(batch, rows, _TAPS, -1)


def row_matrix(rows: int, factor: int, *, above: bool, below: bool) -> Tensor:
    """Return the matrix that combines rows, one per row of the kernel and of the small map, to rows of the result.

    Args:
        rows: the number of rows of the small map to compute.
        factor: 2 or 4.
        above: whether the input has a row above them; otherwise they begin at the border of the image.
        below: whether the input has a row below them; otherwise they end at the border of the image.

    Returns:
        (factor · rows, 3 · inputs) float32; the inputs are the rows and those above and below, each with three entries,
        for the rows of the kernel.
    """
    inputs = above + rows + below
    padding = torch.zeros(1, inputs, dtype=torch.float64)
    upsampled = torch.cat((padding, upsampling_matrix(inputs, factor), padding))
    first = factor * above
    taps = [upsampled[first + tap : first + tap + factor * rows] for tap in range(_TAPS)]
    return torch.stack(taps, dim=2).flatten(1).float()


def upsampling_matrix(length: int, factor: int) -> Tensor:
    """Return the matrix (factor · length, length) float64 that upsamples a row by 2, once or twice."""
    rows = torch.eye(length, dtype=torch.float64)[None]
    while factor > 1:
        rows = functional.interpolate(rows, scale_factor=2, mode="linear")
        factor //= 2
    return rows[0].T
