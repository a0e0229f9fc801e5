"""A batch of tars: one tar with images becomes one tar with depth, and a record file, which is written last.

The record file is the commit. Object stores neither append nor rename, but they store whole files, and some refuse an
existing name in the same step. So a tar is the unit that is done, resumed and shared out between machines; images that
failed are retried one by one.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from glpn_cli.errors import ImageError, UsageError
from glpn_cli.inference.batch import BatchSettings, group_settings
from glpn_cli.inference.color_range import choose_run_range, shares_range
from glpn_cli.inference.fingerprint import RANGE_M, changed_settings, fingerprint
from glpn_cli.inference.progress import BatchProgress
from glpn_cli.inference.record import DONE, Record
from glpn_cli.inference.remote import close_remote
from glpn_cli.inference.run import RunOptions, ignore, run
from glpn_cli.inference.store import TAR_SUFFIX, Location, expand, spool_folder
from glpn_cli.inference.tar_stream import TarKeeper, TarReader, Unit
from glpn_cli.inference.tars import HEAD_BYTES, TarRecord, read_lines, record_name
from glpn_cli.values import RangeMode

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from types import TracebackType

    from glpn_cli.image.discovery import ImageList
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.inference.remote import RemotePredictor
    from glpn_cli.inference.result import Result
    from glpn_cli.settings import PredictionSettings

_REQUESTS_AT_ONCE = 16


@dataclass
class TarBatch(BatchSettings):
    """What a batch of tars does, with every setting.

    Attributes:
        tars: with images, of different names.
        out: the folder of the tars with depth.
    """

    tars: list[Location]
    out: Location


def make_tar_batch(
    inputs: Sequence[str | os.PathLike[str]] | str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    formats: str | Sequence[str] = (),
    overwrite: bool = False,
    listed: ImageList | None = None,
    **settings: Any,
) -> TarBatch:
    """Return a batch of tars from plain values; see `make_batch` for the arguments.

    Raises:
        UsageError: an argument is not a tar, or a setting is invalid or does not apply to tars.
        InputError: there are no tars.
        MissingPackageError: a format or a store needs a package that is not installed.
    """
    shared = BatchSettings(overwrite=overwrite, **group_settings(output, formats, settings))
    named = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    if shared.run.cluster is not None:
        raise UsageError(
            "`cluster` excludes tars, whose images pass through the process that starts the workers",
            hint="use `shard` to share the tars between machines",
        )
    if listed is not None:
        raise UsageError("`from_list` lists images, not tars", hint="name tars as 'shots/{000..099}.tar'")
    if shared.output.range is not None and shared.output.range.mode is RangeMode.RUN:
        raise UsageError(
            "`range=run` needs a sample of all images, which are in tars",
            hint="set `range` to LO:HI in meters, or to model",
        )
    tars = expand(os.fspath(text) for text in named)
    out = Location.parse(os.fspath(output))
    _check_names(tars, out)
    if shared.prediction.offline and any(location.root for location in [*tars, out]):
        raise UsageError("`offline` excludes tars in object stores", hint="copy them to this machine")
    return TarBatch(
        [tar for tar in tars if shared.run.shard is None or shared.run.shard.has(tar.name)], out, **vars(shared)
    )


def _check_names(tars: Sequence[Location], out: Location) -> None:
    if not tars:
        raise UsageError("no tars are named", hint="name them as 's3://bucket/{000..099}.tar'")
    if out.name.lower().endswith(TAR_SUFFIX):
        raise UsageError(f"{out}: must be a folder, in which each tar keeps its name", setting="output")
    names: set[str] = set()
    for tar in tars:
        if not tar.name.lower().endswith(TAR_SUFFIX):
            raise UsageError(
                f"{tar}: is not a tar", hint="in an object store, and to write into one, images must be in .tar files"
            )
        if tar.name in names:
            raise UsageError(f"two tars have the name {tar.name}", hint="run one batch for each, with its own `output`")
        names.add(tar.name)
        target = out.child(tar.name)
        if target.is_same(tar):
            raise UsageError(f"{target}: would replace its own images", hint="choose another folder", setting="output")


class TarRun:
    """One run of a batch of tars, as a context manager and an iterator over results; the counterpart of `BatchRun`.

    A result is yielded when its tar is committed, so an image is reported as done only if its depth will be found.

    Attributes:
        batch: what to do.
        output: numbers and colors of the files.
        predictor: the network.
        units: tars that are not up to date.
        up_to_date: tars that are.
        tasks: as many as images are known so far, those of earlier runs included.
        pending: as many as results were yielded.
    """

    def __init__(
        self,
        batch: TarBatch,
        load: Callable[[PredictionSettings], Predictor | RemotePredictor],
        *,
        progress: BatchProgress | None = None,
        options: RunOptions | None = None,
    ) -> None:
        """Store what to do; nothing happens before the context is entered. See `BatchRun` for the arguments."""
        self.batch = batch
        self.output = batch.output
        self.units: list[Unit] = []
        self.up_to_date: list[Unit] = []
        self.pending = range(0)
        self._load = load
        self._progress = progress or BatchProgress()
        self._options = options or RunOptions()
        self._values: dict[str, Any] = {}
        self._results = self._process()
        self._stack = ExitStack()

    @property
    def tasks(self) -> range:
        """As many numbers as images are known so far."""
        known = sum(unit.known.done for unit in [*self.units, *self.up_to_date] if unit.known and self._is_kept(unit))
        return range(known + len(self.pending))

    def _is_kept(self, unit: Unit) -> bool:
        return unit.is_retry or unit in self.up_to_date

    def __enter__(self) -> Self:
        """Look at the outputs that exist, and load the network.

        Raises:
            OutputError: the output folder cannot be used.
            UsageError: the outputs there were made with other settings.
            WeightsError, DeviceError: the network cannot be loaded.
        """
        sizes = self.batch.out.list_sizes()
        units = find_units(self.batch, sizes)
        with ExitStack() as stack:
            self._spool = stack.enter_context(spool_folder(self.batch.out))
            self.predictor = self._load(self.batch.prediction)
            stack.callback(close_remote, self.predictor)
            self._values = fingerprint(self.batch.formats, self.batch.output, self.predictor)
            if shares_range(self.batch.formats, self.batch.output):
                range_m = choose_run_range(self.predictor, [], self.batch.output, self._progress)
                self.output = replace(self.batch.output, range_m=range_m)
                self._values[RANGE_M] = list(range_m)
            self._check_settings(units)
            self._sort(units, sizes)
            stack.enter_context(closing(self._results))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Drop tars that are not complete; the next run does them."""
        self._stack.__exit__(kind, error, traceback)

    def __iter__(self) -> Iterator[Result]:
        """Return the results of the images, which are processed as the results are asked for."""
        return self._results

    def known_records(self) -> Iterator[Record]:
        """Yield the records of the images that earlier runs finished."""
        for unit in [*self.up_to_date, *(unit for unit in self.units if unit.is_retry)]:
            for line in read_lines(unit.record.read()):
                if line.record.is_done:
                    yield replace(
                        line.record, source=f"{unit.source}/{line.record.source}", status=DONE, settings=self._values
                    )

    # Planning

    def _check_settings(self, units: Sequence[Unit]) -> None:
        known = (unit.known for unit in units)
        records = (Record("", DONE, settings=record.settings) for record in known if record is not None)
        changes = "" if self.batch.overwrite else changed_settings(records, self._values)
        if changes:
            raise UsageError(
                f"{self.batch.out} was created with different settings: {changes}",
                hint="set `overwrite` to redo all images, or choose another `output` to have both",
            )

    def _sort(self, units: Sequence[Unit], sizes: dict[str, int]) -> None:
        """Find out which tars are up to date, and of which only failures are retried."""

        def is_current(unit: Unit) -> bool:
            known = unit.known
            if known is None or sizes.get(unit.tar.name) != known.size:
                return False
            if changed_settings([Record("", DONE, settings=known.settings)], self._values):
                return False
            try:
                return unit.source.mark() == known.source_mark
            except (FileNotFoundError, ImageError):
                return False  # it fails when its turn comes

        with ThreadPoolExecutor(_REQUESTS_AT_ONCE, "glpn-store") as asking:
            for unit, current in zip(units, asking.map(is_current, units), strict=True):
                unit.is_retry = current and unit.known is not None and unit.known.failed > 0
                (self.up_to_date if current and not unit.is_retry else self.units).append(unit)

    # Processing

    def _process(self) -> Generator[Result]:
        if not self.units:
            return
        batch = self.batch
        reader = TarReader(self.units, batch.formats, batch.search, batch.left_out, overwrite=batch.overwrite)
        keeper = TarKeeper(self.units, reader, self._spool, self._values, self._progress)
        options = replace(
            self._options, keep_files=True, arriving=True, on_late=ignore, on_depth=None, fingerprint=self._values
        )
        results = run(reader.tasks(), self.predictor, self.output, settings=batch.run, options=options)
        self._progress.start("depth", len(self.units))
        is_complete = False
        try:
            with closing(results):
                for result in results:
                    keeper.take(result)
                    yield from self._counted(keeper.committed())
            yield from self._counted(keeper.committed(wait=True))
            is_complete = True
        finally:
            self._progress.stop()
            reader.close()
            for result in self._counted(keeper.close()):
                self._options.on_late(result)
            if keeper.passed_over:
                self._progress.info(f"passed over {keeper.passed_over} members of the tars that are no images")
            if not is_complete:
                complete = f"{keeper.commit_count} of {len(self.units)} tars are complete"
                self._progress.info(f"{complete}; run the same command again to resume")

    def _counted(self, results: Iterable[Result]) -> Iterator[Result]:
        for result in results:
            self.pending = range(len(self.pending) + 1)
            yield result


def find_units(batch: TarBatch, sizes: dict[str, int]) -> list[Unit]:
    """Return all tars of a batch, with what earlier runs wrote.

    Args:
        batch: what to do.
        sizes: of the files in the output folder.

    Raises:
        ImageError: a record file cannot be read.
    """
    units = [Unit(tar, batch.out.child(tar.name), batch.out.child(record_name(tar.name))) for tar in batch.tars]
    recorded = [unit for unit in units if unit.record.name in sizes]
    heads = batch.out.read_heads([unit.record.name for unit in recorded], HEAD_BYTES)
    for unit, head in zip(recorded, heads, strict=True):
        unit.known = TarRecord.parse(head)
    return units
