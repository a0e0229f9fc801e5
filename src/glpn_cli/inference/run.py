"""The run loop of `glpn predict` and `glpn batch`: read ahead, predict, write behind. Failures are values.

reader threads: open_source → read_image → to_pixel_values      `Predictor.prepare`
caller's thread: network → meters at the image's size           `Predictor.run`, `Predictor.finish`
writer threads: encode → files → line of the manifest           `Writer.write`
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from glpn_cli.errors import DeviceError, GLPNError, ImageError
from glpn_cli.files import (
    os_reason,
    read_bounded,
)
from glpn_cli.image.discovery import STDIN
from glpn_cli.image.fetching import Address, Stopper, fetch_image
from glpn_cli.inference.autotune import CoreShare, GroupSize, Stopwatch
from glpn_cli.inference.existing import find_current, image_sha256, output_hashes
from glpn_cli.inference.plan import MemoryImage
from glpn_cli.inference.record import Record, file_mark
from glpn_cli.inference.remote import RemotePredictor
from glpn_cli.inference.result import (
    Result,
    ResultOrder,
    current_result,
    note_depth,
    skipped_result,
    without_traceback,
)
from glpn_cli.inference.writer import Item, Writer
from glpn_cli.settings import MAX_STREAM_BYTES, OutputSettings, RunSettings
from glpn_cli.values import EngineName

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from glpn_cli.depth import DepthMap
    from glpn_cli.geometry.measure import Anchor
    from glpn_cli.image.discovery import Source
    from glpn_cli.inference.journal import RecordSink
    from glpn_cli.inference.manifest import Manifest
    from glpn_cli.inference.plan import Task
    from glpn_cli.inference.predictor import Predictor, PreparedImage


def ignore(_: Any) -> None:
    """Do nothing; the default of callbacks. A named function can be sent to another process."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a caller of `run` wants besides files.

    Attributes:
        anchors: known distances; the depth of each image is scaled to match.
        keep_depth: leave depth maps in the results.
        keep_files: leave the bytes of the outputs in the results, and write none.
        describe: fill `Result.facts`.
        tune_threads: try fewer CPU threads for the network, if images take long to read and write. The number of
            torch's threads belongs to the whole process.
        named_file: follow a link at the only output; see `Plan.named_file`.
        fingerprint: what determines the content of the outputs, for the manifest.
        take_notes: fill `Result.noted`.
        in_order: yield the results in the order of the tasks, also if images of one size are computed together, or
            several processes share them.
        on_depth: is called with each depth map and its record in a writer thread, before the outputs appear, so that
            a killed run calls it again. What it returns is in `Result.entry`. Processes that share a run get a pickled
            copy.
        on_late: is called with each result that was finished after the caller closed the generator, as an interrupt
            does.
        arriving: the tasks come one by one, and each result is yielded without waiting for the next task.
        note: is called with a message when a run continues with less memory.
    """

    anchors: Sequence[Anchor] = ()
    keep_depth: bool = False
    keep_files: bool = False
    describe: bool = False
    tune_threads: bool = True
    named_file: bool = False
    fingerprint: dict[str, Any] = field(default_factory=dict)
    take_notes: bool = False
    in_order: bool = False
    on_depth: Callable[[Record, DepthMap], Any] | None = None
    on_late: Callable[[Result], None] = ignore
    arriving: bool = False
    note: Callable[[str], None] = ignore


_NO_OPTIONS = RunOptions()

_ARRIVAL_WAIT_S = 0.002
"""A list that is read faster than this fills the groups of a GPU; one that is slower is not waited for."""


def run(
    tasks: Iterable[Task],
    predictor: Predictor | RemotePredictor,
    output: OutputSettings,
    *,
    settings: RunSettings | None = None,
    manifest: RecordSink | None = None,
    options: RunOptions = _NO_OPTIONS,
) -> Generator[Result]:
    """Predict the images of tasks and write their depth; reading, predicting and writing overlap.

    Only a few images are in memory, however many there are. Closing the generator, as an interrupt does, finishes what
    is being written and drops the rest.

    Args:
        tasks: what to do. A task with a failure becomes a failed result.
        predictor: runs in the caller's thread, or in other processes, which end with the run.
        output: numbers and colors of the files.
        settings: how much happens at once.
        manifest: entered and begun; gets a line for each image. Its folder is the limit of all outputs.
        options: callbacks and extras.

    Yields:
        The result of each task when it is finished, or in their order, see `RunOptions`.

    Raises:
        OutputError: no more outputs can be written.
    """
    settings = settings or RunSettings()
    if isinstance(predictor, RemotePredictor):
        return predictor.run(tasks, output, settings, cast("Manifest | None", manifest), options)
    return _Stream(predictor, output, settings, manifest, options).results(iter(tasks))


def open_source(
    source: Source | str | MemoryImage, *, stopwatch: Stopwatch, stopper: Stopper | None = None
) -> tuple[Any, str | None]:
    """Return what `Predictor.prepare` takes for a source, and its name if it needs one; a URL is downloaded.

    Args:
        source: a path, a URL, or `STDIN`.
        stopwatch: collects the time of a download.
        stopper: can end a download early.

    Raises:
        ImageError: the source cannot be read or downloaded.
    """
    if source is STDIN:
        return read_stdin(), "standard input"
    if isinstance(source, MemoryImage):
        return source.image, source.name
    if not isinstance(source, Address):
        return source, str(source)
    with stopwatch.stage("fetch"):
        return fetch_image(source, stopper=stopper), str(source)


def read_stdin() -> bytes:
    """Read an image from standard input.

    Raises:
        ImageError: it is larger than any image, or cannot be read.
    """
    try:
        data = read_bounded(sys.stdin.buffer, MAX_STREAM_BYTES)
    except OSError as error:
        raise ImageError(f"standard input: cannot be read: {os_reason(error)}") from error
    if data is None:
        raise ImageError(f"standard input: more than {MAX_STREAM_BYTES} bytes")
    return data


_Reading: TypeAlias = "Future[PreparedImage | Result | GLPNError]"
_Prepared: TypeAlias = "tuple[Item, PreparedImage]"


class _Stream:
    """The state of one run: what is being read, what waits for its group, what is being written."""

    def __init__(
        self,
        predictor: Predictor,
        output: OutputSettings,
        settings: RunSettings,
        manifest: RecordSink | None,
        options: RunOptions,
    ) -> None:
        import torch

        from glpn_cli.device import MemoryMeter

        device = predictor.runtime.device
        on_cpu = self._on_cpu = device.type == "cpu"
        self._predictor = predictor
        self._output = output
        self._writer = Writer(predictor, output, manifest, options)
        self._options = options
        self._workers = settings.worker_count
        requested = settings.batch_size
        self._group_size = (
            GroupSize.of_cpu(predictor.cpu_passes, requested)
            if on_cpu
            else GroupSize(requested, MemoryMeter.of(device))
        )
        # Networks of OpenVINO are compiled for a number of threads.
        by_torch = predictor.engine_choice.name is EngineName.TORCH
        is_tuned = options.tune_threads and on_cpu and by_torch and predictor.settings.threads is None
        cores = torch.get_num_threads() if is_tuned else 1
        self._core_share = CoreShare(cores, torch.set_num_threads)
        self._stopper = Stopper()
        self._readers = ThreadPoolExecutor(self._workers, "glpn-read")
        self._writers = ThreadPoolExecutor(self._workers, "glpn-write")
        self._coming: Future[Task | None] | None = None  # the next task, if tasks arrive one by one
        self._are_all_known = False
        self._end: GLPNError | None = None  # the error after the last task, as of an invalid list
        self._reading: deque[tuple[Item, _Reading | None]] = deque()  # None: read when its turn comes
        self._writing: deque[tuple[Item, Future[Result]]] = deque()
        self._waiting: dict[tuple[int, ...], list[_Prepared]] = {}
        self._taken = 0
        self._order = ResultOrder()

    def results(self, tasks: Iterator[Task]) -> Generator[Result]:
        """Process tasks in order and yield their results as they are finished."""
        try:
            self._read_ahead(tasks)
            while self._reading or self._coming is not None:
                if self._reading:
                    yield from self._finished_meanwhile()
                    self._take(*self._reading.popleft())
                else:
                    yield from self._finished_before_next()
                self._read_ahead(tasks)
                yield from self._finished(at_most=2 * self._workers)
            yield from self._predict_waiting()
            yield from self._finished(at_most=0)
            if self._end is not None:
                raise self._end
        finally:
            # An interrupt ends here too: what has not started is dropped, what is being written is finished.
            self._core_share.restore()
            self._stopper.stop()
            self._readers.shutdown(cancel_futures=True)
            self._writers.shutdown(cancel_futures=False)
            for result in self._order.waiting:
                self._options.on_late(result)
            for _, writing in self._writing:
                if not writing.cancelled() and writing.exception() is None:
                    self._options.on_late(writing.result())

    # Reading

    def _read_ahead(self, tasks: Iterator[Task]) -> None:
        """Start reading the next images; only a few are in memory, however many there are."""
        # Images with tiles are large, stay in memory, and gain nothing from groups. A CPU takes long for a group, and
        # the next images are read meanwhile.
        group = 0 if self._predictor.settings.tiles.is_on else 1 if self._on_cpu else self._group_size.largest
        while len(self._reading) < self._workers + group and not self._are_all_known:
            if self._options.arriving and not self._has_arrived(tasks):
                return
            task = self._arrived() if self._options.arriving else next(tasks, None)
            if task is None:
                self._are_all_known = True
                return
            is_marked = not isinstance(task.source, str | MemoryImage) and task.source is not STDIN
            mark = file_mark(task.source) if is_marked else ""  # type: ignore[arg-type]  # a path or URL
            item = Item(task, Stopwatch(), mark, number=self._taken)
            self._taken += 1
            # Standard input is read in the caller's thread: an interrupt could not stop it in another.
            reading = None if task.source is STDIN else self._readers.submit(self._read, item)
            self._reading.append((item, reading))

    def _has_arrived(self, tasks: Iterator[Task]) -> bool:
        self._coming = self._coming or _ask_for_next(tasks)
        wait([self._coming], timeout=_ARRIVAL_WAIT_S)
        return self._coming.done()

    def _arrived(self) -> Task | None:
        """Return the task that has arrived; None after the last one, or if there will be no more for an error."""
        coming, self._coming = self._coming, None
        try:
            return None if coming is None else coming.result()
        except GLPNError as error:
            self._end = error
            return None

    def _read(self, item: Item) -> PreparedImage | Result | GLPNError:
        """Return the network's input for an image, or why there is none; runs in a reader thread."""
        from glpn_cli.device import memory_errors_named

        task = item.task
        if task.failure is not None:
            return task.failure
        if task.skipped:
            return skipped_result(task)
        try:
            with memory_errors_named(f"{task.source}: reading", hint="set fewer `workers`, or resize it"):
                image, name = open_source(task.source, stopwatch=item.stopwatch, stopper=self._stopper)
                if task.outputs:
                    with item.stopwatch.stage("decode"):
                        item.image_sha256 = image_sha256(image)
                if task.exists:
                    item.current = find_current(task, item.image_sha256, self._writer.fingerprint)
                    if len(item.current) == len(task.outputs):
                        return current_result(task, output_hashes(task))
                prepared = self._predictor.prepare(image, name=name, stopwatch=item.stopwatch)
        except GLPNError as error:
            return without_traceback(error)
        if item.mark and item.mark != file_mark(task.source):  # type: ignore[arg-type]  # only files have a mark
            item.image_sha256 = None  # the file changed while it was read
        return prepared

    # Predicting

    def _take(self, item: Item, reading: _Reading | None) -> None:
        """Pass on an image that is read. A function of its own: its variables hold on to the image."""
        prepared = self._read(item) if reading is None else reading.result()
        if isinstance(prepared, GLPNError):
            self._fail(item, prepared)
        elif isinstance(prepared, Result):
            self._add_result(item, prepared)
        else:
            self._join(item, prepared)

    def _join(self, item: Item, prepared: PreparedImage) -> None:
        """Add an image to the group of its size, and predict a group that is large enough."""
        if prepared.grid is not None:
            self._predict([(item, prepared)])
            return
        size = tuple(prepared.pixel_values.shape)
        self._waiting.setdefault(size, []).append((item, prepared))
        if len(self._waiting[size]) >= self._group_size.size_for(size):
            self._predict(self._waiting.pop(size))
        elif sum(map(len, self._waiting.values())) >= 2 * self._group_size.largest:
            fullest = max(self._waiting, key=lambda size: len(self._waiting[size]))
            self._predict(self._waiting.pop(fullest))

    def _predict(self, group: list[_Prepared]) -> None:
        """Run the network on images of one size, as many at once as memory allows."""
        size = tuple(group[0][1].pixel_values.shape)
        while group:
            at_once = min(len(group), self._group_size.size_for(size))
            if self._predict_together(group[:at_once]):
                group = group[at_once:]
            else:
                fewer = self._group_size.reduce_size(size, at_once)
                self._options.note(f"out of memory with {at_once} images at once; continuing with {fewer}")

    def _predict_together(self, group: list[_Prepared]) -> bool:
        """Run the network once and pass the depth to the writers; return False if memory ran out for several images."""
        start_s = time.perf_counter()
        self._group_size.start_measuring()
        try:
            predictions = self._predictor.run([prepared for _, prepared in group])
        except DeviceError as error:
            # Nothing is computed in this block: the error holds on to memory.
            if len(group) > 1:
                return False
            self._fail(group[0][0], error)
            return True
        share_s = (time.perf_counter() - start_s) / len(group)
        self._tune(group)
        for (item, prepared), predicted in zip(group, predictions, strict=True):
            item.stopwatch.elapsed_s["network"] = share_s
            try:
                # Not in a writer thread: torch would create a thread pool for each of those.
                depth = self._anchored(item, self._predictor.finish(prepared, predicted, stopwatch=item.stopwatch))
            except GLPNError as error:
                self._fail(item, error)
            else:
                self._writing.append((item, self._writers.submit(self._writer.write, item, depth)))
        return True

    def _anchored(self, item: Item, depth: DepthMap) -> DepthMap:
        """Scale a depth map to the anchors, and take notes."""
        final = depth
        if self._options.anchors:
            from glpn_cli.geometry.measure import anchor_depth

            final = anchor_depth(depth, list(self._options.anchors))
        if self._options.take_notes:
            item.noted = note_depth(depth, final, rows=[row for row, _ in item.task.outputs], output=self._output)
        return final

    def _tune(self, group: list[_Prepared]) -> None:
        """Measure memory and time of the pass that just ran."""
        _, prepared = group[0]
        if prepared.grid is not None:
            return
        self._group_size.finish_measuring((*prepared.pixel_values.shape,), len(group))

        def time_network() -> float:
            start_s = time.perf_counter()
            self._predictor.run([prepared])
            return time.perf_counter() - start_s

        self._core_share.tune(time_network)

    # Writing

    def _finished(self, *, at_most: int) -> Iterator[Result]:
        """Yield finished results, waiting until at most so many are still being written."""
        while self._writing and (len(self._writing) > at_most or self._writing[0][1].done()):
            item, writing = self._writing[0]
            result = writing.result()  # an interrupt here leaves the result for `on_late`
            self._writing.popleft()
            if result.is_new:
                # Neither waiting for a server nor the network's own work on tiles occupies another core.
                network_s, around_s = (
                    sum(item.stopwatch.elapsed_s.get(stage, 0.0) for stage in stages)
                    for stages in (("network", "upsample"), ("decode", "preprocess", "encode", "write"))
                )
                self._core_share.record_image(network_s, around_s)
            if self._options.in_order:
                self._order.add(item.number, result)
                yield from self._order.ready()
            else:
                yield result

    def _finished_meanwhile(self) -> Iterator[Result]:
        """Yield results while the next image is still being read: a download or standard input may take long."""
        _, reading = self._reading[0]
        if reading is None:
            yield from self._finished(at_most=0)
        else:
            yield from self._finished_before(reading)

    def _finished_before_next(self) -> Iterator[Result]:
        """Yield everything that is left to do before the next task arrives, then wait for it."""
        yield from self._predict_waiting()
        if self._coming is not None:
            yield from self._finished_before(self._coming)
            wait([self._coming])

    def _finished_before(self, awaited: Future[Any]) -> Iterator[Result]:
        while self._writing and not awaited.done():
            either: list[Future[Any]] = [awaited, self._writing[0][1]]
            wait(either, return_when=FIRST_COMPLETED)
            yield from self._finished(at_most=len(self._writing))

    def _predict_waiting(self) -> Iterator[Result]:
        """Predict the groups that are not full."""
        for size in list(self._waiting):
            self._predict(self._waiting.pop(size))
            yield from self._finished(at_most=2 * self._workers)

    # Failing

    def _fail(self, item: Item, error: GLPNError) -> None:
        """Add a failed result, after those that are still being written, so that results keep their order."""
        self._add_result(item, self._writer.fail(item, error))

    def _add_result(self, item: Item, result: Result) -> None:
        finished: Future[Result] = Future()
        finished.set_result(result)
        self._writing.append((item, finished))


def _ask_for_next(tasks: Iterator[Task]) -> Future[Task | None]:
    """Take the next task in another thread, which may wait for it; None after the last one.

    A thread of a pool would keep the process alive after an interrupt, because waiting cannot be ended.
    """
    asked: Future[Task | None] = Future()

    def take() -> None:
        try:
            asked.set_result(next(tasks, None))
        except BaseException as error:  # noqa: BLE001 - it is raised where the task is taken
            asked.set_exception(error)

    threading.Thread(target=take, name="glpn-list", daemon=True).start()
    return asked
