"""The networks that the benchmarks run: the published architecture with random weights, in every implementation.

There are two kinds of random weights. "parity" are those of the parity tests: every part of the network affects the
depth, and small errors grow from layer to layer. "initial" is torch's default initialization, where they do not grow.
"""

from __future__ import annotations

import copy
import shutil
import sys
import warnings
from importlib.util import find_spec
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


PRECISIONS = ("float32", "bfloat16")


def list_runners(*, with_reference: bool = True) -> list[str]:
    """Return the names of the implementations that can run here on a CPU, each with its precision."""
    runners = ["transformers float32"] if with_reference else []
    for precision in PRECISIONS:
        if with_reference and shutil.which("c++"):
            runners.append(f"transformers compiled {precision}")
        runners.append(f"glpn {precision}")
        if find_spec("openvino"):
            runners.append(f"glpn openvino {precision}")
            if with_reference:
                runners.append(f"openvino {precision}")
    return runners


def build_reference(runner: str, theirs: nn.Module, height: int, width: int) -> Callable[[Tensor], Tensor]:
    """Return the reference network in one of the implementations of `list_runners` that are not ours."""
    implementation, _, precision = runner.rpartition(" ")
    if implementation == "transformers":
        return build_transformers(theirs)
    if implementation == "transformers compiled":
        return build_compiled(theirs, precision)
    return build_openvino(theirs, precision, height, width)


def build_transformers(theirs: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the reference: eager, float32, one image at a time."""
    return one_by_one(lambda image: theirs(image).predicted_depth)


def build_compiled(theirs: nn.Module, precision: str) -> Callable[[Tensor], Tensor]:
    """Return the reference under torch.compile with frozen weights, one image at a time. Needs a C++ compiler.

    A new input size takes minutes to compile.
    """
    import torch._inductor.config

    torch._inductor.config.freezing = True  # noqa: SLF001 - the documented name of the setting
    dtype = getattr(torch, precision)
    network = copy.deepcopy(theirs).to(dtype).eval()
    run = torch.compile(lambda image: network(image).predicted_depth, dynamic=False)
    return one_by_one(lambda image: run(image.to(dtype)).float())


def build_engine(pair: parity.Pair, precision: str, device: str = "cpu") -> Callable[[Tensor], Tensor]:
    """Return the engine of glpn."""
    return Engine(pair.ours, choose_runtime(device, precision))


def build_openvino_engine(pair: parity.Pair, precision: str) -> Callable[[Tensor], Tensor]:
    """Return the engine of glpn that OpenVINO computes."""
    return OpenvinoEngine(pair.ours, choose_runtime("cpu", precision))


def build_openvino(theirs: nn.Module, precision: str, height: int, width: int) -> Callable[[Tensor], Tensor]:
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
            DepthOnly(theirs).eval(), example_input=torch.zeros(1, 3, 64, 64), input=[shape]
        )
    options = compile_options(Precision(precision), torch.get_num_threads())
    compiled = openvino.Core().compile_model(exported, "CPU", options)
    return one_by_one(lambda image: torch.from_numpy(compiled(image.numpy())[0]))
