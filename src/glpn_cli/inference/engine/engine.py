"""The engine: a network of `model`, made ready to predict as fast as the device allows."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from glpn_cli.inference.engine.decoder import Decoder
from glpn_cli.inference.engine.encoder import Encoder
from glpn_cli.inference.engine.graphs import GraphCache
from glpn_cli.inference.engine.head import Head
from glpn_cli.inference.engine.probe import packed_operations_work
from glpn_cli.inference.engine.target import Target
from glpn_cli.model.encoder import ACTIVATIONS
from glpn_cli.model.glpn import check_pixel_values

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from glpn_cli.model.glpn import GLPNForDepthEstimation
    from glpn_cli.runtime import Runtime

__all__ = ["Engine"]


class Engine:
    """Predicts what the network does that it is built from, to rounding; inference only.

    Attributes:
        config: of the network; `max_depth` and `head_in_index` are read at every call.
        target: what it is built for.
    """

    def __init__(
        self,
        network: GLPNForDepthEstimation,
        runtime: Runtime,
        *,
        consume: bool = False,
        packed: bool | None = None,
        strip_bytes: int | None = None,
    ) -> None:
        """Lay the weights out for the device.

        Args:
            network: float32, on the CPU, its weights possibly mapped from a file. Whether it is in training mode
                makes no difference.
            runtime: device and precision.
            consume: let go of the network's tensors one layer after the other, so that building takes hardly more
                memory than the engine itself; the pages of a mapped file are the system's to take back. The network is
                of no use afterwards.
            packed: use oneDNN's packed operations; None asks whether they are there. For tests.
            strip_bytes: how large a temporary tensor may be; None suits the device. For tests.
        """
        self.config = network.config
        if packed is None:
            packed = runtime.device.type == "cpu" and packed_operations_work(runtime.dtype)
        target = Target.of(runtime, packed=packed)
        if strip_bytes is not None:
            target = replace(target, strip_bytes=strip_bytes, tile_bytes=strip_bytes, table_bytes=strip_bytes)
        self.target = target

        act = self.config.hidden_act
        activation = ACTIVATIONS[act] if isinstance(act, str) else act  # type: ignore[index]
        if isinstance(activation, nn.Module):
            # A copy, because one with weights is a part of every layer, and released with the first.
            activation = copy.deepcopy(activation).to(target.device, target.dtype).eval()
        release = _release if consume else _keep
        with torch.inference_mode():
            self._encoder = Encoder(network.glpn.encoder, activation, target, release)
            self._decoder = Decoder(network.decoder, target, release)
            self._head = Head(network.head.head, target)
            release(network.head)
        self._forward_or_graph: Callable[[Tensor], Tensor] = self._forward
        if target.device.type == "cuda":
            self._forward_or_graph = GraphCache(self._forward, used=self._head.tables)

    @torch.inference_mode()
    def __call__(self, pixel_values: Tensor) -> Tensor:
        """Predict depth.

        Args:
            pixel_values: (B, 3, H, W) floating point, RGB, 0 to 1, on any device; sizes as the network takes them.

        Returns:
            (B, H', W') float32 on the engine's device, 0 to `max_depth` in the published scale; H' and W' are H
            and W, rounded up to multiples of 32 with the usual strides.

        Raises:
            ValueError: the network takes no such images.
        """
        check_pixel_values(pixel_values, self.config, halves=True)
        pixel_values = pixel_values.to(self.target.device, self.target.dtype)
        if self.target.device.type != "cpu" or pixel_values.shape[0] == 1:
            return self._forward_or_graph(pixel_values)
        # One by one is faster on a CPU, and gives every image the same bits in any company.
        return torch.cat([self._forward(image) for image in torch.split(pixel_values, 1)])

    def _forward(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, H, W) in the target's numbers to (B, H', W') float32."""
        feature_maps = self._encoder(pixel_values.contiguous(memory_format=torch.channels_last))
        stages = self.config.num_encoder_blocks
        last = self.config.head_in_index % stages
        decoded = self._decoder(feature_maps, last)
        del feature_maps
        # Every stage doubles its map; behind the finest, the decoder doubles once more.
        logits = self._head(decoded, factor=4 if last == stages - 1 else 2)
        return logits.sigmoid().mul_(self.config.max_depth)


def _keep(_module: nn.Module) -> None:
    """Leave a module of the network as it is."""


def _release(module: nn.Module) -> None:
    """Let go of a module's tensors; the shapes remain."""
    module.to("meta")
