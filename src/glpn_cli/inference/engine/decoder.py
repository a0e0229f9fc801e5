"""The head, fast: doubling, a 3x3 convolution, ReLU and the last 3x3 convolution as few and small operations.

The map that the head gets has been doubled once or twice, so it holds no more than the small map it came from.
Along one direction, with `factor` 2 or 4:

- Every place of the doubled map is a mixture of at most two neighbors of the small map, and what the convolution
  sees around it is a mixture of three. So convolution and doubling together are a convolution of the small map with
  three taps and `factor` times the channels, one set per phase (position between two small places).
- Across columns that is done as a product over three neighbors, for each row of the kernel by itself. Across rows
  there are only scalars left: each row of the result is a mixture of at most nine rows. That mixture is a product
  with a small table.

This is as exact as the long way, and takes a quarter of its multiplications where the factor is 4. The last
convolution, to a single channel, is a product to nine numbers per place, one for each tap, added into the places
around. All of it in strips, so that nothing of the image's full size has more than one channel.

At the border, doubling repeats the last row, but the convolution sees zeros. The tables for rows know; for columns,
the repeated neighbor is taken out again.

Shapes: B images, C channels, a small map of h x w, the depth of H x W = factor·h x factor·w.

The decoder, fast: that of `model.decoder`, in strips, and without doubling what nobody looks at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from glpn_cli.inference.engine.operations import Convolution, Linear, multiply, split_rows, to_map, to_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from glpn_cli.inference.engine.operations import Target
    from glpn_cli.model import decoder as readable


_TAPS = 3

_MOST_MIXTURES = 32  # one pass uses about six


def doubling(places: int, factor: int) -> Tensor:
    """Give the matrix (factor · places, places) float32 that doubles a row of places once or twice."""
    rows = torch.eye(places, dtype=torch.float64)[None]
    while factor > 1:
        rows = functional.interpolate(rows, scale_factor=2, mode="linear")
        factor //= 2
    return rows[0].T


def row_mixture(rows: int, factor: int, *, above: bool, below: bool) -> Tensor:
    """Give what mixes rows of the small map, for each row of the kernel, into rows of the result.

    Args:
        rows: of the small map, whose results are wanted.
        factor: 2 or 4.
        above: there is a row above them, the first one of the input; else they begin at the image's border.
        below: likewise below.

    Returns:
        (factor · rows, 3 · inputs) float32; the inputs are the rows and those above and below, each with the three
        rows of the kernel.
    """
    inputs = above + rows + below
    border = torch.zeros(1, inputs, dtype=torch.float64)
    doubled = torch.cat((border, doubling(inputs, factor), border))  # zeros are what the convolution sees outside
    first = factor * above
    taps = [doubled[first + tap : first + tap + factor * rows] for tap in range(_TAPS)]
    return torch.stack(taps, dim=2).flatten(1).float()


class ColumnProduct:
    """Doubling and convolution across columns, for each row of the kernel."""

    def __init__(self, weight: Tensor, factor: int, target: Target) -> None:
        """Build from the weight (C, C, 3, 3) of the convolution."""
        self._factor, self._channels = factor, weight.shape[0]
        phases = doubling(_TAPS, factor)[factor - 1 : 2 * factor + 1]  # between the middle place and its neighbors
        mixtures = torch.stack([phases[tap : tap + factor] for tap in range(_TAPS)])  # (column tap, phase, neighbor)
        products = torch.einsum("oikt,tpn->kponi", weight.detach().double(), mixtures).flatten(3).flatten(1, 2).float()
        # One by one, so that a row of each lands in one piece where it is wanted.
        self._products = [Linear(product, None, target) for product in products]
        edges = weight.detach().permute(3, 2, 0, 1)  # (column tap, row tap, C out, C in)
        self._left = Linear(edges[0].flatten(0, 1), None, target)
        self._right = Linear(edges[2].flatten(0, 1), None, target)

    def row_bytes(self, places: Tensor) -> int:
        """Tell what one row of the result takes."""
        return _TAPS * self._factor * places[:, 0].numel() * places.element_size()

    def __call__(self, places: Tensor, out: Tensor) -> None:
        """Compute rows of the small map.

        Args:
            places: (B, rows, w, C).
            out: (B, rows, 3, w · factor · C), written to.
        """
        batch, rows, width, channels = places.shape
        columns = torch.cat((places[:, :, :1], places, places[:, :, -1:]), dim=2)
        neighbors = columns.unfold(2, _TAPS, 1).transpose(3, 4).reshape(batch, rows * width, _TAPS * channels)
        for tap, product in enumerate(self._products):
            out[:, :, tap] = product(neighbors).view(batch, rows, -1)
        by_phase = out.view(batch, rows, _TAPS, width, self._factor, self._channels)
        left, right = self._left(places[:, :, 0].contiguous()), self._right(places[:, :, -1].contiguous())
        by_phase[:, :, :, 0, 0] -= left.view(batch, rows, _TAPS, -1)
        by_phase[:, :, :, -1, -1] -= right.view(batch, rows, _TAPS, -1)


class Head:
    """From a map of the decoder to depth before the sigmoid."""

    def __init__(self, head: nn.Sequential, target: Target) -> None:
        """Build from the convolution, ReLU and convolution of the readable head."""
        first, last = head[0], head[2]
        assert isinstance(first, nn.Conv2d)  # noqa: S101 - as the network builds it
        assert isinstance(last, nn.Conv2d)  # noqa: S101 - likewise
        assert first.bias is not None  # noqa: S101 - likewise
        assert last.bias is not None  # noqa: S101 - likewise
        self._target = target
        self._columns = {factor: ColumnProduct(first.weight, factor, target) for factor in (2, 4)}
        # relu(x + b) = max(x, -b) + b, and the b behind it passes through the last convolution as a constant: so no
        # pass over the map is spent on the bias.
        self._floor = target.place(-first.bias)
        taps = last.weight.detach()[0].flatten(1).T  # (9, C)
        self._taps = target.place(taps, torch.float32)  # whatever is rounded here shows in the depth as it is
        self._constants = target.place(taps @ first.bias.detach(), torch.float32)[:, None]
        self._bias = float(last.bias)
        self._mixtures: dict[tuple[int, int, bool, bool], Tensor] = {}

    def __call__(self, feature_map: Tensor, factor: int) -> Tensor:
        """Compute (B, factor·h, factor·w) float32 from a (B, C, h, w) in channels last."""
        places = feature_map.permute(0, 2, 3, 1)
        batch, height, width, channels = places.shape
        columns = self._columns[factor]
        floor = self._floor.repeat(width * factor)
        result_row_bytes = factor * factor * places[:, 0].numel() * places.element_size()
        # One more on each side, into which the taps at the border may add.
        logits = torch.full(
            (batch, factor * height + 2, factor * width + 2), self._bias, dtype=torch.float32, device=places.device
        )
        strips = list(split_rows(0, height, 2 * columns.row_bytes(places), self._target.strip_bytes))
        most = max(stop - start for start, stop in strips)
        # Used again for every strip: new memory would have to come into the cache first.
        shape = (batch, most + 2, _TAPS, width * factor * channels)
        rows = torch.empty(shape, dtype=places.dtype, device=places.device)
        done = first = 0  # rows of the small map: those with results, and the one that `rows` begins with
        for start, stop in strips:
            needed = max(0, done - 1)  # a row of the strip before, or two, that this one still looks at
            carried = start - needed
            if carried:
                rows[:, :carried] = rows[:, needed - first : start - first].clone()
            first = needed
            columns(places[:, start:stop], rows[:, carried : carried + stop - start])
            ready = stop if stop == height else stop - 1  # the row below must be there
            for top, bottom in split_rows(done, ready, result_row_bytes, self._target.tile_bytes):
                above, below = top > 0, bottom < height
                inputs = rows[:, top - above - first : bottom + below - first].flatten(1, 2)
                mixture = self._mixture(bottom - top, factor, above=above, below=below)
                result = self._product(mixture, inputs)
                torch.maximum(result, floor, out=result)
                self._add_taps(result, logits[:, factor * top : factor * bottom + 2])
            done = ready
        return logits[:, 1:-1, 1:-1]

    def tables(self) -> tuple[Tensor, ...]:
        """Give the tables that passes of some sizes made, and that are let go of when other sizes come."""
        return tuple(self._mixtures.values())

    def _add_taps(self, result: Tensor, logits: Tensor) -> None:
        """Add rows of the first convolution's result, (B, rows, W · C), into logits (B, rows + 2, W + 2)."""
        batch, rows, _ = result.shape
        width = logits.shape[2] - 2
        pixels = result.float().view(batch, rows * width, -1).transpose(1, 2)
        taps = self._product(self._taps, pixels).add_(self._constants).view(batch, -1, rows, width)
        for index in range(_TAPS * _TAPS):
            # A tap that looks at the place above is added into the place below, and so on.
            down, right = _TAPS - 1 - index // _TAPS, _TAPS - 1 - index % _TAPS
            logits[:, down : down + rows, right : right + width] += taps[:, index]

    def _mixture(self, rows: int, factor: int, *, above: bool, below: bool) -> Tensor:
        key = (rows, factor, above, below)
        if key not in self._mixtures:
            if len(self._mixtures) >= _MOST_MIXTURES:  # sizes of images may differ without end
                del self._mixtures[next(iter(self._mixtures))]
            mixture = row_mixture(rows, factor, above=above, below=below)
            self._mixtures[key] = self._target.place(mixture)
        return self._mixtures[key]

    def _product(self, matrix: Tensor, batch: Tensor) -> Tensor:
        """Multiply a matrix (n, k) with each of (B, k, m); one by one where a batch of one is slower than none."""
        if batch.shape[0] > 1:
            return torch.matmul(matrix, batch)
        return (multiply(matrix, batch[0].T) if self._target.packed else torch.mm(matrix, batch[0]))[None]


_HALO = 3  # rows that three 3x3 convolutions look beyond


def fold_norm(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Give the weight and the bias of one convolution that does what a convolution and the norm behind it do."""
    assert convolution.bias is not None  # noqa: S101 - as the network builds it
    assert norm.running_var is not None  # noqa: S101 - likewise
    assert norm.running_mean is not None  # noqa: S101 - likewise
    gain = norm.weight / (norm.running_var + norm.eps).sqrt()
    return convolution.weight * gain[:, None, None, None], (convolution.bias - norm.running_mean) * gain + norm.bias


def doubled_rows(feature_map: Tensor, start: int, stop: int) -> Tensor:
    """Give rows `start` to `stop` of a map that is doubled in both directions; bilinear, between pixel centers.

    Args:
        feature_map: (B, C, H, W), channels last.
        start: first row of the doubled map.
        stop: the row after the last.

    Returns:
        (B, C, stop - start, 2W), channels last.
    """
    first, last = max(0, start // 2 - 1), min(feature_map.shape[2], (stop + 1) // 2 + 1)
    doubled = functional.interpolate(feature_map[:, :, first:last], scale_factor=2, mode="bilinear")
    return doubled[:, :, start - 2 * first : stop - 2 * first]


class Fusion:
    """Weigh a map of the encoder against what is known from coarser ones, and add them."""

    def __init__(self, fusion: readable.SelectiveFeatureFusion, target: Target) -> None:
        self._strip_bytes = target.strip_bytes
        first, second, third = fusion.convolutional_layer1, fusion.convolutional_layer2, fusion.convolutional_layer3
        assert third.bias is not None  # noqa: S101 - as the network builds it
        self._convolutions = [
            Convolution(*fold_norm(first[0], first[1]), target, padding=1, relu=True),  # type: ignore[arg-type]
            Convolution(*fold_norm(second[0], second[1]), target, padding=1, relu=True),  # type: ignore[arg-type]
            Convolution(third.weight, third.bias, target, padding=1),
        ]

    def __call__(self, local: Tensor, coarse: Tensor) -> Tensor:
        """Fuse.

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
            return self._fuse(local, doubled_rows(coarse, 0, height))
        fused = torch.empty_like(local)
        for start, stop in strips:
            above, below = max(0, start - _HALO), min(height, stop + _HALO)
            strip = self._fuse(local[:, :, above:below], doubled_rows(coarse, above, below))
            fused[:, :, start:stop] = strip[:, :, start - above : stop - above]
        return fused

    def _fuse(self, local: Tensor, overall: Tensor) -> Tensor:
        x = torch.cat((local, overall), dim=1)
        for convolution in self._convolutions:
            x = convolution(x)
        shares = x.sigmoid_()
        return (local * shares[:, :1]).addcmul_(overall, shares[:, 1:])


class Stage:
    """Bring a feature map to the decoder's channels and fuse it with what is known."""

    def __init__(self, stage: readable.DecoderStage, target: Target) -> None:
        convolution = stage.convolution
        self._project = (
            Linear(convolution.weight.flatten(1), convolution.bias, target)
            if isinstance(convolution, nn.Conv2d)
            else None
        )
        self._fusion = None if stage.fusion is None else Fusion(stage.fusion, target)

    def __call__(self, feature_map: Tensor, coarse: Tensor | None) -> Tensor:
        """(B, C', H, W), and (B, C, H/2, W/2) from the stage before, to (B, C, H, W), all channels last."""
        if self._project is not None:
            size = (feature_map.shape[2], feature_map.shape[3])
            feature_map = to_map(self._project(to_tokens(feature_map)), size)
        return feature_map if self._fusion is None or coarse is None else self._fusion(feature_map, coarse)


class Decoder:
    """All stages, the coarsest first."""

    def __init__(self, decoder: readable.Decoder, target: Target, release: Callable[[torch.nn.Module], None]) -> None:
        """Build from the readable decoder, and hand each of its stages to `release` once it is laid out."""
        self._stages = []
        for stage in decoder.stages:
            self._stages.append(Stage(stage, target))  # type: ignore[arg-type]
            release(stage)

    def __call__(self, feature_maps: Sequence[Tensor], last: int) -> Tensor:
        """Decode the encoder's feature maps, up to one stage and before that stage's own doubling.

        Args:
            feature_maps: one (B, C', H', W') per stage, channels last, largest first, each side half of the one before.
            last: the index of the stage to end with, 0 for the coarsest.

        Returns:
            (B, C, H', W'), channels last, as large as the feature map it came from.
        """
        x = None
        for stage, feature_map in zip(self._stages[: last + 1], reversed(feature_maps), strict=False):
            x = stage(feature_map, x)
        assert x is not None  # noqa: S101 - there is at least one stage
        return x
