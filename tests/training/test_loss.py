from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from glpn_cli.model.glpn import silog_loss
from glpn_cli.training.learner import slope_loss, training_loss
from glpn_cli.training.settings import TrainSettings

SETTINGS = TrainSettings(data=("x",))


def depths(seed: int) -> torch.Tensor:
    return torch.rand(3, 6, 8, generator=torch.Generator().manual_seed(seed)) * 9 + 0.5


def test_by_default_it_is_the_papers_loss_of_the_batch() -> None:
    assert training_loss(depths(0), depths(1), SETTINGS) == silog_loss(depths(0), depths(1))


def test_per_image_it_is_the_mean_of_the_images_losses() -> None:
    settings = replace(SETTINGS, loss_per_image=True, scale_forgiveness=0.8)
    one_by_one = [silog_loss(depths(0)[i : i + 1], depths(1)[i : i + 1], scale_forgiveness=0.8) for i in range(3)]
    assert training_loss(depths(0), depths(1), settings) == pytest.approx(float(sum(one_by_one)) / 3)


def test_slopes_forgive_a_factor_and_count_an_edge_once_for_each_distance() -> None:
    truth = torch.ones(1, 4, 4)
    assert slope_loss(truth * 3, truth) == 0
    stepped = truth.clone()
    stepped[:, :, 2:] = torch.e
    # Distance 1: 4 of 16 pixels meet the edge; distance 2: 2 of 4; distance 4: there is but one pixel.
    assert slope_loss(stepped, truth) == pytest.approx(4 / 16 + 2 / 4)


def test_slopes_are_measured_only_between_two_known_pixels() -> None:
    truth = torch.ones(1, 4, 4)
    truth[:, :, 1] = 0
    wild = torch.ones(1, 4, 4)
    wild[:, :, 1] = 77
    wild.requires_grad_()
    loss = slope_loss(wild, truth)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss == 0
    assert wild.grad is not None
    assert not wild.grad[:, :, 1].any()
    assert slope_loss(wild.detach(), torch.zeros(1, 4, 4)) == 0
