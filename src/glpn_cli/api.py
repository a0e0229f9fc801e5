"""Batches with a report, for Python (`glpn_cli.run_batch`) and the command line."""

from __future__ import annotations

from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any

from glpn_cli.errors import OutputError, UsageError
from glpn_cli.inference.batch import BatchRun, make_batch
from glpn_cli.inference.load import load_for_run, warn_if_approximate
from glpn_cli.inference.progress import BatchProgress
from glpn_cli.inference.store import names_tars

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from glpn_cli.inference.batch import Batch
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.inference.record import Record
    from glpn_cli.inference.remote import RemotePredictor
    from glpn_cli.inference.result import Result
    from glpn_cli.inference.run import RunOptions
    from glpn_cli.inference.tar_batch import TarBatch, TarRun
    from glpn_cli.report.report import Report
    from glpn_cli.settings import PredictionSettings


def run_batch(
    folders: str | PathLike[str] | Sequence[str | PathLike[str]],
    output: str | PathLike[str],
    *,
    formats: str | Sequence[str] = (),
    overwrite: bool = False,
    report: bool = False,
    progress: Callable[[Result, int, int], None] | None = None,
    **settings: Any,
) -> list[Record]:
    """Predict the depth of all images in folders, as `glpn batch` does.

    Subfolders are processed and mirrored in the output folder. An interrupted run resumes when it is called again with
    the same settings: images whose outputs exist and are unchanged are skipped. One unreadable image does not stop the
    others; its record has the error.

    Args:
        folders: a folder with images, or several. Or tars with images, as paths or URLs of object stores, with braces
            ("s3://bucket/{000..099}.tar") or patterns: each becomes a tar with depth and a record file.
        output: the output folder; it is created. Its manifest, `glpn-batch.jsonl`, has a line for each image. For tars
            also a URL, such as "s3://bucket/depth".
        formats: names of formats, such as "png", "png16", "npz" or "color"; also as one text, "png16,npz". Empty is
            "png", or "color" if a setting that only affects color images is set, such as `legend`.
        overwrite: replace existing outputs.
        report: also write `index.html`, which shows every image beside its depth.
        progress: called in the caller's thread after each image, with its result, the number of finished images, and
            the number of all images to process. If it raises, the run ends, and the next one resumes.
        **settings: fields of `PredictionSettings` (`weights`, `device`, `precision`, ...), `OutputSettings`
            (`colormap`, `range`, `legend`, ...), `RunSettings` (`workers`, `batch_size`) and `SearchSettings`
            (`recursive`, `include`, `exclude`, ...) of `glpn_cli.settings`, also as text. `device` may be several,
            such as "cuda:0,cuda:1", or "all": each gets a process, and images are finished in any order. `cluster`
            names a running Ray cluster, "auto" or HOST:PORT; `device` is then that of each worker.

    Returns:
        The record of every image: `source`, `status` ("done" or "failed"), `outputs` by format relative to the
        output folder, `error`, `hint`, `seconds`, `sha256`, `settings`. Images of earlier runs come first.

    Raises:
        UsageError: a setting is invalid, or the outputs there were made with other settings.
        InputError: there are no images.
        OutputError: the output folder cannot be used, or another process writes into it.
        WeightsError, DeviceError, MissingPackageError: as from `load`.
        TypeError: there is no such setting.
    """
    named = [folders] if isinstance(folders, str | PathLike) else folders
    if names_tars(named, output):
        return _run_tars(named, output, formats, progress, overwrite=overwrite, report=report, settings=settings)
    batch = make_batch(named, output, formats=formats, overwrite=overwrite, **settings)
    if not batch.folders:
        raise UsageError("must name at least one folder", setting="folders")
    load = partial(load_for_run, cluster=batch.run.cluster)
    with open_batch(batch, load, report=report) as running:
        warn_if_approximate(running.predictor)
        known = running.manifest.records
        records = [known[str(task.source)] for task in running.tasks.done]
        for finished, result in enumerate(running, start=1):
            records.append(result.record)
            if progress is not None:
                progress(result, finished, len(running.pending))
    return records


def _run_tars(
    tars: Sequence[str | PathLike[str]],
    output: str | PathLike[str],
    formats: str | Sequence[str],
    progress: Callable[[Result, int, int], None] | None,
    *,
    overwrite: bool,
    report: bool,
    settings: dict[str, Any],
) -> list[Record]:
    """Do what `run_batch` does, with tars; the number of all images is that of those that are finished."""
    from glpn_cli.inference.tar_batch import make_tar_batch

    batch = make_tar_batch(tars, output, formats=formats, overwrite=overwrite, **settings)
    with open_tar_batch(batch, load_for_run, report=report) as running:
        warn_if_approximate(running.predictor)
        records = list(running.known_records())
        for finished, result in enumerate(running, start=1):
            records.append(result.record)
            if progress is not None:
                progress(result, finished, len(running.pending))
    return records


def open_tar_batch(
    batch: TarBatch,
    load: Callable[[PredictionSettings], Predictor | RemotePredictor],
    *,
    report: bool = False,
    progress: BatchProgress | None = None,
    options: RunOptions | None = None,
) -> TarRun:
    """Return a run of a batch of tars; see `open_batch` for the arguments.

    Raises:
        UsageError: a report is wanted.
    """
    from glpn_cli.inference.tar_batch import TarRun

    if report:
        raise UsageError("`report` shows files, so it excludes tars", hint="unpack some of the tars")
    return TarRun(batch, load, progress=progress, options=options)


def open_batch(
    batch: Batch,
    load: Callable[[PredictionSettings], Predictor | RemotePredictor],
    *,
    report: bool = False,
    progress: BatchProgress | None = None,
    options: RunOptions | None = None,
) -> BatchRun:
    """Return a run of a batch, with a report if one is wanted; see `BatchRun`.

    Args:
        batch: what to do.
        load: returns the predictor.
        report: also write `index.html`.
        progress: is notified of what happens.
        options: callbacks of the run loop.

    Raises:
        UsageError: a report of a shard is wanted.
        OutputExistsError: another program's `index.html` is in the output folder, and `overwrite` is not set.
    """
    progress = progress or BatchProgress()
    if not report:
        return BatchRun(batch, load, progress=progress, options=options)
    if batch.run.shard is not None:
        raise UsageError(
            "`report` shows all images, so it excludes `shard`", hint="after the last shard, run once without `shard`"
        )
    from glpn_cli.report.report import refuse_to_replace_page

    refuse_to_replace_page(batch.out, overwrite=batch.overwrite)
    return BatchRun(
        replace(batch, prediction=replace(batch.prediction, keep_rgb=True)),
        load,
        report=lambda running, values: _open_report(running, values, progress),
        progress=progress,
        options=options,
    )


@contextmanager
def _open_report(running: BatchRun, fingerprint: dict[str, Any], progress: BatchProgress) -> Generator[Report]:
    """Keep a report up to date while a batch runs."""
    from glpn_cli.report.index import describe_run
    from glpn_cli.report.report import Report

    batch = running.batch
    colors = replace(running.output, range_m=running.color_range_m)
    facts = describe_run(running.predictor, batch.folders or [str(batch.out)], fingerprint, colors)
    records = running.manifest.records
    report = Report(batch.out, facts)
    report.begin(records, total=len(records.keys() | {str(task.source) for task in running.tasks}))
    try:
        _add_missing(report, batch.run.worker_count, progress)
        yield report
    except BaseException:
        with suppress(OutputError):  # the error that ended the run matters more
            report.end(complete=False)
        raise
    report.end(complete=True)
    progress.info(f"report: {report.page}")


def _add_missing(report: Report, workers: int, progress: BatchProgress) -> None:
    """Add images of earlier runs to a report."""
    missing = report.missing()
    if not missing:
        return
    progress.info(f"adding {len(missing)} images of earlier runs to the report")
    progress.start("report", len(missing))
    try:
        with closing(report.catch_up(missing, workers=workers)) as added:
            for _ in added:
                progress.advance()
    finally:
        progress.stop()
