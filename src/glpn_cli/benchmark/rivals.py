"""Other runtimes for the same network, to compare with. A new one is one row of `_RIVALS`."""

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

from glpn_cli.benchmark.settings import Rival
from glpn_cli.errors import MissingPackageError
from glpn_cli.inference.openvino.runtime import compile_options, import_openvino, without_telemetry
from glpn_cli.values import Precision

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from glpn_cli.device import Runtime
    from glpn_cli.model.glpn import GLPNForDepthEstimation

    Forward = Callable[[Tensor], Tensor]
    """Takes (B, 3, h, w) float32 in [0, 1] and returns (B, h, w) float32 in the published scale, on the CPU."""

_OPSET = 18


@dataclass(frozen=True, slots=True, eq=False)
class RivalNetwork:
    """A network in another runtime.

    Attributes:
        forward: runs it.
        device: the device it runs on; may differ from ours.
        precision: the precision it computes in; may differ from ours.
    """

    forward: Forward
    device: str
    precision: Precision


def check_installed(rival: Rival) -> None:
    """Check that the packages of a runtime are installed.

    Raises:
        MissingPackageError: one is not.
    """
    for package in _RIVALS[rival].packages:
        if importlib.util.find_spec(package) is None:
            raise _missing(rival, package)


def build_rival(rival: Rival, network: GLPNForDepthEstimation, pixel_values: Tensor, runtime: Runtime) -> RivalNetwork:
    """Build a network in another runtime.

    Args:
        rival: which runtime.
        network: float32, on the CPU, in evaluation mode.
        pixel_values: an input of the size to run, (1, 3, h, w) float32 in [0, 1].
        runtime: device and precision to run in, if possible. transformers and ONNX Runtime always compute in float32,
            as users run them; ONNX Runtime and OpenVINO always run on the CPU.

    Raises:
        MissingPackageError: the runtime is not installed.
    """
    try:
        return _RIVALS[rival].build(network, pixel_values, runtime)
    except ImportError as error:
        raise _missing(rival, error.name or str(rival)) from error


def _missing(rival: Rival, package: str) -> MissingPackageError:
    return MissingPackageError(
        f"comparing with {rival} needs the package {package}", hint=f"pip install {' '.join(_RIVALS[rival].packages)}"
    )


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
    openvino = import_openvino()
    with warnings.catch_warnings(), torch.no_grad(), without_telemetry():
        warnings.simplefilter("ignore")  # the tracer warns about the network's checks of its input
        model = openvino.convert_model(_TensorModule(network), example_input=pixel_values)
    model.reshape(list(pixel_values.shape))
    precision = Precision.FLOAT32 if runtime.precision is Precision.TF32 else runtime.precision
    compiled = openvino.Core().compile_model(model, "CPU", compile_options(precision, torch.get_num_threads()))

    def forward(pixel_values: Tensor) -> Tensor:
        return torch.from_numpy(compiled(pixel_values.numpy())[0]).float()

    return RivalNetwork(forward, "cpu", precision)


def _build_onnxruntime(network: GLPNForDepthEstimation, pixel_values: Tensor, runtime: Runtime) -> RivalNetwork:
    del runtime
    import onnx  # noqa: F401 - the exporter needs it; its own error message is less clear
    import onnxruntime
    import onnxscript  # noqa: F401 - the exporter needs it too

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns about torchvision, which is not needed
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns about itself
        program = torch.onnx.export(
            _TensorModule(network),
            (pixel_values,),
            dynamo=True,
            opset_version=_OPSET,
            verbose=False,
            external_data=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned None")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        program.save(file)
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def forward(pixel_values: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {name: pixel_values.numpy()})[0]).float()

    return RivalNetwork(forward, "cpu", Precision.FLOAT32)


class _TensorModule(torch.nn.Module):
    """The network with one tensor as input and one as output, as exporters need it."""

    def __init__(self, network: GLPNForDepthEstimation) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixel_values: Tensor) -> Tensor:
        predicted: Tensor = self.network(pixel_values, return_dict=False)[0]
        return predicted


@dataclass(frozen=True, slots=True)
class _RivalRow:
    build: Callable[[GLPNForDepthEstimation, Tensor, Runtime], RivalNetwork]
    packages: tuple[str, ...]


_RIVALS = {
    Rival.TRANSFORMERS: _RivalRow(_build_transformers, ("transformers",)),
    Rival.OPENVINO: _RivalRow(_build_openvino, ("openvino",)),
    Rival.ONNXRUNTIME: _RivalRow(_build_onnxruntime, ("onnxruntime", "onnx", "onnxscript")),
}
