from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from glpn_cli.errors import InputError
from glpn_cli.training.datasets import TrainingSet
from glpn_cli.training.plan import Plan
from glpn_cli.training.settings import TrainSettings

SETTINGS = TrainSettings(data=("x",), batch_size=4, epochs=3)
SIZES = ((32, 64, 1.0),)


def sets(*counts: tuple[int, int]) -> list[TrainingSet]:
    return [TrainingSet(str(number), range(length), count) for number, (length, count) in enumerate(counts)]  # type: ignore[arg-type]


def test_an_epoch_has_every_sample_once_in_an_order_of_its_own() -> None:
    plan = Plan(sets((10, 10), (6, 6)), SETTINGS, SIZES)
    assert (plan.steps_per_epoch, plan.steps) == (4, 12)
    epochs = [
        [(pick.source, pick.item) for step in range(4 * epoch, 4 * epoch + 4) for pick in plan.picks(step)]
        for epoch in range(3)
    ]
    everything = {(0, item) for item in range(10)} | {(1, item) for item in range(6)}
    assert all(set(epoch) == everything for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_weights_say_how_often_a_sample_is_seen() -> None:
    plan = Plan(sets((8, 2), (3, 6)), replace(SETTINGS, epochs=4), SIZES)
    seen = Counter((pick.source, pick.item) for step in range(plan.steps) for pick in plan.picks(step))
    assert {count for (source, _), count in seen.items() if source == 0} == {1}  # a quarter of them in each epoch
    assert {count for (source, _), count in seen.items() if source == 1} == {8}


def test_any_step_can_be_asked_for_at_once_and_no_number_comes_twice() -> None:
    first, second = (Plan(sets((10, 10)), replace(SETTINGS, steps=9), SIZES) for _ in range(2))
    assert [second.picks(step) for step in (7, 2)] == [first.picks(7), first.picks(2)]
    numbers = [pick.number for step in range(9) for pick in first.picks(step)]
    assert numbers == list(range(36))
    other = Plan(sets((10, 10)), replace(SETTINGS, steps=9, seed=1), SIZES)
    assert other.picks(0) != first.picks(0)


def test_what_has_no_end_is_never_seen_again() -> None:
    endless = TrainingSet("scenes", range(2**40), 5, endless=True)  # type: ignore[arg-type]
    plan = Plan([endless, *sets((3, 3))], replace(SETTINGS, epochs=10), SIZES)
    seen = Counter(pick.item for step in range(plan.steps) for pick in plan.picks(step) if pick.source == 0)
    assert sorted(seen) == list(range(50))
    assert set(seen.values()) == {1}


def test_sizes_grow_with_their_shares_of_the_steps() -> None:
    plan = Plan(sets((8, 8)), replace(SETTINGS, steps=10), ((32, 64, 0.5), (64, 96, 0.3), (96, 128, 0.2)))
    assert [plan.size(step) for step in range(10)] == [(32, 64)] * 5 + [(64, 96)] * 3 + [(96, 128)] * 2


def test_varied_shapes_have_about_as_many_pixels_and_sides_that_the_network_takes() -> None:
    plan = Plan(sets((8, 8)), replace(SETTINGS, steps=400, varied_shapes=True), ((192, 256, 1.0),))
    shapes = Counter(plan.size(step) for step in range(400))
    assert {(192, 256), (256, 192)} <= set(shapes)
    assert len(shapes) >= 4
    assert all(height % 32 == width % 32 == 0 and 0.75 < height * width / 49152 < 1.25 for height, width in shapes)
    assert shapes[192, 256] > 150


def test_an_epoch_that_fills_no_batch_is_an_error() -> None:
    with pytest.raises(InputError, match="there are 3 samples and a batch has 4"):
        Plan(sets((3, 3)), SETTINGS, SIZES)
