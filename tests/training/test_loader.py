from __future__ import annotations

import multiprocessing
import signal
import sys
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import pytest
import torch

from glpn_cli.data.sample import Sample
from glpn_cli.errors import InputError, TrainingError
from glpn_cli.training.datasets import TrainingSet
from glpn_cli.training.loader import Batch, SamplingPlan, TrainingSamples, load_batches
from glpn_cli.training.settings import Photometric, TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SETTINGS = TrainSettings(data=("x",), batch_size=4, epochs=3)
SIZES = ((32, 64, 1.0),)


def sets(*counts: tuple[int, int]) -> list[TrainingSet]:
    return [TrainingSet(str(number), range(length), count) for number, (length, count) in enumerate(counts)]  # type: ignore[arg-type]


def test_an_epoch_has_every_sample_once_in_its_own_order() -> None:
    plan = SamplingPlan(sets((10, 10), (6, 6)), SETTINGS, SIZES)
    assert (plan.steps_per_epoch, plan.steps) == (4, 12)
    epochs = [
        [(pick.source, pick.item) for step in range(4 * epoch, 4 * epoch + 4) for pick in plan.picks(step)]
        for epoch in range(3)
    ]
    everything = {(0, item) for item in range(10)} | {(1, item) for item in range(6)}
    assert all(set(epoch) == everything for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_weights_set_how_often_a_sample_is_used() -> None:
    plan = SamplingPlan(sets((8, 2), (3, 6)), replace(SETTINGS, epochs=4), SIZES)
    used = Counter((pick.source, pick.item) for step in range(plan.steps) for pick in plan.picks(step))
    assert {count for (source, _), count in used.items() if source == 0} == {1}  # a quarter of them in each epoch
    assert {count for (source, _), count in used.items() if source == 1} == {8}


def test_a_step_does_not_depend_on_the_steps_before() -> None:
    first, second = (SamplingPlan(sets((10, 10)), replace(SETTINGS, steps=9), SIZES) for _ in range(2))
    assert [second.picks(step) for step in (7, 2)] == [first.picks(7), first.picks(2)]
    numbers = [pick.number for step in range(9) for pick in first.picks(step)]
    assert numbers == list(range(36))
    other = SamplingPlan(sets((10, 10)), replace(SETTINGS, steps=9, seed=1), SIZES)
    assert other.picks(0) != first.picks(0)


def test_sizes_follow_each_other_by_their_fractions() -> None:
    plan = SamplingPlan(sets((8, 8)), replace(SETTINGS, steps=10), ((32, 64, 0.5), (64, 96, 0.3), (96, 128, 0.2)))
    assert [plan.size(step) for step in range(10)] == [(32, 64)] * 5 + [(64, 96)] * 3 + [(96, 128)] * 2


def test_varied_shapes_have_about_as_many_pixels() -> None:
    plan = SamplingPlan(sets((8, 8)), replace(SETTINGS, steps=400, varied_shapes=True), ((192, 256, 1.0),))
    shapes = Counter(plan.size(step) for step in range(400))
    assert {(192, 256), (256, 192)} <= set(shapes)
    assert len(shapes) >= 4
    assert all(height % 32 == width % 32 == 0 and 0.75 < height * width / 49152 < 1.25 for height, width in shapes)
    assert shapes[192, 256] > 150


def test_an_epoch_smaller_than_a_batch_is_an_error() -> None:
    with pytest.raises(InputError, match=r"batch of 4 .* 3 samples"):
        SamplingPlan(sets((3, 3)), SETTINGS, SIZES)


def sample(number: int, *, meters: float = 2.0) -> Sample:
    rgb = np.full((40, 80, 3), number, np.uint8)
    return Sample(f"s{number}", rgb, np.full((40, 80), meters, np.float32), (40, 80))


class Counted(list[Sample]):
    """Samples that count how often each is read."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        super().__init__(samples)
        self.reads: Counter[int] = Counter()

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        self.reads[index] += 1
        return super().__getitem__(index)


PLAIN = replace(SETTINGS, steps=6, photometric=Photometric.NONE, cut_depth=0, seed=3)


def load(samples: Sequence[Sample], *, mapped: bool = False, **options: int) -> list[Batch]:
    training = [TrainingSet("x", samples, len(samples), mapped)]
    plan = SamplingPlan(training, PLAIN, SIZES)
    wanted = {"first_step": 0, "rank": 0, "processes": 1, "accumulate": 1, "workers": 0} | options
    return list(load_batches(TrainingSamples(training, PLAIN, limit_m=10), plan, **wanted))


def test_batches_have_the_samples_of_the_plan_in_order() -> None:
    batches = load([sample(number) for number in range(8)])
    plan = SamplingPlan(sets((8, 8)), PLAIN, SIZES)
    assert [batch.names for batch in batches] == [[f"s{pick.item}" for pick in plan.picks(step)] for step in range(6)]
    for batch in batches:
        assert (batch.rgb.shape, batch.rgb.dtype) == ((4, 3, 32, 64), torch.uint8)
        assert (batch.meters.shape, batch.meters.dtype) == ((4, 32, 64), torch.float32)
        assert [f"s{int(rgb[0, 0, 0])}" for rgb in batch.rgb] == batch.names
        assert (batch.meters == 2).all()


def test_processes_and_micro_batches_divide_every_step() -> None:
    samples = [sample(number) for number in range(8)]
    whole = [batch.names for batch in load(samples)]
    halves = [load(samples, rank=rank, processes=2) for rank in range(2)]
    assert [first.names + second.names for first, second in zip(*halves, strict=True)] == whole
    parts = [batch.names for batch in load(samples, accumulate=2)]
    assert [first + second for first, second in zip(parts[::2], parts[1::2], strict=True)] == whole


@pytest.mark.parametrize("options", [{"first_step": 4}, {"first_step": 4, "workers": 1}], ids=str)
def test_resumed_batches_are_those_of_an_uninterrupted_run(options: dict[str, int]) -> None:
    samples = [sample(number) for number in range(8)]
    resumed, whole = load(samples, **options), load(samples)[4:]
    assert [batch.names for batch in resumed] == [batch.names for batch in whole]
    assert all(torch.equal(one.rgb, other.rgb) for one, other in zip(resumed, whole, strict=True))


@pytest.mark.parametrize(("mapped", "reads"), [(False, 1), (True, 3)])
def test_decoded_samples_are_cached_unless_they_are_mapped(mapped: bool, reads: int) -> None:
    samples = Counted([sample(number) for number in range(8)])
    load(samples, mapped=mapped)  # three epochs
    assert set(samples.reads.values()) == {reads}


def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glpn_cli.training.loader._CACHE_BYTES", 2 * 40 * 80 * 7)
    samples = Counted([sample(number) for number in range(8)])
    load(samples)
    assert sorted(samples.reads.values()) == [1, 1, 3, 3, 3, 3, 3, 3]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_sample_without_depth_is_named(workers: int) -> None:
    with pytest.raises(InputError, match="s5"):
        load([sample(number, meters=0 if number == 5 else 2) for number in range(8)], workers=workers)


def test_loading_leaves_the_global_random_state() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    load([sample(number) for number in range(8)])
    assert torch.equal(torch.get_rng_state(), before)


class Troubled(list[Sample]):
    """Samples of which one does something in the process that reads it."""

    def __init__(self, trouble: Callable[[], None]) -> None:
        super().__init__(sample(number) for number in range(8))
        plan = SamplingPlan([TrainingSet("x", self, 8)], PLAIN, SIZES)
        self._troubled = plan.picks(0)[1].item
        self._trouble = trouble

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        if index == self._troubled:
            self._trouble()
        return super().__getitem__(index)


def die() -> None:
    assert multiprocessing.parent_process() is not None, "a sample was read in the process of the caller"
    signal.raise_signal(signal.SIGKILL)


def hang() -> None:
    time.sleep(1000)


forked = pytest.mark.skipif(sys.platform != "linux", reason="workers are not forked")


@forked
def test_a_dead_worker_ends_the_run_with_a_remedy() -> None:
    with pytest.raises(TrainingError) as caught:
        load(Troubled(die), workers=2)
    assert "`workers`" in str(caught.value.hint)
    assert not multiprocessing.active_children()


@forked
def test_a_worker_that_hangs_does_not_outlive_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.1)
    samples = Troubled(hang)
    training = [TrainingSet("x", samples, len(samples), True)]
    plan = SamplingPlan(training, PLAIN, SIZES)
    batches = load_batches(
        TrainingSamples(training, PLAIN, limit_m=10), plan, first_step=0, rank=0, processes=1, accumulate=4, workers=2
    )
    next(batches)
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    batches.close()
    for worker in workers:
        worker.join(10)
    assert not any(worker.is_alive() for worker in workers)


@forked
def test_workers_need_no_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> NoReturn:
        raise RuntimeError("unable to allocate shared memory")

    for name in ("_share_fd_cpu_", "_share_filename_cpu_", "_new_using_fd_cpu", "_new_using_filename_cpu"):
        monkeypatch.setattr(torch.UntypedStorage, name, refuse)
    samples = [sample(number) for number in range(8)]
    with_workers, without = load(samples, workers=2), load(samples)
    assert all(torch.equal(one.rgb, other.rgb) for one, other in zip(with_workers, without, strict=True))
    assert all(torch.equal(one.meters, other.meters) for one, other in zip(with_workers, without, strict=True))
