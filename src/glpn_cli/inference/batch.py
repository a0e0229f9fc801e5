"""A batch: folders mirrored into one output folder, with a manifest that lets an interrupted run resume."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from glpn_cli.convert import EMPTY_HINT, refuse_unknown_keywords
from glpn_cli.errors import InputError, UsageError
from glpn_cli.image.folder import LeftOut
from glpn_cli.inference.color_range import choose_run_range, share_range, shares_range, spread_sample
from glpn_cli.inference.engines import choose_engine, may_choose
from glpn_cli.inference.fingerprint import RANGE_M, changed_settings, fingerprint, previous_range
from glpn_cli.inference.manifest import Manifest, read_records
from glpn_cli.inference.mirror import plan_mirrored
from glpn_cli.inference.plan import check_cluster, check_downloads, check_formats
from glpn_cli.inference.progress import BatchProgress
from glpn_cli.inference.remote import close_remote
from glpn_cli.inference.run import RunOptions, run
from glpn_cli.inference.task_table import TaskTable
from glpn_cli.output.formats import DEFAULT_FORMAT, FORMATS, default_formats, find_formats
from glpn_cli.settings import OutputSettings, PredictionSettings, RunSettings, SearchSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from types import TracebackType

    from glpn_cli.depth import DepthMap
    from glpn_cli.image.discovery import ImageList
    from glpn_cli.inference.plan import Task
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.inference.record import Record
    from glpn_cli.inference.remote import RemotePredictor
    from glpn_cli.inference.result import Result
    from glpn_cli.output.formats import DepthFormat


class Reporter(Protocol):
    """Collects results while a batch runs, such as `report.report.Report`."""

    @property
    def recorder(self) -> Callable[[Record, DepthMap], Any]:
        """Takes a depth map before its outputs appear, and returns its entry; called in a writer thread.

        Other processes get a pickled copy.
        """

    def settle(self, record: Record, entry: Any) -> None:
        """Take the record and the entry of a finished image; None for an image without depth."""


@dataclass(kw_only=True)
class BatchSettings:
    """The settings of a batch of folders or tars.

    Attributes:
        formats: rows of `FORMATS`.
        output: numbers and colors of the files.
        prediction: how images become depth.
        run: how much happens at once.
        search: which images are found.
        overwrite: replace existing outputs.
        left_out: what the last plan left out.
    """

    formats: Sequence[DepthFormat] = (FORMATS[DEFAULT_FORMAT],)
    output: OutputSettings = field(default_factory=OutputSettings)
    prediction: PredictionSettings = field(default_factory=PredictionSettings)
    run: RunSettings = field(default_factory=RunSettings)
    search: SearchSettings = field(default_factory=SearchSettings)
    overwrite: bool = False
    left_out: LeftOut = field(default_factory=LeftOut)

    def __post_init__(self) -> None:
        """Check that the formats can be written with these settings.

        Raises:
            UsageError, MissingPackageError: they cannot.
        """
        check_formats(self.formats, self.output, self.prediction)
        check_downloads(self.search, self.prediction)
        check_cluster(self.run, self.prediction)
        if self.search.recursive is None:
            self.search = replace(self.search, recursive=True)
        keep_rgb = self.prediction.keep_rgb or any(row.needs_image for row in self.formats)
        self.prediction = replace(self.prediction, keep_rgb=keep_rgb)


@dataclass
class Batch(BatchSettings):
    """What a batch of folders does, with every setting.

    Attributes:
        folders: folders with images.
        out: the output folder, absolute.
        listed: more images, or None.
    """

    folders: Sequence[str]
    out: Path
    listed: ImageList | None = None

    def plan(self) -> TaskTable:
        """Return the tasks, from what is in the output folder now; writes nothing.

        Raises:
            InputError: there are no images.
        """
        self.check_images()
        records: Mapping[str, Record] = {} if self.overwrite else read_records(self.out)
        return TaskTable(self.tasks(records), self.formats, records)

    def tasks(self, records: Mapping[str, Record], *, all_shards: bool = False) -> Iterator[Task]:
        """Yield the tasks, of the shard unless all are wanted, given what earlier runs wrote."""
        return plan_mirrored(
            self.folders,
            self.out,
            formats=self.formats,
            records=records,
            overwrite=self.overwrite,
            search=self.search,
            listed=self.listed,
            left_out=self.left_out,
            shard=None if all_shards else self.run.shard,
        )

    def check_images(self) -> None:
        """Refuse a batch without images before a folder is created or a network is loaded.

        Raises:
            InputError: there are no images.
        """
        if next(self.tasks({}, all_shards=True), None) is None:
            where = ", ".join([*self.folders, *([self.listed.name] if self.listed else [])])
            filtered = self.search.include or self.search.exclude
            raise InputError(
                f"no images in {where}" + (" that match `include` and `exclude`" if filtered else ""),
                hint="; ".join(self.left_out.notes()) or None,
            )


class BatchRun:
    """One run of a batch, as a context manager and an iterator over results.

        with BatchRun(batch, load) as batch_run:
            for result in batch_run:
                ...

    Entering locks the output folder, loads the network, and plans. Leaving after the last result finishes the
    manifest; leaving early, by an exception or an interrupt, leaves it in a state from which the next run resumes. In
    both cases, what is being written is finished first.

    Attributes:
        batch: what to do.
        output: numbers and colors of the files, with the range of the run.
        manifest: what is done, by source; entered.
        predictor: the network.
        tasks: all tasks of the run.
        pending: those that are not done yet.
        color_range_m: nearest and farthest depth that the colors of all images share, meters; None if each image has
            its own range.
    """

    def __init__(
        self,
        batch: Batch,
        load: Callable[[PredictionSettings], Predictor | RemotePredictor],
        *,
        report: Callable[[BatchRun, dict[str, Any]], AbstractContextManager[Reporter]] | None = None,
        progress: BatchProgress | None = None,
        options: RunOptions | None = None,
    ) -> None:
        """Store what to do; nothing happens before the context is entered.

        Args:
            batch: what to do.
            load: returns the predictor.
            report: opens a reporter for the run; it is called with the run and its fingerprint. The reporter takes
                the place of `RunOptions.on_depth`.
            progress: is notified of what happens.
            options: callbacks of the run loop.
        """
        self.batch = batch
        self.output = batch.output
        self.manifest = Manifest(batch.out, batch.run.shard)
        self.tasks = TaskTable((), (), {})
        self.pending: Sequence[Task] = ()
        self.color_range_m: tuple[float, float] | None = None
        self._load = load
        self._report = report
        self._progress = progress or BatchProgress()
        self._options = options or RunOptions()
        self._reporter: Reporter | None = None
        self._results = self._process()
        self._is_complete = False
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Lock the output folder, load the network, and plan.

        Raises:
            InputError: there are no images.
            OutputError: another process writes into the output folder, or it cannot be used.
            UsageError: the outputs there were made with other settings.
            WeightsError, DeviceError: the network cannot be loaded.
        """
        self.batch.check_images()
        with ExitStack() as stack:
            stack.enter_context(self.manifest)
            self.predictor = self._load(self.batch.prediction)
            stack.callback(close_remote, self.predictor)
            values = fingerprint(self.batch.formats, self.batch.output, self.predictor)
            self._check_settings(values)
            self.manifest.begin()
            records = self.manifest.records
            self.tasks = TaskTable(self.batch.tasks(records), self.batch.formats, records)
            self.pending = self.tasks.pending
            if self.pending:
                self._choose_engine()
            self._is_complete = not self.pending
            if shares_range(self.batch.formats, self.batch.output):
                self.color_range_m = previous_range(self.manifest.records.samples())
                if self.pending and self.color_range_m is None:
                    self.color_range_m = self._choose_range(values)
            if self.color_range_m is not None:
                self.output = replace(self.batch.output, range_m=self.color_range_m)
                values[RANGE_M] = list(self.color_range_m)
            self._options = replace(self._options, fingerprint=values)
            if self._report is not None:
                self._reporter = stack.enter_context(self._report(self, values))
                self._options = replace(self._options, on_depth=self._reporter.recorder)
            stack.enter_context(closing(self._results))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Finish the report and the manifest, or leave them to the next run if results are missing."""
        if error is None and not self._is_complete:
            kind, error = GeneratorExit, GeneratorExit("the results were not iterated to the end")
        self._stack.__exit__(kind, error, traceback)

    def __iter__(self) -> Iterator[Result]:
        """Return the results of the pending tasks, which are processed as the results are asked for."""
        return self._results

    def _process(self) -> Generator[Result]:
        if not self.pending:
            return
        results = run(
            self.pending,
            self.predictor,
            self.output,
            settings=self.batch.run,
            manifest=self.manifest,
            options=self._options,
        )
        self._progress.start("depth", len(self.pending))
        try:
            with closing(results):
                for result in results:
                    self._progress.advance()
                    if self._reporter is not None:
                        self._reporter.settle(result.record, result.entry)
                    yield result
            self._is_complete = True
        finally:
            self._progress.stop()

    def _check_settings(self, values: dict[str, Any]) -> None:
        """Refuse to mix outputs of different settings, or mark all as outdated if they may be replaced."""
        changes = changed_settings(self.manifest.records.samples(), values)
        if self.batch.overwrite and (changes or not self.manifest.is_being_redone):
            self.manifest.outdate()
        elif changes:
            raise UsageError(
                f"{self.batch.out} was created with different settings: {changes}",
                hint="set `overwrite` to redo all images, or choose another `output` to have both",
            )

    def _choose_engine(self) -> None:
        """Choose the engine from all images, also those of other shards and those that are done."""
        if not may_choose(self.predictor):
            return
        tasks: Sequence[Task] = self.tasks
        if self.batch.run.shard is not None:
            tasks = TaskTable(self.batch.tasks({}, all_shards=True), self.batch.formats, {})
        choice, reason = choose_engine(self.predictor, tasks)
        self.predictor.use_engine(choice)
        self._progress.detail(f"engine {choice}: {reason}")

    def _choose_range(self, values: dict[str, Any]) -> tuple[float, float]:
        def choose() -> tuple[float, float]:
            sample = spread_sample(self.tasks.possible)
            sources = [task.source for task in sample]
            return choose_run_range(self.predictor, sources, self.batch.output, self._progress)

        return choose() if self.batch.run.shard is None else share_range(self.batch.out, values, choose)


_GROUPS: dict[str, Any] = {
    "output": OutputSettings,
    "prediction": PredictionSettings,
    "run": RunSettings,
    "search": SearchSettings,
}


def make_batch(
    folders: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    formats: str | Sequence[str] = (),
    overwrite: bool = False,
    listed: ImageList | None = None,
    **settings: Any,
) -> Batch:
    """Return a batch from plain values.

    Args:
        folders: folders with images.
        output: the output folder; it is created when the batch runs.
        formats: names of `FORMATS`; one text may name several, separated by commas. Empty is "png", or "color" if a
            setting that only affects color images is set.
        overwrite: replace existing outputs.
        listed: more images.
        **settings: any field of `OutputSettings`, `PredictionSettings`, `RunSettings` and `SearchSettings`, also as
            text.

    Raises:
        UsageError: a setting or format is invalid.
        MissingPackageError: a format needs a package that is not installed.
        TypeError: there is no such setting.
    """
    grouped = group_settings(output, formats, settings)
    named = [folders] if isinstance(folders, str | os.PathLike) else list(folders)
    return Batch(
        [os.fspath(folder) for folder in named],
        Path(os.path.abspath(output)),
        listed=listed,
        overwrite=overwrite,
        **grouped,
    )


def group_settings(
    output: str | os.PathLike[str], formats: str | Sequence[str], settings: dict[str, Any]
) -> dict[str, Any]:
    """Return the fields of `BatchSettings` that the arguments of `make_batch` set.

    Raises:
        UsageError, MissingPackageError, TypeError: as `make_batch`.
    """
    if not os.fspath(output):
        raise UsageError("must not be empty", hint=EMPTY_HINT, setting="output")
    groups: dict[str, Any] = {}
    for group, kind in _GROUPS.items():
        names = settings.keys() & kind.__dataclass_fields__.keys()
        groups[group] = kind(**{name: settings.pop(name) for name in names})
    if settings:
        known = [name for kind in _GROUPS.values() for name in kind.__dataclass_fields__]
        refuse_unknown_keywords("run_batch", settings, ["formats", "overwrite", "report", "progress", *known])
    return groups | {"formats": find_formats(formats) or default_formats(groups["output"])}
