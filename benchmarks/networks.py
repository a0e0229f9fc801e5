"""The networks that the benchmarks run: the published architecture with random weights, in every implementation.

There are two kinds of random weights. "parity" are those of the parity tests: every part of the network affects the
depth, and small errors grow from layer to layer. "initial" is torch's default initialization, where they do not grow.
"""

from __future__ import annotations

import copy
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
from glpn_cli.inference.openvino.engine import OpenvinoEngine
from glpn_cli.inference.openvino.runtime import compile_options, import_openvino, without_telemetry
from glpn_cli.values import Precision

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


def random_images(batch: int, height: int, width: int) -> Tensor:
    """Return (batch, 3, height, width) float32 images in [0, 1]: smooth colors plus noise."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(batch, 3, 5, 7, generator=generator)
    smooth = nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return 0.6 * smooth + 0.4 * torch.rand(batch, 3, height, width, generator=generator)


def one_by_one(run: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Turn a function of one image into a function of a batch."""
    return lambda images: torch.cat([run(image) for image in torch.split(images, 1)])


def build_transformers(pair: parity.Pair) -> Callable[[Tensor], Tensor]:
    """Return the reference: eager, float32, one image at a time."""
    return one_by_one(lambda image: pair.theirs(image).predicted_depth)


def build_compiled(pair: parity.Pair, precision: str) -> Callable[[Tensor], Tensor]:
    """Return the reference under torch.compile with frozen weights, one image at a time. Needs a C++ compiler.

    A new input size takes minutes to compile.
    """
    import torch._inductor.config

    torch._inductor.config.freezing = True  # noqa: SLF001 - the documented name of the setting
    dtype = getattr(torch, precision)
    theirs = copy.deepcopy(pair.theirs).to(dtype).eval()
    run = torch.compile(lambda image: theirs(image).predicted_depth, dynamic=False)
    return one_by_one(lambda image: run(image.to(dtype)).float())


def build_engine(pair: parity.Pair, precision: str, device: str = "cpu") -> Callable[[Tensor], Tensor]:
    """Return the engine of glpn."""
    return Engine(pair.ours, choose_runtime(device, precision))


def build_openvino_engine(pair: parity.Pair, precision: str) -> Callable[[Tensor], Tensor]:
    """Return the engine of glpn that OpenVINO computes."""
    return OpenvinoEngine(pair.ours, choose_runtime("cpu", precision))


def build_openvino(pair: parity.Pair, precision: str, height: int, width: int, threads: int) -> Callable[..., Tensor]:
    """Return OpenVINO's CPU plugin, compiled from the unmodified reference for one input size."""
    openvino = import_openvino()

    class DepthOnly(nn.Module):
        """Returns only the depth tensor."""

        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixel_values: Tensor) -> Any:
            """Return the predicted depth."""
            return self.network(pixel_values, return_dict=False)[0]

    with warnings.catch_warnings(), without_telemetry():
        warnings.simplefilter("ignore")
        shape = [1, 3, height, width]
        exported = openvino.convert_model(
            DepthOnly(pair.theirs).eval(), example_input=torch.zeros(1, 3, 64, 64), input=[shape]
        )
    compiled = openvino.Core().compile_model(exported, "CPU", compile_options(Precision(precision), threads))
    return one_by_one(lambda image: torch.from_numpy(compiled(image.numpy())[0]))
