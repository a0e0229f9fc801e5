"""Settings of a training run: what is learned (`TrainSettings`), and how the run is carried out (`TrainRun`)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from glpn_cli.convert import EMPTY_HINT, SIZE_DIVISOR, Settings, parse_size
from glpn_cli.errors import UsageError
from glpn_cli.values import Precision

if TYPE_CHECKING:
    from collections.abc import Iterable

NATIVE_CROP = (0.0, 0.0)
"""The value of `TrainSettings.crop` for random crops at native resolution."""

DEFAULT_CROP = (0.7, 1.0)
"""The fractions of the image sides that random crops cover, unless `crop` says otherwise."""

_LOWEST_RATE_FRACTION = 0.3  # the paper's rate rises from 3e-5 to 1e-4 and falls back
_BELOW_1 = 1 - 1e-9


class Photometric(StrEnum):
    """Strength of color augmentation."""

    NONE = "none"
    PAPER = "paper"
    """Brightness and contrast, gamma, hue, saturation and value, each with probability 0.5."""
    STRONG = "strong"
    """Larger changes, plus tints, grayscale, uneven light, noise, blur and JPEG artifacts."""


@dataclass(frozen=True)
class TrainSettings(Settings):
    """What is learned. Two runs with the same settings and seed do the same, step by step.

    Attributes:
        data: training data: "nyu", "kitti", folders of pairs or scenes; "FOLDER=2" uses each sample twice per epoch.
        root: folder that contains the data sets "nyu" and "kitti"; None for the environment variable.
        units_per_meter: the value that stands for one meter in depth files of plain folders.
        validation: validation data; None for the test splits, the last tenth of folders of pairs, the last 24 scenes.
        validation_images: highest number of validation images, evenly spaced.
        init: initial weights: a name, a path, or "none" for a new network.
        config: architecture of a new network: a name or a JSON file; None for "tiny".
        sizes: (height, width, fraction of the steps) of the network's input; empty for the size of the data or weights.
        varied_shapes: Experimental. Batches of other aspect ratios with as many pixels.
        crop: (low, high) fraction of the image sides, or `NATIVE_CROP`; None: native for nyu or kitti, else 0.7-1.
        flip: probability of mirroring.
        cut_depth: probability of vertical CutDepth.
        cut_depth_coverage: largest fraction of the columns right of its left edge that CutDepth covers.
        photometric: strength of color augmentation.
        batch_size: samples per step, over all processes.
        accumulate: micro-batches per step, each with its own loss and batch norm statistics.
        epochs: length of the run in epochs.
        steps: length of the run in steps, instead of epochs; 0 for `epochs`.
        learning_rate: peak learning rate.
        learning_rate_end: learning rate at both ends; None for 0.3 times the peak, as in the paper.
        peak_at: fraction of the steps after which the learning rate peaks.
        power: exponent of the rise and fall of the learning rate.
        weight_decay: AdamW's weight decay, not applied to norms and biases; 0 for Adam.
        beta2: Adam's second beta.
        muon: Experimental. Optimize matrices with Muon and the rest with Adam.
        clip_norm: highest norm of the gradient; 0 for no clipping.
        drop_path: drop-path rate of the last layer; None for that of the weights.
        ema: decay of averaged weights, which are then validated and saved; 0 for none.
        scale_forgiveness: λ of the SILog loss.
        loss_per_image: Experimental. Average the SILog of each image instead of computing it over the batch.
        gradient_weight: Experimental. Weight of a loss on the gradients of log depth.
        depth_limit_m: deeper ground truth counts as this depth; also the maximum depth of a new network.
        precision: "float32", or "bfloat16" with autocast.
        seed: random seed.
    """

    data: tuple[str, ...]
    root: str | None = None
    units_per_meter: float | None = None
    validation: tuple[str, ...] | None = None
    validation_images: int = 100
    init: str = "tiny"
    config: str | None = None
    sizes: tuple[tuple[int, int, float], ...] = ()
    varied_shapes: bool = False
    crop: tuple[float, float] | None = None
    flip: float = 0.5
    cut_depth: float = 0.25
    cut_depth_coverage: float = 0.75
    photometric: Photometric = Photometric.PAPER
    batch_size: int = 12
    accumulate: int = 1
    epochs: float = 25
    steps: int = 0
    learning_rate: float = 1e-4
    learning_rate_end: float | None = None
    peak_at: float = 0.5
    power: float = 0.9
    weight_decay: float = 0.0
    beta2: float = 0.999
    muon: bool = False
    clip_norm: float = 0.0
    drop_path: float | None = None
    ema: float = 0.0
    scale_forgiveness: float = 0.5
    loss_per_image: bool = False
    gradient_weight: float = 0.0
    depth_limit_m: float | None = None
    precision: Precision = Precision.FLOAT32
    seed: int = 0

    LIMITS: ClassVar = {
        "validation_images": (1, math.inf),
        "units_per_meter": (1e-9, math.inf),
        "flip": (0, 1),
        "cut_depth": (0, 1),
        "cut_depth_coverage": (0, 1),
        "batch_size": (1, math.inf),
        "accumulate": (1, math.inf),
        "epochs": (0, math.inf),
        "steps": (0, math.inf),
        "learning_rate": (0, math.inf),
        "learning_rate_end": (0, math.inf),
        "peak_at": (0, 1),
        "power": (1e-3, 1e3),
        "weight_decay": (0, 1e3),
        "beta2": (0, _BELOW_1),
        "clip_norm": (0, math.inf),
        "drop_path": (0, _BELOW_1),
        "ema": (0, _BELOW_1),
        "scale_forgiveness": (0, 1),
        "gradient_weight": (0, math.inf),
        "depth_limit_m": (1e-3, math.inf),
        "seed": (0, 2**63 - 1),
    }

    def __post_init__(self) -> None:
        """Convert and check the values; see `Settings`.

        `sizes` and `crop` may be text, as `parse_sizes` and `parse_crop` read it.
        """
        if isinstance(self.crop, str):
            object.__setattr__(self, "crop", parse_crop(self.crop))
        if any(isinstance(size, str) for size in self.sizes):
            object.__setattr__(self, "sizes", parse_sizes(self.sizes))  # type: ignore[arg-type]  # text
        super().__post_init__()
        _check_entries("data", self.data)
        _check_entries("validation", self.validation or ())
        for size in self.sizes:
            _check_size(*size)
        _check_crop(self.crop)
        if not (self.steps or self.epochs):
            raise UsageError("`steps` and `epochs` cannot both be 0", setting="epochs")
        if self.lowest_rate > self.learning_rate:
            raise UsageError(
                f"{self.lowest_rate:g} is above `learning_rate`, {self.learning_rate:g}", setting="learning_rate_end"
            )
        if self.precision not in (Precision.FLOAT32, Precision.BFLOAT16):
            raise UsageError(
                f"training does not support {self.precision}", hint="float32, bfloat16", setting="precision"
            )

    @property
    def lowest_rate(self) -> float:
        """The learning rate at both ends of the run."""
        return self.learning_rate * _LOWEST_RATE_FRACTION if self.learning_rate_end is None else self.learning_rate_end


@dataclass(frozen=True)
class TrainRun(Settings):
    """How a run is carried out. None of it changes the weights, except that `until` and `max_minutes` end earlier.

    Attributes:
        out: folder for weights, checkpoint and logs.
        overwrite: discard a run in `out` and start over.
        workers: processes that prepare samples; 0 prepares them between the steps.
        save_every: steps between checkpoints from which training can resume.
        validate_every: steps between validations; 0 for once per epoch, but at most every 100 steps.
        max_minutes: stop after this time, to resume later; 0 for no limit.
        until: stop after this step, to resume later; 0 for the last one.
        device: device to train on, as for prediction.
        threads: CPU threads; None for torch's default.
        tensorboard: also write logs for TensorBoard.
        name: name of the weights; "" for the name of the folder.
        offline: do not download initial weights.
    """

    out: str
    overwrite: bool = False
    workers: int = 2
    save_every: int = 500
    validate_every: int = 0
    max_minutes: float = 0.0
    until: int = 0
    device: str = "auto"
    threads: int | None = None
    tensorboard: bool = False
    name: str = ""
    offline: bool = False

    LIMITS: ClassVar = {
        "workers": (0, math.inf),
        "save_every": (1, math.inf),
        "validate_every": (0, math.inf),
        "max_minutes": (0, math.inf),
        "until": (0, math.inf),
        "threads": (1, math.inf),
    }


def parse_sizes(texts: Iterable[str]) -> tuple[tuple[int, int, float], ...]:
    """Return input sizes given as "HxW" or "HxW=FRACTION".

    Returns:
        (height, width, fraction of the steps) of each; the fraction is 1 if it is not given.

    Raises:
        UsageError: a text is not such a size.
    """
    return tuple(_parse_size(text) for text in texts)


def parse_crop(text: str) -> tuple[float, float]:
    """Return the crop given as "native" or "LOW-HIGH".

    Returns:
        `NATIVE_CROP`, or the lowest and highest fraction of the image sides.

    Raises:
        UsageError: the text is neither.
    """
    if text.strip().lower() == "native":
        return NATIVE_CROP
    try:
        low, high = (float(fraction) for fraction in text.split("-"))
    except ValueError:
        raise UsageError(
            f"must be native or two fractions, not {text!r}", hint="for example 0.7-1", setting="crop"
        ) from None
    return low, high


def _parse_size(text: str) -> tuple[int, int, float]:
    size, _, fraction = text.partition("=")
    try:
        height, width = parse_size(size, "sizes")
        return height, width, float(fraction or 1)
    except (UsageError, ValueError):
        raise UsageError(
            f"must be HxW or HxW=FRACTION, not {text!r}", hint="for example 96x128=0.7", setting="sizes"
        ) from None


def _check_size(height: int, width: int, fraction: float) -> None:
    if height < 1 or width < 1 or not 0 < fraction < math.inf:
        raise UsageError(f"{height}x{width}={fraction:g}: all three numbers must be positive", setting="sizes")
    if height % SIZE_DIVISOR or width % SIZE_DIVISOR:
        raise UsageError(f"{height}x{width}: both sides must be multiples of {SIZE_DIVISOR}", setting="sizes")


def _check_entries(setting: str, entries: tuple[str, ...]) -> None:
    if not all(entries):
        raise UsageError("an entry is empty", hint=EMPTY_HINT, setting=setting)


def _check_crop(crop: tuple[float, float] | None) -> None:
    if crop is None or crop == NATIVE_CROP:
        return
    low, high = crop
    if not 0 < low <= high <= 1:
        raise UsageError(f"must be native or two fractions, the lower one first, not {low:g}-{high:g}", setting="crop")
