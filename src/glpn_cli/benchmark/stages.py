"""One case of a benchmark: a size, a precision, a device; how long each stage takes, and who is faster by how much."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from glpn_cli.benchmark.memory import watch_peak
from glpn_cli.benchmark.rivals import build_rival
from glpn_cli.benchmark.subject import make_photo
from glpn_cli.benchmark.timing import Timing, take_turns, timing_of
from glpn_cli.errors import DeviceError
from glpn_cli.inference.stopwatch import Stopwatch
from glpn_cli.output.formats import DEFAULT_FORMAT, FORMATS
from glpn_cli.runtime import memory_errors_named
from glpn_cli.settings.output import OutputSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from glpn_cli.inference.predictor import Predictor, PreparedImage
    from glpn_cli.model.glpn import GLPNForDepthEstimation
    from glpn_cli.settings.measuring import Rival

__all__ = ["Comparison", "Measurement", "measure"]

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
