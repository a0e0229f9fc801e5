"""Timing on machines that do other things too: rounds that take turns, medians, and the spread."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Timing", "take_turns", "timing_of"]


@dataclass(frozen=True, slots=True)
class Timing:
    """What several rounds of one thing took.

    Attributes:
        median_s: the middle one, seconds.
        fastest_s: the shortest.
        slowest_s: the longest.
    """

    median_s: float
    fastest_s: float
    slowest_s: float


def timing_of(seconds: Sequence[float]) -> Timing:
    """Sum up the durations of some rounds."""
    return Timing(statistics.median(seconds), min(seconds), max(seconds))


def take_turns(
    rivals: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    warm_ups: int = 1,
    synchronize: Callable[[], None] = lambda: None,
) -> dict[str, Timing]:
    """Time several things round by round, so that a disturbance meets all of them.

    Args:
        rivals: what to call, by name.
        rounds: how often each is timed.
        warm_ups: how often each is called before, without being timed.
        synchronize: waits until the device has done what it was given.

    Returns:
        The timing of each.
    """
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for turn in range(warm_ups + rounds):
        for name, run in rivals.items():
            synchronize()
            start_s = time.perf_counter()
            run()
            synchronize()
            if turn >= warm_ups:
                seconds[name].append(time.perf_counter() - start_s)
    return {name: timing_of(taken) for name, taken in seconds.items()}
