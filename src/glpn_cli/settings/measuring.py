"""How good and how fast: known depth, evaluation, benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from glpn_cli.settings.weights import RANDOM_WEIGHTS

__all__ = ["DATA_VARIABLE", "Align", "BenchSettings", "Crop", "DataSettings", "EvaluationSettings", "Rival"]

DATA_VARIABLE = "GLPN_DATA"
"""The environment variable that says where the data sets are that have names."""


class Crop(StrEnum):
    """In which part of an image true depth counts."""

    NONE = "none"
    NYU = "nyu"
    """Eigen's crop of NYU Depth V2: rows 45 to 470 and columns 41 to 600 of 480x640."""
    GARG = "garg"
    """The lower part of a street scene, without its margins, as shares of height and width."""
    EIGEN = "eigen"
    """Another such part, reaching higher."""


class Align(StrEnum):
    """What an image's predicted depth is multiplied with before it is measured once more."""

    MEDIAN = "median"
    """What makes its median that of the true depth."""
    LEAST_SQUARES = "least-squares"
    """What makes the sum of squared errors smallest."""


@dataclass(frozen=True, slots=True)
class DataSettings:
    """Images with known depth, and how their files are to be understood.

    Attributes:
        data: "nyu", "kitti", or a folder with NAME.jpg and NAME.png beside each other.
        root: where the named ones are; None is $GLPN_DATA, else the working folder.
        list_file: says which pairs there are; None is the list at its usual place, else all pairs that are found.
        units_per_meter: what a meter is in the depth files; None is what the named ones use.
    """

    data: str
    root: str | None = None
    list_file: str | None = None
    units_per_meter: float | None = None


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """What counts in an evaluation, and how sure it is made to be.

    Attributes:
        crop: in which true depth counts; None is what belongs to the data.
        cap_m: true depth of this or more does not count; None is what belongs to the data.
        align: measure once more with the scale of each image aligned; None does not.
        baselines: measure predictions that do not look at the image, too.
        resamples: how often images are drawn for an interval; 0 gives no intervals.
        confidence_percent: how many of those draws lie within an interval.
        seed: of the draws.
    """

    crop: Crop | None = None
    cap_m: float | None = None
    align: Align | None = None
    baselines: bool = False
    resamples: int = 5000
    confidence_percent: float = 95.0
    seed: int = 0


class Rival(StrEnum):
    """Another way to run the same network, to be measured beside ours."""

    TRANSFORMERS = "transformers"
    OPENVINO = "openvino"
    ONNXRUNTIME = "onnxruntime"


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """What `glpn bench` measures.

    Attributes:
        sizes: of made-up photos, as "HxW".
        rounds: how often everything is timed.
        weights: a name or path as everywhere, or "random": the published architecture without its weights.
        device: as everywhere.
    """

    sizes: tuple[str, ...] = ("480x640", "1080x1920")
    rounds: int = 5
    weights: str = RANDOM_WEIGHTS
    device: str = "auto"
