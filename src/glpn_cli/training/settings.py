"""How weights are trained, and on which made-up scenes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from glpn_cli.settings import Precision

NATIVE_CROP = (0.0, 0.0)

"""What `TrainSettings.crop` says for pieces at an image's own resolution."""


SHARED_CROP = (0.7, 1.0)

"""Which share of an image's sides is shown where nothing else is said."""


class Photometric(StrEnum):
    """How much the colors of training images are changed."""

    NONE = "none"
    PAPER = "paper"
    """Brightness and contrast, gamma, hue, saturation and value, each of every second image."""
    STRONG = "strong"
    """Farther, and with tints, gray images, noise, blur and the traces of JPEG."""


_MANY = 1e12

_LOWEST_SHARE = 0.3  # from 3e-5 to 1e-4 and back, in the paper

_RANGES = {
    "validation_images": (1, _MANY),
    "flip": (0, 1),
    "cut_depth": (0, 1),
    "cut_depth_coverage": (0, 1),
    "batch_size": (1, _MANY),
    "accumulate": (1, _MANY),
    "epochs": (0, _MANY),
    "steps": (0, _MANY),
    "learning_rate": (0, 1e300),
    "learning_rate_end": (0, 1e300),
    "peak_at": (0, 1),
    "power": (1e-3, 1e3),
    "weight_decay": (0, 1e3),
    "beta2": (0, 1 - 1e-9),
    "clip_norm": (0, _MANY),
    "drop_path": (0, 1 - 1e-9),
    "ema": (0, 1 - 1e-9),
    "scale_forgiveness": (0, 1),
    "gradient_weight": (0, _MANY),
    "depth_limit_m": (1e-3, _MANY),
    "seed": (0, 2**63 - 1),
}


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """What a training does. Two trainings of the same settings and seed do the same, step by step.

    Attributes:
        data: what is learnt from, each "nyu", "kitti", a folder of pairs or of kept scenes, or "scenes" (rendered
            when they are needed); "=NUMBER" at the end says how often each of its samples is seen in an epoch.
        root: see `DataSettings`; also the two below.
        units_per_meter: what a meter is in depth files of plain folders.
        validation: what is measured, in the same words. None for the test split of nyu and kitti and the last tenth
            of each folder, which is then not learnt from.
        validation_images: at most so many, spread evenly.
        textures: folders of images of which scenes get pieces.
        init: "tiny", "nyu", any weights, or "none".
        config: with "none": the name of an architecture, or a JSON file.
        sizes: (height, width) of what the network sees, and the share of the steps for which it does.
        varied_shapes: whether batches also have other shapes of as many pixels.
        crop: (low, high) cuts such a share of an image's sides and resizes, `NATIVE_CROP` cuts the size out of it as
            it is. None is native for nyu and kitti, where that is the paper's way, and else `SHARED_CROP`.
        flip: how often images are mirrored.
        cut_depth: how often a strip of the image is replaced by its depth.
        cut_depth_coverage: the strip is at most this share of the columns right of where it begins.
        photometric: changes of color.
        batch_size: of a step, over all processes.
        accumulate: a step's batch is computed in so many parts, each with its own statistics and loss.
        epochs: how often everything is seen.
        steps: instead of epochs; 0 for epochs.
        learning_rate: the highest.
        learning_rate_end: at the beginning and the end; None for the paper's share of the highest.
        peak_at: the share of the steps after which the learning rate is highest.
        power: of the rise and the fall.
        weight_decay: 0 is Adam, else AdamW, whose decay leaves norms and biases alone.
        beta2: of Adam.
        muon: move the matrices of linear layers by Muon, and only the rest by Adam.
        clip_norm: gradients are shortened to this; 0 for never.
        drop_path: the rate of the last layer; None leaves it to the weights.
        ema: the decay of the averaged weights, which are the ones that are measured and kept; 0 for none.
        scale_forgiveness: of the loss.
        loss_per_image: whether a batch's loss is the mean of the images' own.
        gradient_weight: how much the slopes of log depth count beside the loss of the paper.
        depth_limit_m: true depth beyond it counts as this deep, and the network's largest where it is built anew.
        precision: float32, or bfloat16 by autocast.
        seed: of everything.
    """

    data: tuple[str, ...]
    root: str | None = None
    units_per_meter: float | None = None
    validation: tuple[str, ...] | None = None
    validation_images: int = 100
    textures: tuple[str, ...] = ()
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

    def __post_init__(self) -> None:
        """Refuse what makes no sense, wherever it comes from.

        Raises:
            ValueError: a setting is out of its range.
        """
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not (low <= value <= high and math.isfinite(value)):
                below = "below " if low < high < 1 else ""
                raise ValueError(f"{name} is from {low:g} to {below}{high:g}, not {value:g}")
        if not all(isinstance(word, str) and word for word in (*self.data, *self.textures)):
            raise ValueError("data and textures are texts, and none is empty")
        if self.units_per_meter is not None and not 0 < self.units_per_meter < math.inf:
            raise ValueError(f"units_per_meter is a positive number, not {self.units_per_meter:g}")
        for height, width, share in self.sizes:
            if height < 1 or width < 1 or not 0 < share < math.inf:
                raise ValueError(f"a size is two sides and a share, all above 0, not {height}x{width}={share:g}")
        if not (self.steps or self.epochs):
            raise ValueError("there are neither steps nor epochs")
        if self.lowest_rate > self.learning_rate:
            raise ValueError(f"learning_rate_end, {self.lowest_rate:g}, is above learning_rate, {self.learning_rate:g}")

    @property
    def lowest_rate(self) -> float:
        """The learning rate at the beginning and the end."""
        return self.learning_rate * _LOWEST_SHARE if self.learning_rate_end is None else self.learning_rate_end


@dataclass(frozen=True, slots=True)
class TrainRun:
    """How a training is carried out; none of it changes what comes out.

    Attributes:
        out: the folder for weights, state and logs.
        overwrite: begin anew where a training has been.
        workers: processes that make samples; 0 makes them in between.
        save_every: steps between states that a training can go on from.
        validate_every: steps between validations; 0 for once per epoch, but not more often than every hundred steps.
        max_minutes: stop after so long, to go on another time; 0 for never.
        until: likewise, after this step.
        device: as everywhere.
        threads: likewise.
        tensorboard: also write logs for TensorBoard.
        name: what the weights are called; "" for what the folder is called.
        offline: weights to begin with must be on this machine.
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


_SCENE_SIDES_PX = (16, 2048)


@dataclass(frozen=True, slots=True)
class SceneSettings:
    """What `glpn scenes` renders.

    Attributes:
        out: the folder that keeps them.
        count: how many.
        size: (height, width) in pixels.
        textures: folders of images of which surfaces get pieces.
        seed: no scene of a seed is one of another.
        workers: processes that render; 0 renders in this one, None has one for each core.
        kinds: kinds of scenes and their shares; empty for the usual ones.
        device: what renders; a GPU does it in this process, whatever `workers` says.
    """

    out: str
    count: int = 10_000
    size: tuple[int, int] = (192, 256)
    textures: tuple[str, ...] = ()
    seed: int = 0
    workers: int | None = None
    kinds: tuple[tuple[str, float], ...] = ()
    device: str = "cpu"

    def __post_init__(self) -> None:
        """Refuse sizes that no scene is made for.

        Raises:
            ValueError: a side is out of its range.
        """
        low, high = _SCENE_SIDES_PX
        if not all(low <= side <= high for side in self.size):
            raise ValueError(f"the sides of a scene are from {low} to {high} pixels, not {self.size[0]}x{self.size[1]}")


def parse_sizes(texts):
    raise NotImplementedError


def parse_crop(text):
    raise NotImplementedError
