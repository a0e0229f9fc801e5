"""What happens to the images of tars before and after the run loop: read ahead, kept in order, committed.

reader thread: tars → tasks     run loop (`inference.run`): tasks → results     commit thread: files → store
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, cast

from glpn_cli.errors import GLPNError, ImageError, OutputExistsError
from glpn_cli.inference.plan import MemoryImage, Task
from glpn_cli.inference.result import Result, failed_result
from glpn_cli.inference.tars import (
    HEAD_BYTES,
    MAX_NAME_BYTES,
    Line,
    MemberNames,
    TarRecord,
    TarScan,
    TarWriter,
    TruncatedTarError,
    is_ours,
    merge,
    read_lines,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from glpn_cli.image.folder import LeftOut
    from glpn_cli.inference.progress import BatchProgress
    from glpn_cli.inference.store import CheckedStream, Location
    from glpn_cli.inference.tars import TarImage
    from glpn_cli.output.formats import DepthFormat
    from glpn_cli.settings import SearchSettings

_READ_AHEAD_BYTES = 256 * 2**20
"""Of images that are read and whose depth is not in its tar yet, and of depth that waits for an earlier image."""


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


class _ClosedError(Exception):
    """Nobody takes tasks any more."""


class TarReader:
    """Reads tars ahead in a thread of its own, within a limit of memory."""

    def __init__(
        self,
        units: Sequence[Unit],
        formats: Sequence[DepthFormat],
        search: SearchSettings,
        left_out: LeftOut,
        *,
        overwrite: bool,
    ) -> None:
        """Start to read.

        Args:
            units: tars, in their order.
            formats: of the outputs.
            search: which members are images.
            left_out: counts what is left out.
            overwrite: whether files that are not from this batch may be replaced.
        """
        self._units = units
        self._formats = formats
        self._search = search
        self._left_out = left_out
        self._overwrite = overwrite
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
        scan = TarScan(unit.source, self._search, self._left_out)
        end = _Step(b"", unit=index, end=scan)
        try:
            self._look(unit)
            try:
                with unit.source.open(limit=MAX_NAME_BYTES) as stream:
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
        if is_foreign and not self._overwrite:
            raise OutputExistsError(
                f"{unit.tar}: already exists and is not from this batch", hint="set `overwrite` to replace it"
            )
        known = unit.known
        is_other = known is not None and known.source != str(unit.source) and known.source_mark != unit.source_mark
        if known is not None and is_other and not self._overwrite:
            raise OutputExistsError(
                f"{unit.tar}: is already the output of {known.source}", hint="choose another `output`"
            )
        if unit.is_retry:
            unit.lines = read_lines(unit.record.read())

    def _read_images(self, index: int, unit: Unit, scan: TarScan, stream: CheckedStream) -> None:
        names = MemberNames()
        if not unit.is_retry:
            for image in scan.images(stream):
                self._put_image(index, unit, image, names.outputs(image.name, self._formats))
            return
        planned = {
            line.offset: names.outputs(line.record.source, self._formats)
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
        paths = tuple((row, Path(path)) for row, path in zip(self._formats, outputs, strict=True))
        self._put(Task(step, paths, overwrite=True, failure=failure))


class TarKeeper:
    """Writes results into tars in the order of the images, and commits the tars in a thread of its own.

    Attributes:
        commit_count: number of tars that were committed.
        passed_over: number of members that are no images.
    """

    def __init__(
        self, units: Sequence[Unit], reader: TarReader, spool: Path, values: dict[str, Any], progress: BatchProgress
    ) -> None:
        """Do nothing yet.

        Args:
            units: tars, in their order.
            reader: of the tars.
            spool: folder for unfinished tars.
            values: the settings that determine the content of the outputs.
            progress: is notified of images.
        """
        self.commit_count = self.passed_over = 0
        self._units = units
        self._reader = reader
        self._spool = spool
        self._values = values
        self._progress = progress
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
                self.commit_count += 1
                yield from shard.results
            else:
                yield failed_result(Task(str(shard.unit.source)), error)

    def close(self) -> list[Result]:
        """Finish the commit that is under way, drop the rest, and return the results that were not taken."""
        self._committer.shutdown(cancel_futures=True)
        late: list[Result] = []
        if self._shard is not None:
            self._shard.writer.close()
        for shard, commit in self._commits:
            shard.writer.close()
            if not commit.cancelled() and commit.exception() is None and commit.result() is None:
                self.commit_count += 1
                late += shard.results
        return late

    def _settle(self, result: Result) -> None:
        step = cast("_Step", result.task.source)
        unit = self._units[step.unit]
        if not result.task.skipped:
            self._add(step, unit, result)
        elif step.end is None:
            self._shard = _Shard(unit, TarWriter(self._spool / str(step.unit)))
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
        share = (step.unit + min(1.0, step.offset / size)) / len(self._units)
        self._progress.expect(max(self._seen, round(self._seen / share) if share else self._seen))
        self._progress.advance()

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
        self.passed_over += step.end.passed_over
        record = TarRecord(
            str(unit.source),
            unit.source_mark,
            unit.tar.name,
            size=0,
            sha256="",
            done=0,
            failed=0,
            passed_over=unit.known.passed_over if unit.is_retry and unit.known else step.end.passed_over,
            settings=self._values,
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
