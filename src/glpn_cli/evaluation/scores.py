"""Scores of single images: the metrics of every prediction, unaligned and scale-aligned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from glpn_cli.data.layouts import layout_of
from glpn_cli.data.sample import MIN_DEPTH_M, valid_pixels
from glpn_cli.errors import InputError
from glpn_cli.evaluation.statistics import scale_factor
from glpn_cli.metrics import BOUNDARY_F1, compute_boundary_f1, compute_metrics, replace_invalid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from glpn_cli.data.sample import Sample
    from glpn_cli.data.settings import Align, Crop, EvaluationSettings
    from glpn_cli.errors import GLPNError

    Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EvaluationProtocol:
    """Which pixels are evaluated, and how predictions are aligned.

    Attributes:
        crop: the evaluated part of an image.
        cap_m: ground truth of this or more is ignored, meters.
        align: how the second set of scores is aligned; None has only unaligned scores.
    """

    crop: Crop
    cap_m: float
    align: Align | None


def protocol_for(data: str, settings: EvaluationSettings) -> EvaluationProtocol:
    """Return the protocol of a data set; settings that are not None replace its parts.

    Args:
        data: as in `DataSettings`.
        settings: crop, cap and alignment.
    """
    layout = layout_of(data)
    return EvaluationProtocol(
        crop=settings.crop if settings.crop is not None else layout.crop,
        cap_m=settings.cap_m if settings.cap_m is not None else layout.cap_m,
        align=settings.align,
    )


@dataclass(frozen=True, slots=True, eq=False)
class GroundTruth:
    """The evaluated pixels of a sample.

    Attributes:
        depth: ground truth of all pixels, (H, W) float32, meters.
        valid: which pixels are evaluated, (H, W) bool.
        meters: ground truth of the evaluated pixels, (N,) float64, meters.
        heights: (N,) float64, 0 at the top of the image, 1 at the bottom.
    """

    depth: NDArray[np.float32]
    valid: NDArray[np.bool_]
    meters: Values
    heights: Values

    @classmethod
    def of(cls, sample: Sample, protocol: EvaluationProtocol) -> GroundTruth:
        """Select the pixels of a sample.

        Raises:
            UsageError: the crop does not fit the image.
            InputError: there are none.
        """
        valid = valid_pixels(sample.meters, cap_m=protocol.cap_m, crop=protocol.crop)
        if not valid.any():
            known = sample.meters[np.isfinite(sample.meters) & (sample.meters > 0)]
            hint = None
            if known.size:
                hint = f"its known depth is {known.min():g} to {known.max():g} m: check `units_per_meter` and `cap_m`"
            raise InputError(f"{sample.name}: no ground truth inside the crop and below the cap", hint=hint)
        heights = (np.nonzero(valid)[0] + 0.5) / len(valid)
        return cls(sample.meters, valid, sample.meters[valid].astype(np.float64), heights)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the results.

    Attributes:
        label: name of the prediction.
        align: how it was aligned, or None.
    """

    label: str
    align: Align | None = None

    def __str__(self) -> str:
        return self.label if self.align is None else f"{self.label}, {self.align} aligned"


@dataclass(frozen=True, slots=True, eq=False)
class ScaledPrediction:
    """A prediction at the evaluated pixels.

    Attributes:
        meters: (N,) float64, meters, positive.
        factor: what the original values were multiplied by.
    """

    meters: Values
    factor: float = 1.0


@dataclass(slots=True)
class ImageScores:
    """The scores of one image.

    Attributes:
        name: of the sample.
        pixels: number of evaluated pixels.
        replaced: for each label, the number of predicted values that were invalid; see `metrics.replace_invalid`.
        scores: for each column, all metrics by name; `BOUNDARY_F1` only where `compute_boundary_f1` returns it.
        factors: for each aligned column, the factor that the prediction was multiplied by.
    """

    name: str
    pixels: int
    replaced: dict[str, int] = field(default_factory=dict)
    scores: dict[Column, dict[str, float]] = field(default_factory=dict)
    factors: dict[Column, float] = field(default_factory=dict)

    def add(
        self, label: str, predicted: NDArray[np.float32], truth: GroundTruth, protocol: EvaluationProtocol
    ) -> dict[Column, ScaledPrediction]:
        """Add the scores of a prediction.

        Args:
            label: name of the prediction.
            predicted: (H, W) float32, meters, at the size of the sample.
            truth: the evaluated pixels.
            protocol: the cap and the alignment.

        Returns:
            The values that were scored: unaligned, and aligned if the protocol says so.
        """
        values, self.replaced[label] = replace_invalid(predicted[truth.valid], low_m=MIN_DEPTH_M, high_m=protocol.cap_m)
        usable = np.zeros(truth.valid.shape)
        usable[truth.valid] = values
        boundary_f1 = compute_boundary_f1(usable, truth.depth, truth.valid)  # it does not depend on the scale
        scored = {Column(label): ScaledPrediction(values)}
        if protocol.align is not None:
            factor = scale_factor(values, truth.meters, protocol.align)
            column = Column(label, protocol.align)
            scored[column] = ScaledPrediction(values * factor, factor)
            self.factors[column] = factor
        for column, prediction in scored.items():
            self.scores[column] = compute_metrics(prediction.meters, truth.meters)
            if boundary_f1 is not None:
                self.scores[column][BOUNDARY_F1] = boundary_f1
        return scored

    def to_dict(self) -> dict[str, Any]:
        """Return everything for JSON; docs/evaluation.md lists the fields."""
        predictions: dict[str, Any] = {}
        for column, scores in self.scores.items():
            entry = predictions.setdefault(column.label, {"replaced_pixels": self.replaced.get(column.label, 0)})
            factor = {"factor": self.factors[column]} if column in self.factors else {}
            entry[str(column.align or "unaligned")] = factor | scores
        return {"name": self.name, "status": "done", "pixels": self.pixels, "predictions": predictions}


@dataclass(frozen=True, slots=True)
class Failure:
    """An image that could not be evaluated.

    Attributes:
        name: of the sample.
        message: of the error.
        hint: of the error, or None.
        exit_code: of the error.
    """

    name: str
    message: str
    hint: str | None
    exit_code: int

    @classmethod
    def of(cls, name: str, error: GLPNError) -> Failure:
        """Return the failure of a sample."""
        return cls(name, error.message, error.hint, error.exit_code)

    def to_dict(self) -> dict[str, Any]:
        """Return everything for JSON; docs/evaluation.md lists the fields."""
        error = {"message": self.message, "hint": self.hint, "exit_code": self.exit_code}
        return {"name": self.name, "status": "failed", "error": error}
