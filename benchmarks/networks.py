"""What the benchmarks run: the published architecture with random weights, in every implementation.

Weights are drawn in two ways. "parity" are those of the parity tests, with which every part of the network shows in
the depth and small errors grow as they pass through it; "initial" are what torch draws for a network that is about
to be trained, in which they do not.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import parity
from glpn_cli.device import choose_runtime
from glpn_cli.inference.engine.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable


def build_pair(weights: str, architecture: str = "published") -> parity.Pair:
    """Build an architecture of the parity tests in both implementations, with "parity" or "initial" weights."""
    pair = parity._build_pair(parity.ARCHITECTURES[architecture])  # noqa: SLF001 - a fixture cannot be called
    if weights == "initial":
        torch.manual_seed(0)
        for module in pair.theirs.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.LayerNorm | nn.BatchNorm2d):
                module.reset_parameters()
        pair.ours.load_state_dict(pair.theirs.state_dict())
    return pair


def draw_pictures(batch: int, height: int, width: int) -> Tensor:
    """Draw (batch, 3, height, width) float32 pictures, 0 to 1: smooth with noise on top."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(batch, 3, 5, 7, generator=generator)
    smooth = nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return 0.6 * smooth + 0.4 * torch.rand(batch, 3, height, width, generator=generator)


def one_by_one(run: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Make a function of one picture into one of several."""
    return lambda pictures: torch.cat([run(picture) for picture in torch.split(pictures, 1)])


def build_transformers(pair: parity.Pair) -> Callable[[Tensor], Tensor]:
    """Give the reference: eager, float32, one picture after the other."""
    return one_by_one(lambda picture: pair.theirs(picture).predicted_depth)


def build_engine(pair: parity.Pair, precision: str, device: str = "cpu") -> Callable[[Tensor], Tensor]:
    """Give the engine."""
    return Engine(pair.ours, choose_runtime(device, precision))


def build_openvino(pair: parity.Pair, precision: str, height: int, width: int, threads: int) -> Callable[..., Tensor]:
    """Give OpenVINO's CPU plugin, compiled for one size of picture from the reference as it stands."""
    import openvino

    class DepthOnly(nn.Module):
        """One tensor in, one tensor out."""

        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixel_values: Tensor) -> Any:
            """Predict."""
            return self.network(pixel_values, return_dict=False)[0]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shape = [1, 3, height, width]
        exported = openvino.convert_model(
            DepthOnly(pair.theirs).eval(), example_input=torch.zeros(1, 3, 64, 64), input=[shape]
        )
    options = {
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = openvino.Core().compile_model(exported, "CPU", options)
    return one_by_one(lambda picture: torch.from_numpy(compiled(picture.numpy())[0]))
