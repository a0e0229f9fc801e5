"""CUDA graphs: a forward pass recorded once per size of image and replayed without Python in between.

Whether this torch has the packed operations, and whether they compute what their public forms do.

The engine: a network of `model`, made ready to predict as fast as the device allows.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from glpn_cli.inference.engine.attention import look_in_own_tensors
from glpn_cli.inference.engine.decoder import Decoder, Head
from glpn_cli.inference.engine.encoder import Encoder
from glpn_cli.inference.engine.operations import Convolution, DepthwiseActivation, Linear, Target, multiply, to_map
from glpn_cli.model.encoder import ACTIVATIONS
from glpn_cli.model.glpn import check_pixel_values

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    Forward = Callable[[Tensor], Tensor]
    Recorded = tuple[Forward, tuple[Tensor, ...]]  # a pass, and what it uses
    from collections.abc import Callable

    from glpn_cli.device import Runtime
    from glpn_cli.model.glpn import GLPNForDepthEstimation


_MOST_GRAPHS = 8  # each holds the memory of a whole forward pass

_WARM_UPS = 2  # so that libraries choose and allocate what they need before the recording, in which they must not


class GraphCache:
    """A forward pass that replays graphs for the sizes it has seen before.

    The first image of a size runs as it is, since recording takes longer than one pass; the second is recorded.
    What cannot be recorded runs as it is for good. The sizes not used for longest are forgotten.
    """

    def __init__(
        self,
        forward: Forward,
        record: Callable[[Forward, Tensor], Forward] | None = None,
        *,
        used: Callable[[], Sequence[Tensor]] = tuple,
    ) -> None:
        """Wrap a forward pass.

        Args:
            forward: the pass.
            record: turns it into one for a single size, by default as a CUDA graph.
            used: gives tensors that a pass made, keeps and may let go of later. A graph knows their addresses only, so
                those that are there when it is recorded live as long as it does.
        """
        self._forward = forward
        self._record = record or record_cuda_graph
        self._used = used
        self._passes: OrderedDict[tuple[int, ...], Recorded | None] = OrderedDict()

    def __call__(self, x: Tensor) -> Tensor:
        """Run the forward pass."""
        with suppress(torch.OutOfMemoryError):
            return self._run(x)
        # What graphs hold is of no use to another size, and one image that fits is worth more than all of them.
        self._passes.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return self._forward(x)

    def _run(self, x: Tensor) -> Tensor:
        size = (*x.shape,)
        if size not in self._passes:
            while len(self._passes) >= _MOST_GRAPHS:
                self._passes.popitem(last=False)
            self._passes[size] = None
            return self._forward(x)
        self._passes.move_to_end(size)
        recorded = self._passes[size]
        if recorded is None:
            recorded = self._try_to_record(x)
            self._passes[size] = recorded
        replay, _ = recorded
        return replay(x)

    def _try_to_record(self, x: Tensor) -> Recorded:
        try:
            return self._record(self._forward, x), tuple(self._used())
        except RuntimeError:  # torch's only exception for it, running out of memory included
            return self._forward, ()


def record_cuda_graph(forward: Forward, example: Tensor) -> Forward:
    """Record a forward pass for tensors like the example.

    Returns:
        A function of such a tensor that replays it. What it returns is a copy, which the next replay leaves alone.

    Raises:
        RuntimeError: something in it cannot be recorded.
    """
    given = example.clone(memory_format=torch.channels_last)
    with torch.cuda.device(example.device):
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UPS):
                forward(given)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = forward(given)

    def replay(x: Tensor) -> Tensor:
        with torch.cuda.device(x.device):
            given.copy_(x)
            graph.replay()
            return found.clone()

    return replay


_TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 4e-3}

_CHANNELS, _SIZE = 16, (4, 5)


@cache
def packed_operations_work(dtype: torch.dtype) -> bool:
    """Try every packed operation once against its public form, on the CPU.

    Returns:
        False if one is absent, refuses, or computes something else.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    try:
        public, packed = (
            _try_operations(Target(torch.device("cpu"), dtype, form, strip_bytes=1, tile_bytes=1, table_bytes=1))
            for form in (False, True)
        )
    except (AttributeError, RuntimeError, TypeError, NotImplementedError):
        return False
    tolerance = _TOLERANCES[dtype]
    return all(torch.allclose(a, b, rtol=tolerance, atol=tolerance) for a, b in zip(packed, public, strict=True))


@torch.inference_mode()
def _try_operations(target: Target) -> list[Tensor]:
    """Give the results of all operations on numbers that are always the same, about -1 to 1."""
    places = _SIZE[0] * _SIZE[1]
    tokens = _numbers(1, places, _CHANNELS).to(target.dtype)
    bias = _numbers(_CHANNELS)
    linear = Linear(_numbers(_CHANNELS, _CHANNELS) / 4, bias, target)
    dense, depthwise = _numbers(_CHANNELS, _CHANNELS, 3, 3) / 12, _numbers(_CHANNELS, 1, 3, 3) / 3
    convolution = Convolution(dense, bias, target, stride=2, padding=1, relu=True)
    # A product of two results, whose second factor comes as rows or as columns.
    rows, columns = _numbers(3, _CHANNELS).to(target.dtype), _numbers(5, _CHANNELS).to(target.dtype)
    product = multiply if target.packed else functional.linear
    look = look_in_own_tensors if target.packed else _look
    scores = torch.tensor([0.5, -0.5, 1.0, 0.0, -torch.inf]).to(target.dtype)
    values, added = _numbers(2, 5).to(target.dtype), _numbers(3, 2).to(target.dtype)
    activations = [nn.GELU(), nn.GELU(approximate="tanh"), nn.ReLU(), nn.SELU()]
    return [
        linear(tokens),
        linear(tokens, tokens),
        product(rows, columns, _numbers(5).to(target.dtype)),
        product(rows, columns.T.contiguous().T),
        look(rows, columns, scores, values, values[:, 0].contiguous(), added),
        convolution(to_map(tokens, _SIZE)),
        *(DepthwiseActivation(depthwise, bias, activation, target)(tokens, _SIZE) for activation in activations),
    ]


def _look(rows: Tensor, keys: Tensor, scores: Tensor, values: Tensor, bias: Tensor, added: Tensor) -> Tensor:
    """What one head sees, in public operations."""
    return functional.linear(functional.linear(rows, keys, scores).softmax(dim=1), values, bias) + added


def _numbers(*shape: int) -> Tensor:
    """Give numbers from -1 to 1 that look like any, without touching torch's own random numbers."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(shape, generator=generator) * 2 - 1


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
