from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from glpn_cli.inference import autotune
from glpn_cli.inference.autotune import CoreShare, GroupSize, Stopwatch, choose_threads

SMALL, LARGE = (1, 3, 32, 32), (1, 3, 64, 64)


def test_group_of_cpu() -> None:
    assert GroupSize.of_cpu(1, None).size_for(SMALL) == GroupSize.of_cpu(1, 8).size_for(SMALL) == 1
    assert GroupSize.of_cpu(8, None).size_for(SMALL) == 8
    assert GroupSize.of_cpu(8, 3).size_for(SMALL) == 3
    assert [GroupSize.of_cpu(8, None).size_for((1, 3, side, side)) for side in (2000, 9000)] == [2, 1]


def test_stopwatch_adds_repeated_and_failed_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 10.0, 12.0, 20.0, 24.0])
    monkeypatch.setattr(autotune, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    stopwatch = Stopwatch()
    with stopwatch.stage("decode"):
        pass
    with pytest.raises(ValueError, match="stage failed"), stopwatch.stage("network"):
        raise ValueError("stage failed")
    with stopwatch.stage("decode"):
        pass
    assert stopwatch.elapsed_s == {"decode": 5.0, "network": 2.0}
    assert stopwatch.total_s == 7.0


@dataclass
class FakeMemory:
    """A GPU with 1000 free bytes, on which a pass takes `peak` bytes."""

    peak: int = 0
    resets: int = 0

    def reset(self) -> None:
        self.resets += 1

    def peak_bytes(self) -> int:
        return self.peak

    def free_bytes(self) -> int:
        return 1000


def test_requested_group_size_holds() -> None:
    memory = FakeMemory()
    groups = GroupSize(5, memory)  # type: ignore[arg-type]
    groups.start_measuring()
    groups.finish_measuring(SMALL, 5)
    assert (groups.size_for(SMALL), groups.largest, memory.resets) == (5, 5, 0)


def test_unknown_memory_means_one_image() -> None:
    assert GroupSize(None, None).size_for(SMALL) == 1


def test_group_size_follows_measured_memory() -> None:
    memory = FakeMemory()
    groups = GroupSize(None, memory)  # type: ignore[arg-type]
    assert (groups.size_for(SMALL), groups.largest) == (1, 1)
    groups.start_measuring()
    assert memory.resets == 1
    memory.peak = 100
    groups.finish_measuring(SMALL, 1)
    assert (groups.size_for(SMALL), groups.size_for(LARGE), groups.largest) == (7, 1, 7)
    memory.peak = 2000
    groups.finish_measuring(LARGE, 1)
    assert groups.size_for(LARGE) == 1
    # A replayed graph allocates nothing that the meter sees, so the first measurement holds.
    memory.peak = 1
    groups.finish_measuring(LARGE, 1)
    assert groups.size_for(LARGE) == 1


def test_group_size_has_a_maximum() -> None:
    groups = GroupSize(None, FakeMemory(peak=1))  # type: ignore[arg-type]
    groups.finish_measuring(SMALL, 1)
    assert groups.size_for(SMALL) == 32


@pytest.mark.parametrize("requested", [None, 9])
def test_failed_group_size_is_halved_for_good(requested: int | None) -> None:
    groups = GroupSize(requested, FakeMemory(peak=10))  # type: ignore[arg-type]
    groups.finish_measuring(SMALL, 1)
    assert groups.reduce_size(SMALL, 9) == 4
    groups.finish_measuring(SMALL, 1)
    assert groups.size_for(SMALL) == 4
    assert groups.reduce_size(SMALL, 1) == 1


def test_failure_limits_larger_shapes_only() -> None:
    groups = GroupSize(8, None)
    groups.reduce_size(LARGE, 8)
    assert (groups.size_for(SMALL), groups.size_for(LARGE)) == (8, 4)
    groups.reduce_size(SMALL, 2)
    assert (groups.size_for(SMALL), groups.size_for(LARGE)) == (1, 1)


@dataclass
class FakeMachine:
    """Cores on which the network takes `network_s` seconds, by number of threads."""

    network_s: dict[int, float]
    threads: int = 2
    history: list[int] = field(default_factory=list)

    def set_threads(self, threads: int) -> None:
        self.threads = threads
        self.history.append(threads)

    def time_network(self) -> float:
        return self.network_s[self.threads]


def tuned(machine: FakeMachine, io_s: float, images: int = 6) -> CoreShare:
    share = CoreShare(2, machine.set_threads)
    for _ in range(images):
        share.record_image(machine.network_s[2], io_s)
    share.tune(machine.time_network)
    return share


def test_small_network_leaves_a_core_free() -> None:
    machine = FakeMachine({2: 0.009, 1: 0.010})
    share = tuned(machine, 0.005)
    assert machine.threads == 1
    share.restore()
    assert machine.threads == 2


def test_large_network_keeps_all_cores_untested() -> None:
    machine = FakeMachine({2: 0.5, 1: 0.9})
    tuned(machine, 0.01).restore()
    assert machine.history == []


def test_network_that_needs_all_cores_keeps_them() -> None:
    machine = FakeMachine({2: 0.010, 1: 0.020})
    tuned(machine, 0.005)
    assert machine.threads == 2


def test_tuning_runs_once_after_enough_images() -> None:
    machine = FakeMachine({2: 0.009, 1: 0.010})
    tuned(machine, 0.005, images=5)
    assert machine.history == []
    share = tuned(machine, 0.005)
    changes = len(machine.history)
    share.record_image(1, 1)
    share.tune(machine.time_network)
    assert len(machine.history) == changes


def test_single_core_is_not_tuned() -> None:
    machine = FakeMachine({1: 0.01}, threads=1)
    share = CoreShare(1, machine.set_threads)
    for _ in range(9):
        share.record_image(0.01, 0.01)
    share.tune(machine.time_network)
    assert machine.history == []


@pytest.mark.parametrize(
    ("network_s", "io_s", "threads"),
    [
        ({8: 0.010, 4: 0.011, 2: 0.020, 1: 0.040}, 0.03, 4),
        ({8: 0.010, 4: 0.011, 2: 0.020, 1: 0.040}, 0.001, 8),
        ({8: 0.010, 4: 0.010, 2: 0.010, 1: 0.0105}, 0.07, 1),
    ],
)
def test_chosen_threads_finish_an_image_soonest(network_s: dict[int, float], io_s: float, threads: int) -> None:
    assert choose_threads(network_s, io_s) == threads
