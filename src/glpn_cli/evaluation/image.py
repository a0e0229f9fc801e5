"""One image measured: every prediction of it, as it is and with its scale aligned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from glpn_cli.data.crops import MIN_DEPTH_M, valid_pixels
from glpn_cli.errors import InputError
from glpn_cli.evaluation.alignment import scale_factor
from glpn_cli.metrics import measure, usable_prediction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from glpn_cli.data.sample import Sample
    from glpn_cli.settings.measuring import Align, Crop

    Values = NDArray[np.float64]

__all__ = ["Column", "ImageScores", "Measured", "Protocol", "Truth"]


@dataclass(frozen=True, slots=True)
class Protocol:
    """What counts.

    Attributes:
        crop: in which true depth counts.
        cap_m: true depth of this or more does not.
        align: how the scale is aligned for the second measurement, or None.
    """

    crop: Crop
    cap_m: float
    align: Align | None


@dataclass(frozen=True, slots=True)
class Column:
    """What a row of numbers is about.

    Attributes:
        label: whose prediction.
        align: how its scale was aligned, or None.
    """

    label: str
    align: Align | None = None

    def __str__(self) -> str:
        return self.label if self.align is None else f"{self.label}, {self.align} aligned"


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The pixels of a sample that count.

    Attributes:
        valid: (H, W) bool.
        meters: (N,) float64, true depth, meters.
        heights: (N,) float64, from 0 at the upper edge of the image to 1 at the lower.
    """

    valid: NDArray[np.bool_]
    meters: Values
    heights: Values

    @classmethod
    def of(cls, sample: Sample, protocol: Protocol) -> Truth:
        """Find them.

        Raises:
            UsageError: the crop does not fit the image.
            InputError: there is none.
        """
        valid = valid_pixels(sample.meters, cap_m=protocol.cap_m, crop=protocol.crop)
        if not valid.any():
            raise InputError(f"{sample.name}: no pixel has a true depth that counts")
        heights = (np.nonzero(valid)[0] + 0.5) / len(valid)
        return cls(valid, sample.meters[valid].astype(np.float64), heights)


@dataclass(slots=True)
class Measured:
    """A prediction at the pixels that count.

    Attributes:
        meters: (N,) float64, meters, positive.
        factor: what it was multiplied with.
    """

    meters: Values
    factor: float = 1.0


@dataclass(slots=True)
class ImageScores:
    """The numbers of one image.

    Attributes:
        name: of the sample.
        pixels: how many counted.
        replaced: for each label, how many predicted values were no depth and had to be replaced.
        scores: for each column, a number for each metric.
        factors: for each aligned column, what the prediction was multiplied with.
    """

    name: str
    pixels: int
    replaced: dict[str, int] = field(default_factory=dict)
    scores: dict[Column, dict[str, float]] = field(default_factory=dict)
    factors: dict[Column, float] = field(default_factory=dict)

    def add(
        self, label: str, predicted: NDArray[np.float32], truth: Truth, protocol: Protocol
    ) -> dict[Column, Measured]:
        """Measure a prediction.

        Args:
            label: whose.
            predicted: (H, W) float32, meters, at the size of the sample.
            truth: the pixels that count.
            protocol: which they are, and whether the scale is aligned too.

        Returns:
            What was measured, as it was predicted and aligned.
        """
        values, self.replaced[label] = usable_prediction(
            predicted[truth.valid], low_m=MIN_DEPTH_M, high_m=protocol.cap_m
        )
        measured = {Column(label): Measured(values)}
        if protocol.align is not None:
            factor = scale_factor(values, truth.meters, protocol.align)
            column = Column(label, protocol.align)
            measured[column] = Measured(values * factor, factor)
            self.factors[column] = factor
        for column, prediction in measured.items():
            self.scores[column] = measure(prediction.meters, truth.meters)
        return measured

    def to_dict(self) -> dict[str, Any]:
        """Give everything, ready for JSON; docs/evaluation.md lists the fields."""
        predictions: dict[str, Any] = {}
        for column, scores in self.scores.items():
            entry = predictions.setdefault(column.label, {"replaced_pixels": self.replaced.get(column.label, 0)})
            aligned = {} if column not in self.factors else {"factor": self.factors[column]}
            entry[str(column.align or "unaligned")] = aligned | scores
        return {"name": self.name, "status": "done", "pixels": self.pixels, "predictions": predictions}
