"""Whether this torch has the packed operations, and whether they compute what their public forms do."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from glpn_cli.inference.engine.attention import look_in_own_tensors
from glpn_cli.inference.engine.operations import Convolution, DepthwiseActivation, Linear, multiply, to_map
from glpn_cli.inference.engine.target import Target

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["packed_operations_work"]

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
