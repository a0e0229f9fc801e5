"""The run loop of `glpn predict` and `glpn batch`: read ahead, predict, write behind. Failures are values.

reader threads: open_source → read_image → to_pixel_values      `Predictor.prepare`
caller's thread: network → meters at the image's size           `Predictor.run`, `Predictor.finish`
writer threads: encode → files → line of the manifest           `_Stream._write`
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from glpn_cli.errors import DeviceError, GLPNError, ImageError, OutputError
from glpn_cli.files import (
    is_disk_wide,
    make_folder,
    os_reason,
    partial_path,
    read_bounded,
    refuse_outside,
    refuses_files,
    write_together,
    write_whole,
)
from glpn_cli.image.discovery import STDIN
from glpn_cli.image.fetching import Address, Stopper, fetch_image
from glpn_cli.inference.autotune import CoreShare, GroupSize, Stopwatch
from glpn_cli.inference.manifest import DONE, Record, file_mark
from glpn_cli.inference.plan import MemoryImage
from glpn_cli.inference.result import Result, describe_depth, failed_result, without_traceback
from glpn_cli.settings import MAX_STREAM_BYTES, OutputSettings, RunSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from glpn_cli.depth import DepthMap
    from glpn_cli.geometry.measure import Anchor
    from glpn_cli.image.discovery import Source
    from glpn_cli.inference.manifest import Manifest
    from glpn_cli.inference.plan import Task
    from glpn_cli.inference.predictor import Predictor, PreparedImage


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a caller of `run` wants besides files.

    Attributes:
        anchors: known distances; the depth of each image is scaled to match.
        keep_depth: leave depth maps in the results.
        describe: fill `Result.facts`.
        tune_threads: try fewer CPU threads for the network, if images take long to read and write. The number of
            torch's threads belongs to the whole process.
        named_file: follow a link at the only output; see `Plan.named_file`.
        fingerprint: what determines the content of the outputs, for the manifest.
        on_depth: is called with each depth map and its record in a writer thread, before the outputs appear, so that
            a killed run calls it again.
        observe: is called with each depth map, before anchors, in the caller's thread.
        note: is called with a message when a run continues with less memory.
    """

    anchors: Sequence[Anchor] = ()
    keep_depth: bool = False
    describe: bool = False
    tune_threads: bool = True
    named_file: bool = False
    fingerprint: dict[str, Any] = field(default_factory=dict)
    on_depth: Callable[[Record, DepthMap], None] | None = None
    observe: Callable[[DepthMap], None] = lambda _: None
    note: Callable[[str], None] = lambda _: None


_NO_OPTIONS = RunOptions()


def run(
    tasks: Iterable[Task],
    predictor: Predictor,
    output: OutputSettings,
    *,
    settings: RunSettings | None = None,
    manifest: Manifest | None = None,
    options: RunOptions = _NO_OPTIONS,
) -> Generator[Result]:
    """Predict the images of tasks and write their depth; reading, predicting and writing overlap.

    Only a few images are in memory, however many there are. Closing the generator, as an interrupt does, finishes what
    is being written and drops the rest.

    Args:
        tasks: what to do. A task with a failure becomes a failed result.
        predictor: runs in the caller's thread.
        output: numbers and colors of the files.
        settings: how much happens at once.
        manifest: entered and begun; gets a line for each image. Its folder is the limit of all outputs.
        options: callbacks and extras.

    Yields:
        The result of each task when it is finished; on a CPU in the order of the tasks.

    Raises:
        OutputError: no more outputs can be written.
    """
    return _Stream(predictor, output, settings or RunSettings(), manifest, options).results(iter(tasks))


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
        return read_stdin(), "stdin"
    if isinstance(source, MemoryImage):
        return source.image, None
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


@dataclass(slots=True)
class _Item:
    """A task on its way through the stream."""

    task: Task
    stopwatch: Stopwatch
    mark: str


_Reading: TypeAlias = "Future[PreparedImage | GLPNError]"
_Prepared: TypeAlias = "tuple[_Item, PreparedImage]"


class _Stream:
    """The state of one run: what is being read, what waits for its group, what is being written."""

    def __init__(
        self,
        predictor: Predictor,
        output: OutputSettings,
        settings: RunSettings,
        manifest: Manifest | None,
        options: RunOptions,
    ) -> None:
        import torch

        from glpn_cli.device import MemoryMeter

        device = predictor.runtime.device
        on_cpu = device.type == "cpu"
        self._predictor = predictor
        self._output = output
        self._manifest = manifest
        self._options = options
        self._workers = settings.worker_count
        self._group_size = GroupSize(1 if on_cpu else settings.batch_size, MemoryMeter.of(device))
        is_tuned = options.tune_threads and on_cpu and predictor.settings.threads is None
        cores = torch.get_num_threads() if is_tuned else 1
        self._core_share = CoreShare(cores, torch.set_num_threads)
        self._stopper = Stopper()
        self._readers = ThreadPoolExecutor(self._workers, "glpn-read")
        self._writers = ThreadPoolExecutor(self._workers, "glpn-write")
        self._reading: deque[tuple[_Item, _Reading | None]] = deque()  # None: read when its turn comes
        self._writing: deque[tuple[_Item, Future[Result]]] = deque()
        self._waiting: dict[tuple[int, ...], list[_Prepared]] = {}

    def results(self, tasks: Iterator[Task]) -> Generator[Result]:
        """Process tasks in order and yield their results as they are finished."""
        try:
            self._read_ahead(tasks)
            while self._reading:
                yield from self._finished_meanwhile()
                self._take(*self._reading.popleft())
                self._read_ahead(tasks)
                yield from self._finished(at_most=2 * self._workers)
            for size in list(self._waiting):
                self._predict(self._waiting.pop(size))
                yield from self._finished(at_most=2 * self._workers)
            yield from self._finished(at_most=0)
        finally:
            # An interrupt ends here too: what has not started is dropped, what is being written is finished.
            self._core_share.restore()
            self._stopper.stop()
            self._readers.shutdown(cancel_futures=True)
            self._writers.shutdown(cancel_futures=False)

    # Reading

    def _read_ahead(self, tasks: Iterator[Task]) -> None:
        """Start reading the next images; only a few are in memory, however many there are."""
        # Images with tiles are large, stay in memory, and gain nothing from groups.
        group = 0 if self._predictor.settings.tiles.is_on else self._group_size.largest
        while len(self._reading) < self._workers + group:
            task = next(tasks, None)
            if task is None:
                return
            is_marked = not isinstance(task.source, str | MemoryImage) and task.source is not STDIN
            mark = file_mark(task.source) if is_marked else ""  # type: ignore[arg-type]  # a path or URL
            item = _Item(task, Stopwatch(), mark)
            # Standard input is read in the caller's thread: an interrupt could not stop it in another.
            reading = None if task.source is STDIN else self._readers.submit(self._read, item)
            self._reading.append((item, reading))

    def _read(self, item: _Item) -> PreparedImage | GLPNError:
        """Return the network's input for an image, or why there is none; runs in a reader thread."""
        if item.task.failure is not None:
            return item.task.failure
        try:
            image, name = open_source(item.task.source, stopwatch=item.stopwatch, stopper=self._stopper)
            return self._predictor.prepare(image, name=name, stopwatch=item.stopwatch)
        except GLPNError as error:
            return without_traceback(error)

    # Predicting

    def _take(self, item: _Item, reading: _Reading | None) -> None:
        """Pass on an image that is read. A function of its own: its variables hold on to the image."""
        prepared = self._read(item) if reading is None else reading.result()
        if isinstance(prepared, GLPNError):
            self._fail(item, prepared)
        else:
            self._join(item, prepared)

    def _join(self, item: _Item, prepared: PreparedImage) -> None:
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
                depth = self._anchored(self._predictor.finish(prepared, predicted, stopwatch=item.stopwatch))
            except GLPNError as error:
                self._fail(item, error)
            else:
                self._writing.append((item, self._writers.submit(self._write, item, depth)))
        return True

    def _anchored(self, depth: DepthMap) -> DepthMap:
        """Show a depth map to the observer, then scale it to the anchors."""
        self._options.observe(depth)
        if not self._options.anchors:
            return depth
        from glpn_cli.geometry.measure import anchor_depth

        return anchor_depth(depth, list(self._options.anchors))

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
            item, writing = self._writing.popleft()
            result = writing.result()
            if result.is_done:
                # Neither waiting for a server nor the network's own work on tiles occupies another core.
                network_s, around_s = (
                    sum(item.stopwatch.elapsed_s.get(stage, 0.0) for stage in stages)
                    for stages in (("network", "upsample"), ("decode", "preprocess", "encode", "write"))
                )
                self._core_share.record_image(network_s, around_s)
            yield result

    def _finished_meanwhile(self) -> Iterator[Result]:
        """Yield results while the next image is still being read: a download or standard input may take long."""
        _, reading = self._reading[0]
        if reading is None:
            yield from self._finished(at_most=0)
        while self._writing and reading is not None and not reading.done():
            awaited: list[Future[Any]] = [reading, self._writing[0][1]]
            wait(awaited, return_when=FIRST_COMPLETED)
            yield from self._finished(at_most=len(self._writing))

    def _write(self, item: _Item, depth: DepthMap) -> Result:
        """Encode and write all outputs of an image and its line in the manifest; runs in a writer thread."""
        try:
            files, facts = self._encode(item, depth)
            record = self._record(item, files)
            if self._options.on_depth is not None:
                self._options.on_depth(record, depth)
            with item.stopwatch.stage("write"):
                self._write_files(item.task, record, files)
        except GLPNError as error:
            return self._failed(item, error)
        record = replace(record, seconds=round(item.stopwatch.total_s, 4))
        if self._manifest is not None:
            self._manifest.append(record)
        return Result(
            item.task,
            record,
            elapsed_s=dict(item.stopwatch.elapsed_s),
            facts=facts,
            depth=depth if self._options.keep_depth else None,
            stdout=files[0] if item.task.to_stdout else None,
        )

    def _encode(self, item: _Item, depth: DepthMap) -> tuple[list[bytes], dict[str, Any]]:
        """Return the bytes of each output, and the facts for the JSON record."""
        from glpn_cli.device import memory_errors_named

        naming = memory_errors_named(f"{item.task.source}: encoding", hint="set fewer `workers` or `formats`")
        with item.stopwatch.stage("encode"), naming:
            files = [row.load_codec().encode(depth, self._output) for row, _ in item.task.outputs]
            return files, describe_depth(depth, self._output) if self._options.describe else {}

    def _record(self, item: _Item, files: list[bytes]) -> Record:
        """Return the line of the manifest, still without the seconds."""
        names = [row.name for row, _ in item.task.outputs]
        return Record(
            source=str(item.task.source),
            status=DONE,
            outputs=dict(zip(names, (self._relative(path) for _, path in item.task.outputs), strict=True)),
            source_mark=item.mark,
            sha256=dict(zip(names, (hashlib.sha256(data).hexdigest() for data in files), strict=True)),
            settings=self._options.fingerprint,
        )

    def _write_files(self, task: Task, record: Record, files: list[bytes]) -> None:
        if task.to_stdout or not task.outputs:
            return
        paths = [path for _, path in task.outputs]
        if self._options.named_file:
            write_whole(paths[0], files[0], overwrite=task.overwrite)
            return
        partials = [partial_path(path) for path in paths]
        if self._manifest is not None:
            self._manifest.announce(record, partials)
            for folder in {path.parent for path in paths}:
                refuse_outside(folder, self._manifest.folder)
                make_folder(folder)
        # Asked again, because hours may have passed since the plan.
        overwrite = all(task.may_replace(row, path) or not os.path.lexists(path) for row, path in task.outputs) and (
            task.overwrite or task.record is not None
        )
        write_together(list(zip(paths, files, strict=True)), overwrite=overwrite, partials=partials)

    # Failing

    def _fail(self, item: _Item, error: GLPNError) -> None:
        """Add a failed result, after those that are still being written, so that results keep their order."""
        failed: Future[Result] = Future()
        failed.set_result(self._failed(item, error))
        self._writing.append((item, failed))

    def _failed(self, item: _Item, error: GLPNError) -> Result:
        if isinstance(error, OutputError):
            self._stop_if_hopeless(error)
        elapsed_s = dict(item.stopwatch.elapsed_s)
        result = failed_result(item.task, error, elapsed_s=elapsed_s, settings=self._options.fingerprint)
        if self._manifest is not None:
            self._manifest.append(result.record)
        return result

    def _stop_if_hopeless(self, error: OutputError) -> None:
        """Raise an error that every other image of a batch would meet too."""
        if self._manifest is None:
            return
        folder = self._manifest.folder
        if not folder.exists():
            raise OutputError(
                f"{folder}: was removed during the run", hint="run it again to write what is missing"
            ) from error
        if is_disk_wide(error) or refuses_files(folder):
            raise error

    def _relative(self, path: Path) -> str:
        return str(path) if self._manifest is None else path.relative_to(self._manifest.folder).as_posix()
