"""`glpn evaluate`: how good depth is, by the measures of the paper."""

from __future__ import annotations

import json
import os
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli.cli.command import command
from glpn_cli.cli.console import Console, conclude
from glpn_cli.cli.options import LOGGING, METRICS, OUTPUT, Option
from glpn_cli.cli.progress import RunProgress
from glpn_cli.cli.results import load_predictor
from glpn_cli.errors import OutputExistsError, UsageError
from glpn_cli.files import make_folder, write_whole
from glpn_cli.settings import DataSettings, EvaluationSettings, PredictionSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from glpn_cli.data.sample import Samples
    from glpn_cli.evaluation.run import Evaluation, Failure, ImageScores
    from glpn_cli.evaluation.sources import Source


_FEW_IMAGES = 10
_LISTED_FAILURES = 20


@command(
    options={
        "predictions": Option("Evaluate existing depth files instead of running weights.", METRICS, "DIR"),
        "against": Option(
            "Also evaluate other weights, with confidence intervals for the difference.",
            METRICS,
            "NAME|PATH|OWNER/REPO",
        ),
        "figure": Option("Draw error over depth, and the worst images.", OUTPUT, "FILE.png"),
        "per_image": Option(
            "Write a JSON object for each image.", OUTPUT, "FILE.jsonl", aliases=("--per-picture",), rare=True
        ),
        "json": Option("Print a JSON object for each image and one for all, instead of the table.", LOGGING),
    },
    without=("fov_deg", "focal_px", "focal_mm_35"),
    examples=(
        "glpn evaluate --data nyu --weights nyu",
        "glpn evaluate --data rooms/ --units-per-meter 1000 --align median --figure rooms.png",
        "glpn evaluate --data kitti --weights kitti --against mine --json",
        "glpn evaluate --data rooms/ --units-per-meter 1000 --predictions depths/",
    ),
)
def evaluate(
    console: Console,
    *,
    data: DataSettings,
    protocol: EvaluationSettings,
    predictions: str | None = None,
    against: str | None = None,
    figure: str | None = None,
    per_image: str | None = None,
    overwrite: bool,
    prediction: PredictionSettings,
    json: bool,
) -> None:
    """Evaluate depth against ground truth, by the protocol of the paper.

    Metrics are means over images; docs/evaluation.md explains them.
    """
    if predictions == "":
        raise UsageError("must not be empty", hint="is a shell variable unset?", setting="predictions")
    if predictions is not None and prediction.weights != PredictionSettings().weights:
        raise UsageError("`predictions` and `weights` exclude each other", hint="compare them with `against`")
    if predictions is not None and against is None and prediction != PredictionSettings():
        console.note("`predictions` are depth already; inference options are ignored")
    from glpn_cli.data.layouts import Split, find_samples

    samples = find_samples(data, Split.TEST)
    _Run(
        console,
        data,
        samples,
        _Outputs(figure, per_image, overwrite=overwrite).checked(samples),
        protocol,
        json_lines=json,
    ).go(prediction, predictions, against)


@dataclass
class _Outputs:
    """The files that are going to be written."""

    figure: str | None
    per_image: str | None
    overwrite: bool

    def checked(self, samples: Samples) -> _Outputs:
        """Find out before the work whether they can be written after it.

        Raises:
            UsageError: a name is empty or of another kind, or belongs to the data.
            OutputExistsError: one is there already.
            OutputError: a folder cannot be made.
        """
        given = [name for name in (self.figure, self.per_image) if name is not None]
        if "" in given:
            raise UsageError("the name of an output is empty", hint="is a variable of the shell not set?")
        if self.figure is not None and not self.figure.lower().endswith(".png"):
            raise UsageError(f"--figure {self.figure}: a figure is a PNG", hint="its name ends in .png")
        if len({os.path.realpath(name) for name in given}) < len(given):
            raise UsageError("--figure and --per-image name the same file")
        kept = {os.path.realpath(path) for files in samples.files for path in (files.image, files.depth)}
        for name in given:
            if os.path.realpath(name) in kept:
                raise UsageError(f"{name} is one of the images that are measured, or its depth")
            if os.path.isdir(name):
                raise UsageError(f"{name}: is a folder")
            make_folder(Path(name).parent)
            if os.path.lexists(name) and not self.overwrite:
                raise OutputExistsError(f"{name}: is there already", hint="--overwrite replaces it")
        return self

    def write(self, evaluation: Evaluation, title: str) -> list[str]:
        """Write them, as far as there is something to write, and give their names."""
        written = []
        if self.per_image is not None:
            results: list[ImageScores | Failure] = [*evaluation.images, *evaluation.failures]
            lines = (json.dumps(result.to_dict(), allow_nan=False) + "\n" for result in results)
            written.append(self._write(self.per_image, "".join(lines).encode()))
        if self.figure is not None and evaluation.worst is not None and evaluation.images:
            from glpn_cli.evaluation.figure import draw_figure

            figure = draw_figure(title, evaluation.profile, evaluation.worst.draw())
            written.append(self._write(self.figure, figure))
        return written

    def _write(self, name: str, data: bytes) -> str:
        make_folder(Path(name).parent)
        write_whole(Path(name), data, overwrite=self.overwrite)
        return name


@dataclass
class _Run:
    """One evaluation from the images to the table."""

    console: Console
    data: DataSettings
    samples: Samples
    outputs: _Outputs
    settings: EvaluationSettings
    json_lines: bool

    def go(self, network: PredictionSettings, predictions: str | None, against: str | None) -> None:
        """Measure, report, and raise what it came to."""
        from glpn_cli.evaluation.figure import WorstImages
        from glpn_cli.evaluation.run import Evaluation, Failure, protocol_for

        if self.samples.without_depth:
            self.console.note(f"{self.samples.without_depth} images without true depth were left out")
        evaluation = Evaluation(
            self.samples,
            list(self._sources(network, predictions, against)),
            protocol_for(self.data.data, self.settings),
            self.settings,
            worst=None if self.outputs.figure is None else WorstImages(),
        )
        try:
            with (
                closing(evaluation.run()) as results,
                RunProgress(self.console, "depth", len(self.samples)) as progress,
            ):
                for result in results:
                    progress.advance()
                    if self.json_lines:
                        self.console.data(json.dumps(result.to_dict(), allow_nan=False))
                    if isinstance(result, Failure):
                        self.console.detail(f"{result.name}: failed")
        except KeyboardInterrupt:
            self.console.info(f"interrupted: {len(evaluation.images)} of {len(self.samples)} done", style="yellow")
            self._write(replace(self.outputs, figure=None), evaluation)
            raise
        outputs = self.outputs
        try:
            if evaluation.images:
                evaluation.finish()
            self._report(evaluation)
        except KeyboardInterrupt:  # the ramp may not have seen all images
            outputs = replace(outputs, figure=None)
            raise
        finally:  # neither a full disk nor a reader who is gone takes away what the other gets
            self._write(outputs, evaluation)
        self._list(evaluation.failures)
        conclude(len(self.samples), [failure.exit_code for failure in evaluation.failures])

    def _sources(self, network: PredictionSettings, predictions: str | None, against: str | None) -> Iterator[Source]:
        from glpn_cli.evaluation.sources import FromFiles, FromNetwork

        taken = []
        if predictions is not None:
            source = FromFiles(
                Path(predictions), units_per_meter=self.samples.units_per_meter, samples=self.samples.files
            )
            taken.append(source.label)
            yield source
        named = ([] if predictions is not None else [network.weights]) + ([] if against is None else [against])
        predictors = [load_predictor(self.console, replace(network, weights=weights)) for weights in named]
        taken += [predictor.card.name for predictor in predictors]
        for weights, predictor in zip(named, predictors, strict=True):
            # Two files may carry one name; then the user's words tell them apart.
            label = weights if taken.count(predictor.card.name) > 1 else predictor.card.name
            if predictor.card.metric is False and self.settings.align is None:
                self.console.note(f"meters of {label!r} are approximate; --align median measures shapes, too")
            yield FromNetwork(predictor, label)

    def _report(self, evaluation: Evaluation) -> None:
        from glpn_cli.cli.tables import evaluation_tables
        from glpn_cli.evaluation.statistics import summarize

        title = self._title(evaluation)
        if self.json_lines:
            self.console.data(json.dumps(summarize(evaluation, self.data.data), allow_nan=False))
        elif evaluation.images:
            for table in evaluation_tables(evaluation, title):
                self.console.table(table)
        if evaluation.images:
            self._remark(evaluation)

    def _write(self, outputs: _Outputs, evaluation: Evaluation) -> None:
        for name in outputs.write(evaluation, self._title(evaluation)):
            self.console.info(name)

    def _title(self, evaluation: Evaluation) -> str:
        protocol = evaluation.protocol
        crop = "no crop" if str(protocol.crop) == "none" else f"crop {protocol.crop}"
        sure = f", {self.settings.confidence_percent:g} % intervals" if self.settings.resamples else ""
        name = os.path.basename(os.path.abspath(self.data.data))
        return f"{name}: {len(evaluation.images)} images, {crop}, depth below {protocol.cap_m:g} m{sure}"

    def _remark(self, evaluation: Evaluation) -> None:
        """Say what a reader of the figures should know."""
        from glpn_cli.evaluation.sources import FromFiles

        if self.settings.resamples and len(evaluation.images) < _FEW_IMAGES:
            self.console.note(f"intervals over {len(evaluation.images)} images say little")
        if evaluation.ramp is not None:
            self.console.info(f"the best ramp of all that were tried: {evaluation.ramp}")
        replaced = sum(sum(image.replaced.values()) for image in evaluation.images)
        if replaced:
            self.console.note(f"{replaced} predicted pixels were no depth, and count as the nearest or the cap")
        if any(isinstance(source, FromFiles) and source.approximate for source in evaluation.sources):
            self.console.note("predictions were read from 8-bit images, which have lost part of their accuracy")

    def _list(self, failures: Sequence[Failure]) -> None:
        for failure in failures[:_LISTED_FAILURES]:
            self.console.failure(failure.message, failure.hint)
        if len(failures) > _LISTED_FAILURES:
            self.console.info(f"and {len(failures) - _LISTED_FAILURES} more")
