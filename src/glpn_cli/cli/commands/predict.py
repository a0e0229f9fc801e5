"""`glpn predict`: depth of images, next to them or in one folder."""

from __future__ import annotations

import sys
import time
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from glpn_cli.cli.command import command
from glpn_cli.cli.console import Console, conclude
from glpn_cli.cli.options import LOGGING, Argument, Option
from glpn_cli.cli.process import check_stdin
from glpn_cli.cli.progress import RunProgress
from glpn_cli.cli.results import (
    DepthNotes,
    load_for_run,
    parse_anchors,
    print_anchors,
    print_details,
    read_image_list,
    record_of,
)
from glpn_cli.convert import ALL_DEVICES, parse_devices
from glpn_cli.errors import UsageError
from glpn_cli.settings import OutputSettings, PredictionSettings, RunSettings, SearchSettings
from glpn_cli.values import RangeMode

if TYPE_CHECKING:
    from collections.abc import Generator

    from glpn_cli.inference.plan import Plan, Task
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.inference.remote import RemotePredictor
    from glpn_cli.inference.result import Result
    from glpn_cli.inference.run import RunOptions


@command(
    arguments={
        "photos": Argument(
            "Images, folders, patterns such as '*.jpg', or - for standard input.", "PHOTO...", required=False
        )
    },
    options={
        "json": Option(
            "Print a JSON object per image on standard output. Writes no files without --output or --format.", LOGGING
        )
    },
    without=("batch_size", "workers", "shard"),
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
    run: RunSettings,
    anchor: tuple[str, ...],
    preview: bool,
    json: bool,
) -> None:
    """Predict the depth of photos.

    Writes photo.depth.png, a gray image for viewing, next to photo.jpg. Other formats store meters: npz, png16, tiff
    and more.
    """
    from glpn_cli.inference.plan import check_cluster, check_downloads, check_formats, plan_beside
    from glpn_cli.inference.run import RunOptions

    check_downloads(search, prediction)
    check_cluster(run, prediction)
    if preview and run.cluster is not None:
        raise UsageError("`cluster` and `preview` exclude each other: workers send no depth")
    plan = plan_beside(
        photos,
        output=output,
        formats=formats,
        overwrite=overwrite,
        write=not (preview or json),
        search=search,
        listed=read_image_list(from_list, photos, arriving=True),
        appearance=appearance,
    )
    if plan.formats or not preview:
        check_formats(plan.formats, appearance, prediction)
    _check_streams(plan, json=json)
    notes = DepthNotes(plan.formats, appearance)
    progress = _Progress(console, plan, appearance, json=json)
    options = RunOptions(
        anchors=parse_anchors(
            anchor, images=sum(not task.skipped for task in plan.tasks), more=plan.arriving is not None
        ),
        keep_depth=preview,
        describe=True,
        named_file=plan.named_file,
        take_notes=True,
        in_order=True,
        on_late=progress.count,
        arriving=plan.arriving is not None,
        note=console.note,
    )
    if plan.skipped_outputs:
        console.note(f"skipped {plan.skipped_outputs} depth files among the images")
    settings = replace(
        prediction,
        keep_rgb=any(row.needs_image for row in plan.formats),
        device=_choose_devices(plan, prediction.device),
    )
    if run.cluster is not None and (plan.from_stdin or plan.to_stdout):
        raise UsageError("a cluster reads and writes files, and neither standard input nor output", setting="cluster")
    try:
        with closing(_results(console, plan, settings, appearance, run, options)) as results:
            for result in results:
                notes.add(result.noted)
                progress.show(result)
    except KeyboardInterrupt:
        console.warn(f"interrupted: {progress.summary()}")
        raise
    notes.print(console)
    progress.finish()


def _check_streams(plan: Plan, *, json: bool) -> None:
    if plan.to_stdout and json:
        raise UsageError("standard output cannot take both depth and `json`", hint="set `output` to a file")
    if plan.to_stdout and sys.stdout is not None and sys.stdout.isatty():
        raise UsageError("standard output is a terminal", hint="set `output` to a file, or pipe into a program")
    if plan.from_stdin:
        check_stdin("an image", "cat photo.jpg | glpn predict -")


def _choose_devices(plan: Plan, device: str) -> str:
    """Return the devices for a plan: one image needs only one.

    Raises:
        UsageError: an image that only this process can read is to be shared.
    """
    names = parse_devices(device)
    if len(names) == 1 and names[0] != ALL_DEVICES:
        return device
    images = sum(not (task.failure or task.skipped) for task in plan.tasks)
    if images > 1 or plan.arriving is not None:
        if plan.from_stdin:
            raise UsageError("an image from standard input needs a single device", setting="device")
        return device
    if names[0] != ALL_DEVICES:
        return names[0]
    from glpn_cli.device import list_devices

    return list_devices(device)[0]


def _with_run_range(
    console: Console, plan: Plan, predictor: Predictor | RemotePredictor, appearance: OutputSettings
) -> OutputSettings:
    """Return the settings with the range that all images share, if they are to share one that has to be measured."""
    from glpn_cli.image.discovery import STDIN
    from glpn_cli.inference.color_range import choose_run_range

    sources = [task.source for task in plan.tasks if not (task.failure or task.skipped or task.source is STDIN)]
    if appearance.range is None or appearance.range.mode is not RangeMode.RUN or len(sources) < 2:
        return appearance
    return replace(appearance, range_m=choose_run_range(predictor, sources, appearance, RunProgress(console)))


def _results(
    console: Console,
    plan: Plan,
    prediction: PredictionSettings,
    appearance: OutputSettings,
    settings: RunSettings,
    options: RunOptions,
) -> Generator[Result]:
    """Yield the results; the network is loaded only if there is an image for it."""
    from glpn_cli.files import make_folder
    from glpn_cli.inference.remote import close_remote
    from glpn_cli.inference.result import failed_result, skipped_result
    from glpn_cli.inference.run import run

    tasks = chain(plan.tasks, plan.arriving or ())
    first = None
    for task in tasks:
        if task.failure is None and not task.skipped:
            first = task
            break
        yield skipped_result(task) if task.failure is None else failed_result(task, task.failure)
    if first is None:
        return
    predictor = load_for_run(console, prediction, settings.cluster)
    with ExitStack() as stack:
        stack.callback(close_remote, predictor)
        appearance = _with_run_range(console, plan, predictor, appearance)
        if plan.folder is not None:
            make_folder(plan.folder)
        has_bar = len(plan.tasks) > 1 and plan.arriving is None
        progress = RunProgress(console, "depth", len(plan.tasks), lines=False)
        found = run(chain([first], tasks), predictor, appearance, settings=settings, options=options)
        results = stack.enter_context(closing(found))
        if has_bar:
            stack.enter_context(progress)
        for result in results:
            yield result
            if has_bar:
                progress.advance()


class _Progress:
    """Prints each result as it is finished, and counts."""

    def __init__(self, console: Console, plan: Plan, appearance: OutputSettings, *, json: bool) -> None:
        self._console = console
        self._plan = plan
        self._appearance = appearance
        self._json = json
        self._counts: Counter[str] = Counter()
        self._failures: list[int] = []
        self._start_s = time.perf_counter()

    def count(self, result: Result) -> None:
        """Count a result that is not shown any more."""
        self._counts[result.record.status] += 1
        if result.error is not None:
            self._failures.append(result.error.exit_code)

    def show(self, result: Result) -> None:
        """Print a result, and its record if JSON is wanted."""
        self.count(result)
        if result.error is not None:
            self._console.error(result.error)
        elif result.task.skipped:
            self._console.detail(f"{result.task.source}: skipped, {result.task.skipped}")
        else:
            _print_result(self._console, result, self._appearance)
        if self._json:
            self._console.record(record_of(self._console, result))

    def summary(self) -> str:
        """Return how many images are done."""
        from glpn_cli.inference.record import DONE
        from glpn_cli.inference.result import UP_TO_DATE

        done, current = self._counts[DONE], self._counts[UP_TO_DATE]
        total = f" of {self._images}" if self._plan.arriving is None else ""
        return f"{done}{total} done" + (f", {current} up to date" if current else "")

    def finish(self) -> None:
        """Print the summary, and exit according to the failures.

        Raises:
            PartialFailureError: some images failed, or all for different reasons.
            typer.Exit: all failed for the same reason, with its code.
        """
        from glpn_cli.inference.result import SKIPPED

        left_out = self._plan.left_out
        left_out.other = self._counts[SKIPPED]
        for note in left_out.notes():
            self._console.note(note)
        images = sum(self._counts.values()) - self._counts[SKIPPED]
        if images > 1:
            self._console.info(f"{self.summary()} in {time.perf_counter() - self._start_s:.1f} s")
        conclude(images, self._failures)

    @property
    def _images(self) -> int:
        return sum(not task.skipped for task in self._plan.tasks)


def _print_result(console: Console, result: Result, appearance: OutputSettings) -> None:
    facts = result.facts
    names = ", ".join(str(path) for _, path in result.task.outputs) or str(result.task.source)
    if result.stdout is not None:
        console.raw_data(result.stdout)
        names = "standard output"
    state = "" if result.is_new else "up to date, "
    if not facts:
        console.info(f"{names}: {state.rstrip(', ')}")
        return
    for note in facts["notes"]:
        console.note(note, about=_name_of(result.task))
    weights = facts["weights"]
    roughly = "about " if weights["metric"] is False else ""
    console.info(
        f"{names}: {state}{roughly}{facts['depth_m']['min']:.2f} to {facts['depth_m']['max']:.2f} m "
        f"({weights['name']}, {facts['device']}, {facts['precision']}, {sum(result.elapsed_s.values()):.2f} s)"
    )
    print_anchors(console, facts["anchor_factor"], facts["anchors"])
    if result.depth is not None:
        from glpn_cli.cli.preview import show_preview

        show_preview(console, result.depth, appearance)
    print_details(console, result)


def _name_of(task: Task) -> str:
    from glpn_cli.image.discovery import STDIN

    return "standard input" if task.source is STDIN else str(task.source)
