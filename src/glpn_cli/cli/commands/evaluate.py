"""`glpn evaluate`: accuracy, by the metrics of the paper."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from glpn_cli.cli.command import command
from glpn_cli.cli.console import Console, conclude
from glpn_cli.cli.options import LOGGING, METRICS, OPTIONS, OUTPUT, Argument, Option
from glpn_cli.cli.progress import RunProgress
from glpn_cli.cli.results import load_predictor
from glpn_cli.cli.tables import TableStyle
from glpn_cli.data.settings import DataSettings, EvaluationSettings
from glpn_cli.errors import UsageError
from glpn_cli.settings import PredictionSettings

if TYPE_CHECKING:
    from glpn_cli.evaluation.run import Evaluation


@command(
    arguments={
        "source": Argument(
            "A data set of the paper, or a folder of NAME.jpg with 16-bit NAME.png.",
            "nyu|kitti|FOLDER",
            required=False,
            fills="data",
        )
    },
    options={
        "data": replace(OPTIONS[DataSettings]["data"], required=False, help="The data set, instead of the argument."),
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
        "table": Option("Format of the table.", OUTPUT, default="text"),
        "json": Option("Print a JSON object for each image and one for all, instead of the table.", LOGGING),
    },
    without=("fov_deg", "focal_px", "focal_mm_35", "camera", "stretch"),
    examples=(
        "glpn evaluate nyu --weights nyu",
        "glpn evaluate rooms/ --units-per-meter 1000 --align median --figure rooms.png",
        "glpn evaluate kitti --weights kitti --against mine --json",
        "glpn evaluate rooms/ --units-per-meter 1000 --predictions depths/ --table csv",
    ),
)
def evaluate(
    console: Console,
    source: str | None = None,  # noqa: ARG001 - it becomes `data`
    *,
    data: DataSettings,
    protocol: EvaluationSettings,
    predictions: str | None = None,
    against: str | None = None,
    figure: str | None = None,
    per_image: str | None = None,
    overwrite: bool,
    table: TableStyle = TableStyle.TEXT,
    prediction: PredictionSettings,
    json: bool,
) -> None:
    """Evaluate depth against ground truth, by the protocol of the paper.

    Metrics are means over images; docs/evaluation.md explains them.
    """
    from glpn_cli.evaluation.run import ResultFiles, open_evaluation

    if json and table is not TableStyle.TEXT:
        raise UsageError("`json` and `table` exclude each other")
    evaluation = open_evaluation(
        data,
        protocol,
        prediction,
        predictions=predictions,
        against=against,
        files=ResultFiles(figure, per_image, overwrite),
        load=partial(load_predictor, console),
    )
    for note in evaluation.notes:
        console.note(note)
    try:
        with evaluation:  # writes the files at its end
            _run(console, evaluation, json=json)
            _print_results(console, evaluation, table, json=json)
    finally:
        for name in evaluation.written:
            console.info(name)
    failures = [(failure.message, failure.hint) for failure in evaluation.failures]
    console.failures(failures)
    conclude(len(evaluation.samples), [failure.exit_code for failure in evaluation.failures])


def _run(console: Console, evaluation: Evaluation, *, json: bool) -> None:
    from glpn_cli.evaluation.scores import Failure

    total = len(evaluation.samples)
    try:
        with RunProgress(console, "depth", total) as progress:
            for result in evaluation.run():
                progress.advance()
                if json:
                    console.record(result.to_dict())
                if isinstance(result, Failure):
                    console.detail(f"{result.name}: failed")
    except KeyboardInterrupt:
        console.warn(f"interrupted: {len(evaluation.images)} of {total} done")
        raise


def _print_results(console: Console, evaluation: Evaluation, table: TableStyle, *, json: bool) -> None:
    from glpn_cli.cli.tables import print_evaluation

    if json:
        console.record(evaluation.summary())
    elif evaluation.images:
        print_evaluation(console, evaluation, table)
    if evaluation.ramp is not None:
        console.info(f"best ramp: {evaluation.ramp}")
    for caveat in evaluation.caveats():
        console.note(caveat)
