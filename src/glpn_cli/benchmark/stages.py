"""One benchmark case: an image size, a precision and a device. Times each stage and compares with other runtimes."""

from __future__ import annotations

import io
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from glpn_cli.benchmark.rivals import build_rival
from glpn_cli.benchmark.settings import RANDOM_WEIGHTS
from glpn_cli.device import memory_errors_named
from glpn_cli.errors import DeviceError
from glpn_cli.inference.autotune import Stopwatch
from glpn_cli.inference.load import load_weights
from glpn_cli.inference.network import LoadedWeights
from glpn_cli.model.config import PUBLISHED_CONFIG_FIELDS, GLPNConfig
from glpn_cli.model.glpn import GLPNForDepthEstimation
from glpn_cli.output.formats import DEFAULT_FORMAT, FORMATS
from glpn_cli.settings import OutputSettings
from glpn_cli.weights.catalog import WeightsCard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from glpn_cli.benchmark.settings import Rival
    from glpn_cli.inference.predictor import Predictor, PreparedImage
    from glpn_cli.weights.store import ProgressCallback

_WARM_UPS = 2  # on a GPU the first pass of a size runs normally, and the second one is recorded
_SEED = 0
_JPEG_QUALITY = 90
_COARSE_PX = 12
_LOGIT_SPREAD = 2.0
_LINUX_STATUS = Path("/proc/self/status")
_LINUX_RESET = Path("/proc/self/clear_refs")


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations of several rounds, in seconds.

    Attributes:
        median_s: the median.
        fastest_s: the shortest.
        slowest_s: the longest.
    """

    median_s: float
    fastest_s: float
    slowest_s: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Timing:
        """Return the timing of at least one round."""
        return cls(statistics.median(seconds), min(seconds), max(seconds))


@dataclass(frozen=True, slots=True)
class Comparison:
    """Another runtime, with the same network and the same input.

    Attributes:
        rival: which runtime.
        device: the device it ran on; may differ from ours.
        precision: the precision it computed in; may differ from ours.
        timing: of its network alone.
        ratio: its median time divided by ours; above 1 it is slower.
        max_error: largest difference of a pixel, as a fraction of the rival's depth range.
        mean_relative_error: mean difference, as a fraction of the rival's depth.
    """

    rival: str
    device: str
    precision: str
    timing: Timing
    ratio: float
    max_error: float
    mean_relative_error: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """The result of one case.

    Attributes:
        height_px: height of the image.
        width_px: width of the image.
        network_size: (height, width) of the network's input, in pixels.
        precision: of the network.
        device: of the network.
        threads: number of torch's CPU threads.
        stages: timing of decode, preprocess, network, upsample and encode.
        whole: timing of all stages together.
        peak_bytes: highest memory use, or None if the system cannot measure it.
        comparisons: one per rival.
    """

    height_px: int
    width_px: int
    network_size: tuple[int, int]
    precision: str
    device: str
    threads: int
    stages: dict[str, Timing]
    whole: Timing
    peak_bytes: int | None
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def images_per_second(self) -> float:
        """Throughput of images that are processed one after the other."""
        return 1 / self.whole.median_s


def measure(
    predictor: Predictor,
    network: GLPNForDepthEstimation,
    *,
    height_px: int,
    width_px: int,
    rounds: int,
    rivals: Sequence[Rival] = (),
    log: Callable[[str], None] = lambda _: None,
) -> Measurement:
    """Measure one case with a synthetic photo.

    Args:
        predictor: what to time.
        network: the same network, float32 on the CPU; rivals are built from it.
        height_px: height of the photo.
        width_px: width of the photo.
        rounds: how often everything is timed, after two warm-up rounds.
        rivals: runtimes to compare with; they run alternately with ours.
        log: called with one line for each rival that runs out of memory.

    Raises:
        MissingPackageError: a rival is not installed.
        DeviceError: the predictor runs out of memory.
    """
    photo = make_photo(height_px, width_px)
    read_peak = watch_peak(predictor.runtime.device)
    watches = [_predict_once(predictor, photo) for _ in range(_WARM_UPS + rounds)][_WARM_UPS:]
    peak_bytes = read_peak()
    prepared = predictor.prepare(photo)
    stages = {name: Timing.of([watch.elapsed_s[name] for watch in watches]) for name in watches[0].elapsed_s}
    _, _, network_height, network_width = prepared.pixel_values.shape
    return Measurement(
        height_px=height_px,
        width_px=width_px,
        network_size=(network_height, network_width),
        precision=str(predictor.runtime.precision),
        device=str(predictor.runtime.device),
        threads=torch.get_num_threads(),
        stages=stages,
        whole=Timing.of([watch.total_s for watch in watches]),
        peak_bytes=peak_bytes,
        comparisons=_compare_all(rivals, predictor, network, prepared, rounds=rounds, log=log),
    )


def take_turns(
    rivals: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    warm_ups: int = 1,
    synchronize: Callable[[], None] = lambda: None,
) -> dict[str, Timing]:
    """Time several functions alternately, so that other load on the machine affects all of them.

    Args:
        rivals: the functions by name.
        rounds: how often each is timed.
        warm_ups: how often each is called before, without timing.
        synchronize: waits for the device.

    Returns:
        The timing of each by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for turn in range(warm_ups + rounds):
        for name, run in rivals.items():
            synchronize()
            start_s = time.perf_counter()
            run()
            synchronize()
            if turn >= warm_ups:
                seconds[name].append(time.perf_counter() - start_s)
    return {name: Timing.of(durations) for name, durations in seconds.items()}


def watch_peak(device: torch.device) -> Callable[[], int | None]:
    """Start to measure the highest memory use.

    Returns:
        A function that returns bytes: on CUDA of the device's memory, else of this process (Linux: since now; macOS:
        since the process started), or None if the system cannot measure it.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return lambda: torch.cuda.max_memory_allocated(device)
    if _LINUX_STATUS.exists():
        try:
            _LINUX_RESET.write_text("5", "ascii")  # resets the peak that the kernel has recorded
        except OSError:
            return lambda: None
        return _linux_peak
    return _macos_peak if sys.platform == "darwin" else lambda: None


def load_weights_or_random(weights: str, *, offline: bool, progress: ProgressCallback) -> LoadedWeights:
    """Load the weights to measure; "random" is the published architecture with random weights."""
    if weights != RANDOM_WEIGHTS:
        return load_weights(weights, offline=offline, progress=progress)
    network = build_random_network()
    return LoadedWeights(network, WeightsCard(RANDOM_WEIGHTS, float(network.config.max_depth)), sha256=lambda: "")


def build_random_network() -> GLPNForDepthEstimation:
    """Build the published architecture with random weights that use the whole depth range.

    Speed does not depend on the weights, but errors do: with the usual initialization, depth is nearly constant, which
    would hide them.

    Returns:
        The same network at each call: float32, on the CPU, in evaluation mode.
    """
    with torch.device("meta"):
        network = GLPNForDepthEstimation(GLPNConfig(**PUBLISHED_CONFIG_FIELDS))
    network = network.to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(_SEED)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.weight.normal_(0, module.weight[0].numel() ** -0.5, generator=generator)
                if module.bias is not None:
                    module.bias.normal_(0, 0.1, generator=generator)
            elif isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
                module.reset_parameters()
        _spread_depth(network, torch.rand(1, 3, 64, 64, generator=generator))
    return network


def make_photo(height: int, width: int) -> bytes:
    """Return a synthetic photo as a JPEG file: soft shapes with some noise. The same at each call."""
    rng = np.random.default_rng(_SEED)
    coarse = rng.integers(0, 256, (_COARSE_PX, _COARSE_PX, 3), np.uint8)
    soft = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), np.int16)
    rgb = np.clip(soft + rng.integers(-12, 13, (height, width, 3), np.int16), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def _predict_once(predictor: Predictor, photo: bytes) -> Stopwatch:
    stopwatch = Stopwatch()
    depth = predictor.predict(photo, stopwatch=stopwatch)  # waits for the device, because depth is copied to the CPU
    with stopwatch.stage("encode"):
        FORMATS[DEFAULT_FORMAT].load_codec().encode(depth, OutputSettings())
    return stopwatch


def _compare_all(
    rivals: Sequence[Rival],
    predictor: Predictor,
    network: GLPNForDepthEstimation,
    prepared: PreparedImage,
    *,
    rounds: int,
    log: Callable[[str], None],
) -> list[Comparison]:
    comparisons = []
    for rival in rivals:
        try:
            with memory_errors_named(f"{rival} did not run"):
                comparisons.append(_compare(rival, predictor, network, prepared, rounds=rounds))
        except DeviceError as error:  # a result too: the other measurements stay
            log(error.message)
    return comparisons


def _compare(
    rival: Rival, predictor: Predictor, network: GLPNForDepthEstimation, prepared: PreparedImage, *, rounds: int
) -> Comparison:
    pixel_values: Tensor = prepared.pixel_values
    theirs = build_rival(rival, network, pixel_values, predictor.runtime)

    def run_ours() -> Tensor:
        return predictor.run([prepared])[0]

    def run_theirs() -> Tensor:
        return theirs.forward(pixel_values)

    timings = take_turns({"ours": run_ours, "theirs": run_theirs}, rounds=rounds, warm_ups=_WARM_UPS)
    actual, expected = run_ours(), run_theirs()
    difference = (actual - expected).abs()
    return Comparison(
        rival=str(rival),
        device=theirs.device,
        precision=str(theirs.precision),
        timing=timings["theirs"],
        ratio=timings["theirs"].median_s / timings["ours"].median_s,
        max_error=float(difference.max() / (expected.max() - expected.min())),
        mean_relative_error=float((difference / expected.clamp(min=1e-6)).mean()),
    )


def _spread_depth(network: GLPNForDepthEstimation, pixel_values: Tensor) -> None:
    """Scale the last layer so that depth is spread around the middle of its range."""
    last: Any = network.head.head[2]
    with torch.no_grad():
        predicted: Tensor = network(pixel_values).predicted_depth
    logits = (predicted / network.config.max_depth).logit()
    last.weight *= _LOGIT_SPREAD / logits.std()
    last.bias.copy_((last.bias - logits.mean()) * _LOGIT_SPREAD / logits.std())


def _linux_peak() -> int | None:
    for line in _LINUX_STATUS.read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def _macos_peak() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
