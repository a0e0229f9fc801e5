"""Export to ONNX: build the file with its metadata, and verify it against torch."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

from glpn_cli._version import __version__
from glpn_cli.convert import SIZE_DIVISOR
from glpn_cli.device import exact_float32, memory_errors_named
from glpn_cli.errors import ConfigError, MissingPackageError, OutputError
from glpn_cli.model.glpn import find_usable_sides
from glpn_cli.values import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from glpn_cli.inference.network import LoadedWeights
    from glpn_cli.model.glpn import GLPNForDepthEstimation
    from glpn_cli.settings import ExportSettings
    from glpn_cli.weights.catalog import WeightsCard

INPUT_NAMES = {True: "images", False: "pixel_values"}
"""Name of the input in the file, with and without preprocessing."""

OUTPUT_NAMES = {True: "meters", False: "predicted_depth"}
"""Name of the output in the file, with and without preprocessing."""

_OPSET = 18
_MAX_BATCH = 4096
_MAX_SIDE_PX = 16_384
_TRACED_SIZE = (64, 96)
_VERIFIED_CASES = ((1, (64, 96)), (2, (96, 64)), (3, (32, 32)))
_TOLERANCES = {Precision.FLOAT32: 1e-4, Precision.FLOAT16: 2e-2}
"""The largest accepted difference from torch, as a fraction of the depth limit."""


class PixelValuesModule(nn.Module):
    """The network with float32 input and output in the published scale, whatever its own precision."""

    def __init__(self, network: GLPNForDepthEstimation) -> None:
        super().__init__()
        self.network = network
        self.dtype = next(network.parameters()).dtype

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Predict depth.

        Args:
            pixel_values: (B, 3, H, W) float32, in [0, 1], RGB, sides multiples of 32.

        Returns:
            (B, H, W) float32, in the published scale.
        """
        predicted: Tensor = self.network(pixel_values.to(self.dtype), return_dict=False)[0]
        return predicted.to(torch.float32)


class ImagesModule(nn.Module):
    """The network with 8-bit images as input and meters as output."""

    def __init__(self, network: GLPNForDepthEstimation, card: WeightsCard) -> None:
        super().__init__()
        self.inner = PixelValuesModule(network)
        self.meters_per_unit = card.meters_per_unit
        self.depth_limit_m = card.depth_limit_m

    def forward(self, images: Tensor) -> Tensor:
        """Predict depth.

        Args:
            images: (B, H, W, 3) uint8, in [0, 255], RGB, sides multiples of 32.

        Returns:
            (B, H, W) float32, meters.
        """
        pixel_values = images.permute(0, 3, 1, 2).to(torch.float32) / 255
        predicted: Tensor = self.inner(pixel_values)
        return (predicted * self.meters_per_unit).clamp(0.0, self.depth_limit_m)


@dataclass(frozen=True, slots=True, eq=False)
class ExportModule:
    """A network, ready for the exporter.

    Attributes:
        module: takes one tensor and returns one; in evaluation mode and in the precision of the file.
        weights: the network inside the module, and its metadata.
        settings: input, size and precision of the file.
        size: (height, width) of the input in pixels, or None for any.
    """

    module: nn.Module
    weights: LoadedWeights
    settings: ExportSettings
    size: tuple[int, int] | None


def build_module(weights: LoadedWeights, settings: ExportSettings) -> ExportModule:
    """Wrap a network for the exporter.

    Args:
        weights: the network, in evaluation mode; it is converted in place to the precision of the file.
        settings: input, size and precision of the file.

    Raises:
        ConfigError: the network does not take images of this size.
    """
    size = settings.size_for(weights.card.working_size)
    network = weights.network
    smallest, step = find_usable_sides(network.config)
    usable = (
        (smallest, step) == (SIZE_DIVISOR, SIZE_DIVISOR)
        if size is None
        else all(side >= smallest and side % step == 0 for side in size)
    )
    if not usable:
        raise ConfigError(
            f"the network of {weights.card.name} needs sides of at least {smallest} pixels, multiples of {step}",
            hint=f"set `size` to such a size, for example {max(smallest, step)}x{max(smallest, step)}",
        )
    if settings.precision is Precision.FLOAT16:
        network.half()
    module = ImagesModule(network, weights.card) if settings.with_preprocessing else PixelValuesModule(network)
    return ExportModule(module.eval(), weights, settings, size)


def build_onnx(exported: ExportModule) -> bytes:
    """Export a network with torch's exporter.

    Returns:
        An ONNX file with metadata.

    Raises:
        MissingPackageError: a package that the exporter needs is not installed.
        DeviceError: memory ran out.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - the exporter needs it; its own error message is less clear
    except ImportError as error:
        raise MissingPackageError(
            f"export needs the package {error.name}", hint="pip install onnx onnxscript onnxruntime"
        ) from error
    preprocessing = exported.settings.with_preprocessing
    memory = memory_errors_named(
        f"exporting {exported.weights.card.name}", hint="use a smaller `size`, or `size='dynamic'`"
    )
    with _silent_exporter(), torch.no_grad(), memory:
        program = torch.onnx.export(
            exported.module,
            (example_input(exported, batch=1 if exported.size else 2, size=exported.size or _TRACED_SIZE),),
            input_names=[INPUT_NAMES[preprocessing]],
            output_names=[OUTPUT_NAMES[preprocessing]],
            dynamic_shapes=None if exported.size else _dynamic_shapes(preprocessing=preprocessing),
            opset_version=_OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned None")
    model = program.model_proto
    _remove_exporter_metadata(model)
    model.doc_string = "Depth from an image: GLPN, arXiv 2201.07436"
    model.producer_name, model.producer_version = "glpn-cli", __version__
    onnx.helper.set_model_props(model, _metadata(exported))
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


@dataclass(frozen=True, slots=True)
class Agreement:
    """How closely ONNX Runtime and torch agree on one input.

    Attributes:
        batch: number of images in the input.
        size: (height, width) of the input, pixels.
        largest_m: the largest difference of a pixel, meters.
    """

    batch: int
    size: tuple[int, int]
    largest_m: float


def can_verify() -> bool:
    """Return whether ONNX Runtime is installed."""
    return importlib.util.find_spec("onnxruntime") is not None


def verify_onnx(data: bytes, exported: ExportModule, *, name: str) -> list[Agreement]:
    """Run an ONNX file in ONNX Runtime on a CPU, and compare it with torch on synthetic images.

    Args:
        data: the file.
        exported: what `build_onnx` built it from.
        name: what to call the file in messages.

    Returns:
        One result per input. A file of any size is run with several sizes and batches.

    Raises:
        OutputError: the difference is more than rounding.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    card, precision = exported.weights.card, exported.settings.precision
    working_size = exported.settings.floored(card.working_size)
    cases = ((1, exported.size),) if exported.size else (*_VERIFIED_CASES, (1, working_size))
    agreements = [_compare(session, exported, batch, size) for batch, size in cases]
    worst = max(agreements, key=lambda agreement: agreement.largest_m)
    if not worst.largest_m <= _TOLERANCES[precision] * card.depth_limit_m:  # so that NaN fails too
        raise OutputError(
            f"{name}: not written: at {worst.size[0]}x{worst.size[1]} ONNX Runtime differs from torch "
            f"by up to {worst.largest_m:.3g} m",
            hint=None if precision is Precision.FLOAT32 else "use `precision='float32'`",
        )
    return agreements


def example_input(exported: ExportModule, *, batch: int, size: tuple[int, int], seed: int = 0) -> Tensor:
    """Return synthetic images, as the module takes them: patches of color with some noise."""
    generator = torch.Generator().manual_seed(seed)
    patches = torch.rand(batch, 3, 5, 7, generator=generator)
    images = torch.nn.functional.interpolate(patches, size, mode="nearest")
    images = (images + 0.1 * torch.rand(batch, 3, *size, generator=generator)).clamp(0, 1)
    if not exported.settings.with_preprocessing:
        return images
    return (images * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _compare(session: Any, exported: ExportModule, batch: int, size: tuple[int, int]) -> Agreement:
    images = example_input(exported, batch=batch, size=size, seed=1)
    preprocessing = exported.settings.with_preprocessing
    with torch.inference_mode(), exact_float32():
        expected = exported.module(images).numpy()
    (computed,) = session.run(None, {INPUT_NAMES[preprocessing]: images.numpy()})
    if computed.shape != expected.shape:
        return Agreement(batch, size, float("inf"))
    meters_per_unit = 1.0 if preprocessing else exported.weights.card.meters_per_unit
    return Agreement(batch, size, float(np.abs(computed - expected).max()) * meters_per_unit)


def _dynamic_shapes(*, preprocessing: bool) -> dict[str, Any]:
    largest = _MAX_SIDE_PX // SIZE_DIVISOR
    rows, columns = (SIZE_DIVISOR * Dim(name, min=1, max=largest) for name in ("rows", "columns"))
    height, width = (1, 2) if preprocessing else (2, 3)
    return {INPUT_NAMES[preprocessing]: {0: Dim("batch", min=1, max=_MAX_BATCH), height: rows, width: columns}}


def _metadata(exported: ExportModule) -> dict[str, str]:
    """Return what a program needs to know to use the file without this one; docs/export.md lists the keys."""
    card, settings = exported.weights.card, exported.settings
    preprocessing = settings.with_preprocessing
    size = "any multiples of 32" if exported.size is None else "{}x{}".format(*exported.size)
    return {
        "tool": f"glpn-cli {__version__}",
        "weights": card.name,
        "weights_sha256": exported.weights.sha256(),
        "metric": {True: "metric", False: "approximate", None: "unknown"}[card.metric],
        "precision": str(settings.precision),
        "input": "(batch, height, width, 3) uint8 RGB" if preprocessing else "(batch, 3, height, width) float32 RGB",
        "input_range": "0 to 255" if preprocessing else "0 to 1: 8-bit values divided by 255, no mean and deviation",
        "input_size": size,
        "working_size": "{}x{}".format(*card.working_size),
        "preprocessing": (
            "upright image, alpha over white, resized to the input size by Pillow's BILINEAR; "
            + ("nothing else" if preprocessing else "then divided by 255")
        ),
        "output": "(batch, height, width) float32 depth along the optical axis, at the size of the input",
        "unit": "meter" if preprocessing else "published scale; multiply by meters_per_unit",
        "meters_per_unit": repr(1.0 if preprocessing else card.meters_per_unit),
        "depth_limit_m": repr(card.depth_limit_m),
    }


def _remove_exporter_metadata(model: Any) -> None:
    """Remove the exporter's notes, which contain local paths."""
    for part in (model.graph, *model.functions):
        del part.metadata_props[:]
        for item in (*part.node, *part.value_info):
            del item.metadata_props[:]
            item.doc_string = ""
    for item in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del item.metadata_props[:]


@contextmanager
def _silent_exporter() -> Iterator[None]:
    """Suppress the exporter's warnings about itself and about torchvision, which is not needed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
