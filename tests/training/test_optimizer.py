from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from glpn_cli.errors import UsageError
from glpn_cli.training.optimizer import AveragedWeights, Schedule, build_optimizer
from glpn_cli.training.settings import TrainSettings

if TYPE_CHECKING:
    from glpn_cli.training.optimizer import CombinedOptimizer

ADAM = TrainSettings(data=("x",), learning_rate=0.01)
MUON = replace(ADAM, muon=True, weight_decay=0.1)

needs_muon = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")


def network() -> nn.Sequential:
    """Return a network with a convolution and a matrix."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.Flatten(2), nn.Linear(6, 4))


def train(net: nn.Sequential, optimizer: CombinedOptimizer, steps: int) -> None:
    for number in range(steps):
        torch.manual_seed(number)
        optimizer.zero_grad()
        net(torch.randn(2, 3, 2, 3)).square().mean().backward()
        optimizer.step()


@needs_muon
def test_muon_updates_matrices_and_adam_the_rest() -> None:
    net = network()
    before = [parameter.detach().clone() for parameter in net.parameters()]
    train(net, build_optimizer(net, MUON), 1)
    adams = network()
    train(adams, build_optimizer(adams, replace(MUON, muon=False)), 1)
    for (name, new), old, adam in zip(net.named_parameters(), before, adams.parameters(), strict=True):
        assert not torch.equal(old, new), name
        assert torch.equal(new, adam) == (name != "2.weight"), name
    # Muon's update of a matrix is almost orthogonal: its four rows have similar lengths and are perpendicular.
    step = net[2].weight.detach() - before[2] * (1 - 0.1 * 0.01)
    lengths = torch.linalg.svdvals(step)
    assert lengths.max() < 2 * lengths.min()


def test_weight_decay_leaves_out_norms_and_biases() -> None:
    with_decay, without = network(), network()
    train(with_decay, build_optimizer(with_decay, replace(ADAM, weight_decay=0.5)), 1)
    train(without, build_optimizer(without, ADAM), 1)
    equal = {
        name: torch.equal(one, other)
        for (name, one), other in zip(with_decay.named_parameters(), without.parameters(), strict=True)
    }
    assert equal == {"0.weight": False, "0.bias": True, "2.weight": False, "2.bias": True}


@pytest.mark.parametrize(
    "settings",
    [ADAM, replace(ADAM, weight_decay=0.1), pytest.param(MUON, marks=needs_muon)],
    ids=["adam", "adamw", "muon"],
)
def test_a_loaded_state_continues_bit_for_bit(settings: TrainSettings) -> None:
    whole = network()
    optimizer = build_optimizer(whole, settings)
    train(whole, optimizer, 2)
    resumed = network()
    resumed.load_state_dict(whole.state_dict())
    loaded = build_optimizer(resumed, settings)
    loaded.load_state_dict(deepcopy(optimizer.state_dict()))
    train(whole, optimizer, 2)
    train(resumed, loaded, 2)
    assert all(map(torch.equal, whole.parameters(), resumed.parameters()))


@needs_muon
def test_a_learning_rate_of_zero_changes_nothing() -> None:
    net = network()
    before = [parameter.detach().clone() for parameter in net.parameters()]
    optimizer = build_optimizer(net, MUON)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    train(net, optimizer, 1)
    assert all(map(torch.equal, before, net.parameters()))


def test_a_torch_without_muon_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    with pytest.raises(UsageError) as raised:
        build_optimizer(network(), MUON)
    assert raised.value.setting == "muon"


def test_the_default_schedule_is_that_of_the_paper() -> None:
    schedule = Schedule(50_475, peak=1e-4, end=3e-5)
    assert schedule(0) == pytest.approx(3e-5, rel=1e-3)
    assert max(schedule(step) for step in range(25_200, 25_270)) == pytest.approx(1e-4, rel=1e-3)
    assert schedule(50_474) == pytest.approx(3e-5)
    assert schedule(50_475 // 4) == pytest.approx(3e-5 + 7e-5 * 0.5**0.9, rel=1e-3)  # halfway up


@pytest.mark.parametrize("steps", [1, 2, 7, 60_240, 200_000])
@pytest.mark.parametrize("peak_at", [0.0, 0.1, 0.5, 1.0])
def test_learning_rates_stay_within_their_bounds(steps: int, peak_at: float) -> None:
    schedule = Schedule(steps, peak=1e-4, end=3e-5, peak_at=peak_at)
    for step in (0, steps // 2, steps - 1, steps + 10_000):
        assert 3e-5 <= schedule(step) <= 1e-4


class Numbers(nn.Module):
    """One parameter, one buffer and one counter, all with the same value."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1,), float(value)))
        self.register_buffer("mean", torch.full((1,), float(value)))
        self.register_buffer("count", torch.tensor(int(value)))


def test_averages_include_parameters_and_buffers_and_copy_counters() -> None:
    averaged = AveragedWeights(Numbers(0), 0.9)
    averaged.update(Numbers(10), 1_000)
    assert averaged.tensors["weight"] == pytest.approx(1.0)
    assert averaged.tensors["mean"] == pytest.approx(1.0)
    assert averaged.tensors["count"] == 10
    averaged.update(Numbers(10), 1_001)
    assert averaged.tensors["weight"] == pytest.approx(1.9)


def test_early_averages_follow_the_network_faster() -> None:
    averaged = AveragedWeights(Numbers(0), 0.999)
    averaged.update(Numbers(10), 0)
    assert averaged.tensors["weight"] == pytest.approx(9.0)  # decay 1/10 in the first step
    averaged.update(Numbers(0), 1)
    assert averaged.tensors["weight"] == pytest.approx(9.0 * 2 / 11)


def test_averages_do_not_share_memory_with_the_network() -> None:
    net = Numbers(3)
    averaged = AveragedWeights(net, 0.5)
    with torch.no_grad():
        net.weight.fill_(7)
    assert averaged.tensors["weight"] == 3


def test_saved_averages_continue_bit_for_bit() -> None:
    one, other = AveragedWeights(Numbers(0.3), 0.9), AveragedWeights(Numbers(5), 0.9)
    other.load(deepcopy(one.tensors))
    for averaged in (one, other):
        averaged.update(Numbers(0.7), 3)
    assert all(torch.equal(one.tensors[key], other.tensors[key]) for key in one.tensors)
