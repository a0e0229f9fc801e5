"""Timing of a prediction, and how a process uses its machine well.

`Stopwatch` collects the time of each stage. `GroupSize` decides how many images a GPU processes at once, from measured
memory. `CoreShare` decides how many threads the network uses on a CPU, from measured times. None of them changes any
result.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from glpn_cli.device import MemoryMeter

_MAX_GROUP = 32  # a GPU gains nothing from more, and a failure costs more
_MAX_GROUP_PIXELS_CPU = 8 * 10**6  # of a group on a CPU: large images use all cores one by one, and less memory
_MEMORY_FRACTION = 0.7  # of the free memory; the rest is for other programs and fragmentation

_TUNE_AFTER_IMAGES = 6  # the first images include one-time setup
_MIN_IO_FRACTION = 0.15  # of the network's time; if reading and writing take less, the network gets all cores
_PASSES_PER_COUNT = 3


class Stopwatch:
    """Collects seconds by stage; the times of a stage that runs several times are added.

    Attributes:
        elapsed_s: seconds by stage, in the order in which the stages first ended.
    """

    def __init__(self) -> None:
        self.elapsed_s: dict[str, float] = {}

    @property
    def total_s(self) -> float:
        """Seconds of all stages together."""
        return sum(self.elapsed_s.values())

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to a stage, also if the block raises."""
        start_s = time.perf_counter()
        try:
            yield
        finally:
            self.elapsed_s[name] = self.elapsed_s.get(name, 0.0) + time.perf_counter() - start_s


class GroupSize:
    """How many images of the same shape the network processes at once.

    A number set by the user holds until memory runs out. Otherwise a device whose memory can be measured starts with
    one image of each shape; the memory that it took decides how many fit. A CPU takes as many as it computes at once,
    and fewer large ones.
    """

    def __init__(self, requested: int | None, memory: MemoryMeter | None, *, max_pixels: int | None = None) -> None:
        """Start without measurements.

        Args:
            requested: the user's number; None chooses one.
            memory: meter of the device's memory; None processes one image at a time unless a number is requested.
            max_pixels: of all images of a group; None for any number.
        """
        self._max_pixels = max_pixels
        self._limit = requested or (_MAX_GROUP if memory else 1)
        self._failure_limits: dict[tuple[int, ...], int] = {}
        self._memory = None if requested else memory
        self._measured: dict[tuple[int, ...], int] = {}

    @classmethod
    def of_cpu(cls, at_once: int, requested: int | None) -> GroupSize:
        """Return that of a CPU that computes a number of images at once; the user's number can only be smaller."""
        return cls(min(at_once, requested or at_once), None, max_pixels=_MAX_GROUP_PIXELS_CPU)

    @property
    def largest(self) -> int:
        """The largest group of any shape at present."""
        return min(self._limit, max(self._measured.values(), default=1)) if self._memory else self._limit

    def size_for(self, shape: tuple[int, ...]) -> int:
        """Return the number of images of a shape to process at once."""
        # A number that was too large for a shape is too large for every larger shape.
        limits = (limit for failed, limit in self._failure_limits.items() if math.prod(failed) <= math.prod(shape))
        limit = min(limits, default=self._limit)
        if self._max_pixels:
            limit = max(1, min(limit, self._max_pixels // math.prod(shape[-2:])))
        return min(limit, self._measured.get(shape, 1)) if self._memory else limit

    def start_measuring(self) -> None:
        """Start to measure the memory of a forward pass."""
        if self._memory:
            self._memory.reset()

    def finish_measuring(self, shape: tuple[int, ...], images: int) -> None:
        """Choose the group size for a shape from the pass since `start_measuring`, with `images` images.

        A shape is only measured again with more images than before: a replayed CUDA graph allocates nothing.
        """
        if not self._memory or self._measured.get(shape, 0) >= images:
            return
        bytes_per_image = self._memory.peak_bytes() / images
        self._measured[shape] = max(1, int(_MEMORY_FRACTION * self._memory.free_bytes() / max(1.0, bytes_per_image)))

    def reduce_size(self, shape: tuple[int, ...], failed: int) -> int:
        """Halve the size for a shape from now on, because `failed` images did not fit; return the new size."""
        self._failure_limits[shape] = max(1, failed // 2)
        return self._failure_limits[shape]


class CoreShare:
    """Leaves cores to the threads that read and write, if that is faster than a network on all cores.

    A network on all cores waits for all of them at each operation, and a core that is busy decoding an image comes
    late. With a large network that hardly matters; with a small one, fewer threads are faster. After some images, a few
    passes with each number of threads decide. The number of threads does not change the results.
    """

    def __init__(self, cores: int, set_threads: Callable[[int], None]) -> None:
        """Start without measurements.

        Args:
            cores: the number of threads that the network uses.
            set_threads: changes it.
        """
        self._cores = cores
        self._set_threads = set_threads
        self._network_s: deque[float] = deque(maxlen=_TUNE_AFTER_IMAGES)
        self._io_s: deque[float] = deque(maxlen=_TUNE_AFTER_IMAGES)
        self._is_tuned = cores <= 1
        self._has_changed = False

    def record_image(self, network_s: float, io_s: float) -> None:
        """Record what an image took: seconds of the network, and seconds of reading and writing."""
        if not self._is_tuned:
            self._network_s.append(network_s)
            self._io_s.append(io_s)

    def tune(self, time_network: Callable[[], float]) -> None:
        """Choose the number of threads, once, as soon as enough images are recorded.

        Args:
            time_network: runs the network once and returns seconds.
        """
        if self._is_tuned or len(self._network_s) < _TUNE_AFTER_IMAGES:
            return
        self._is_tuned = True
        io_s = statistics.median(self._io_s)
        if io_s < _MIN_IO_FRACTION * statistics.median(self._network_s):
            return
        self._has_changed = True
        network_s = {}
        threads = self._cores
        while threads:
            self._set_threads(threads)
            network_s[threads] = min(time_network() for _ in range(_PASSES_PER_COUNT))
            threads //= 2
        self._set_threads(choose_threads(network_s, io_s))

    def restore(self) -> None:
        """Set the network's number of threads back, if it was changed."""
        if self._has_changed:
            self._set_threads(self._cores)


def choose_threads(network_s: Mapping[int, float], io_s: float) -> int:
    """Return the number of threads with which an image is finished soonest.

    Args:
        network_s: seconds of the network by number of threads; the largest number is all cores.
        io_s: seconds of reading and writing on one core.
    """
    cores = max(network_s)

    def image_s(threads: int) -> float:
        if threads == cores:  # reading and writing interrupt the network
            return network_s[threads] + io_s / cores
        return max(network_s[threads], io_s / (cores - threads))

    return min(network_s, key=image_s)
