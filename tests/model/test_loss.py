from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers.models.glpn.modeling_glpn import SiLogLoss

from glpn_cli.model.glpn import silog_loss


def _two_depths(*, known_share: float = 0.7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    predicted = torch.rand(2, 24, 32, generator=generator) * 9 + 0.5
    target = torch.rand(2, 24, 32, generator=generator) * 9 + 0.5
    target[torch.rand(2, 24, 32, generator=generator) > known_share] = 0
    return predicted.requires_grad_(), target


def test_value_and_gradient_are_those_of_transformers() -> None:
    predicted, target = _two_depths()
    ours = silog_loss(predicted, target)
    (our_gradient,) = torch.autograd.grad(ours, predicted)
    theirs = SiLogLoss()(predicted, target)
    (their_gradient,) = torch.autograd.grad(theirs, predicted)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    assert ours.item() > 0.3
    torch.testing.assert_close(our_gradient, their_gradient, rtol=1e-5, atol=0)


@pytest.mark.parametrize("forgiveness", [0.0, 0.3, 1.0])
def test_forgiveness_is_the_lambda_of_transformers(forgiveness: float) -> None:
    predicted, target = _two_depths()
    ours = silog_loss(predicted, target, scale_forgiveness=forgiveness)
    assert ours.item() == pytest.approx(SiLogLoss(lambd=forgiveness)(predicted, target).item(), rel=1e-6)


def test_a_wrong_scale_costs_its_logarithm_unless_it_is_forgiven() -> None:
    target = torch.linspace(1, 9, 30).reshape(1, 5, 6)
    assert silog_loss(target * 2, target, scale_forgiveness=0).item() == pytest.approx(0.693147, rel=1e-4)
    assert silog_loss(target * 2, target, scale_forgiveness=0.5).item() == pytest.approx(0.490129, rel=1e-4)
    assert silog_loss(target * 2, target, scale_forgiveness=1).item() == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("unknown", [0.0, -1.0, float("nan")])
def test_without_ground_truth_the_loss_is_zero_with_a_gradient_of_zeros(unknown: float) -> None:
    predicted = torch.rand(2, 4, 4, requires_grad=True)
    loss = silog_loss(predicted, torch.full((2, 4, 4), unknown))
    loss.backward()
    assert loss.shape == ()
    assert loss.item() == 0
    assert predicted.grad is not None
    assert predicted.grad.tolist() == torch.zeros(2, 4, 4).tolist()


def test_a_perfect_prediction_costs_nothing_and_has_a_finite_gradient() -> None:
    predicted = torch.linspace(0.1, 10, 48).reshape(1, 6, 8).requires_grad_()
    loss = silog_loss(predicted, predicted.detach().clone())
    loss.backward()
    assert loss.item() == 0
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()


def test_an_almost_perfect_prediction_has_a_finite_gradient_that_is_not_zero() -> None:
    target = torch.linspace(0.1, 10, 48).reshape(1, 6, 8)
    predicted = (target * (1 + 1e-6)).requires_grad_()
    silog_loss(predicted, target).backward()
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()
    assert predicted.grad.abs().max() > 0


@pytest.mark.parametrize("smallest", [0.0, 1e-40, 1e-30])
def test_a_prediction_that_underflows_is_finite(smallest: float) -> None:
    predicted = torch.tensor([[[smallest, 2.0, 3.0]]], requires_grad=True)
    loss = silog_loss(predicted, torch.tensor([[[1.0, 2.0, 4.0]]]))
    loss.backward()
    assert loss.isfinite()
    assert loss > 10
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()


def test_a_prediction_that_is_nan_does_not_pass_as_perfect() -> None:
    predicted = torch.tensor([[[float("nan"), 2.0]]])
    assert silog_loss(predicted, torch.ones(1, 1, 2)).isnan()


def test_whole_numbers_are_a_target() -> None:
    predicted, target = _two_depths()
    assert silog_loss(predicted, target.int()).item() == silog_loss(predicted, target.int().float()).item()


def test_half_precision_is_measured_in_float32() -> None:
    predicted, target = _two_depths()
    half = predicted.detach().bfloat16()
    loss = silog_loss(half, target)
    assert loss.dtype == torch.float32
    assert loss.item() == silog_loss(half.float(), target).item()


@pytest.mark.parametrize("shape", [(2, 24, 31), (1, 24, 32), (24, 32), (2, 1, 24, 32)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(2, 24, 32\)"):
        silog_loss(torch.ones(2, 24, 32), torch.ones(shape))
