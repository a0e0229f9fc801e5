"""One image measured: every prediction of it, as it is and with its scale aligned.

A data set measured image by image, every failure a value, and what it comes to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from glpn_cli.data.layouts import layout_of
from glpn_cli.data.sample import MIN_DEPTH_M, valid_pixels
from glpn_cli.errors import GLPNError, InputError, UsageError
from glpn_cli.evaluation.baselines import RampSearch, median_depth, ramp_depth
from glpn_cli.evaluation.figure import DepthProfile
from glpn_cli.evaluation.statistics import Bootstrap, Interval, scale_factor
from glpn_cli.metrics import METRICS, mean_of_images, measure, usable_prediction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from glpn_cli.data.sample import Sample
    from glpn_cli.settings import Align, Crop

    Values = NDArray[np.float64]
    from collections.abc import Generator, Sequence

    from glpn_cli.data.sample import Samples
    from glpn_cli.evaluation.figure import WorstImages
    from glpn_cli.evaluation.sources import Source
    from glpn_cli.settings import EvaluationSettings


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


MEDIAN_LABEL = "median"

"""The baseline that says the same depth everywhere."""

RAMP_LABEL = "ramp"

"""The baseline that knows only up and down."""


def protocol_for(data: str, settings: EvaluationSettings) -> Protocol:
    """Give what counts: what the user says, else what belongs to the data."""
    layout = layout_of(data)
    return Protocol(
        crop=settings.crop if settings.crop is not None else layout.crop,
        cap_m=settings.cap_m if settings.cap_m is not None else layout.cap_m,
        align=settings.align,
    )


@dataclass(frozen=True, slots=True)
class Failure:
    """An image that could not be measured.

    Attributes:
        name: of the sample.
        message: why.
        hint: what to do, or None.
        exit_code: of the error.
    """

    name: str
    message: str
    hint: str | None
    exit_code: int

    def to_dict(self) -> dict[str, Any]:
        """Give the fields, ready for JSON."""
        error = {"message": self.message, "hint": self.hint, "exit_code": self.exit_code}
        return {"name": self.name, "status": "failed", "error": error}


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over images.

    Attributes:
        mean: the number.
        interval: how sure it is, or None.
    """

    mean: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Difference:
    """How two predictions of the same images compare.

    Attributes:
        ours: whose numbers.
        theirs: from whose they are subtracted.
        figures: for each metric, ours minus theirs.
    """

    ours: Column
    theirs: Column
    figures: dict[str, Figure]


@dataclass
class Evaluation:
    """One evaluation.

    Attributes:
        samples: what is measured.
        sources: whose predictions; the first is the one that others are compared with.
        protocol: what counts.
        settings: how sure it is made to be, and whether baselines are measured.
        worst: collects the worst images of the first source, or None.
        images: what has been measured.
        failures: what could not be.
        profile: errors by depth.
        ramp: the best ramp, once it is known.
    """

    samples: Samples
    sources: Sequence[Source]
    protocol: Protocol
    settings: EvaluationSettings
    worst: WorstImages | None = None
    images: list[ImageScores] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    ramp: str | None = None

    def __post_init__(self) -> None:
        """Refuse two sources of one name, whose numbers would fall together."""
        labels = [source.label for source in self.sources]
        if len({*labels, MEDIAN_LABEL, RAMP_LABEL}) < len(labels) + 2:
            raise UsageError(
                f"two predictions are called alike: {', '.join(labels)}",
                hint=f"{MEDIAN_LABEL} and {RAMP_LABEL} are the names of baselines; rename the folder",
            )
        self.profile = DepthProfile(self.protocol.cap_m)
        self._ramps = RampSearch()
        self._by_index: dict[int, ImageScores] = {}

    def run(self) -> Generator[ImageScores | Failure]:
        """Measure one image after the other; what is given is also kept."""
        for index, files in enumerate(self.samples.files):
            try:
                result = self._measure(index)
            except GLPNError as error:
                if isinstance(error, UsageError) and index == 0:
                    raise  # most likely it is the same for every image
                failure = Failure(files.name, error.message, error.hint, error.exit_code)
                self.failures.append(failure)
                yield failure
            else:
                self.images.append(result)
                self._by_index[index] = result
                yield result

    def finish(self) -> None:
        """Measure the best ramp, which is known only when all images have been seen, and which has to see them again.

        Raises:
            InputError: no image was measured.
        """
        if not self.images:
            raise InputError(f"none of {len(self.samples)} images could be measured")
        if not self.settings.baselines:
            return
        ramp = self._ramps.best()
        self.ramp = str(ramp)
        for index, image in self._by_index.items():  # not by name: a list may have an image twice
            truth = Truth.of(self.samples[index], self.protocol)
            predicted = ramp_depth(ramp, truth.meters, truth.heights)
            image.scores[Column(RAMP_LABEL)] = measure(predicted, truth.meters)
            self.profile.add(truth.meters, {RAMP_LABEL: predicted}, again=True)

    @property
    def columns(self) -> list[Column]:
        """What was measured, in the order of the table."""
        return list(self.images[0].scores) if self.images else []

    def figures(self) -> dict[Column, dict[str, Figure]]:
        """Give the mean of every metric over the images, for each column."""
        bootstrap = self._bootstrap()
        means = {column: mean_of_images(item.scores[column] for item in self.images) for column in self.columns}
        return {
            column: {
                name: Figure(mean, bootstrap.interval(self._values(column, name)) if bootstrap else None)
                for name, mean in numbers.items()
            }
            for column, numbers in means.items()
        }

    def differences(self) -> list[Difference]:
        """Compare the first source with all others: unaligned with unaligned, aligned with aligned.

        Baselines know the median of every image, so what is compared with them is aligned if anything is.
        """
        ours_plain = Column(self.sources[0].label)
        ours_aligned = Column(ours_plain.label, self.protocol.align)
        pairs = [(Column(ours_plain.label, other.align), other) for other in self._others()]
        baselines = [column for column in self.columns if column.label in (MEDIAN_LABEL, RAMP_LABEL)]
        pairs += [(ours_aligned, baseline) for baseline in baselines]
        bootstrap = self._bootstrap()
        return [
            Difference(
                ours,
                theirs,
                {name: self._difference(ours, theirs, name, bootstrap) for name in METRICS},
            )
            for ours, theirs in pairs
        ]

    def _measure(self, index: int) -> ImageScores:
        sample, files = self.samples[index], self.samples.files[index]
        truth = Truth.of(sample, self.protocol)
        result = ImageScores(sample.name, truth.meters.size)
        measured: dict[Column, Measured] = {}
        shown: NDArray[np.float32] | None = None
        for source in self.sources:
            predicted = source.predict(sample, files)
            shown = predicted if shown is None else shown
            measured |= result.add(source.label, predicted, truth, self.protocol)
        values = {str(column): item.meters for column, item in measured.items()}
        if self.settings.baselines:
            constant = median_depth(truth.meters)
            result.scores[Column(MEDIAN_LABEL)] = measure(constant, truth.meters)
            values[MEDIAN_LABEL] = constant
            self._ramps.add(truth.meters, truth.heights)
        self.profile.add(truth.meters, values)
        if self.worst is not None and shown is not None:
            column = Column(self.sources[0].label, self.protocol.align)
            drawn, _ = usable_prediction(shown, low_m=MIN_DEPTH_M, high_m=self.protocol.cap_m)  # as it is measured
            aligned = (drawn * measured[column].factor).astype(np.float32)
            self.worst.offer(sample, aligned, truth, result.scores[column])
        return result

    def _others(self) -> list[Column]:
        return [column for column in self.columns if column.label in {other.label for other in self.sources[1:]}]

    def _values(self, column: Column, metric: str) -> NDArray[np.float64]:
        return np.array([image.scores[column][metric] for image in self.images])

    def _difference(self, ours: Column, theirs: Column, metric: str, bootstrap: Bootstrap | None) -> Figure:
        values = self._values(ours, metric) - self._values(theirs, metric)
        return Figure(float(values.mean()), bootstrap.interval(values) if bootstrap else None)

    def _bootstrap(self) -> Bootstrap | None:
        if not (self.settings.resamples and self.images):
            return None
        return Bootstrap(
            images=len(self.images),
            resamples=self.settings.resamples,
            confidence=self.settings.confidence_percent / 100,
            seed=self.settings.seed,
        )
