"""Settings of data sets and of their evaluation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from glpn_cli.convert import EMPTY_HINT, Settings
from glpn_cli.errors import UsageError


class Crop(StrEnum):
    """The region of an image in which ground truth counts."""

    NONE = "none"
    NYU = "nyu"
    """Eigen's crop of NYU Depth V2: rows 45 to 470 and columns 41 to 600 of 480x640."""
    GARG = "garg"
    """The lower part of a street scene without its margins, in fractions of height and width."""
    EIGEN = "eigen"
    """Like GARG, reaching higher."""


class Align(StrEnum):
    """How the scale of a prediction is fitted to its ground truth."""

    MEDIAN = "median"
    """Equal medians."""
    LEAST_SQUARES = "least-squares"
    """Smallest sum of squared errors."""


@dataclass(frozen=True)
class DataSettings(Settings):
    """Images with ground truth, and how their files are read.

    Attributes:
        data: "nyu", "kitti", or a folder with NAME.jpg and NAME.png side by side.
        root: the folder of the named sets; None is $GLPN_DATA, else the current folder.
        list_file: names the pairs; None uses the list at its usual place, else all pairs that are found.
        units_per_meter: one meter in the depth files; None uses the unit of the named sets.
    """

    data: str
    root: str | None = None
    list_file: str | None = None
    units_per_meter: float | None = None

    LIMITS: ClassVar = {"units_per_meter": (1e-9, math.inf)}

    def __post_init__(self) -> None:
        """Convert and check the values; see `Settings`."""
        super().__post_init__()
        if not self.data:
            raise UsageError("must not be empty", hint=EMPTY_HINT, setting="data")


@dataclass(frozen=True)
class EvaluationSettings(Settings):
    """What an evaluation measures, and how it estimates confidence intervals.

    Attributes:
        crop: the region in which ground truth counts; None uses the one of the data set.
        cap_m: ground truth of this depth or more is ignored; None uses the one of the data set.
        align: measure a second time with aligned scales; None does not.
        baselines: also measure baselines that ignore the image.
        resamples: bootstrap samples of the images; 0 gives no intervals.
        confidence_percent: confidence level of the intervals.
        seed: random seed of the bootstrap.
    """

    crop: Crop | None = None
    cap_m: float | None = None
    align: Align | None = None
    baselines: bool = False
    resamples: int = 5000
    confidence_percent: float = 95.0
    seed: int = 0

    LIMITS: ClassVar = {
        "cap_m": (0.01, 1e6),
        "resamples": (0, 1_000_000),
        "confidence_percent": (1, 99.99),
        "seed": (0, math.inf),
    }
