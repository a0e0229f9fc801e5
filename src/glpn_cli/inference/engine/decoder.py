"""The decoder, fast: that of `model.decoder`, in strips, and without doubling what nobody looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from glpn_cli.inference.engine.operations import Convolution, Linear, to_map, to_tokens
from glpn_cli.inference.engine.strips import split_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from glpn_cli.inference.engine.target import Target
    from glpn_cli.model import decoder as readable

__all__ = ["Decoder"]

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
