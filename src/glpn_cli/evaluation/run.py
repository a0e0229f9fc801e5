"""Evaluation of a data set. `evaluate` does everything; `open_evaluation` leaves the loop over images to the caller."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from glpn_cli.convert import EMPTY_HINT
from glpn_cli.data.layouts import Split, find_samples
from glpn_cli.data.sample import MIN_DEPTH_M
from glpn_cli.data.settings import EvaluationSettings
from glpn_cli.errors import GLPNError, InputError, OutputExistsError, UsageError
from glpn_cli.evaluation.baselines import MEDIAN_LABEL, RAMP_LABEL, RampSearch, median_depth, ramp_depth
from glpn_cli.evaluation.figure import WorstImages, draw_figure
from glpn_cli.evaluation.scores import Column, Failure, GroundTruth, ImageScores, protocol_for
from glpn_cli.evaluation.sources import FilesSource, WeightsSource
from glpn_cli.evaluation.statistics import Bootstrap, DepthProfile, Estimate
from glpn_cli.files import make_folder, write_whole
from glpn_cli.metrics import HIGHER_IS_BETTER, compute_metrics, mean_over_images, replace_invalid
from glpn_cli.settings import WEIGHTS_VARIABLE, PredictionSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from glpn_cli.data.sample import Samples
    from glpn_cli.data.settings import DataSettings
    from glpn_cli.evaluation.scores import EvaluationProtocol, ScaledPrediction
    from glpn_cli.evaluation.sources import Source
    from glpn_cli.inference.predictor import Predictor

_SETTINGS = EvaluationSettings()
_PREDICTION = PredictionSettings()
_WRONG_UNIT = 4.0  # a larger factor between ground truth and predictions is no error of the network
_FEW_IMAGES = 10  # with fewer, bootstrap intervals are too narrow


def evaluate(
    data: DataSettings,
    settings: EvaluationSettings = _SETTINGS,
    prediction: PredictionSettings = _PREDICTION,
    *,
    predictions: str | None = None,
    against: str | None = None,
    files: ResultFiles | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    on_image: Callable[[ImageScores | Failure], None] = lambda _: None,
) -> Evaluation:
    """Evaluate predictions on a data set, from the first image to the files.

    The arguments and errors are those of `open_evaluation`. `progress` is called with the number of finished images and
    of all images, first with 0, and `on_image` with the result of each image.

    Returns:
        The finished evaluation; `means`, `differences` and `summary` are its results.

    Raises:
        InputError: no image could be evaluated. Single images become failures instead.
    """
    with open_evaluation(
        data, settings, prediction, predictions=predictions, against=against, files=files
    ) as evaluation:
        total = len(evaluation.samples)
        progress(0, total)
        for done, result in enumerate(evaluation.run(), start=1):
            on_image(result)
            progress(done, total)
    if not evaluation.images:
        raise InputError(f"none of {total} images could be evaluated")
    return evaluation


def open_evaluation(
    data: DataSettings,
    settings: EvaluationSettings = _SETTINGS,
    prediction: PredictionSettings = _PREDICTION,
    *,
    predictions: str | None = None,
    against: str | None = None,
    files: ResultFiles | None = None,
    load: Callable[[PredictionSettings], Predictor] | None = None,
) -> Evaluation:
    """Prepare an evaluation: check all settings, find the samples, and load the weights.

    Args:
        data: the data set.
        settings: the protocol, baselines and confidence intervals.
        prediction: weights and how to run them.
        predictions: folder of depth files to evaluate instead of weights.
        against: other weights to compare with, run in the same way.
        files: files to write.
        load: loads a predictor; None is `inference.load.load_predictor`.

    Returns:
        A context manager, which writes the files at its end. Iterate over its `run` once.

    Raises:
        UsageError: settings are invalid, or contradict each other.
        InputError: there are no samples.
        WeightsError: weights are missing or damaged.
        OutputError: a file exists, or its folder cannot be created.
    """
    notes = []
    if predictions is not None:
        if not predictions:
            raise UsageError("must not be empty", setting="predictions", hint=EMPTY_HINT)
        if prediction.weights != _PREDICTION.weights:
            raise UsageError(
                "`predictions` and `weights` exclude each other", hint="compare with other weights by `against`"
            )
        if against is None and prediction != _PREDICTION:
            notes.append("`predictions` are depth files; inference options are ignored")
    samples = find_samples(data, Split.TEST)
    files = files or ResultFiles()
    files.check(samples)
    if samples.without_depth:
        notes.append(f"{samples.without_depth} images without ground truth were skipped")

    sources: list[Source] = []
    if predictions is not None:
        sources.append(
            FilesSource(Path(predictions), units_per_meter=samples.units_per_meter, samples=samples.files),
        )
    if load is None:
        from glpn_cli.inference.load import load_predictor

        load = load_predictor
    weights = [name for name in (prediction.weights if predictions is None else None, against) if name is not None]
    predictors = [load(replace(prediction, weights=name)) for name in weights]
    _refuse_same_weights(predictors)
    labels = [source.label for source in sources] + [predictor.card.name for predictor in predictors]
    for name, predictor in zip(weights, predictors, strict=True):
        # Two files may state the same name in their metadata; then the values of the settings tell them apart.
        label = _given_name(name) if labels.count(predictor.card.name) > 1 else predictor.card.name
        if predictor.card.metric is False and settings.align is None:
            notes.append(f"distances of {label!r} are approximate; `align='median'` also measures relative depth")
        sources.append(WeightsSource(predictor, label))
    protocol = protocol_for(data.data, settings)
    return Evaluation(samples, sources, protocol, settings, data=data.data, files=files, notes=notes)


def _refuse_same_weights(predictors: Sequence[Predictor]) -> None:
    if len({predictor.weights_sha256 for predictor in predictors}) < len(predictors):
        raise UsageError(
            f"`weights` and `against` are the same: {predictors[0].card.name}",
            hint="name other weights for one of them",
        )


def _given_name(weights: str) -> str:
    """Return how the user names weights: for "auto", by the environment variable."""
    return (os.environ.get(WEIGHTS_VARIABLE) or weights) if weights == _PREDICTION.weights else weights


@dataclass(frozen=True, slots=True)
class ResultFiles:
    """The files that an evaluation writes.

    Attributes:
        figure: PNG file for the figure, or None.
        per_image: JSONL file for the scores of each image, or None.
        overwrite: whether they may exist.
    """

    figure: str | None = None
    per_image: str | None = None
    overwrite: bool = False

    def check(self, samples: Samples) -> None:
        """Check before the evaluation whether the files can be written after it; creates their folders.

        Raises:
            UsageError: a name is invalid, or a file of the data set.
            OutputExistsError: a file exists.
            OutputError: a folder cannot be created.
        """
        given = {name: path for name in ("figure", "per_image") if (path := getattr(self, name)) is not None}
        for setting, path in given.items():
            if not path:
                raise UsageError("must not be empty", setting=setting, hint=EMPTY_HINT)
        if self.figure is not None and not self.figure.lower().endswith(".png"):
            raise UsageError(f"{self.figure} must end in .png", setting="figure")
        if len({os.path.realpath(path) for path in given.values()}) < len(given):
            raise UsageError("`figure` and `per_image` are the same file")
        data_files = {os.path.realpath(path) for files in samples.files for path in (files.image, files.depth)}
        for setting, path in given.items():
            if os.path.realpath(path) in data_files:
                raise UsageError(f"{path} is a file of the data set", setting=setting)
            if os.path.isdir(path):
                raise UsageError(f"{path} is a folder", setting=setting)
            make_folder(Path(path).parent)
            if os.path.lexists(path) and not self.overwrite:
                raise OutputExistsError(f"{path}: already exists", hint="set `overwrite` to replace it")


@dataclass(frozen=True, slots=True)
class Difference:
    """The comparison of two columns, which have the same images.

    Attributes:
        ours: the first column.
        theirs: the second column, which is subtracted.
        metrics: for each metric, the mean of ours minus theirs.
    """

    ours: Column
    theirs: Column
    metrics: dict[str, Estimate]


@dataclass
class Evaluation:
    """An evaluation, in progress or finished. As a context manager it writes its files at the end.

    Attributes:
        samples: the images and their ground truth.
        sources: the predictions; the first one is compared with the others.
        protocol: which pixels are evaluated, and the alignment.
        settings: baselines and confidence intervals.
        data: name or folder of the data set.
        files: files to write.
        notes: what a user should know before the results.
        images: scores of the finished images.
        failures: images that could not be evaluated.
        ramp: the best ramp, after the last image.
        is_complete: whether all images are finished.
        written: files that have been written.
        profile: errors by depth.
        worst: the worst images of the first source, if there is a figure to draw.
    """

    samples: Samples
    sources: Sequence[Source]
    protocol: EvaluationProtocol
    settings: EvaluationSettings
    data: str = ""
    files: ResultFiles = field(default_factory=ResultFiles)
    notes: Sequence[str] = ()
    images: list[ImageScores] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    ramp: str | None = None
    is_complete: bool = False
    written: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse sources with the same label, whose scores could not be told apart."""
        labels = [source.label for source in self.sources]
        if len({*labels, MEDIAN_LABEL, RAMP_LABEL}) < len(labels) + 2:
            raise UsageError(
                f"two predictions have the same name: {', '.join(labels)}",
                hint=f"rename the folder; {MEDIAN_LABEL} and {RAMP_LABEL} are the names of the baselines",
            )
        self.profile = DepthProfile(self.protocol.cap_m)
        self.worst = None if self.files.figure is None else WorstImages()
        self._ramps = RampSearch()
        self._depth_notes: Counter[str] = Counter()  # how many images have each note
        self._log_ratios: list[float] = []  # of the medians of ground truth and the first prediction
        self._by_index: dict[int, ImageScores] = {}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write the files with the results so far, also after an error or interrupt; see `write_files`."""
        self.write_files()

    def run(self) -> Iterator[ImageScores | Failure]:
        """Evaluate the images one by one, and yield the result of each; then score the best ramp.

        Raises:
            UsageError: the protocol does not fit the first image, so probably none.
        """
        for index, files in enumerate(self.samples.files):
            try:
                result = self._score(index)
            except GLPNError as error:
                if isinstance(error, UsageError) and index == 0:
                    raise
                failure = Failure.of(files.name, error)
                self.failures.append(failure)
                yield failure
            else:
                self.images.append(result)
                self._by_index[index] = result
                yield result
        if self.settings.baselines and self.images:
            self._score_ramp()
        self.is_complete = True

    def write_files(self) -> None:
        """Write the scores of the finished images, and, if all are finished, the figure.

        Raises:
            OutputError: a file cannot be written.
        """
        results: list[ImageScores | Failure] = [*self.images, *self.failures]
        if self.files.per_image is not None and results:
            lines = (json.dumps(result.to_dict(), allow_nan=False) + "\n" for result in results)
            self._write(self.files.per_image, "".join(lines).encode())
        if self.files.figure is not None and self.worst is not None and self.images and self.is_complete:
            self._write(self.files.figure, draw_figure(self.title, self.profile, self.worst.draw()))

    @property
    def title(self) -> str:
        """The data set, number of images and protocol in one line."""
        protocol, settings = self.protocol, self.settings
        name = os.path.basename(os.path.abspath(self.data))
        crop = "no crop" if str(protocol.crop) == "none" else f"crop {protocol.crop}"
        intervals = f", {settings.confidence_percent:g} % intervals" if settings.resamples else ""
        return f"{name}: {len(self.images)} images, {crop}, depth below {protocol.cap_m:g} m{intervals}"

    @property
    def columns(self) -> list[Column]:
        """The columns of the results, in the order of the table."""
        return list(self.images[0].scores) if self.images else []

    def means(self) -> dict[Column, dict[str, Estimate]]:
        """Return the mean of each metric over the images that have it, for each column."""
        bootstrap = self._bootstrap()
        means = {column: mean_over_images(item.scores[column] for item in self.images) for column in self.columns}
        return {
            column: {
                name: Estimate(mean, bootstrap.interval(self._values(column, name)) if bootstrap else None)
                for name, mean in metrics.items()
            }
            for column, metrics in means.items()
        }

    def differences(self) -> list[Difference]:
        """Compare the first source with the others: unaligned with unaligned, aligned with aligned.

        Baselines know the median of every image, so they are compared with the aligned prediction if there is one.
        """
        first = self.sources[0].label
        other_labels = {source.label for source in self.sources[1:]}
        others = [column for column in self.columns if column.label in other_labels]
        baselines = [column for column in self.columns if column.label in (MEDIAN_LABEL, RAMP_LABEL)]
        pairs = [(Column(first, other.align), other) for other in others]
        pairs += [(Column(first, self.protocol.align), baseline) for baseline in baselines]
        bootstrap = self._bootstrap()
        return [
            Difference(ours, theirs, dict(self._metric_differences(ours, theirs, bootstrap))) for ours, theirs in pairs
        ]

    def caveats(self) -> list[str]:
        """Return what a reader of the results should know, one line each."""
        found = []
        if self.images and self.settings.resamples and len(self.images) < _FEW_IMAGES:
            found.append(f"only {len(self.images)} images: confidence intervals are unreliable")
        replaced = sum(sum(image.replaced.values()) for image in self.images)
        if replaced:
            found.append(f"{replaced} predicted pixels were invalid (NaN, infinite or not positive) and were replaced")
        found += [f"{note} ({count} of {len(self.samples)} images)" for note, count in self._depth_notes.items()]
        unit_caveat = self._unit_caveat()
        if unit_caveat is not None:
            found.append(unit_caveat)
        if any(isinstance(source, FilesSource) and source.approximate for source in self.sources):
            found.append("predictions were read from 8-bit images, which are less accurate than the original depth")
        return found

    def summary(self) -> dict[str, Any]:
        """Return everything except the single images for JSON; docs/evaluation.md lists the fields."""
        predictions: dict[str, Any] = {}
        for column, means in self.means().items():
            entry = predictions.setdefault(column.label, {})
            entry[str(column.align or "unaligned")] = {name: mean.to_dict() for name, mean in means.items()}
        settings, protocol = self.settings, self.protocol
        return {
            "status": "summary",
            "data": self.data,
            "images": len(self.images),
            "failed": len(self.failures),
            "crop": str(protocol.crop),
            "cap_m": protocol.cap_m,
            "align": None if protocol.align is None else str(protocol.align),
            "confidence_percent": settings.confidence_percent if settings.resamples else None,
            "resamples": settings.resamples,
            "seed": settings.seed,
            "ramp": self.ramp,
            "predictions": predictions,
            "differences": [
                {
                    "ours": item.ours.label,
                    "theirs": item.theirs.label,
                    "align": None if item.ours.align is None else str(item.ours.align),
                    "figures": {name: mean.to_dict() for name, mean in item.metrics.items()},
                }
                for item in self.differences()
            ],
            "by_depth": self.profile.to_rows(),
        }

    def _score(self, index: int) -> ImageScores:
        sample, files = self.samples[index], self.samples.files[index]
        self._depth_notes.update(sample.notes)
        truth = GroundTruth.of(sample, self.protocol)
        result = ImageScores(sample.name, truth.meters.size)
        scored: dict[Column, ScaledPrediction] = {}
        first: NDArray[np.float32] | None = None
        for source in self.sources:
            predicted = source.predict(sample, files)
            if first is None:
                first = predicted
                self._compare_medians(predicted, truth)
            scored |= result.add(source.label, predicted, truth, self.protocol)
        values = {str(column): item.meters for column, item in scored.items()}
        if self.settings.baselines:
            constant = median_depth(truth.meters)
            result.scores[Column(MEDIAN_LABEL)] = compute_metrics(constant, truth.meters)
            values[MEDIAN_LABEL] = constant
            self._ramps.add(truth.meters, truth.heights)
        self.profile.add(truth.meters, values)
        if self.worst is not None and first is not None:
            column = Column(self.sources[0].label, self.protocol.align)
            replaced, _ = replace_invalid(first, low_m=MIN_DEPTH_M, high_m=self.protocol.cap_m)
            aligned = (replaced * scored[column].factor).astype(np.float32)
            self.worst.offer(sample, aligned, truth, result.scores[column])
        return result

    def _compare_medians(self, predicted: NDArray[np.float32], truth: GroundTruth) -> None:
        values = predicted[truth.valid]
        values = values[np.isfinite(values) & (values > 0)]
        if values.size:
            self._log_ratios.append(float(np.log(np.median(truth.meters) / np.median(values))))

    def _unit_caveat(self) -> str | None:
        """Return a note if ground truth and predictions differ by a factor that only a wrong unit explains."""
        factor = float(np.exp(np.median(self._log_ratios))) if self._log_ratios else 1.0
        if 1 / _WRONG_UNIT < factor < _WRONG_UNIT:
            return None
        units = getattr(self.samples, "units_per_meter", None)
        shown = "" if units is None else f", which is {units:g}"
        note = f"ground truth is {factor:.2g} times as deep as {self.sources[0].label}: check `units_per_meter`{shown}"
        if units is not None and self._has_rotated_bits(units):
            note += (
                "; all values are multiples of 8, as in SUN RGB-D, which rotates the bits: use "
                f"`units_per_meter={8 * units:g}`"
            )
        return note

    def _has_rotated_bits(self, units_per_meter: float) -> bool:
        """Return whether the lowest three bits of the first image's ground truth are 0."""
        try:
            meters = self.samples[0].meters
        except GLPNError:
            return False
        return not (np.rint(meters[meters > 0] * np.float64(units_per_meter)).astype(np.int64) & 7).any()

    def _score_ramp(self) -> None:
        """Score the best ramp. It is known only after all images, so this reads them a second time."""
        ramp = self._ramps.best()
        self.ramp = str(ramp)
        for index, image in self._by_index.items():  # not by name: a list may contain an image twice
            truth = GroundTruth.of(self.samples[index], self.protocol)
            predicted = ramp_depth(ramp, truth.meters, truth.heights)
            image.scores[Column(RAMP_LABEL)] = compute_metrics(predicted, truth.meters)
            self.profile.add(truth.meters, {RAMP_LABEL: predicted}, again=True)

    def _write(self, path: str, data: bytes) -> None:
        make_folder(Path(path).parent)
        write_whole(Path(path), data, overwrite=self.files.overwrite)
        self.written.append(path)

    def _bootstrap(self) -> Bootstrap | None:
        if not (self.settings.resamples and self.images):
            return None
        return Bootstrap(
            images=len(self.images),
            resamples=self.settings.resamples,
            confidence=self.settings.confidence_percent / 100,
            seed=self.settings.seed,
        )

    def _values(self, column: Column, metric: str) -> NDArray[np.float64]:
        return np.array([image.scores[column].get(metric, np.nan) for image in self.images])

    def _metric_differences(
        self, ours: Column, theirs: Column, bootstrap: Bootstrap | None
    ) -> Iterator[tuple[str, Estimate]]:
        """Yield the difference of each metric that both columns have."""
        for metric in HIGHER_IS_BETTER:
            values = self._values(ours, metric) - self._values(theirs, metric)
            if np.isfinite(values).any():
                yield metric, Estimate(float(np.nanmean(values)), bootstrap.interval(values) if bootstrap else None)
