from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from glpn_cli.device import choose_runtime
from glpn_cli.errors import TrainingError
from glpn_cli.model.glpn import silog_loss
from glpn_cli.training.distributed import Processes
from glpn_cli.training.initialization import create_network
from glpn_cli.training.learner import Learner, gradient_loss, training_loss
from glpn_cli.training.loader import Batch
from glpn_cli.training.settings import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    Same = Callable[[Any, Any], bool]

LOSS = TrainSettings(data=("x",))


def build(settings: TrainSettings) -> Learner:
    runtime = choose_runtime("cpu", settings.precision, 1)
    return Learner(create_network(settings, "small"), settings, runtime, Processes())


def batch(*, seed: int = 0, meters: float = 4.0) -> Batch:
    rgb = torch.randint(0, 256, (2, 3, 32, 64), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return Batch(rgb, torch.full((2, 32, 64), meters), ["left", "right"])


def test_steps_on_a_batch_lower_its_loss(settings: TrainSettings) -> None:
    learner = build(replace(settings, drop_path=0.0))
    losses = [learner.step(step, 1e-2, [batch()])[0] for step in range(30)]
    assert losses[-1] < 0.5 * losses[0]


def test_a_learning_rate_of_zero_changes_only_statistics(settings: TrainSettings) -> None:
    learner = build(settings)
    before = {key: value.clone() for key, value in learner.state()["network"].items()}
    learner.step(0, 0.0, [batch()])
    moved = {key for key, value in learner.state()["network"].items() if not torch.equal(value, before[key])}
    assert moved
    assert all("running" in key or "num_batches" in key for key in moved)


def test_a_loaded_state_continues_bit_for_bit(settings: TrainSettings, same: Same) -> None:
    one, other = build(settings), build(settings)
    one.step(0, 1e-3, [batch()])
    other.step(0, 1e-3, [batch(seed=5)])
    other.load(deepcopy(one.state()))
    for learner in (one, other):
        learner.step(1, 1e-3, [batch(seed=1)])
    assert same(one.state()["network"], other.state()["network"])
    assert same(one.tensors, other.tensors)


@pytest.mark.parametrize(("ema", "equal"), [(0.0, True), (0.9, False)])
def test_averaged_weights_are_saved_if_there_are_any(
    settings: TrainSettings, same: Same, ema: float, *, equal: bool
) -> None:
    learner = build(replace(settings, ema=ema))
    for step in range(3):
        learner.step(step, 1e-2, [batch()])
    assert same(learner.tensors, learner.state()["network"]) is equal


def test_the_gradient_norm_is_returned_with_clipping(settings: TrainSettings) -> None:
    clipped, free = build(settings), build(replace(settings, clip_norm=0.0))
    assert clipped.step(0, 1e-3, [batch()])[1] > 0
    assert free.step(0, 1e-3, [batch()])[1] == 0


def test_an_infinite_loss_names_the_step_and_the_image(settings: TrainSettings) -> None:
    bad = batch()
    bad.meters[1, 0, 0] = torch.inf
    with pytest.raises(TrainingError, match=r"step 4: .* right$") as raised:
        build(settings).step(3, 1e-3, [bad])
    assert "left" not in str(raised.value)


def test_weights_that_are_nan_are_found(settings: TrainSettings) -> None:
    learner = build(settings)
    learner.check_weights(0)
    state = learner.state()
    state["network"]["head.head.2.bias"].fill_(torch.nan)
    with pytest.raises(TrainingError, match="step 7: training diverged"):
        learner.check_weights(7)
    with pytest.raises(TrainingError, match="training diverged"):
        learner.step(7, 1e-3, [batch()])


def depths(seed: int) -> torch.Tensor:
    return torch.rand(3, 6, 8, generator=torch.Generator().manual_seed(seed)) * 9 + 0.5


def test_the_default_loss_is_silog_over_the_batch() -> None:
    assert training_loss(depths(0), depths(1), LOSS) == silog_loss(depths(0), depths(1))


def test_the_loss_per_image_is_the_mean_over_images() -> None:
    settings = replace(LOSS, loss_per_image=True, scale_forgiveness=0.8)
    one_by_one = [silog_loss(depths(0)[i : i + 1], depths(1)[i : i + 1], scale_forgiveness=0.8) for i in range(3)]
    assert training_loss(depths(0), depths(1), settings) == pytest.approx(float(sum(one_by_one)) / 3)


def test_the_gradient_loss_is_added_with_its_weight() -> None:
    settings = replace(LOSS, gradient_weight=0.25)
    expected = silog_loss(depths(0), depths(1)) + 0.25 * gradient_loss(depths(0), depths(1))
    assert training_loss(depths(0), depths(1), settings) == expected


def test_the_gradient_loss_ignores_scale_and_counts_edges() -> None:
    truth = torch.ones(1, 4, 4)
    assert gradient_loss(truth * 3, truth) == 0
    stepped = truth.clone()
    stepped[:, :, 2:] = torch.e
    # Distance 1: 4 of 16 pixels are at the edge; distance 2: 2 of 4; distance 4 has a single pixel.
    assert gradient_loss(stepped, truth) == pytest.approx(4 / 16 + 2 / 4)


def test_the_gradient_loss_needs_two_known_pixels() -> None:
    truth = torch.ones(1, 4, 4)
    truth[:, :, 1] = 0
    wild = torch.ones(1, 4, 4)
    wild[:, :, 1] = 77
    wild.requires_grad_()
    loss = gradient_loss(wild, truth)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss == 0
    assert wild.grad is not None
    assert not wild.grad[:, :, 1].any()
    assert gradient_loss(wild.detach(), torch.zeros(1, 4, 4)) == 0
