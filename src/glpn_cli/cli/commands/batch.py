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
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.inference.remote import RemotePredictor
    from glpn_cli.inference.result import Result
    from glpn_cli.inference.run import RunOptions
    from glpn_cli.inference.store import Location
    from glpn_cli.inference.tar_batch import TarBatch, TarRun


@command(
    arguments={
        "folders": Argument("Folders with images, or tars: paths, or URLs such as s3://.", "FOLDER...", required=False)
    },
    options={
        "output": Option(
            "Output folder; it mirrors the folders of the images. For tars also a URL.",
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
        "glpn batch 's3://bucket/{000..099}.tar' -o s3://bucket/depth",
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
        _verify(console, output, json=json)
        return
    if dry_run and json:
        raise UsageError("`dry_run` and `json` exclude each other")
    settings = {**vars(appearance), **vars(prediction), **vars(run), **vars(search)}
    settings |= {"formats": formats, "overwrite": overwrite, "listed": read_image_list(from_list, ())}
    from glpn_cli.inference.store import names_tars

    if names_tars(folders, output):
        from glpn_cli.inference.tar_batch import make_tar_batch

        tars = make_tar_batch(folders, output, **settings)
        if dry_run:
            _print_tars(console, tars)
        else:
            _run(console, tars, report=report, json=json)
        return
    from glpn_cli.inference.batch import make_batch

    planned = make_batch(folders, output, **settings)
    if dry_run:
        _print_plan(console, planned)
    else:
        _run(console, planned, report=report, json=json)


def _check_verify(*, any_images: bool, writes: bool) -> None:
    if any_images:
        raise UsageError("`verify` takes no images", hint="glpn batch --verify --output DIR")
    if writes:
        raise UsageError("`verify` writes nothing, so it excludes `dry_run`, `overwrite` and `report`")


def _run(console: Console, planned: Batch | TarBatch, *, report: bool, json: bool) -> None:
    from glpn_cli.inference.batch import Batch
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
    running = _open(console, planned, options, report=report)
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
    if running.pending and not report and isinstance(planned, Batch):
        _print_stale_report(console, planned.out)
    console.failures(failures, where=f", in {planned.out}")
    conclude(len(running.tasks), codes)


def _open(console: Console, planned: Batch | TarBatch, options: RunOptions, *, report: bool) -> BatchRun | TarRun:
    from glpn_cli.api import open_batch, open_tar_batch
    from glpn_cli.inference.batch import Batch

    def load(settings: PredictionSettings) -> Predictor | RemotePredictor:
        return load_for_run(console, settings, planned.run.cluster)

    progress = RunProgress(console)
    if isinstance(planned, Batch):
        return open_batch(planned, load, report=report, progress=progress, options=options)
    return open_tar_batch(planned, load, report=report, progress=progress, options=options)


def _print_current(console: Console, running: BatchRun | TarRun) -> None:
    """Print the records of the images that an earlier run finished."""
    from glpn_cli.inference.batch import BatchRun
    from glpn_cli.inference.result import UP_TO_DATE, current_result

    if not isinstance(running, BatchRun):
        for record in running.known_records():
            values = {"source": record.source, "status": UP_TO_DATE}
            console.record(values | {"outputs": record.outputs, "sha256": record.sha256})
        return
    for task in running.tasks.done:
        known = running.manifest.records[str(task.source)].sha256
        hashes = {row.name: known[row.name] for row, _ in task.outputs if row.name in known}
        console.record(current_result(task, hashes).to_dict())


def _print_summary(
    console: Console, running: BatchRun | TarRun, notes: DepthNotes, done: int, elapsed_s: float
) -> None:
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


def _print_tars(console: Console, planned: TarBatch) -> None:
    """Print what would be written, one line for each tar."""
    from glpn_cli.inference.tar_batch import find_units

    units = find_units(planned, planned.out.list_sizes())
    for unit in units:
        known = unit.known
        state = "pending" if known is None else f"{known.done} images done, {known.failed} failed"
        console.data(printable(f"{unit.source} -> {unit.tar}: {state}"))
    console.info(f"{sum(unit.known is None for unit in units)} of {len(units)} tars pending")


def _verify(console: Console, output: str, *, json: bool) -> None:
    """Print every output that is not as the manifest or a record file says, or all of them as JSON.

    Raises:
        DepthFileError: the folder has neither.
        PartialFailureError: outputs are missing or changed.
    """
    from glpn_cli.inference.store import Location, is_store_url
    from glpn_cli.inference.tars import RECORD_SUFFIX
    from glpn_cli.inference.verify import INTACT, verify_outputs, verify_tars

    counts: Counter[str] = Counter()
    wrong = 0
    folder: Path | Location = Path(output).absolute()
    if is_store_url(output) or next(Path(output).glob(f"*{RECORD_SUFFIX}"), None) is not None:
        folder = Location.parse(output)
        findings = verify_tars(folder)
    else:
        findings = verify_outputs(Path(output).absolute())
    for finding in findings:
        counts[finding.status] += 1
        wrong += finding.is_wrong
        if json:
            console.record(asdict(finding))
        elif finding.status != INTACT:
            console.data(printable(f"{finding.status}: {folder}/{finding.output}"))
    others = "".join(f", {count} {status}" for status, count in counts.items() if status != INTACT)
    console.info(f"{counts[INTACT]} intact{others}, in {folder}")
    if wrong:
        raise PartialFailureError(
            f"{wrong} outputs are missing or changed",
            hint="delete the changed files and run the batch again to write them",
        )
