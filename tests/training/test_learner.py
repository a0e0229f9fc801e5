from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

from glpn_cli.device import choose_runtime
from glpn_cli.errors import TrainingError
from glpn_cli.training.datasets import Batch
from glpn_cli.training.distributed import Processes
from glpn_cli.training.initialization import load_start
from glpn_cli.training.learner import Learner

if TYPE_CHECKING:
    from glpn_cli.training.settings import TrainSettings

ALONE = Processes()


def build(settings: TrainSettings) -> Learner:
    runtime = choose_runtime("cpu", settings.precision, 1)
    return Learner(load_start(settings, "small"), settings, runtime, ALONE)


def batch(*, seed: int = 0, meters: float = 4.0) -> Batch:
    rgb = torch.randint(0, 256, (2, 3, 32, 64), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return Batch(rgb, torch.full((2, 32, 64), meters), ["left", "right"])


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_steps_on_a_batch_lower_its_loss(settings: TrainSettings) -> None:
    learner = build(replace(settings, drop_path=0.0))
    losses = [learner.step(step, 1e-2, [batch()])[0] for step in range(30)]
    assert losses[-1] < 0.5 * losses[0]


def test_a_rate_of_zero_moves_nothing_but_statistics(settings: TrainSettings) -> None:
    learner = build(settings)
    before = {key: value.clone() for key, value in learner.state()["network"].items()}
    learner.step(0, 0.0, [batch()])
    moved = {key for key, value in learner.state()["network"].items() if not torch.equal(value, before[key])}
    assert moved
    assert all("running" in key or "num_batches" in key for key in moved)


def test_another_learner_goes_on_from_a_state_bit_for_bit(settings: TrainSettings) -> None:
    one, other = build(settings), build(settings)
    one.step(0, 1e-3, [batch()])
    other.step(0, 1e-3, [batch(seed=5)])
    other.load(deepcopy(one.state()))
    for learner in (one, other):
        learner.step(1, 1e-3, [batch(seed=1)])
    assert same(one.state()["network"], other.state()["network"])
    assert same(one.tensors, other.tensors)


def test_averaged_weights_are_what_is_kept_where_there_are_any(settings: TrainSettings) -> None:
    for ema, kept in ((0.0, True), (0.9, False)):
        learner = build(replace(settings, ema=ema))
        for step in range(3):
            learner.step(step, 1e-2, [batch()])
        assert same(learner.tensors, learner.state()["network"]) is kept


def test_the_length_of_the_gradient_is_given_where_it_is_clipped(settings: TrainSettings) -> None:
    clipped, free = build(settings), build(replace(settings, clip_norm=0.0))
    assert clipped.step(0, 1e-3, [batch()])[1] > 0
    assert free.step(0, 1e-3, [batch()])[1] == 0


def test_a_loss_that_is_no_number_names_the_step_and_the_image(settings: TrainSettings) -> None:
    bad = batch()
    bad.meters[1, 0, 0] = torch.inf
    with pytest.raises(TrainingError, match=r"step 4: the loss is no number; it comes from right$"):
        build(settings).step(3, 1e-3, [bad])


def test_weights_that_are_no_numbers_are_found(settings: TrainSettings) -> None:
    learner = build(settings)
    learner.check_weights(0)
    state = learner.state()
    state["network"]["head.head.2.bias"].fill_(torch.nan)
    with pytest.raises(TrainingError, match="step 7: the network has come apart"):
        learner.check_weights(7)
