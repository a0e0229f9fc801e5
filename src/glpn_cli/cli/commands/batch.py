"""`glpn batch`: depth of whole folders, in a run that can be interrupted and resumed."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli.cli.command import command
from glpn_cli.cli.console import Console, conclude, printable
from glpn_cli.cli.options import OUTPUT, Argument, Option
from glpn_cli.cli.progress import RunProgress
from glpn_cli.cli.results import DepthNotes, load_for_run, read_image_list, record_of
from glpn_cli.convert import EMPTY_HINT
from glpn_cli.errors import OutputError, PartialFailureError, ReaderGoneError, UsageError
from glpn_cli.settings import OutputSettings, PredictionSettings, RunSettings, SearchSettings

if TYPE_CHECKING:
    from glpn_cli.inference.batch import Batch, BatchRun
    from glpn_cli.inference.result import Result


@command(
    arguments={"folders": Argument("Folders with images.", "FOLDER...", required=False)},
    options={
        "output": Option(
            "Output folder; it mirrors the folders of the images.",
            OUTPUT,
            "DIR",
            short="-o",
            aliases=("--out",),
            required=True,
        ),
    },
    examples=(
        "glpn batch shots/ --output depths/",
        "glpn batch shots/ -o depths/ --legend --report",
        "glpn batch left/ right/ -o depths/ --format png16 --weights kitti",
        "glpn batch --verify -o depths/",
    ),
)
def batch(
    console: Console,
    folders: tuple[str, ...],
    *,
    from_list: str | None = None,
    search: SearchSettings,
    output: str,
    formats: tuple[str, ...],
    overwrite: bool,
    report: bool,
    dry_run: bool,
    verify: bool,
    appearance: OutputSettings,
    prediction: PredictionSettings,
    run: RunSettings,
    json: bool,
) -> None:
    """Predict the depth of all images in folders.

    Run the same command again to resume an interrupted run. DIR/glpn-batch.jsonl, the manifest, has one line for each
    image.
    """
    if not output:
        raise UsageError("must not be empty", hint=EMPTY_HINT, setting="output")
    if verify:
        _check_verify(any_images=bool(folders or from_list), writes=dry_run or overwrite or report)
        _verify(console, Path(output).absolute(), json=json)
        return
    if dry_run and json:
        raise UsageError("`dry_run` and `json` exclude each other")
    from glpn_cli.inference.batch import make_batch

    settings = {**vars(appearance), **vars(prediction), **vars(run), **vars(search)}
    planned = make_batch(
        folders,
        output,
        formats=formats,
        overwrite=overwrite,
        listed=read_image_list(from_list, ()),
        **settings,
    )
    if dry_run:
        _print_plan(console, planned)
    else:
        _run(console, planned, report=report, json=json)


def _check_verify(*, any_images: bool, writes: bool) -> None:
    if any_images:
        raise UsageError("`verify` takes no images", hint="glpn batch --verify --output DIR")
    if writes:
        raise UsageError("`verify` writes nothing, so it excludes `dry_run`, `overwrite` and `report`")


def _run(console: Console, planned: Batch, *, report: bool, json: bool) -> None:
    from glpn_cli.api import open_batch
    from glpn_cli.inference.run import RunOptions

    notes = DepthNotes(planned.formats, planned.output)
    late = 0

    def count_late(result: Result) -> None:
        nonlocal late
        late += result.is_new

    options = RunOptions(
        describe=json,
        take_notes=True,
        on_late=count_late,
        note=console.note,
    )
    running = open_batch(
        planned,
        lambda settings: load_for_run(console, settings, planned.run.cluster),
        report=report,
        progress=RunProgress(console),
        options=options,
    )
    failures: list[tuple[str, str | None]] = []
    codes: list[int] = []
    done = 0
    start_s = time.perf_counter()
    try:
        with running:
            if json:
                _print_current(console, running)
            for result in running:
                if json:
                    console.record(record_of(console, result))
                notes.add(result.noted)
                if result.error is None:
                    done += 1
                    console.detail(f"{result.task.source}: done in {result.record.seconds:.2f} s")
                else:
                    codes.append(result.error.exit_code)
                    failures.append((result.error.message, result.error.hint))
                    console.trace(result.error)
                    console.detail(f"{result.task.source}: failed")
            _print_summary(console, running, notes, done, time.perf_counter() - start_s)
    except (KeyboardInterrupt, OutputError) as error:
        if running.pending and not isinstance(error, ReaderGoneError):
            ended = "interrupted" if isinstance(error, KeyboardInterrupt) else "stopped"
            console.warn(f"{ended}: {done + late} of {len(running.pending)} done; run the same command again to resume")
        raise
    if running.pending and not report:
        _print_stale_report(console, planned.out)
    console.failures(failures, where=f", in {planned.out}")
    conclude(len(running.tasks), codes)


def _print_current(console: Console, running: BatchRun) -> None:
    """Print the records of the images that an earlier run finished."""
    from glpn_cli.inference.result import current_result

    for task in running.tasks.done:
        known = running.manifest.records[str(task.source)].sha256
        hashes = {row.name: known[row.name] for row, _ in task.outputs if row.name in known}
        console.record(current_result(task, hashes).to_dict())


def _print_summary(console: Console, running: BatchRun, notes: DepthNotes, done: int, elapsed_s: float) -> None:
    out = running.batch.out
    for note in running.batch.left_out.notes():
        console.note(note)
    if not running.pending:
        console.info(f"all {len(running.tasks)} images are up to date, in {out}")
        return
    notes.print(console)
    explained = [row.name for row in running.batch.formats if row.is_explained]
    if explained:
        console.note(f"`glpn info FILE` prints what the values of {' and '.join(explained)} files mean")
    up_to_date = len(running.tasks) - len(running.pending)
    before = f", {up_to_date} up to date" if up_to_date else ""
    predictor = running.predictor
    console.info(
        f"{done} of {len(running.pending)} done in {elapsed_s:.1f} s{before} "
        f"({predictor.card.name}, {predictor.runtime.device}, {predictor.runtime.precision}), in {out}"
    )


def _print_stale_report(console: Console, folder: Path) -> None:
    """Print that the report of an earlier run does not show this one."""
    from glpn_cli.report.report import PAGE_NAME, has_report

    if has_report(folder):
        console.info(f"{PAGE_NAME} does not show this run yet; run the same command with `report` to update it")


def _print_plan(console: Console, planned: Batch) -> None:
    """Print what would be written, one line for each image."""
    tasks = planned.plan()
    failed = 0
    for task in tasks:
        failed += task.failure is not None
        state = "up to date" if task.done else "pending"
        if task.failure is not None:
            state = console.in_flags(task.failure.message)
        outputs = f" -> {', '.join(str(path) for _, path in task.outputs)}" if task.outputs else ""
        console.data(printable(f"{task.source}{outputs}: {state}"))
    for note in planned.left_out.notes():
        console.note(note)
    done = len(tasks.done)
    console.info(f"{len(tasks) - done - failed} pending, {done} up to date, {failed} cannot be processed")


def _verify(console: Console, folder: Path, *, json: bool) -> None:
    """Print every output that is not as the manifest says, or all of them as JSON.

    Raises:
        DepthFileError: the folder has no manifest.
        PartialFailureError: outputs are missing or changed.
    """
    from glpn_cli.inference.verify import INTACT, verify_outputs

    counts: Counter[str] = Counter()
    wrong = 0
    for finding in verify_outputs(folder):
        counts[finding.status] += 1
        wrong += finding.is_wrong
        if json:
            console.record(asdict(finding))
        elif finding.status != INTACT:
            console.data(printable(f"{finding.status}: {folder / finding.output}"))
    others = "".join(f", {count} {status}" for status, count in counts.items() if status != INTACT)
    console.info(f"{counts[INTACT]} intact{others}, in {folder}")
    if wrong:
        raise PartialFailureError(
            f"{wrong} outputs are missing or changed",
            hint="delete the changed files and run the batch again to write them",
        )
