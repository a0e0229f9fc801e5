"""Timing on machines that do other things too: rounds that take turns, medians, and the spread.

The most memory that was in use at once.

What is measured when nobody names weights or images: the published architecture and an image made up.

One case of a benchmark: a size, a precision, a device; how long each stage takes, and who is faster by how much.
"""

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
from glpn_cli.device import memory_errors_named
from glpn_cli.errors import DeviceError
from glpn_cli.inference.autotune import Stopwatch
from glpn_cli.inference.load import load_weights
from glpn_cli.inference.predictor import LoadedWeights
from glpn_cli.model.config import GLPNConfig
from glpn_cli.model.glpn import GLPNForDepthEstimation
from glpn_cli.output.formats import DEFAULT_FORMAT, FORMATS
from glpn_cli.settings import RANDOM_WEIGHTS, OutputSettings
from glpn_cli.weights.catalog import WeightsCard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from glpn_cli.inference.predictor import Predictor, PreparedImage
    from glpn_cli.settings import Rival
    from glpn_cli.weights.store import Watcher


@dataclass(frozen=True, slots=True)
class Timing:
    """What several rounds of one thing took.

    Attributes:
        median_s: the middle one, seconds.
        fastest_s: the shortest.
        slowest_s: the longest.
    """

    median_s: float
    fastest_s: float
    slowest_s: float


def timing_of(seconds: Sequence[float]) -> Timing:
    """Sum up the durations of some rounds."""
    return Timing(statistics.median(seconds), min(seconds), max(seconds))


def take_turns(
    rivals: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    warm_ups: int = 1,
    synchronize: Callable[[], None] = lambda: None,
) -> dict[str, Timing]:
    """Time several things round by round, so that a disturbance meets all of them.

    Args:
        rivals: what to call, by name.
        rounds: how often each is timed.
        warm_ups: how often each is called before, without being timed.
        synchronize: waits until the device has done what it was given.

    Returns:
        The timing of each.
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
    return {name: timing_of(taken) for name, taken in seconds.items()}


_STATUS = Path("/proc/self/status")

_RESET = Path("/proc/self/clear_refs")

_KIB = 1024


def watch_peak(device: torch.device) -> Callable[[], int | None]:
    """Begin to watch the peak, and give a function that reads it.

    Returns:
        A function that gives bytes: of the device's own memory on CUDA; of the whole process on a CPU, where the
        system can tell (Linux since now, macOS since the process began); else None.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return lambda: torch.cuda.max_memory_allocated(device)
    if _STATUS.exists():
        try:
            _RESET.write_text("5", "ascii")  # makes the kernel forget the peak so far
        except OSError:
            return lambda: None
        return _linux_peak
    return _macos_peak if sys.platform == "darwin" else lambda: None


def _linux_peak() -> int | None:
    for line in _STATUS.read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * _KIB
    return None


def _macos_peak() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


_SEED = 0

_JPEG_QUALITY = 90

_COARSE = 12

_LOGIT_SPREAD = 2.0


def load_subject(weights: str, *, offline: bool, watcher: Watcher) -> LoadedWeights:
    """Load what is measured: weights as everywhere, or "random" for the published architecture without its weights."""
    if weights != RANDOM_WEIGHTS:
        return load_weights(weights, offline=offline, watcher=watcher)
    network = published_network()
    return LoadedWeights(network, WeightsCard(RANDOM_WEIGHTS, float(network.config.max_depth)), sha256=lambda: "")


def published_network() -> GLPNForDepthEstimation:
    """Build the architecture of the published weights (MiT-B4) with random ones that use the whole range of depth.

    Time does not depend on the weights, but errors do: as initialized, a network gives the same depth everywhere and
    hides them.

    Returns:
        float32, on the CPU, in evaluation mode, the same at every call.
    """
    config = GLPNConfig(depths=[3, 8, 27, 3], hidden_sizes=[64, 128, 320, 512])
    with torch.device("meta"):
        network = GLPNForDepthEstimation(config)
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


def _spread_depth(network: GLPNForDepthEstimation, pixel_values: Tensor) -> None:
    """Scale the last layer so that depth lies on both sides of the middle of its range."""
    last: Any = network.head.head[2]
    with torch.no_grad():
        predicted: Tensor = network(pixel_values).predicted_depth
    logits = (predicted / network.config.max_depth).logit()
    last.weight *= _LOGIT_SPREAD / logits.std()
    last.bias.copy_((last.bias - logits.mean()) * _LOGIT_SPREAD / logits.std())


def make_photo(height: int, width: int) -> bytes:
    """Make up a photo-like image: soft shapes and some noise, as a JPEG file."""
    random = np.random.default_rng(_SEED)
    coarse = random.integers(0, 256, (_COARSE, _COARSE, 3), np.uint8)
    soft = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), np.int16)
    rgb = np.clip(soft + random.integers(-12, 13, (height, width, 3), np.int16), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


_WARM_UPS = 2  # on a GPU the first pass of a size runs as it is, and the second is recorded


@dataclass(frozen=True, slots=True)
class Comparison:
    """Another way to run the same network on the same input.

    Attributes:
        rival: which.
        device: on what it ran, which need not be ours.
        precision: in what it computed, likewise.
        timing: its network alone.
        ratio: how many times as long as ours it takes, by medians.
        max_error: the largest difference of depth between the two, as a share of the rival's range of depth.
        mean_relative_error: the mean difference as a share of the rival's depth.
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
        height_px: of the image.
        width_px: likewise.
        network_size: (height, width) that the network saw.
        precision: what it computed in.
        device: on what.
        threads: of torch on the CPU.
        stages: timing of decode, preprocess, network, upsample, encode.
        whole: timing of all stages together, image by image.
        peak_bytes: the most memory in use; None where the system does not tell.
        comparisons: with others.
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
        """How many images go through in a second, one after the other."""
        return 1 / self.whole.median_s


def measure(
    predictor: Predictor,
    network: GLPNForDepthEstimation,
    *,
    height_px: int,
    width_px: int,
    rounds: int,
    rivals: Sequence[Rival] = (),
    tell: Callable[[str], None] = lambda _: None,
) -> Measurement:
    """Measure one case.

    Args:
        predictor: what is measured.
        network: the same network, float32 on the CPU, for the rivals to be built from.
        height_px: of a made-up photo.
        width_px: likewise.
        rounds: how often everything is timed, after two rounds to warm up.
        rivals: whom to compare with; they and we take turns.
        tell: is told in one line of a rival that needs more memory than there is.

    Raises:
        MissingPackageError: a rival is not installed.
        DeviceError: not enough memory for us.
    """
    photo = make_photo(height_px, width_px)
    read_peak = watch_peak(predictor.runtime.device)
    watches = [_predict_once(predictor, photo) for _ in range(_WARM_UPS + rounds)][_WARM_UPS:]
    peak_bytes = read_peak()
    prepared = predictor.prepare(photo)
    stages = {name: timing_of([watch.elapsed_s[name] for watch in watches]) for name in watches[0].elapsed_s}
    _, _, seen_height, seen_width = prepared.pixel_values.shape
    return Measurement(
        height_px=height_px,
        width_px=width_px,
        network_size=(seen_height, seen_width),
        precision=str(predictor.runtime.precision),
        device=str(predictor.runtime.device),
        threads=torch.get_num_threads(),
        stages=stages,
        whole=timing_of([watch.total_s for watch in watches]),
        peak_bytes=peak_bytes,
        comparisons=_compare_all(rivals, predictor, network, prepared, rounds=rounds, tell=tell),
    )


def _predict_once(predictor: Predictor, photo: bytes) -> Stopwatch:
    stopwatch = Stopwatch()
    depth = predictor.predict(photo, stopwatch=stopwatch)  # waits for the device, because depth comes to the CPU
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
    tell: Callable[[str], None],
) -> list[Comparison]:
    """Compare with one after the other. That there is too little memory for one is a result too."""
    comparisons = []
    for rival in rivals:
        try:
            with memory_errors_named(f"{rival} did not run"):
                comparisons.append(_compare(rival, predictor, network, prepared, rounds=rounds))
        except DeviceError as error:
            tell(error.message)
    return comparisons


def _compare(
    rival: Rival, predictor: Predictor, network: GLPNForDepthEstimation, prepared: PreparedImage, *, rounds: int
) -> Comparison:
    pixel_values: Tensor = prepared.pixel_values
    theirs = build_rival(rival, network, pixel_values, predictor.runtime)
    ours: Callable[[], Tensor] = lambda: predictor.run([prepared])[0]  # noqa: E731 - beside its rival
    timings = take_turns(
        {"ours": ours, "theirs": lambda: theirs.forward(pixel_values)}, rounds=rounds, warm_ups=_WARM_UPS
    )
    mine, expected = ours(), theirs.forward(pixel_values)
    difference = (mine - expected).abs()
    return Comparison(
        rival=str(rival),
        device=theirs.device,
        precision=str(theirs.precision),
        timing=timings["theirs"],
        ratio=timings["theirs"].median_s / timings["ours"].median_s,
        max_error=float(difference.max() / (expected.max() - expected.min())),
        mean_relative_error=float((difference / expected.clamp(min=1e-6)).mean()),
    )
