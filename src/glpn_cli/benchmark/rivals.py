"""Other ways to run the same network, for as far as they are installed. A new one is one row."""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from glpn_cli.errors import MissingPackageError
from glpn_cli.settings import Precision, Rival

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from glpn_cli.device import Runtime
    from glpn_cli.model.glpn import GLPNForDepthEstimation

    Forward = Callable[[Tensor], Tensor]
    """(B, 3, h, w) float32 in [0, 1] to (B, h, w) float32 in the published scale, on the CPU."""


_OPSET = 18


@dataclass(frozen=True, slots=True, eq=False)
class RivalNetwork:
    """Another way to run a network, ready to run.

    Attributes:
        forward: runs it.
        device: on what it runs, which need not be what we run on.
        precision: in which numbers it computes, likewise.
    """

    forward: Forward
    device: str
    precision: Precision


def check_installed(rival: Rival) -> None:
    """See that another way to run a network is there.

    Raises:
        MissingPackageError: it is not installed.
    """
    for package in _PACKAGES[rival].split():
        if importlib.util.find_spec(package) is None:
            raise MissingPackageError(
                f"--against {rival}: {package} is not installed", hint=f"pip install {_PACKAGES[rival]}"
            )


def build_rival(rival: Rival, network: GLPNForDepthEstimation, pixel_values: Tensor, runtime: Runtime) -> RivalNetwork:
    """Build another way to run a network.

    Args:
        rival: which.
        network: float32, on the CPU, in evaluation mode.
        pixel_values: an input of the size that it will be run on.
        runtime: device and precision to run on. transformers computes in float32 all the same, because that is what
            people run today, ONNX Runtime too, and both it and OpenVINO run on the CPU.

    Raises:
        MissingPackageError: it is not installed.
    """
    builders = {
        Rival.TRANSFORMERS: _build_transformers,
        Rival.OPENVINO: _build_openvino,
        Rival.ONNXRUNTIME: _build_onnxruntime,
    }
    try:
        return builders[rival](network, pixel_values, runtime)
    except ImportError as error:
        raise MissingPackageError(
            f"--against {rival}: {error.name or rival} is not installed", hint=f"pip install {_PACKAGES[rival]}"
        ) from error


_PACKAGES = {
    Rival.TRANSFORMERS: "transformers",
    Rival.OPENVINO: "openvino",
    Rival.ONNXRUNTIME: "onnxruntime onnx onnxscript",
}


def _build_transformers(network: GLPNForDepthEstimation, pixel_values: Tensor, runtime: Runtime) -> RivalNetwork:
    del pixel_values
    from transformers import GLPNConfig, GLPNForDepthEstimation

    values = json.loads(network.config.to_json_string())
    theirs: Any = GLPNForDepthEstimation(GLPNConfig(**values))
    theirs.load_state_dict(network.state_dict())
    theirs.eval().to(runtime.device)

    def forward(pixel_values: Tensor) -> Tensor:
        with torch.no_grad():
            predicted: Tensor = theirs(pixel_values.to(runtime.device)).predicted_depth
            return predicted.float().cpu()

    return RivalNetwork(forward, str(runtime.device), Precision.FLOAT32)


def _build_openvino(network: GLPNForDepthEstimation, pixel_values: Tensor, runtime: Runtime) -> RivalNetwork:
    import openvino

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer's remarks on checks of the input
        model = openvino.convert_model(_Bare(network), example_input=pixel_values)
    model.reshape(list(pixel_values.shape))
    precision = Precision.FLOAT32 if runtime.precision is Precision.TF32 else runtime.precision
    kind = {Precision.FLOAT32: "f32", Precision.BFLOAT16: "bf16", Precision.FLOAT16: "f16"}[precision]
    hints = {"INFERENCE_PRECISION_HINT": kind, "PERFORMANCE_HINT": "LATENCY"}
    hints["INFERENCE_NUM_THREADS"] = str(torch.get_num_threads())
    compiled = openvino.Core().compile_model(model, "CPU", hints)
    return RivalNetwork(
        lambda pixel_values: torch.from_numpy(compiled(pixel_values.numpy())[0]).float(), "cpu", precision
    )


def _build_onnxruntime(network: GLPNForDepthEstimation, pixel_values: Tensor, runtime: Runtime) -> RivalNetwork:
    del runtime
    import onnx  # noqa: F401 - the exporter needs it, and says so less clearly
    import onnxruntime
    import onnxscript  # noqa: F401 - likewise

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, which is not needed
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's remarks on itself
        program = torch.onnx.export(
            _Bare(network), (pixel_values,), dynamo=True, opset_version=_OPSET, verbose=False, external_data=False
        )
    if program is None:
        raise RuntimeError("the exporter gave no program")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        program.save(file)
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return RivalNetwork(
        lambda pixel_values: torch.from_numpy(session.run(None, {name: pixel_values.numpy()})[0]).float(),
        "cpu",
        Precision.FLOAT32,
    )


class _Bare(torch.nn.Module):
    """The network with a tensor in and a tensor out, as exporters want it."""

    def __init__(self, network: GLPNForDepthEstimation) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixel_values: Tensor) -> Tensor:
        predicted: Tensor = self.network(pixel_values, return_dict=False)[0]
        return predicted
