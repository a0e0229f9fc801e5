from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from glpn_cli.inference.autotune import CoreShare, GroupSize, choose_threads

SMALL, LARGE = (1, 3, 32, 32), (1, 3, 64, 64)


@dataclass
class Memory:
    """A GPU of 1000 bytes, on which an image takes as many as it says."""

    peak: int = 0
    resets: int = 0

    def reset(self) -> None:
        self.resets += 1

    def peak_bytes(self) -> int:
        return self.peak

    def free_bytes(self) -> int:
        return 1000


def test_a_number_that_was_asked_for_holds() -> None:
    memory = Memory()
    sizes = GroupSize(5, memory)  # type: ignore[arg-type]
    sizes.watch()
    sizes.learn(SMALL, 5)
    assert (sizes.of(SMALL), sizes.largest, memory.resets) == (5, 5, 0)


def test_a_device_that_says_nothing_of_its_memory_takes_one_image() -> None:
    assert GroupSize(None, None).of(SMALL) == 1


def test_a_gpu_begins_with_one_image_of_each_size_and_then_takes_what_fits() -> None:
    memory = Memory()
    sizes = GroupSize(None, memory)  # type: ignore[arg-type]
    assert (sizes.of(SMALL), sizes.largest) == (1, 1)
    memory.peak = 100
    sizes.learn(SMALL, 1)
    assert (sizes.of(SMALL), sizes.of(LARGE), sizes.largest) == (7, 1, 7)
    memory.peak = 2000
    sizes.learn(LARGE, 1)
    assert sizes.of(LARGE) == 1
    # A recorded pass takes nothing that the meter sees; what the first took holds.
    memory.peak = 1
    sizes.learn(LARGE, 1)
    assert sizes.of(LARGE) == 1


def test_there_is_a_most() -> None:
    memory = Memory(peak=1)
    sizes = GroupSize(None, memory)  # type: ignore[arg-type]
    sizes.learn(SMALL, 1)
    assert sizes.of(SMALL) == 32


@pytest.mark.parametrize("asked", [None, 9])
def test_what_was_too_much_is_halved_for_good(asked: int | None) -> None:
    memory = Memory(peak=10)
    sizes = GroupSize(asked, memory)  # type: ignore[arg-type]
    sizes.learn(SMALL, 1)
    assert sizes.halve(SMALL, 9) == 4
    sizes.learn(SMALL, 1)
    assert sizes.of(SMALL) == 4
    assert sizes.halve(SMALL, 1) == 1


def test_what_was_too_much_of_large_images_says_nothing_of_small_ones() -> None:
    sizes = GroupSize(8, None)
    sizes.halve(LARGE, 8)
    assert (sizes.of(SMALL), sizes.of(LARGE)) == (8, 4)
    sizes.halve(SMALL, 2)
    assert (sizes.of(SMALL), sizes.of(LARGE)) == (1, 1)


@dataclass
class Machine:
    """Two cores on which the network takes as long as the table says."""

    network_s: dict[int, float]
    threads: int = 2
    history: list[int] = field(default_factory=list)

    def set_threads(self, threads: int) -> None:
        self.threads = threads
        self.history.append(threads)

    def time_network(self) -> float:
        return self.network_s[self.threads]


def share_after(machine: Machine, around_s: float, images: int = 6) -> CoreShare:
    share = CoreShare(2, machine.set_threads)
    for _ in range(images):
        share.note(machine.network_s[2], around_s)
    share.sound_out(machine.time_network)
    return share


def test_a_small_network_leaves_a_core_to_those_who_read_and_write() -> None:
    machine = Machine({2: 0.009, 1: 0.010})
    share = share_after(machine, 0.005)
    assert machine.threads == 1
    share.restore()
    assert machine.threads == 2


def test_a_large_network_keeps_all_cores_without_a_trial() -> None:
    machine = Machine({2: 0.5, 1: 0.9})
    share_after(machine, 0.01)
    assert machine.history == []


def test_a_network_that_gains_from_all_cores_keeps_them() -> None:
    machine = Machine({2: 0.010, 1: 0.020})
    share_after(machine, 0.005)
    assert machine.threads == 2


def test_nothing_is_tried_before_enough_is_known_and_nothing_twice() -> None:
    machine = Machine({2: 0.009, 1: 0.010})
    share_after(machine, 0.005, images=5)
    assert machine.history == []
    share = share_after(machine, 0.005)
    tried = len(machine.history)
    share.note(1, 1)
    share.sound_out(machine.time_network)
    assert len(machine.history) == tried


def test_a_single_core_has_nothing_to_share() -> None:
    machine = Machine({1: 0.01}, threads=1)
    share = CoreShare(1, machine.set_threads)
    for _ in range(9):
        share.note(0.01, 0.01)
    share.sound_out(machine.time_network)
    assert machine.history == []


@pytest.mark.parametrize(
    ("network_s", "around_s", "threads"),
    [
        ({8: 0.010, 4: 0.011, 2: 0.020, 1: 0.040}, 0.03, 4),
        ({8: 0.010, 4: 0.011, 2: 0.020, 1: 0.040}, 0.001, 8),
        ({8: 0.010, 4: 0.010, 2: 0.010, 1: 0.0105}, 0.07, 1),
    ],
)
def test_the_number_of_threads_is_that_with_which_a_image_is_through_soonest(
    network_s: dict[int, float], around_s: float, threads: int
) -> None:
    assert choose_threads(network_s, around_s) == threads
