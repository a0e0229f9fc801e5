"""The network of `glpn_cli.model` as an OpenVINO graph, in a form that suits OpenVINO.

It differs from the readable network as the engine in `inference/engine` does: batch normalizations are folded into
convolutions, projections that read the same tokens are one product, and the scale 1 / sqrt(c) of the scores is part of
the query projection. The head does not upsample. Heights and widths of all but the head stay open: a graph is converted
once, and gets a size and the head before it is compiled.

OpenVINO chooses memory layouts and fuses operations itself. What it recognizes depends on the form of the graph:
layer normalization must be a normalization over the last axis of three with a gain and a bias of three axes, and
attention must be two products and a softmax with the transpositions of heads around them.

Shapes: B images; H x W positions; N = H·W query tokens; M key/value tokens; C channels of all heads together,
c = C / heads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from glpn_cli.errors import ConfigError
from glpn_cli.inference.engine.decoder import fold_batch_norm, row_matrix, upsampling_matrix
from glpn_cli.inference.engine.operations import split_rows
from glpn_cli.inference.openvino.runtime import import_openvino
from glpn_cli.model.encoder import QuickGELU

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from glpn_cli.model import decoder, encoder
    from glpn_cli.model.glpn import GLPNForDepthEstimation

INPUT_NAME, OUTPUT_NAME = "pixel_values", "predicted_depth"

_TAPS = 3
_BLOCK_ROWS = 8
"""Rows of the small map that a product of the head computes. Twice as many are slower: most of their factors are 0."""


def with_head(model: Any, network: GLPNForDepthEstimation, size: tuple[int, int]) -> Any:
    """Return a converted network for images of a (height, width), with the head.

    Its input is (1, channels, H, W) float32, RGB, 0 to 1. Its output is (1, H', W') float32, 0 to `max_depth`.

    Args:
        model: from `convert`; it is changed.
        network: whose head to use.
        size: of the images.
    """
    model.reshape([1, network.config.num_channels, *size])
    with torch.no_grad():
        return _Converter().complete(model, network)


def convert(network: GLPNForDepthEstimation) -> Any:
    """Convert a network to an `openvino.Model`.

    Its input is (B, channels, H, W) float32, RGB, 0 to 1. Its output is what the head takes, (B, C, h, w); see
    `with_head`.

    Args:
        network: float32, on the CPU.

    Raises:
        ConfigError: its activation has no form in OpenVINO.
        MissingPackageError: openvino is not installed.
    """
    with torch.no_grad():
        return _Converter().network(network)


class _Converter:
    """Builds nodes of a graph; the methods are named after the modules that they convert."""

    def __init__(self) -> None:
        self._openvino = import_openvino()
        self._ops = self._openvino.opset13

    def network(self, network: GLPNForDepthEstimation) -> Any:
        config = network.config
        shape = [-1, config.num_channels, -1, -1]
        pixel_values = self._ops.parameter(shape, np.float32, name=INPUT_NAME)
        feature_maps = self._encoder(pixel_values, network.glpn.encoder)
        last = config.head_in_index % config.num_encoder_blocks
        decoded = self._decoder(feature_maps, network.decoder, last)
        return self._openvino.Model([decoded], [pixel_values], "glpn")

    def complete(self, model: Any, network: GLPNForDepthEstimation) -> Any:
        config = network.config
        (result,), (pixel_values,) = model.get_results(), model.get_parameters()
        last = config.head_in_index % config.num_encoder_blocks
        factor = 4 if last == config.num_encoder_blocks - 1 else 2
        logits = self._head(result.input_value(0), network.head.head, factor=factor)
        depth = self._ops.multiply(self._ops.sigmoid(logits), self._constant(torch.tensor(float(config.max_depth))))
        depth = self._ops.squeeze(depth, self._integers(1))
        depth.output(0).set_names({OUTPUT_NAME})
        return self._openvino.Model([depth], [pixel_values], "glpn")

    # Encoder

    def _encoder(self, x: Any, module: encoder.Encoder) -> list[Any]:
        """Return the (B, C, H, W) feature map of each stage."""
        feature_maps = []
        for embedding, layers, norm in zip(module.patch_embeddings, module.block, module.layer_norm, strict=True):
            proj: Any = embedding.proj
            x = self._convolution(x, proj.weight, proj.bias, stride=proj.stride[0], padding=proj.padding[0])
            size = self._ops.gather(self._ops.shape_of(x, "i64"), self._integers(2, 3), self._integer(0))
            tokens = self._layer_norm(self._to_tokens(x, proj.out_channels), embedding.layer_norm)  # type: ignore[arg-type]
            for layer in layers:  # type: ignore[attr-defined]
                tokens = self._attention(tokens, layer.layer_norm_1, layer.attention, size)
                tokens = self._feed_forward(tokens, layer.layer_norm_2, layer.mlp, size)
            x = self._to_map(self._layer_norm(tokens, norm), size, proj.out_channels)  # type: ignore[arg-type]
            feature_maps.append(x)
        return feature_maps

    def _attention(self, x: Any, norm: nn.LayerNorm, module: encoder.Attention, size: Any) -> Any:
        """Map tokens (B, N, C) to (B, N, C), including normalization and residual."""
        split, dense = module.self, module.output.dense
        channels, heads = split.query.out_features, split.num_heads
        scale = (channels // heads) ** -0.5
        query_part = (split.query.weight * scale, split.query.bias * scale)
        key_parts = [(part.weight, part.bias) for part in (split.key, split.value)]
        source = self._layer_norm(x, norm)
        if split.sr_ratio > 1:
            assert split.sr.bias is not None  # noqa: S101 - as the network builds it
            reduced = self._convolution(
                self._to_map(source, size, channels), split.sr.weight, split.sr.bias, stride=split.sr_ratio
            )
            reduced = self._layer_norm(self._to_tokens(reduced, channels), split.layer_norm)
            query = self._linear(source, *query_part)
            key, value = self._merged_linear(reduced, key_parts)
        else:
            query, key, value = self._merged_linear(source, [query_part, *key_parts])
        scores = self._ops.matmul(
            self._split_heads(query, heads, channels, (0, 2, 1, 3)),
            self._split_heads(key, heads, channels, (0, 2, 3, 1)),
            False,
            False,
        )
        value = self._split_heads(value, heads, channels, (0, 2, 1, 3))
        attended = self._ops.matmul(self._ops.softmax(scores, 3), value, False, False)
        attended = self._ops.transpose(attended, self._integers(0, 2, 1, 3))
        attended = self._ops.reshape(attended, self._integers(0, -1, channels), True)
        return self._ops.add(self._linear(attended, dense.weight, dense.bias), x)

    def _split_heads(self, tokens: Any, heads: int, channels: int, order: Sequence[int]) -> Any:
        """Split (B, N, C) to (B, N, heads, c), with its axes in another order."""
        split = self._ops.reshape(tokens, self._integers(0, -1, heads, channels // heads), True)
        return self._ops.transpose(split, self._integers(*order))

    def _feed_forward(self, x: Any, norm: nn.LayerNorm, module: encoder.MixFFN, size: Any) -> Any:
        """Map tokens (B, N, C) to (B, N, C), including normalization and residual."""
        hidden_channels = module.dense1.out_features
        hidden = self._linear(self._layer_norm(x, norm), module.dense1.weight, module.dense1.bias)
        dwconv = module.dwconv.dwconv
        assert dwconv.bias is not None  # noqa: S101 - as the network builds it
        hidden = self._ops.group_convolution(
            self._to_map(hidden, size, hidden_channels),
            self._constant(dwconv.weight[:, None]),
            [1, 1],
            [1, 1],
            [1, 1],
            [1, 1],
        )
        hidden = self._ops.add(hidden, self._constant(dwconv.bias[None, :, None, None]))
        hidden = self._to_tokens(self._activation(hidden, module.intermediate_act_fn), hidden_channels)
        return self._ops.add(self._linear(hidden, module.dense2.weight, module.dense2.bias), x)

    def _activation(self, x: Any, module: Any) -> Any:
        if isinstance(module, nn.GELU):
            return self._ops.gelu(x, "tanh" if module.approximate == "tanh" else "erf")
        if isinstance(module, nn.PReLU):
            return self._ops.prelu(x, self._constant(module.weight))
        if isinstance(module, nn.LeakyReLU):
            return self._ops.prelu(x, self._constant(torch.tensor([module.negative_slope])))
        if isinstance(module, nn.SELU):
            # The constants of torch.nn.SELU.
            alpha, scale = torch.tensor(1.6732632423543772), torch.tensor(1.0507009873554805)
            return self._ops.selu(x, self._constant(alpha), self._constant(scale))
        if isinstance(module, QuickGELU):
            return self._ops.multiply(x, self._ops.sigmoid(self._ops.multiply(x, self._constant(torch.tensor(1.702)))))
        simple: dict[type, Callable[[Any], Any]] = {
            nn.Hardswish: self._ops.hswish,
            nn.Identity: lambda value: value,
            nn.Mish: self._ops.mish,
            nn.ReLU: self._ops.relu,
            nn.ReLU6: lambda value: self._ops.clamp(value, 0.0, 6.0),
            nn.Sigmoid: self._ops.sigmoid,
            nn.SiLU: self._ops.swish,
            nn.Tanh: self._ops.tanh,
        }
        if type(module) not in simple:
            name = getattr(module, "__name__", type(module).__name__)
            raise ConfigError(f"OpenVINO has no activation {name}", hint="use `engine='torch'`")
        return simple[type(module)](x)

    # Decoder

    def _decoder(self, feature_maps: Sequence[Any], module: decoder.Decoder, last: int) -> Any:
        """Decode up to the stage `last`, without the upsampling at its end."""
        x = None
        for stage, feature_map in list(zip(module.stages, reversed(feature_maps), strict=True))[: last + 1]:
            convolution: Any = stage.convolution
            projected = feature_map
            if isinstance(convolution, nn.Conv2d):
                assert convolution.bias is not None  # noqa: S101 - as the network builds it
                projected = self._convolution(feature_map, convolution.weight, convolution.bias)
            x = projected if x is None else self._fusion(projected, self._upsample(x), stage.fusion)  # type: ignore[arg-type]
        return x

    def _fusion(self, local: Any, overall: Any, module: decoder.SelectiveFeatureFusion) -> Any:
        x = self._ops.concat([local, overall], 1)
        for layer in (module.convolutional_layer1, module.convolutional_layer2):
            weight, bias = fold_batch_norm(layer[0], layer[1])  # type: ignore[arg-type]
            x = self._ops.relu(self._convolution(x, weight, bias, padding=1))
        third = module.convolutional_layer3
        assert third.bias is not None  # noqa: S101 - as the network builds it
        weights = self._ops.sigmoid(self._convolution(x, third.weight, third.bias, padding=1))
        of_local, of_overall = self._ops.split(weights, self._integer(1), 2).outputs()
        return self._ops.add(self._ops.multiply(local, of_local), self._ops.multiply(overall, of_overall))

    def _head(self, x: Any, module: nn.Sequential, *, factor: int) -> Any:
        """Map the decoder's output (1, C, h, w) to depth before the sigmoid, (1, 1, H, W), without upsampling it.

        This is `inference.engine.decoder.DepthHead` with OpenVINO's operations: see there for the algebra.
        """
        first, last = module[0], module[2]
        assert isinstance(first, nn.Conv2d)  # noqa: S101 - as the network builds it
        assert isinstance(last, nn.Conv2d)  # noqa: S101 - as the network builds it
        assert first.bias is not None  # noqa: S101 - as the network builds it
        assert last.bias is not None  # noqa: S101 - as the network builds it
        _, channels, height, width = x.get_shape()
        rows = self._column_convolution(x, first.weight, factor)
        blocks = []
        for top, bottom in split_rows(0, height, 1, _BLOCK_ROWS):
            above, below = top > 0, bottom < height
            inputs = self._ops.concat([self._slice(row, 1, top - above, bottom + below) for row in rows], 1)
            matrix = row_matrix(bottom - top, factor, above=above, below=below)
            by_tap = matrix.view(len(matrix), -1, _TAPS).transpose(1, 2).flatten(1)  # the inputs of each tap together
            blocks.append(self._ops.matmul(self._constant(by_tap[None]), inputs, False, False))
        joined = blocks[0] if len(blocks) == 1 else self._ops.concat(blocks, 1)
        shape = self._integers(1, factor * height, factor * width, channels)
        hidden = self._ops.add(self._ops.reshape(joined, shape, False), self._constant(first.bias))
        hidden = self._ops.transpose(self._ops.relu(hidden), self._integers(0, 3, 1, 2))
        # A convolution to a single channel would be computed as one to 16: first a product to nine numbers.
        taps = last.weight[0].flatten(1).T[:, :, None, None]
        nine = self._convolution(hidden, taps, torch.zeros(len(taps)))
        each = torch.eye(_TAPS * _TAPS).view(1, -1, _TAPS, _TAPS)
        return self._convolution(nine, each, last.bias, padding=1)

    def _column_convolution(self, x: Any, weight: Tensor, factor: int) -> list[Any]:
        """Upsample and convolve (1, C, h, w) across columns, for each row of the kernel: (1, h, w · factor · C)."""
        channels, (_, _, height, width) = len(weight), x.get_shape()
        phases = upsampling_matrix(_TAPS, factor)[factor - 1 : 2 * factor + 1]
        combinations = torch.stack([phases[tap : tap + factor] for tap in range(_TAPS)])
        weights = torch.einsum("oikt,tpn->kpoin", weight.double(), combinations).flatten(1, 2)[:, :, :, None]
        padded = self._ops.pad(x, self._integers(0, 0, 0, 1), self._integers(0, 0, 0, 1), "edge")
        ends = (self._slice(x, 3, 0, 1), self._slice(x, 3, width - 1, width))
        rows = []
        for tap in range(_TAPS):
            row = self._convolution(padded, weights[tap], None)
            # At the border, the convolution pads with zeros, not with the repeated column.
            left, right = torch.zeros(2, factor, channels, channels)
            left[0], right[-1] = -weight[:, :, tap, 0], -weight[:, :, tap, 2]
            corrections = [
                self._convolution(end, part.flatten(0, 1)[:, :, None, None], None)
                for end, part in zip(ends, (left, right), strict=True)
            ]
            if width == 1:
                row = self._ops.add(row, self._ops.add(*corrections))
            else:
                first = self._ops.add(self._slice(row, 3, 0, 1), corrections[0])
                last = self._ops.add(self._slice(row, 3, width - 1, width), corrections[1])
                middle = [self._slice(row, 3, 1, width - 1)] if width > 2 else []
                row = self._ops.concat([first, *middle, last], 3)
            row = self._ops.transpose(row, self._integers(0, 2, 3, 1))
            rows.append(self._ops.reshape(row, self._integers(1, height, width * factor * channels), False))
        return rows

    # Operations

    def _slice(self, x: Any, axis: int, start: int, stop: int) -> Any:
        return self._ops.slice(x, *map(self._integers, (start, stop, 1, axis)))

    def _convolution(self, x: Any, weight: Tensor, bias: Tensor | None, *, stride: int = 1, padding: int = 0) -> Any:
        sides = [padding, padding]
        convolved = self._ops.convolution(x, self._constant(weight), [stride, stride], sides, sides, [1, 1])
        return convolved if bias is None else self._ops.add(convolved, self._constant(bias[None, :, None, None]))

    def _linear(self, x: Any, weight: Tensor, bias: Tensor) -> Any:
        return self._ops.add(self._ops.matmul(x, self._constant(weight), False, True), self._constant(bias))

    def _merged_linear(self, x: Any, parts: Sequence[tuple[Tensor, Tensor]]) -> list[Any]:
        """Return the outputs of several linear layers, (B, N, C) each, computed in one product."""
        weights, biases = zip(*parts, strict=True)
        merged = self._linear(x, torch.cat(weights), torch.cat(biases))
        outputs: list[Any] = self._ops.variadic_split(
            merged, self._integer(-1), self._integers(*(len(bias) for bias in biases))
        ).outputs()
        return outputs

    def _layer_norm(self, tokens: Any, norm: nn.LayerNorm) -> Any:
        """Normalize (B, N, C)."""
        normalized = self._ops.mvn(tokens, self._integers(-1), True, norm.eps, "inside_sqrt")
        scaled = self._ops.multiply(normalized, self._constant(norm.weight[None, None]))
        return self._ops.add(scaled, self._constant(norm.bias[None, None]))

    def _upsample(self, x: Any) -> Any:
        """Double height and width bilinearly between pixel centers, as `model.decoder.build_upsampling`."""
        factors, none = self._constant(torch.tensor([2.0, 2.0])), [0, 0, 0, 0]
        return self._ops.interpolate(
            x, factors, "linear_onnx", "scales", none, none, "half_pixel", axes=self._integers(2, 3)
        )

    def _to_map(self, tokens: Any, size: Any, channels: int) -> Any:
        """(B, N, C) to (B, C, H, W), where `size` is a node with H and W."""
        shape = self._ops.concat([self._integers(0), size, self._integers(channels)], 0)
        return self._ops.transpose(self._ops.reshape(tokens, shape, True), self._integers(0, 3, 1, 2))

    def _to_tokens(self, feature_map: Any, channels: int) -> Any:
        """(B, C, H, W) to (B, N, C)."""
        last = self._ops.transpose(feature_map, self._integers(0, 2, 3, 1))
        return self._ops.reshape(last, self._integers(0, -1, channels), True)

    def _constant(self, values: Tensor) -> Any:
        # A copy, because the weights may be mapped from a file.
        return self._ops.constant(np.array(values.detach().float().contiguous().numpy()))

    def _integers(self, *values: int) -> Any:
        return self._ops.constant(np.array(values, dtype=np.int64))

    def _integer(self, value: int) -> Any:
        return self._ops.constant(np.int64(value))
