"""The engine: a network of `glpn_cli.model`, prepared to predict as fast as the device allows.

The readable network is the definition; the engine computes the same up to rounding, in inference only. `Engine` copies
the weights into `encoder` and `decoder`, which fold and fuse what they can. On the CPU, it uses oneDNN's packed
operations if `packed_operations_work`, and runs the images of a batch one by one. On CUDA, `GraphCache` records a
forward pass once per input shape and replays it without Python in between.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from glpn_cli.inference.engine.attention import attend_mkldnn
from glpn_cli.inference.engine.decoder import Decoder, DepthHead
from glpn_cli.inference.engine.encoder import Encoder
from glpn_cli.inference.engine.operations import (
    Convolution,
    DepthwiseConvolution,
    Linear,
    Target,
    linear_mkldnn,
    to_map,
)
from glpn_cli.model.glpn import check_pixel_values

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from glpn_cli.device import Runtime
    from glpn_cli.model.glpn import GLPNForDepthEstimation

    Forward = Callable[[Tensor], Tensor]

_MAX_GRAPHS = 8  # each holds the memory of a whole forward pass
_WARM_UP_PASSES = 2  # libraries choose algorithms and allocate memory in the first passes, not allowed while recording

_PROBE_TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 4e-3}
_PROBE_CHANNELS, _PROBE_SIZE = 16, (4, 5)


class Engine:
    """A callable that predicts what a network predicts, up to rounding; for inference only.

    Attributes:
        config: the network's configuration; `max_depth` and `head_in_index` are read at every call.
        target: where and how it computes.
        graphs: the recorded passes; None if the device is not CUDA.
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
        """Copy the weights to the device.

        Args:
            network: float32, on the CPU; its weights may be mapped from a file. Training mode has no effect.
            runtime: device and precision.
            consume: release the network's tensors layer by layer, so that building needs hardly more memory than the
                engine itself; the system can reclaim the pages of a mapped file. The network is unusable afterwards.
            packed: whether to use oneDNN's packed operations; None uses them if they work. For tests.
            strip_bytes: the largest size of a temporary tensor; None suits the device. For tests.
        """
        self.config = network.config
        if packed is None:
            packed = runtime.device.type == "cpu" and packed_operations_work(runtime.dtype)
        target = Target.of(runtime, packed=packed)
        if strip_bytes is not None:
            target = replace(target, strip_bytes=strip_bytes, cache_bytes=strip_bytes, scores_bytes=strip_bytes)
        self.target = target

        release = _release_tensors if consume else _retain_tensors
        with torch.inference_mode():
            self._encoder = Encoder(network.glpn.encoder, target, release)
            self._decoder = Decoder(network.decoder, target, release)
            self._head = DepthHead(network.head.head, target)
            release(network.head)
        is_cuda = target.device.type == "cuda"
        self.graphs = GraphCache(self._forward, retained=self._head.cached_matrices) if is_cuda else None

    @torch.inference_mode()
    def __call__(self, pixel_values: Tensor) -> Tensor:
        """Predict depth.

        Args:
            pixel_values: (B, 3, H, W) floating point, RGB, 0 to 1, on any device; sides as the network accepts them.

        Returns:
            (B, H', W') float32 on the engine's device, 0 to `max_depth` in the published scale. H' and W' are H and W,
            rounded up to multiples of 32 with the usual strides.

        Raises:
            ValueError: the network does not accept images of this shape or dtype.
        """
        check_pixel_values(pixel_values, self.config, halves=True)
        pixel_values = pixel_values.to(self.target.device, self.target.dtype)
        if self.target.device.type != "cpu" or pixel_values.shape[0] == 1:
            return self._forward(pixel_values) if self.graphs is None else self.graphs(pixel_values)
        # One by one is faster on a CPU, and an image gets the same bits whatever else is in the batch.
        return torch.cat([self._forward(image) for image in torch.split(pixel_values, 1)])

    def _forward(self, pixel_values: Tensor) -> Tensor:
        """Map (B, 3, H, W) in the target's dtype to (B, H', W') float32."""
        feature_maps = self._encoder(pixel_values.contiguous(memory_format=torch.channels_last))
        stages = self.config.num_encoder_blocks
        last = self.config.head_in_index % stages
        decoded = self._decoder(feature_maps, last)
        del feature_maps
        # Every decoder stage upsamples its map twofold; after the last stage, the readable decoder does so again.
        logits = self._head(decoded, factor=4 if last == stages - 1 else 2)
        return logits.sigmoid().mul_(self.config.max_depth)


def _retain_tensors(_module: nn.Module) -> None:
    """Do nothing: the network stays usable."""


def _release_tensors(module: nn.Module) -> None:
    """Free a module's tensors; their shapes remain."""
    module.to("meta")


class GraphCache:
    """A forward pass that replays a recorded graph for input shapes that it has seen before.

    The first input of a shape runs normally, because recording takes longer than one pass; the second is recorded. A
    pass that cannot be recorded runs normally from then on. The least recently used shapes are dropped.
    """

    def __init__(
        self,
        forward: Forward,
        record: Callable[[Forward, Tensor], Forward] | None = None,
        *,
        retained: Callable[[], Sequence[Tensor]] = tuple,
    ) -> None:
        """Wrap a forward pass.

        Args:
            forward: the forward pass.
            record: turns it into one for a single shape; None records a CUDA graph.
            retained: returns the tensors that passes have created and may drop later. A graph only knows their
                addresses, so the cache holds those that exist when a graph is recorded as long as the graph.
        """
        self._forward = forward
        self._record = record or record_cuda_graph
        self._retained = retained
        # By shape: the pass to run and the tensors that it needs; None if the shape has been seen once.
        self._passes: OrderedDict[tuple[int, ...], tuple[Forward, tuple[Tensor, ...]] | None] = OrderedDict()

    def __call__(self, x: Tensor) -> Tensor:
        """Run the forward pass."""
        with suppress(torch.OutOfMemoryError):
            return self._run(x)
        # The memory of graphs cannot be used for other shapes, and one image that fits is worth more than all graphs.
        self._passes.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return self._forward(x)

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes that the cache knows, least recently used first."""
        return list(self._passes)

    @property
    def recorded_shapes(self) -> list[tuple[int, ...]]:
        """The shapes that have a graph, without those that could not be recorded."""
        return [shape for shape, known in self._passes.items() if known is not None and known[0] != self._forward]

    def _run(self, x: Tensor) -> Tensor:
        shape = (*x.shape,)
        if shape not in self._passes:
            while len(self._passes) >= _MAX_GRAPHS:
                self._passes.popitem(last=False)
            self._passes[shape] = None
            return self._forward(x)
        self._passes.move_to_end(shape)
        known = self._passes[shape]
        if known is None:
            known = self._try_to_record(x)
            self._passes[shape] = known
        run, _ = known
        return run(x)

    def _try_to_record(self, x: Tensor) -> tuple[Forward, tuple[Tensor, ...]]:
        try:
            return self._record(self._forward, x), tuple(self._retained())
        except RuntimeError:  # torch raises nothing more specific; running out of memory is one, too
            return self._forward, ()


def record_cuda_graph(forward: Forward, example: Tensor) -> Forward:
    """Record a forward pass for tensors of the shape of an example.

    Returns:
        A function that replays the pass for such a tensor. It returns a copy, which the next replay does not overwrite.

    Raises:
        RuntimeError: the pass contains an operation that cannot be recorded.
    """
    graph_input = example.clone(memory_format=torch.channels_last)
    with torch.cuda.device(example.device):
        warm_up_stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        warm_up_stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(warm_up_stream):
            for _ in range(_WARM_UP_PASSES):
                forward(graph_input)
        torch.cuda.current_stream().wait_stream(warm_up_stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            graph_output = forward(graph_input)

    def replay(x: Tensor) -> Tensor:
        with torch.cuda.device(x.device):
            graph_input.copy_(x)
            graph.replay()
            return graph_output.clone()

    return replay


@cache
def packed_operations_work(dtype: torch.dtype) -> bool:
    """Return whether this torch has the packed operations and they compute the same as their public forms.

    Every operation is tried once on the CPU. False if one is missing, raises, or returns something else.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    try:
        public, packed = (
            _run_operations(Target(torch.device("cpu"), dtype, form, strip_bytes=1, cache_bytes=1, scores_bytes=1))
            for form in (False, True)
        )
    except (AttributeError, RuntimeError, TypeError, NotImplementedError):
        return False
    tolerance = _PROBE_TOLERANCES[dtype]
    return all(torch.allclose(a, b, rtol=tolerance, atol=tolerance) for a, b in zip(packed, public, strict=True))


@torch.inference_mode()
def _run_operations(target: Target) -> list[Tensor]:
    """Return the results of all operations for fixed inputs from about -1 to 1."""
    channels, size = _PROBE_CHANNELS, _PROBE_SIZE
    tokens = _fixed_values(1, size[0] * size[1], channels).to(target.dtype)
    bias = _fixed_values(channels)
    linear = Linear(_fixed_values(channels, channels) / 4, bias, target)
    dense, depthwise = _fixed_values(channels, channels, 3, 3) / 12, _fixed_values(channels, 1, 3, 3) / 3
    convolution = Convolution(dense, bias, target, stride=2, padding=1, relu=True)
    # A product of two activations, whose second factor may be row-major or column-major.
    query, key = _fixed_values(3, channels).to(target.dtype), _fixed_values(5, channels).to(target.dtype)
    product = linear_mkldnn if target.packed else functional.linear
    attend = attend_mkldnn if target.packed else _attend_public
    score_bias = torch.tensor([0.5, -0.5, 1.0, 0.0, -torch.inf]).to(target.dtype)
    value, residual = _fixed_values(2, 5).to(target.dtype), _fixed_values(3, 2).to(target.dtype)
    activations = [nn.GELU(), nn.GELU(approximate="tanh"), nn.ReLU(), nn.SELU()]
    return [
        linear(tokens),
        linear(tokens, tokens),
        product(query, key, _fixed_values(5).to(target.dtype)),
        product(query, key.T.contiguous().T),
        attend(query, key, score_bias, value, value[:, 0].contiguous(), residual),
        convolution(to_map(tokens, size)),
        *(DepthwiseConvolution(depthwise, bias, activation, target)(tokens, size) for activation in activations),
    ]


def _attend_public(
    query: Tensor, key: Tensor, score_bias: Tensor, value: Tensor, bias: Tensor, residual: Tensor
) -> Tensor:
    """Return what `attend_mkldnn` returns, by public operations."""
    return functional.linear(functional.linear(query, key, score_bias).softmax(dim=1), value, bias) + residual


def _fixed_values(*shape: int) -> Tensor:
    """Return values from -1 to 1, always the same, without using torch's global random numbers."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(shape, generator=generator) * 2 - 1
