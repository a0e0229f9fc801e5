"""Many images in one stream: read ahead, compute, write behind, and every failure a value."""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from glpn_cli.device import MemoryMeter, memory_errors_named
from glpn_cli.errors import DeviceError, GLPNError, OutputError
from glpn_cli.files import (
    is_disk_wide,
    make_folder,
    partial_path,
    refuse_outside,
    refuses_files,
    write_together,
)
from glpn_cli.image.fetching import Stopper
from glpn_cli.inference.autotune import CoreShare, GroupSize, Stopwatch
from glpn_cli.inference.manifest import DONE, FAILED, Record, file_mark
from glpn_cli.inference.source import open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from glpn_cli.depth import DepthMap
    from glpn_cli.inference.manifest import Manifest
    from glpn_cli.inference.mirror import MirroredImage
    from glpn_cli.inference.predictor import Predictor, PreparedImage
    from glpn_cli.settings import OutputSettings


@dataclass(slots=True)
class _Item:
    """An image on its way through the stream."""

    image: MirroredImage
    stopwatch: Stopwatch
    mark: str


def run_batch(
    images: Iterable[MirroredImage],
    predictor: Predictor,
    manifest: Manifest,
    *,
    output_settings: OutputSettings,
    settings: dict[str, Any],
    workers: int,
    batch_size: int | None = None,
    threads_fixed: bool = True,
    tell: Callable[[str], None] = lambda _: None,
    on_depth: Callable[[Record, DepthMap], None] | None = None,
    observe: Callable[[DepthMap], None] | None = None,
) -> Generator[Record]:
    """Predict images and write their depth, with reading, computing and writing at the same time.

    An image that cannot be done is a record like any other. Closing the iterator, as an interrupt does, finishes
    what is being written and drops the rest.

    Args:
        images: what is to be done, without what was done before.
        predictor: computes, in the caller's thread.
        manifest: entered; gets a line for each image.
        output_settings: what the numbers in the outputs are.
        settings: what the lines of the manifest say of how the outputs were made.
        workers: threads that read, and as many that write.
        batch_size: images of one size that the network sees at once; None finds out. A CPU takes one.
        threads_fixed: leave the number of torch's threads as it is, instead of finding out how many suit.
        tell: is told in one line when something has to go on with less.
        on_depth: is shown each depth map and the line that it will have, in a writer's thread, before its outputs
            appear: who is killed in between sees the image again.
        observe: is shown every depth map, in the caller's thread.

    Yields:
        The record of each image when it is finished.

    Raises:
        OutputError: nothing can be written any more.
    """
    runtime = predictor.runtime
    on_cpu = runtime.device.type == "cpu"
    group_size = GroupSize(1 if on_cpu else batch_size, MemoryMeter.of(runtime.device))
    cores = torch.get_num_threads() if on_cpu and not threads_fixed else 1
    stream = _Stream(
        predictor,
        manifest,
        output_settings=output_settings,
        settings=settings,
        workers=workers,
        group_size=group_size,
        core_share=CoreShare(cores, torch.set_num_threads),
        tell=tell,
        on_depth=on_depth,
        observe=observe,
    )
    return stream.run(iter(images))


_Prepared: TypeAlias = "tuple[_Item, PreparedImage]"


class _Stream:
    """The state of one run: what is being read, what waits for company, what is being written."""

    def __init__(
        self,
        predictor: Predictor,
        manifest: Manifest,
        *,
        output_settings: OutputSettings,
        settings: dict[str, Any],
        workers: int,
        group_size: GroupSize,
        core_share: CoreShare,
        tell: Callable[[str], None],
        on_depth: Callable[[Record, DepthMap], None] | None,
        observe: Callable[[DepthMap], None] | None,
    ) -> None:
        self._predictor = predictor
        self._manifest = manifest
        self._output_settings = output_settings
        self._settings = settings
        self._workers = workers
        self._group_size = group_size
        self._core_share = core_share
        self._tell = tell
        self._stopper = Stopper()
        self._on_depth = on_depth
        self._observe = observe
        self._readers = ThreadPoolExecutor(workers, "glpn-read")
        self._writers = ThreadPoolExecutor(workers, "glpn-write")
        self._reading: deque[tuple[_Item, Future[PreparedImage]]] = deque()
        self._writing: deque[tuple[_Item, Future[Record]]] = deque()
        self._waiting: dict[tuple[int, ...], list[_Prepared]] = {}

    def run(self, images: Iterator[MirroredImage]) -> Generator[Record]:
        """Take images in order and give their records as they are finished."""
        try:
            self._read_ahead(images)
            while self._reading:
                item, reading = self._reading.popleft()
                try:
                    prepared = reading.result()
                except GLPNError as error:
                    yield self._failed(item, error)
                else:
                    yield from self._join(item, prepared)
                    del prepared  # it may be large, and the next is being read
                self._read_ahead(images)
                yield from self._finished(at_most=2 * self._workers)
            for size in list(self._waiting):
                yield from self._compute(self._waiting.pop(size))
            yield from self._finished(at_most=0)
        finally:
            # An interrupt ends here too: what is not begun is dropped, what is being written is finished.
            self._core_share.restore()
            self._stopper.stop()
            self._readers.shutdown(cancel_futures=True)
            self._writers.shutdown(cancel_futures=False)

    def _read_ahead(self, images: Iterator[MirroredImage]) -> None:
        """Keep a few images in memory and no more, however many there are."""
        # Images with tiles are large, stay in memory as they are, and gain nothing from company.
        company = 0 if self._predictor.tiles.is_on else self._group_size.largest
        while len(self._reading) < self._workers + company:
            image = next(images, None)
            if image is None:
                return
            item = _Item(image, Stopwatch(), file_mark(image.source))
            self._reading.append((item, self._readers.submit(self._read, item)))

    def _read(self, item: _Item) -> PreparedImage:
        if item.image.failure is not None:
            raise item.image.failure
        image, name = open_source(item.image.source, stopwatch=item.stopwatch, stopper=self._stopper)
        return self._predictor.prepare(image, name=name, stopwatch=item.stopwatch)

    def _join(self, item: _Item, prepared: PreparedImage) -> Iterator[Record]:
        """Let an image wait for others of its size, as long as few are waiting."""
        if prepared.grid is not None:
            yield from self._compute([(item, prepared)])
            return
        size = tuple(prepared.pixel_values.shape)
        self._waiting.setdefault(size, []).append((item, prepared))
        if len(self._waiting[size]) >= self._group_size.of(size):
            yield from self._compute(self._waiting.pop(size))
        elif sum(map(len, self._waiting.values())) >= 2 * self._group_size.largest:
            fullest = max(self._waiting, key=lambda size: len(self._waiting[size]))
            yield from self._compute(self._waiting.pop(fullest))

    def _compute(self, group: list[_Prepared]) -> Iterator[Record]:
        """Run the network on images of one size, of as many at once as it has memory for."""
        size = tuple(group[0][1].pixel_values.shape)
        while group:
            at_once = min(len(group), self._group_size.of(size))
            records = self._compute_together(group[:at_once])
            if records is None:
                fewer = self._group_size.halve(size, at_once)
                self._tell(f"{at_once} images at once are too much for the memory; going on with {fewer}")
            else:
                group = group[at_once:]
                yield from records

    def _compute_together(self, group: list[_Prepared]) -> list[Record] | None:
        """Run the network on images of one size at once and hand their depth to the writers.

        Returns:
            The records of those that failed; None if there are several and they are too much for the memory.
        """
        start_s = time.perf_counter()
        failed = []
        self._group_size.watch()
        try:
            predictions = self._predictor.run([prepared for _, prepared in group])
        except DeviceError as error:
            # Nothing is computed here: the error holds on to memory.
            return [self._failed(group[0][0], error)] if len(group) == 1 else None
        share_s = (time.perf_counter() - start_s) / len(group)
        self._learn(group)
        for (item, prepared), predicted in zip(group, predictions, strict=True):
            item.stopwatch.elapsed_s["network"] = share_s
            try:
                # Here and not in a writer, because torch would set up threads of its own for each of those.
                depth = self._predictor.finish(prepared, predicted, stopwatch=item.stopwatch)
            except GLPNError as error:
                failed.append(self._failed(item, error))
            else:
                if self._observe is not None:
                    self._observe(depth)
                self._writing.append((item, self._writers.submit(self._write, item, depth)))
        return failed

    def _learn(self, group: list[_Prepared]) -> None:
        """Find out more about the machine from images that the network has just seen."""
        _, prepared = group[0]
        if prepared.grid is not None:
            return
        self._group_size.learn((*prepared.pixel_values.shape,), len(group))

        def time_network() -> float:
            start_s = time.perf_counter()
            self._predictor.run([prepared])
            return time.perf_counter() - start_s

        self._core_share.sound_out(time_network)

    def _finished(self, *, at_most: int) -> Iterator[Record]:
        """Give the records of what is written, waiting until at most so many are still being written."""
        while self._writing and (len(self._writing) > at_most or self._writing[0][1].done()):
            item, writing = self._writing.popleft()
            record = writing.result()
            # Neither waiting for a server nor the network's own work on tiles takes a core from it.
            network_s, around_s = (
                sum(item.stopwatch.elapsed_s.get(stage, 0.0) for stage in stages)
                for stages in (("network", "upsample"), ("decode", "preprocess", "encode", "write"))
            )
            self._core_share.note(network_s, around_s)
            yield record

    def _write(self, item: _Item, depth: DepthMap) -> Record:
        """Encode and write all outputs of an image and its line in the manifest; runs in a writer's thread."""
        paths = [path for _, path in item.image.outputs]
        names = [row.name for row, _ in item.image.outputs]
        try:
            encoding = memory_errors_named(f"{item.image.source}: encoding", hint="fewer --workers")
            with item.stopwatch.stage("encode"), encoding:
                files = [row.load_codec().encode(depth, self._output_settings) for row, _ in item.image.outputs]
            record = Record(
                source=str(item.image.source),
                status=DONE,
                outputs=dict(zip(names, (self._relative(path) for path in paths), strict=True)),
                source_mark=item.mark,
                sha256=dict(zip(names, (hashlib.sha256(data).hexdigest() for data in files), strict=True)),
                settings=self._settings,
            )
            if self._on_depth is not None:
                self._on_depth(record, depth)
            with item.stopwatch.stage("write"):
                partials = [partial_path(path) for path in paths]
                self._manifest.announce(record, partials)
                for folder in {path.parent for path in paths}:
                    refuse_outside(folder, self._manifest.folder)
                    make_folder(folder)
                # Asked again, because hours may have passed since it was planned.
                overwrite = all(
                    item.image.may_replace(row, path) or not os.path.lexists(path) for row, path in item.image.outputs
                ) and (item.image.overwrite or item.image.record is not None)
                write_together(list(zip(paths, files, strict=True)), overwrite=overwrite, partials=partials)
        except GLPNError as error:
            return self._failed(item, error)
        record = replace(record, seconds=round(item.stopwatch.total_s, 4))
        self._manifest.append(record)
        return record

    def _failed(self, item: _Item, error: GLPNError) -> Record:
        if isinstance(error, OutputError):
            self._stop_if_hopeless(error)
        record = Record(
            source=str(item.image.source),
            status=FAILED,
            error=error.message,
            hint=error.hint,
            exit_code=error.exit_code,
            seconds=round(item.stopwatch.total_s, 4),
            settings=self._settings,
        )
        self._manifest.append(record)
        return record

    def _stop_if_hopeless(self, error: OutputError) -> None:
        """Raise an error that every other image would meet too."""
        folder = self._manifest.folder
        if not folder.exists():
            raise OutputError(
                f"{folder}: was removed while the batch ran", hint="the same command does again what is missing"
            ) from error
        if is_disk_wide(error) or refuses_files(folder):
            raise error

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._manifest.folder).as_posix()
