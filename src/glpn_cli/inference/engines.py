"""Which engine computes the network: torch or OpenVINO, for each size of its input.

OpenVINO is faster on a CPU, but it has to compile the network for each size, which a short run does not pay for. A run
decides once, from all of its images (`choose_engine`), so that every worker and a resumed run use the same engine for
the same image.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from typing import TYPE_CHECKING

from glpn_cli.errors import DeviceError, GLPNError
from glpn_cli.values import EngineChoice, EngineName, Precision

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from glpn_cli.device import Runtime
    from glpn_cli.inference.network import LoadedWeights
    from glpn_cli.inference.plan import Task
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.inference.remote import RemotePredictor

    Engine = Callable[[Tensor], Tensor]

_MIN_IMAGES = 100
_USUAL_PIXELS = 480 * 640
"""Converting and compiling the published architecture takes as long as OpenVINO saves with about 40 images of these
pixels. Twice as many are a clear gain."""

_MIN_RUN = 10
"""Runs with fewer images are not looked at: they would need images of several megapixels."""

_MIN_PARAMETERS = 10_000_000
"""A smaller network, such as `tiny` with 4 million, takes less time than reading and writing its images."""

_MAX_SIZE = (1088, 1920)
"""Or as many pixels. OpenVINO stores the attention scores of a whole layer: at 2144x3840 it takes 5.1 GB in float32,
and torch 1.2 GB."""

_MAX_SIZES = 4
"""As many as stay compiled in memory and in files."""

_MAX_READ = 2000
"""From how many images of a run the size is read."""


def settle_engine(choice: EngineChoice, runtime: Runtime) -> EngineChoice:
    """Return the engine for a device; AUTO that no run has decided is torch.

    Raises:
        DeviceError: the engine does not run on the device.
    """
    if runtime.openvino_device is not None:
        if choice.name is EngineName.TORCH:
            raise DeviceError(f"the engine torch does not run on {runtime.name}", hint="use another `device`")
        return EngineChoice(EngineName.OPENVINO)
    if choice.name is EngineName.OPENVINO and runtime.device.type != "cpu":
        raise DeviceError(
            f"the engine openvino does not run on {runtime.name}", hint="use `device='cpu'` or `engine='torch'`"
        )
    return EngineChoice(EngineName.TORCH) if choice.name is EngineName.AUTO else choice


def build_engine(
    weights: LoadedWeights,
    runtime: Runtime,
    choice: EngineChoice,
    *,
    build_torch: Callable[..., Engine],
    consume: bool,
    detail: Callable[[str], None],
) -> Engine:
    """Return the callable that computes the network.

    Args:
        weights: the network.
        runtime: device and precision.
        choice: settled.
        build_torch: builds the engine of torch.
        consume: free the network's own tensors as soon as they are not needed.
        detail: is called with messages about what takes time.

    Raises:
        MissingPackageError: openvino is not installed.
        DeviceError: OpenVINO does not have the device, or not the precision on it.
    """
    settled = settle_engine(choice, runtime)
    is_open = choice.name is EngineName.AUTO and runtime.name == "cpu" and _may_compute(runtime.precision)
    if settled.name is EngineName.TORCH and not is_open:
        return build_torch(weights.network, runtime, consume=consume)

    def digest() -> str:
        return f"{weights.sha256()} {weights.config_sha256}"

    def build_openvino() -> Engine:
        from glpn_cli.inference.openvino.engine import OpenvinoEngine

        return OpenvinoEngine(
            weights.network,
            runtime,
            # Nothing is stored of a network that is not from a file.
            weights_digest=None if weights.located is None else digest,
            device=runtime.openvino_device or "CPU",
            note=detail,
        )

    if not is_open and not settled.sizes:
        return build_openvino()
    return ChosenEngine(
        settled,
        lambda is_last: build_torch(weights.network, runtime, consume=consume and is_last),
        build_openvino,
    )


class ChosenEngine:
    """Computes each size with the chosen engine; engines are built when they are first used.

    Attributes:
        choice: settled; it may change until the first use.
    """

    def __init__(
        self, choice: EngineChoice, build_torch: Callable[[bool], Engine], build_openvino: Callable[[], Engine]
    ) -> None:
        self.choice = choice
        self._build = {EngineName.TORCH: self._torch, EngineName.OPENVINO: build_openvino}
        self._build_torch = build_torch
        self._engines: dict[EngineName, Engine] = {}
        self._lock = threading.Lock()

    def __call__(self, pixel_values: Tensor) -> Tensor:
        """Predict depth; see `engine.engine.Engine`."""
        name = self.choice.for_size((pixel_values.shape[2], pixel_values.shape[3]))
        with self._lock:
            if name not in self._engines:
                self._engines[name] = self._build[name]()
        return self._engines[name](pixel_values)

    def _torch(self) -> Engine:
        # OpenVINO may still have to convert the network.
        return self._build_torch(self.choice.name is EngineName.TORCH)


# The choice of a run


def may_choose(predictor: Predictor | RemotePredictor) -> bool:
    """Return whether a run may choose the engine of its predictor."""
    is_open = predictor.settings.engine.name is EngineName.AUTO
    return is_open and set(predictor.devices) == {"cpu"} and _may_compute(predictor.runtime.precision)


def choose_engine(predictor: Predictor | RemotePredictor, images: Sequence[Task]) -> tuple[EngineChoice, str]:
    """Return the engine for a run, and the reason in words.

    The result depends on all images of the run in their order, not on what is left to do or on who computes it.

    Args:
        predictor: of the run; see `may_choose`.
        images: of the run; the sizes of URLs are unknown.
    """
    torch_engine = EngineChoice(EngineName.TORCH)
    if predictor.settings.tiles.is_on:
        return torch_engine, "images may have tiles"
    if predictor.parameters < _MIN_PARAMETERS:
        return torch_engine, "the network is small"
    if len(images) < _MIN_RUN:
        return torch_engine, f"{len(images)} images do not pay for compiling"
    counts = _count_sizes(predictor, images)
    paying = [size for size, count in counts.most_common() if count * math.prod(size) >= _MIN_IMAGES * _USUAL_PIXELS]
    sizes = [size for size in paying if math.prod(size) <= math.prod(_MAX_SIZE)]
    if not sizes:
        few = f"no size has enough images to pay for compiling; there are {len(counts)} sizes"
        return torch_engine, "OpenVINO would take several times the memory for images of this size" if paying else few
    refusal = _refusal(predictor.runtime.precision)
    if refusal:
        return torch_engine, refusal
    choice = EngineChoice(EngineName.OPENVINO, tuple(sorted(sizes[:_MAX_SIZES])))
    return choice, f"of {len(images)} images, enough have these sizes"


def describe_auto() -> str:
    """Return what AUTO means on the CPU of this machine, and why."""
    from glpn_cli.inference.openvino.runtime import describe, is_installed

    if not is_installed():
        return "torch; openvino is not installed"
    return (
        f"torch, and {describe()} for sizes up to {_MAX_SIZE[0]}x{_MAX_SIZE[1]} with at least {_MIN_IMAGES} images of "
        f"a batch, for networks with at least {_MIN_PARAMETERS // 10**6} million parameters"
    )


def _may_compute(precision: Precision) -> bool:
    """Return whether OpenVINO is installed and might compute a precision on this CPU."""
    from glpn_cli.inference.openvino.runtime import is_installed

    return precision in (Precision.FLOAT32, Precision.BFLOAT16) and is_installed()


def _refusal(precision: Precision) -> str:
    """Return why OpenVINO cannot compute here, or an empty text."""
    from glpn_cli.inference.openvino.runtime import check_device, import_openvino

    try:
        check_device(import_openvino().Core(), "CPU", precision)
    except GLPNError as error:
        return error.message
    return ""


def _count_sizes(predictor: Predictor | RemotePredictor, images: Sequence[Task]) -> Counter[tuple[int, int]]:
    """Return how many images give which (height, width) of the network's input, from a sample if there are many."""
    from glpn_cli.image.preprocessing import usable_size, wanted_size  # torch
    from glpn_cli.image.reading import read_size

    step = -(-len(images) // _MAX_READ)
    counts: Counter[tuple[int, int]] = Counter()
    for image in images[::step]:
        size = read_size(str(image.source))
        if size is not None:
            wanted = wanted_size(size, predictor.input_size, predictor.card.working_size)
            counts[usable_size(wanted, predictor.usable_sides)] += step
    return counts
