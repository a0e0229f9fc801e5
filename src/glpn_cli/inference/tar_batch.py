"""A batch of tars: one tar with images becomes one tar with depth, and a record file, which is written last.

The record file is the commit. Object stores neither append nor rename, but they store whole files, and some refuse an
existing name in the same step. So a tar is the unit that is done, resumed and shared out between machines; images that
failed are retried one by one.

reader thread: tars → tasks     run loop (`inference.run`): tasks → results     commit thread: files → store
"""

from __future__ import annotations

import os
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self, cast

from glpn_cli.convert import EMPTY_HINT
from glpn_cli.errors import GLPNError, ImageError, OutputExistsError, UsageError
from glpn_cli.inference.batch import make_batch
from glpn_cli.inference.color_range import choose_run_range, shares_range
from glpn_cli.inference.fingerprint import RANGE_M, changed_settings, fingerprint
from glpn_cli.inference.manifest import DONE, Record
from glpn_cli.inference.plan import MemoryImage, Task
from glpn_cli.inference.progress import BatchProgress
from glpn_cli.inference.remote import close_remote
from glpn_cli.inference.result import Result, failed_result
from glpn_cli.inference.run import RunOptions, ignore, run
from glpn_cli.inference.store import TAR_SUFFIX, Location, expand, spool_folder
from glpn_cli.inference.tars import (
    HEAD_BYTES,
    Line,
    MemberNames,
    TarRecord,
    TarScan,
    TarWriter,
    TruncatedTarError,
    is_ours,
    merge,
    read_lines,
    record_name,
)
from glpn_cli.values import RangeMode

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from types import TracebackType

    from glpn_cli.image.discovery import ImageList
    from glpn_cli.image.folder import LeftOut
    from glpn_cli.inference.predictor import Predictor
    from glpn_cli.inference.remote import RemotePredictor
    from glpn_cli.inference.tars import TarImage
    from glpn_cli.output.formats import DepthFormat
    from glpn_cli.settings import OutputSettings, PredictionSettings, RunSettings, SearchSettings

_READ_AHEAD_BYTES = 256 * 2**20
"""Of images that are read and whose depth is not in its tar yet, and of depth that waits for an earlier image."""

_REQUESTS_AT_ONCE = 16


@dataclass
class TarBatch:
    """What a batch of tars does, with every setting; as `Batch`, with tars instead of folders.

    Attributes:
        tars: with images, of different names.
        out: the folder of the tars with depth.
    """

    tars: list[Location]
    out: Location
    formats: Sequence[DepthFormat]
    output: OutputSettings
    prediction: PredictionSettings
    run: RunSettings
    search: SearchSettings
    overwrite: bool
    left_out: LeftOut


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
    if not os.fspath(output):
        raise UsageError("must not be empty", hint=EMPTY_HINT, setting="output")
    plain = make_batch([], os.curdir, formats=formats, overwrite=overwrite, **settings)
    named = [inputs] if isinstance(inputs, str | os.PathLike) else list(inputs)
    if listed is not None:
        raise UsageError("`from_list` lists images, not tars", hint="name tars as 'shots/{000..099}.tar'")
    if plain.output.range is not None and plain.output.range.mode is RangeMode.RUN:
        raise UsageError(
            "`range=run` needs a sample of all images, which are in tars",
            hint="set `range` to LO:HI in meters, or to model",
        )
    tars = expand(os.fspath(text) for text in named)
    out = Location.parse(os.fspath(output))
    _check_names(tars, out)
    if plain.prediction.offline and any(location.root for location in [*tars, out]):
        raise UsageError("`offline` excludes tars in object stores", hint="copy them to this machine")
    return TarBatch(
        [tar for tar in tars if plain.run.shard is None or plain.run.shard.has(tar.name)],
        out,
        plain.formats,
        plain.output,
        plain.prediction,
        plain.run,
        plain.search,
        overwrite,
        plain.left_out,
    )


def _check_names(tars: Sequence[Location], out: Location) -> None:
    if not tars:
        raise UsageError("no tars are named", hint="glpn batch 's3://bucket/{000..099}.tar' --output s3://bucket/depth")
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


@dataclass(slots=True)
class Unit:
    """A tar of a batch.

    Attributes:
        source: with the images.
        tar: with the depth.
        record: its record file.
        source_mark: of the tar with the images.
        tar_mark, record_mark: of the outputs when the run found them; None for those that do not exist.
        known: what an earlier run wrote, or None.
        is_retry: only the images that failed are processed.
        lines: of the record file, if it is a retry.
    """

    source: Location
    tar: Location
    record: Location
    source_mark: str = ""
    tar_mark: str | None = None
    record_mark: str | None = None
    known: TarRecord | None = None
    is_retry: bool = False
    lines: list[Line] = field(default_factory=list)

    @property
    def retried(self) -> list[Line]:
        """The lines of images that are processed again, in their order."""
        return sorted((line for line in self.lines if not line.record.is_done), key=lambda line: line.offset)


@dataclass(frozen=True, slots=True, eq=False)
class _Step(MemoryImage):
    """What the reader thread passes on: an image, or the start or the end of a tar.

    Attributes:
        number: of the step in the run; the run loop may finish steps in another order.
        unit: index of the tar.
        member: name of the image in the tar.
        offset: of the image in the tar.
        outputs: names of the outputs.
        end: of an end: the scan that is complete.
        error: of an end: why nothing of the tar can be used.
        is_truncated: of an end: the tar was incomplete.
    """

    number: int = 0
    unit: int = 0
    member: str = ""
    offset: int = 0
    outputs: tuple[str, ...] = ()
    end: TarScan | None = None
    error: GLPNError | None = None
    is_truncated: bool = False


@dataclass(slots=True)
class _Shard:
    """An output tar that is being written.

    Attributes:
        unit: the tar.
        writer: of its spooled files.
        results: of its images, without their bytes; they are reported when the tar is committed.
    """

    unit: Unit
    writer: TarWriter
    results: list[Result] = field(default_factory=list)


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
        self._committed = 0
        self._passed_over = 0
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
        reader = _Reader(self.units, self.batch, self._values)
        options = replace(
            self._options, keep_files=True, arriving=True, on_late=ignore, on_depth=None, fingerprint=self._values
        )
        results = run(reader.tasks(), self.predictor, self.output, settings=self.batch.run, options=options)
        keeper = _Keeper(self, reader)
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
            if self._passed_over:
                self._progress.info(f"passed over {self._passed_over} members of the tars that are no images")
            if not is_complete:
                self._progress.info(f"{self._committed} of {len(self.units)} tars are complete")

    def _counted(self, results: Iterable[Result]) -> Iterator[Result]:
        for result in results:
            self.pending = range(len(self.pending) + 1)
            yield result


class _ClosedError(Exception):
    """Nobody takes tasks any more."""


class _Reader:
    """Reads tars ahead in a thread of its own, within a limit of memory."""

    def __init__(self, units: Sequence[Unit], batch: TarBatch, values: dict[str, Any]) -> None:
        self._units = units
        self._batch = batch
        self._values = values
        self._steps: SimpleQueue[Task | BaseException | None] = SimpleQueue()
        self._room = threading.Condition()
        self._held_bytes = 0
        self._is_closed = False
        self._number = 0
        threading.Thread(target=self._read_all, name="glpn-tars", daemon=True).start()

    def tasks(self) -> Iterator[Task]:
        """Yield tasks as they are read."""
        while (step := self._steps.get()) is not None:
            if isinstance(step, BaseException):
                raise step
            yield step

    def hold(self, count: int) -> None:
        """Count bytes that are in memory; negative for those that are not any more."""
        with self._room:
            self._held_bytes += count
            self._room.notify_all()

    def close(self) -> None:
        """Read no more."""
        with self._room:
            self._is_closed = True
            self._room.notify_all()
        self._steps.put(None)

    def _read_all(self) -> None:
        try:
            for index, unit in enumerate(self._units):
                self._put(Task(_Step(b"", unit=index), skipped="a tar"))
                self._put(Task(self._read_unit(index, unit), skipped="a tar"))
            self._steps.put(None)
        except _ClosedError:
            self._steps.put(None)
        except BaseException as error:  # noqa: BLE001 - it is raised where tasks are taken
            self._steps.put(error)

    def _put(self, task: Task) -> None:
        step = cast("_Step", task.source)
        size = len(step.image)
        with self._room:
            self._room.wait_for(
                lambda: self._is_closed or not self._held_bytes or self._held_bytes + size <= _READ_AHEAD_BYTES
            )
            if self._is_closed:
                raise _ClosedError
            self._held_bytes += size
        self._steps.put(replace(task, source=replace(step, number=self._number)))
        self._number += 1

    def _read_unit(self, index: int, unit: Unit) -> _Step:
        """Pass on the images of a tar, and return its end."""
        scan = TarScan(unit.source, self._batch.search, self._batch.left_out)
        end = _Step(b"", unit=index, end=scan)
        try:
            self._look(unit)
            try:
                with unit.source.open() as stream:
                    self._read_images(index, unit, scan, stream)
            except TruncatedTarError:
                end = replace(end, is_truncated=True)
            if unit.source.mark() != unit.source_mark:
                raise ImageError(f"{unit.source}: changed while it was read", hint="run it again")
        except FileNotFoundError:
            return replace(end, error=ImageError(f"{unit.source}: no such file"))
        except GLPNError as error:
            return replace(end, error=error)
        return end

    def _look(self, unit: Unit) -> None:
        """Find out what is in the way, and read the lines of a retry.

        Raises:
            FileNotFoundError, ImageError: the tar cannot be read.
            OutputExistsError: an output may not be replaced.
        """
        unit.source_mark = unit.source.mark()
        unit.tar_mark, unit.record_mark = unit.tar.mark_or_none(), unit.record.mark_or_none()
        head = b"" if unit.record_mark is None else unit.record.read_head(HEAD_BYTES)
        record = TarRecord.parse(head)
        if record != unit.known:
            raise lost(unit)
        is_foreign = record is None and (
            unit.record_mark is not None or (unit.tar_mark is not None and not is_ours(unit.tar.read_head(HEAD_BYTES)))
        )
        if is_foreign and not self._batch.overwrite:
            raise OutputExistsError(
                f"{unit.tar}: already exists and is not from this batch", hint="set `overwrite` to replace it"
            )
        if unit.is_retry:
            unit.lines = read_lines(unit.record.read())

    def _read_images(self, index: int, unit: Unit, scan: TarScan, stream: Any) -> None:
        names = MemberNames()
        if not unit.is_retry:
            for image in scan.images(stream):
                self._put_image(index, unit, image, names.outputs(image.name, self._batch.formats))
            return
        planned = {
            line.offset: names.outputs(line.record.source, self._batch.formats)
            for line in sorted(unit.lines, key=lambda line: line.offset)
            if line.offset >= 0
        }
        retried = [line for line in unit.retried if line.offset >= 0]
        for line, image in zip(retried, scan.images_at(stream, [line.offset for line in retried]), strict=True):
            if image.name != line.record.source:
                raise ImageError(f"{unit.source}: is not the tar that {unit.record} describes")
            self._put_image(index, unit, image, planned[line.offset])

    def _put_image(self, index: int, unit: Unit, image: TarImage, outputs: tuple[str, ...]) -> None:
        name = f"{unit.source}/{image.name}"
        failure = image.failure and ImageError(f"{name}: {image.failure.message}", hint=image.failure.hint)
        step = _Step(image.data, name, unit=index, member=image.name, offset=image.offset, outputs=outputs)
        paths = tuple((row, Path(path)) for row, path in zip(self._batch.formats, outputs, strict=True))
        self._put(Task(step, paths, overwrite=True, failure=failure))


class _Keeper:
    """Writes results into tars in the order of the images, and commits the tars in a thread of its own."""

    def __init__(self, running: TarRun, reader: _Reader) -> None:
        self._running = running
        self._reader = reader
        self._next = 0
        self._early: dict[int, Result] = {}
        self._shard: _Shard | None = None
        self._ready: deque[Result] = deque()
        self._commits: deque[tuple[_Shard, Future[GLPNError | None]]] = deque()
        self._committer = ThreadPoolExecutor(1, "glpn-commit")
        self._seen = 0

    def take(self, result: Result) -> None:
        """Take a result of the run loop.

        Raises:
            OutputError: the spooled tar cannot be written.
        """
        step = cast("_Step", result.task.source)
        if step.number != self._next:
            self._reader.hold(sum(map(len, result.files)))
        self._early[step.number] = result
        while (following := self._early.pop(self._next, None)) is not None:
            self._next += 1
            self._settle(following)
            if following is not result:
                self._reader.hold(-sum(map(len, following.files)))

    def committed(self, *, wait: bool = False) -> Iterator[Result]:
        """Yield the results of tars that are committed or cannot be used.

        Args:
            wait: until all are; else only until one is waiting.

        Raises:
            OutputError: the store refuses.
        """
        while self._ready:
            yield self._ready.popleft()
        while self._commits and (wait or len(self._commits) > 1 or self._commits[0][1].done()):
            shard, commit = self._commits[0]
            error = commit.result()
            self._commits.popleft()
            if error is None:
                self._running._committed += 1  # noqa: SLF001 - of the same module
                yield from shard.results
            else:
                yield failed_result(Task(str(shard.unit.source)), error)

    def close(self) -> list[Result]:
        """Finish the commit that is under way, drop the rest, and return the results that were not taken."""
        self._committer.shutdown(cancel_futures=True)
        late: list[Result] = []
        for shard, commit in self._commits:
            if not commit.cancelled() and commit.exception() is None and commit.result() is None:
                self._running._committed += 1  # noqa: SLF001 - of the same module
                late += shard.results
        return late

    def _settle(self, result: Result) -> None:
        step = cast("_Step", result.task.source)
        unit = self._running.units[step.unit]
        if not result.task.skipped:
            self._add(step, unit, result)
        elif step.end is None:
            self._shard = _Shard(unit, TarWriter(self._running._spool / str(step.unit)))  # noqa: SLF001 - of the module
        else:
            self._end(step, unit)

    def _add(self, step: _Step, unit: Unit, result: Result) -> None:
        assert self._shard is not None  # noqa: S101 - its start came before
        outputs = dict(zip(result.record.outputs, step.outputs, strict=False))
        record = replace(result.record, outputs=outputs)
        self._shard.writer.add(Line(replace(record, source=step.member), step.offset), result.files)
        task = replace(result.task, source=replace(step, image=b""))
        self._shard.results.append(replace(result, task=task, record=record, files=()))
        self._reader.hold(-len(step.image))
        self._seen += 1
        size = int(unit.source_mark.partition("-")[0]) or 1
        share = (step.unit + min(1.0, step.offset / size)) / len(self._running.units)
        progress = self._running._progress  # noqa: SLF001 - of the same module
        progress.expect(max(self._seen, round(self._seen / share) if share else self._seen))
        progress.advance()

    def _end(self, step: _Step, unit: Unit) -> None:
        shard, self._shard = self._shard, None
        assert shard is not None  # noqa: S101 - its start came before
        assert step.end is not None  # noqa: S101 - it is an end
        error = step.error
        was_truncated = any(line.offset < 0 for line in unit.lines)
        if error is None and unit.is_retry and step.is_truncated:
            error = ImageError(f"{unit.source}: is not the tar that {unit.record} describes")
        if error is not None:
            shard.writer.close()
            self._ready.append(failed_result(Task(str(unit.source)), error))
            return
        if step.is_truncated or was_truncated:
            cut = ImageError(f"{unit.source}: is truncated or damaged", hint="copy or download it again")
            result = failed_result(Task(str(unit.source)), cut)
            shard.writer.add(Line(replace(result.record, source=unit.source.name), -1), ())
            shard.results.append(result)
        self._running._passed_over += step.end.passed_over  # noqa: SLF001 - of the same module
        record = TarRecord(
            str(unit.source),
            unit.source_mark,
            unit.tar.name,
            size=0,
            sha256="",
            done=0,
            failed=0,
            passed_over=unit.known.passed_over if unit.is_retry and unit.known else step.end.passed_over,
            settings=self._running._values,  # noqa: SLF001 - of the same module
        )
        self._commits.append((shard, self._committer.submit(commit_shard, shard, record)))


def commit_shard(shard: _Shard, record: TarRecord) -> GLPNError | None:
    """Store the tar of a shard and then its record file. A retry without success stores nothing.

    Args:
        shard: with all results.
        record: its numbers are filled in here.

    Returns:
        Why the outputs are not those of this run, such as that another run has written them meanwhile; or None.

    Raises:
        OutputError: the store refuses, as it would every other tar.
    """
    unit, writer = shard.unit, shard.writer
    try:
        if unit.is_retry:
            if not any(line.record.is_done for line in writer.lines):
                return None
            writer = _merged(unit, writer)
        writer.finish(record)
        if (unit.tar.mark_or_none(), unit.record.mark_or_none()) != (unit.tar_mark, unit.record_mark):
            return lost(unit)
        if unit.record_mark is not None:
            unit.record.remove()  # a tar without a record is not committed
        unit.tar.put(writer.tar, replace=unit.tar_mark is not None)
        unit.record.put(writer.record, replace=False)
    except FileExistsError:
        return lost(unit)
    except ImageError as error:  # of what an earlier run wrote
        return error
    finally:
        writer.close()
        shard.writer.close()
    return None


def _merged(unit: Unit, new: TarWriter) -> TarWriter:
    """Return a writer with the outputs of an earlier run and those of a retry."""
    merged = TarWriter(new.tar.parent.with_name(new.tar.parent.name + "-all"))
    new.close_tar()
    done = [line for line in unit.lines if line.record.is_done]
    try:
        with unit.tar.open() as old_stream, new.tar.open("rb") as new_stream:
            merge(merged, ((line, old_stream) for line in done), ((line, new_stream) for line in new.lines))
    except (TruncatedTarError, FileNotFoundError):
        merged.close()
        raise ImageError(
            f"{unit.tar}: is not the tar that {unit.record} describes", hint="remove both, and run it again"
        ) from None
    return merged


def lost(unit: Unit) -> OutputExistsError:
    """Return the error for a tar that another run has written."""
    return OutputExistsError(f"{unit.tar}: another run has written it meanwhile", hint="run it again to see its state")


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
