"""The network with a tensor in and a tensor out, as exporters want it; the model itself knows nothing of them.

An exported file computed once more, by ONNX Runtime, and held to torch.

ONNX files that say what their numbers mean.
"""

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
from glpn_cli.device import exact_float32, memory_errors_named
from glpn_cli.errors import MissingPackageError, OutputError
from glpn_cli.settings import SIZE_DIVISOR, Precision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from glpn_cli.inference.predictor import LoadedWeights
    from glpn_cli.model.glpn import GLPNForDepthEstimation
    from glpn_cli.settings import ExportSettings
    from glpn_cli.weights.catalog import WeightsCard


_WHITE = 255


class FromPixelValues(nn.Module):
    """What the network computes, in the number format of its weights, between float32 and float32."""

    def __init__(self, network: GLPNForDepthEstimation) -> None:
        """Take a network in evaluation mode."""
        super().__init__()
        self.network = network
        self.dtype = next(network.parameters()).dtype

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Predict.

        Args:
            pixel_values: (B, 3, H, W) float32 in [0, 1], RGB, sides multiples of 32.

        Returns:
            (B, H, W) float32 in the published scale.
        """
        predicted: Tensor = self.network(pixel_values.to(self.dtype), return_dict=False)[0]
        return predicted.to(torch.float32)


class FromImages(nn.Module):
    """The network between the 8-bit images that everybody has and meters."""

    def __init__(self, network: GLPNForDepthEstimation, card: WeightsCard) -> None:
        """Take a network in evaluation mode and the facts that turn its output into meters."""
        super().__init__()
        self.inner = FromPixelValues(network)
        self.meters_per_unit = card.meters_per_unit
        self.depth_limit_m = card.depth_limit_m

    def forward(self, images: Tensor) -> Tensor:
        """Predict.

        Args:
            images: (B, H, W, 3) uint8 in [0, 255], RGB, sides multiples of 32.

        Returns:
            (B, H, W) float32, meters.
        """
        pixel_values = images.permute(0, 3, 1, 2).to(torch.float32) / _WHITE
        predicted: Tensor = self.inner(pixel_values)
        return (predicted * self.meters_per_unit).clamp(0.0, self.depth_limit_m)


_TOLERANCES = {Precision.FLOAT32: 1e-4, Precision.FLOAT16: 2e-2}

"""The largest difference that is taken for rounding, as a share of the depth limit."""

_CASES_OF_ANY_SIZE = ((1, (64, 96)), (2, (96, 64)), (3, (32, 32)))


@dataclass(frozen=True, slots=True)
class Agreement:
    """How near two runtimes are on one input.

    Attributes:
        batch: images at once.
        size: (height, width), pixels.
        largest_m: the largest difference of a pixel, meters.
    """

    batch: int
    size: tuple[int, int]
    largest_m: float


def can_verify() -> bool:
    """Tell whether ONNX Runtime is installed."""
    return importlib.util.find_spec("onnxruntime") is not None


def verify(data: bytes, subject: Subject, *, name: str) -> list[Agreement]:
    """Run the file in ONNX Runtime and the subject in torch, on the same made-up images.

    Args:
        data: the file.
        subject: what it was made from.
        name: what to call it in messages.

    Returns:
        For each size that was tried, how near they are. A file of any size is tried on several sizes and batches.

    Raises:
        OutputError: the numbers differ by more than rounding.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    card = subject.weights.card
    cases = ((1, subject.size),) if subject.size else (*_CASES_OF_ANY_SIZE, (1, _working_size(subject)))
    agreements = [_compare(session, subject, batch, size) for batch, size in cases]
    tolerance_m = _TOLERANCES[subject.settings.precision] * card.depth_limit_m
    worst = max(agreements, key=lambda agreement: agreement.largest_m)
    if not worst.largest_m <= tolerance_m:  # so that not-a-number fails, too
        raise OutputError(
            f"{name}: not written: at {worst.size[0]}x{worst.size[1]} ONNX Runtime differs from torch "
            f"by up to {worst.largest_m:.3g} m",
            hint="--precision float32" if subject.settings.precision is not Precision.FLOAT32 else None,
        )
    return agreements


def _compare(session: Any, subject: Subject, batch: int, size: tuple[int, int]) -> Agreement:
    given = example_input(subject, batch=batch, size=size, seed=1)
    with torch.inference_mode(), exact_float32():
        expected = subject.module(given).numpy()
    (computed,) = session.run(None, {INPUT_NAMES[subject.settings.with_preprocessing]: given.numpy()})
    if computed.shape != expected.shape:
        return Agreement(batch, size, float("inf"))
    per_unit = 1.0 if subject.settings.with_preprocessing else subject.weights.card.meters_per_unit
    return Agreement(batch, size, float(np.abs(computed - expected).max()) * per_unit)


def _working_size(subject: Subject) -> tuple[int, int]:
    return subject.settings.floored(subject.weights.card.working_size)


INPUT_NAMES = {True: "images", False: "pixel_values"}

"""What the input is called, with preprocessing inside the graph and without."""

_OUTPUT_NAMES = {True: "meters", False: "predicted_depth"}

_OPSET = 18

_TRACED_SIZE = (64, 96)

_LARGEST_SIDE_PX = 16_384


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What is exported.

    Attributes:
        module: a tensor in and a tensor out, in evaluation mode, in the precision of the file.
        weights: what it was made from; its network is the module's.
        settings: how.
        size: (height, width) of the input in pixels, or None for any.
    """

    module: nn.Module
    weights: LoadedWeights
    settings: ExportSettings
    size: tuple[int, int] | None


def build_subject(weights: LoadedWeights, settings: ExportSettings) -> Subject:
    """Wrap a network for the exporter.

    Args:
        weights: its network is converted to the precision of the file in place.
        settings: what the file shall take and give.
    """
    size = settings.size_for(weights.card.working_size)
    network = weights.network
    if settings.precision is Precision.FLOAT16:
        network.half()
    module = FromImages(network, weights.card) if settings.with_preprocessing else FromPixelValues(network)
    return Subject(module.eval(), weights, settings, size)


def example_input(subject: Subject, *, batch: int, size: tuple[int, int], seed: int = 0) -> Tensor:
    """Make up images as the subject takes them: patches of color with some noise."""
    chance = torch.Generator().manual_seed(seed)
    patches = torch.rand(batch, 3, 5, 7, generator=chance)
    images = torch.nn.functional.interpolate(patches, size, mode="nearest")
    images = (images + 0.1 * torch.rand(batch, 3, *size, generator=chance)).clamp(0, 1)
    if not subject.settings.with_preprocessing:
        return images
    return (images * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def build_onnx(subject: Subject) -> bytes:
    """Export with torch's exporter, and write into the file what it is.

    Raises:
        MissingPackageError: a package that the exporter needs is not installed.
        DeviceError: memory ran out.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - the exporter needs it, and says so less clearly
    except ImportError as error:
        raise MissingPackageError(
            f"--onnx: {error.name} is not installed", hint="pip install 'glpn-cli[onnx]'"
        ) from error
    inside = subject.settings.with_preprocessing
    memory = memory_errors_named(f"exporting {subject.weights.card.name}", hint="a smaller --size, or dynamic")
    with _quiet_exporter(), torch.no_grad(), memory:
        program = torch.onnx.export(
            subject.module,
            (example_input(subject, batch=1 if subject.size else 2, size=subject.size or _TRACED_SIZE),),
            input_names=[INPUT_NAMES[inside]],
            output_names=[_OUTPUT_NAMES[inside]],
            dynamic_shapes=None if subject.size else _any_size(inside=inside),
            opset_version=_OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("the exporter gave no program")
    model = program.model_proto
    _forget_where_it_was_made(model)
    model.doc_string = "Depth from an image: GLPN, arXiv 2201.07436"
    model.producer_name, model.producer_version = "glpn-cli", __version__
    onnx.helper.set_model_props(model, _facts(subject))
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _any_size(*, inside: bool) -> dict[str, Any]:
    """Say to the exporter which axes are free."""
    most = _LARGEST_SIDE_PX // SIZE_DIVISOR
    rows, columns = (SIZE_DIVISOR * Dim(name, min=1, max=most) for name in ("rows", "columns"))
    height, width = (1, 2) if inside else (2, 3)
    return {INPUT_NAMES[inside]: {0: Dim("batch", min=1, max=4096), height: rows, width: columns}}


def _facts(subject: Subject) -> dict[str, str]:
    """Give what a program has to know that finds nothing but the file; docs/export.md lists them."""
    card, settings = subject.weights.card, subject.settings
    inside = settings.with_preprocessing
    size = "any multiples of 32" if subject.size is None else "{}x{}".format(*subject.size)
    return {
        "tool": f"glpn-cli {__version__}",
        "weights": card.name,
        "weights_sha256": subject.weights.sha256(),
        "metric": {True: "metric", False: "approximate", None: "unknown"}[card.metric],
        "precision": str(settings.precision),
        "input": "(batch, height, width, 3) uint8 RGB" if inside else "(batch, 3, height, width) float32 RGB",
        "input_range": "0 to 255" if inside else "0 to 1: 8-bit values divided by 255, no mean and deviation",
        "input_size": size,
        "working_size": "{}x{}".format(*card.working_size),
        "preprocessing": (
            "upright image, alpha over white, resized to the input size by Pillow's BILINEAR; "
            + ("nothing else" if inside else "then divided by 255")
        ),
        "output": "(batch, height, width) float32 depth along the optical axis, at the size of the input",
        "unit": "meter" if inside else "published scale; multiply with meters_per_unit",
        "meters_per_unit": repr(1.0 if inside else card.meters_per_unit),
        "depth_limit_m": repr(card.depth_limit_m),
    }


def _forget_where_it_was_made(model: Any) -> None:
    """Take out the exporter's notes, which hold paths of this machine and are of use to nobody else."""
    for part in (model.graph, *model.functions):
        del part.metadata_props[:]
        for item in (*part.node, *part.value_info):
            del item.metadata_props[:]
            item.doc_string = ""
    for item in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del item.metadata_props[:]


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence the exporter's remarks on itself and on torchvision, which is not needed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
