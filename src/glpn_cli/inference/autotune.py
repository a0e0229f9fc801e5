"""How long each stage of a prediction took.

What a batch finds out about its machine while it runs: images at once on a GPU, threads on a CPU.
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


class Stopwatch:
    """Collects seconds by stage; a stage that runs again adds up.

    Attributes:
        elapsed_s: seconds by stage, in the order in which the stages began.
    """

    def __init__(self) -> None:
        self.elapsed_s: dict[str, float] = {}

    @property
    def total_s(self) -> float:
        """Seconds of all stages together."""
        return sum(self.elapsed_s.values())

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of the block for a stage."""
        start_s = time.perf_counter()
        try:
            yield
        finally:
            self.elapsed_s[name] = self.elapsed_s.get(name, 0.0) + time.perf_counter() - start_s


_MOST_AT_ONCE = 32  # beyond it a GPU gains nothing, and a failure costs more

_SPARE = 0.7  # of the memory that is free; the rest is for what other programs may want, and for fragments

_SOUND_OUT_AFTER = 6  # images; the first ones pay for what is set up once

_AROUND_MATTERS = 0.15  # of the network's time; below it the network may have all cores

_PASSES = 3


class GroupSize:
    """How many images of one size the network sees at once.

    A number that the user gives holds until memory runs out. Otherwise a device that says how much memory it has
    begins with one image of each size and then takes as many as fit by what that one took.
    """

    def __init__(self, asked: int | None, memory: MemoryMeter | None) -> None:
        """Take what the user asks for (None: automatic), and the device's memory (None: one image at a time)."""
        self._limit = asked or (_MOST_AT_ONCE if memory else 1)
        self._limits: dict[tuple[int, ...], int] = {}
        self._memory = None if asked else memory
        self._learnt: dict[tuple[int, ...], int] = {}

    @property
    def largest(self) -> int:
        """The most that a group of any size has at present."""
        return min(self._limit, max(self._learnt.values(), default=1)) if self._memory else self._limit

    def of(self, size: tuple[int, ...]) -> int:
        """Give the number for images of a size."""
        # Where so many of a size were too much, so they are of every larger one.
        limits = (fewer for known, fewer in self._limits.items() if math.prod(known) <= math.prod(size))
        limit = min(limits, default=self._limit)
        return min(limit, self._learnt.get(size, 1)) if self._memory else limit

    def watch(self) -> None:
        """Begin to measure a pass."""
        if self._memory:
            self._memory.reset()

    def learn(self, size: tuple[int, ...], images: int) -> None:
        """Take notice of what the pass since `watch` took."""
        if not self._memory or self._learnt.get(size, 0) >= images:
            return
        each_bytes = self._memory.peak_bytes() / images
        self._learnt[size] = max(1, int(_SPARE * self._memory.free_bytes() / max(1.0, each_bytes)))

    def halve(self, size: tuple[int, ...], images: int) -> int:
        """Take fewer of a size from now on, because so many were too much for the memory; gives how many."""
        self._limits[size] = max(1, images // 2)
        return self._limits[size]


class CoreShare:
    """Leaves cores to the threads that read and write, where the network gains less from them.

    A network on all cores waits for every one of them at each operation, and a core that decodes an image comes
    late. With a large network that hardly matters; with a small one, fewer threads are faster. What suits is found
    out with a few passes once some images are through. The number of threads does not change the numbers.
    """

    def __init__(self, cores: int, set_threads: Callable[[int], None]) -> None:
        """Take the number of threads that the network has, and what changes it."""
        self._cores = cores
        self._set_threads = set_threads
        self._network_s: deque[float] = deque(maxlen=_SOUND_OUT_AFTER)
        self._around_s: deque[float] = deque(maxlen=_SOUND_OUT_AFTER)
        self._open = cores > 1
        self._changed = False

    def note(self, network_s: float, around_s: float) -> None:
        """Take notice of an image: seconds of the network, and of reading and writing."""
        if self._open:
            self._network_s.append(network_s)
            self._around_s.append(around_s)

    def sound_out(self, time_network: Callable[[], float]) -> None:
        """Choose the number of threads, once and when enough is known; `time_network` runs it and gives seconds."""
        if not self._open or len(self._network_s) < _SOUND_OUT_AFTER:
            return
        self._open = False
        around_s = statistics.median(self._around_s)
        if around_s < _AROUND_MATTERS * statistics.median(self._network_s):
            return
        self._changed = True
        network_s = {}
        threads = self._cores
        while threads:
            self._set_threads(threads)
            network_s[threads] = min(time_network() for _ in range(_PASSES))
            threads //= 2
        self._set_threads(choose_threads(network_s, around_s))

    def restore(self) -> None:
        """Give the network all its threads back, if any were taken."""
        if self._changed:
            self._set_threads(self._cores)


def choose_threads(network_s: Mapping[int, float], around_s: float) -> int:
    """Choose the number of threads with which an image is through soonest.

    Args:
        network_s: seconds of the network by number of threads; the largest number is all cores.
        around_s: seconds that one core needs for everything else.
    """
    cores = max(network_s)

    def image_s(threads: int) -> float:
        if threads == cores:  # everything else happens in between
            return network_s[threads] + around_s / cores
        return max(network_s[threads], around_s / (cores - threads))

    return min(network_s, key=image_s)
