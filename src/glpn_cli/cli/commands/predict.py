"""`glpn predict`: depth of images, next to them or in one folder."""

from __future__ import annotations

import sys
import time
from contextlib import closing, nullcontext
from dataclasses import replace
from json import dumps
from typing import TYPE_CHECKING

from glpn_cli.cli.command import command
from glpn_cli.cli.console import Console, conclude
from glpn_cli.cli.options import Argument
from glpn_cli.cli.process import check_stdin
from glpn_cli.cli.progress import RunProgress
from glpn_cli.cli.results import (
    DepthNotes,
    load_predictor,
    parse_anchors,
    print_anchors,
    print_details,
    read_image_list,
    record_of,
)
from glpn_cli.errors import UsageError
from glpn_cli.settings import OutputSettings, PredictionSettings, RangeMode, SearchSettings

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from glpn_cli.inference.plan import Plan
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.inference.result import Result
    from glpn_cli.inference.run import RunOptions


@command(
    arguments={
        "photos": Argument(
            "Images, folders, patterns such as '*.jpg', or - for standard input.", "PHOTO...", required=False
        )
    },
    examples=(
        "glpn predict photo.jpg",
        "glpn predict photo.jpg --legend",
        "glpn predict shots/*.jpg --format png16,npz --output depths/",
        "glpn predict photo.jpg --format glb --fov-deg 70",
        "cat photo.jpg | glpn predict - > depth.png",
    ),
)
def predict(
    console: Console,
    photos: tuple[str, ...],
    *,
    from_list: str | None = None,
    search: SearchSettings,
    output: str | None = None,
    formats: tuple[str, ...],
    overwrite: bool,
    appearance: OutputSettings,
    prediction: PredictionSettings,
    anchor: tuple[str, ...],
    preview: bool,
    json: bool,
) -> None:
    """Predict the depth of photos.

    Writes photo.depth.png, a gray image for viewing, next to photo.jpg. Other formats store meters: npz, png16, tiff
    and more.
    """
    from glpn_cli.inference.plan import check_downloads, check_formats, plan_beside
    from glpn_cli.inference.run import RunOptions

    check_downloads(search, prediction)
    plan = plan_beside(
        photos,
        output=output,
        formats=formats,
        overwrite=overwrite,
        search=search,
        listed=read_image_list(from_list, photos),
        appearance=appearance,
    )
    check_formats(plan.formats, appearance, prediction)
    _check_streams(plan, json=json)
    notes = DepthNotes(plan.formats, appearance)
    options = RunOptions(
        anchors=parse_anchors(anchor, images=len(plan.tasks)),
        keep_depth=preview,
        describe=True,
        named_file=plan.named_file,
        observe=notes.observe,
        observe_final=notes.observe_final,
        note=console.note,
    )
    if plan.skipped_outputs:
        console.note(f"skipped {plan.skipped_outputs} depth files among the images")
    settings = replace(prediction, keep_rgb=any(row.needs_image for row in plan.formats))
    start_s = time.perf_counter()
    predictor = None if all(task.failure for task in plan.tasks) else load_predictor(console, settings)
    if predictor is not None:
        appearance = _with_run_range(console, plan, predictor, appearance)
    with closing(_results(console, plan, predictor, appearance, options)) as results:
        failures = _report(console, results, len(plan.tasks), appearance, json=json)
    notes.print(console)
    if len(plan.tasks) > 1:
        done = len(plan.tasks) - len(failures)
        console.info(f"{done} of {len(plan.tasks)} done in {time.perf_counter() - start_s:.1f} s")
    conclude(len(plan.tasks), failures)


def _check_streams(plan: Plan, *, json: bool) -> None:
    if plan.to_stdout and json:
        raise UsageError("standard output cannot take both depth and `json`", hint="set `output` to a file")
    if plan.to_stdout and sys.stdout is not None and sys.stdout.isatty():
        raise UsageError("standard output is a terminal", hint="set `output` to a file, or pipe into a program")
    if plan.from_stdin:
        check_stdin("an image", "cat photo.jpg | glpn predict -")


def _with_run_range(console: Console, plan: Plan, predictor: Predictor, appearance: OutputSettings) -> OutputSettings:
    """Return the settings with the range that all images share, if they are to share one that has to be measured."""
    from glpn_cli.image.discovery import STDIN
    from glpn_cli.inference.color_range import choose_run_range

    sources = [task.source for task in plan.tasks if task.failure is None and task.source is not STDIN]
    if appearance.range is None or appearance.range.mode is not RangeMode.RUN or len(plan.tasks) == 1 or not sources:
        return appearance
    return replace(appearance, range_m=choose_run_range(predictor, sources, appearance, RunProgress(console)))


def _results(
    console: Console, plan: Plan, predictor: Predictor | None, appearance: OutputSettings, options: RunOptions
) -> Generator[Result]:
    """Yield the results; without a predictor, all tasks have failed."""
    from glpn_cli.files import make_folder
    from glpn_cli.inference.result import failed_result
    from glpn_cli.inference.run import run

    if predictor is None:
        yield from (failed_result(task, task.failure) for task in plan.tasks if task.failure is not None)
        return
    if plan.folder is not None:
        make_folder(plan.folder)
    several = len(plan.tasks) > 1
    progress = RunProgress(console, "depth", len(plan.tasks), lines=False)
    results = run(plan.tasks, predictor, appearance, options=options)
    with closing(results), progress if several else nullcontext():
        for result in results:
            yield result
            if several:
                progress.advance()


def _report(
    console: Console, results: Iterator[Result], total: int, appearance: OutputSettings, *, json: bool
) -> list[int]:
    """Print each result as it is finished; return the exit codes of those that failed."""
    failures: list[int] = []
    done = 0
    try:
        for result in results:
            if result.error is None:
                done += 1
                _print_result(console, result, appearance)
            else:
                failures.append(result.error.exit_code)
                console.error(result.error)
            if json:
                console.data(dumps(record_of(console, result), allow_nan=False))
    except KeyboardInterrupt:
        console.warn(f"interrupted: {done} of {total} done")
        raise
    return failures


def _print_result(console: Console, result: Result, appearance: OutputSettings) -> None:
    facts = result.facts
    if result.stdout is not None:
        console.raw_data(result.stdout)
    for note in facts["notes"]:
        console.note(note, about=str(result.task.source))
    names = "standard output" if result.task.to_stdout else ", ".join(str(path) for _, path in result.task.outputs)
    weights = facts["weights"]
    roughly = "about " if weights["metric"] is False else ""
    console.info(
        f"{names}: {roughly}{facts['depth_m']['min']:.2f} to {facts['depth_m']['max']:.2f} m "
        f"({weights['name']}, {facts['device']}, {facts['precision']}, {sum(result.elapsed_s.values()):.2f} s)"
    )
    print_anchors(console, facts["anchor_factor"], facts["anchors"])
    if result.depth is not None:
        from glpn_cli.cli.preview import show_preview

        show_preview(console, result.depth, appearance)
    print_details(console, result)
