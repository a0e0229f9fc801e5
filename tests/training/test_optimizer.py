from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from glpn_cli.errors import UsageError
from glpn_cli.training.optimizer import build_optimizer
from glpn_cli.training.settings import TrainSettings

if TYPE_CHECKING:
    from glpn_cli.training.optimizer import Together

ADAM = TrainSettings(data=("scenes",), learning_rate=0.01)
MUON = replace(ADAM, muon=True, weight_decay=0.1)


def network() -> nn.Sequential:
    """Give a layer with a matrix, and one without."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.Flatten(2), nn.Linear(6, 4))


def go(net: nn.Sequential, optimizer: Together, steps: int) -> None:
    for number in range(steps):
        torch.manual_seed(number)
        optimizer.zero_grad()
        net(torch.randn(2, 3, 2, 3)).square().mean().backward()
        optimizer.step()


needs_muon = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")


@needs_muon
def test_muon_moves_matrices_and_adam_the_rest() -> None:
    net = network()
    before = [one.detach().clone() for one in net.parameters()]
    go(net, build_optimizer(net, MUON), 1)
    adams = network()
    go(adams, build_optimizer(adams, replace(MUON, muon=False)), 1)
    for name, old, new, adam in zip(
        [name for name, _ in net.named_parameters()], before, net.parameters(), adams.parameters(), strict=True
    ):
        assert not torch.equal(old, new), name
        assert torch.equal(new, adam) == (name != "2.weight"), name
    # What Muon adds to a matrix is close to orthogonal: its four rows are about as long, and at right angles.
    step = net[2].weight.detach() - before[2] * (1 - 0.1 * 0.01)
    lengths = torch.linalg.svdvals(step)
    assert lengths.max() < 2 * lengths.min()


@pytest.mark.parametrize(
    "settings",
    [ADAM, replace(ADAM, weight_decay=0.1), pytest.param(MUON, marks=needs_muon)],
    ids=["adam", "adamw", "muon"],
)
def test_one_that_was_kept_goes_on_with_the_same_bits(settings: TrainSettings) -> None:
    whole = network()
    optimizer = build_optimizer(whole, settings)
    go(whole, optimizer, 2)
    kept = network()
    kept.load_state_dict(whole.state_dict())
    goes_on = build_optimizer(kept, settings)
    goes_on.load_state_dict(deepcopy(optimizer.state_dict()))
    go(whole, optimizer, 2)
    go(kept, goes_on, 2)
    assert all(map(torch.equal, whole.parameters(), kept.parameters()))


@needs_muon
def test_a_rate_of_nothing_moves_nothing() -> None:
    net = network()
    before = [one.detach().clone() for one in net.parameters()]
    optimizer = build_optimizer(net, MUON)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    go(net, optimizer, 1)
    assert all(map(torch.equal, before, net.parameters()))


def test_a_torch_without_muon_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    with pytest.raises(UsageError, match="has no Muon"):
        build_optimizer(network(), MUON)
