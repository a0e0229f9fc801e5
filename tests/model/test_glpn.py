from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from transformers.models.glpn.modeling_glpn import SiLogLoss

from glpn_cli.errors import ConfigError
from glpn_cli.model.config import GLPNConfig
from glpn_cli.model.glpn import GLPNForDepthEstimation, GLPNModel, find_usable_sides, silog_loss
from glpn_cli.model.outputs import BaseModelOutput, DepthEstimatorOutput

if TYPE_CHECKING:
    from collections.abc import Callable


SWITCHES = list(itertools.product([False, True], repeat=3))


@pytest.fixture
def model(architectures: dict[str, Any]) -> GLPNForDepthEstimation:
    torch.manual_seed(0)
    return GLPNForDepthEstimation(GLPNConfig(**architectures["tiny"])).eval()


@pytest.fixture
def images(draw_images: Callable[..., Tensor]) -> Tensor:
    return draw_images(2, 64, 96)


def _shapes(values: tuple[Any, ...]) -> list[Any]:
    return [_shapes(value) if isinstance(value, tuple) else tuple(value.shape) for value in values]


def _values(output: Any) -> tuple[Any, ...]:
    return output if isinstance(output, tuple) else output.to_tuple()


@pytest.mark.parametrize(("attentions", "hidden_states", "labeled"), SWITCHES)
def test_tuple_has_the_values_of_transformers(
    build_pair: Callable[..., Any], images: Tensor, *, attentions: bool, hidden_states: bool, labeled: bool
) -> None:
    pair = build_pair("tiny")
    labels = torch.ones(2, 64, 96) if labeled else None
    for network, args in (("ours", (labels,)), ("theirs", (labels,))):
        output = getattr(pair, network)(images, *args, attentions, hidden_states, False)
        assert type(output) is tuple
        encoded = getattr(pair, network).glpn(images, attentions, hidden_states, False)
        assert type(encoded) is tuple
        if network == "ours":
            shapes = _shapes(output), _shapes(encoded)
    assert shapes == (_shapes(output), _shapes(encoded))


@pytest.mark.parametrize(("attentions", "hidden_states", "labeled"), SWITCHES)
def test_object_has_the_requested_values(
    model: GLPNForDepthEstimation, images: Tensor, *, attentions: bool, hidden_states: bool, labeled: bool
) -> None:
    output = model(
        pixel_values=images,
        labels=torch.ones(2, 64, 96) if labeled else None,
        output_attentions=attentions,
        output_hidden_states=hidden_states,
        return_dict=True,
    )
    assert isinstance(output, DepthEstimatorOutput)
    assert (output.loss is not None) == labeled
    assert (output.hidden_states is not None) == hidden_states
    assert (output.attentions is not None) == attentions
    encoded = model.glpn(images, output_attentions=attentions, output_hidden_states=hidden_states)
    assert isinstance(encoded, BaseModelOutput)
    assert (encoded.hidden_states is not None) == hidden_states
    assert (encoded.attentions is not None) == attentions


@pytest.mark.parametrize(("attentions", "hidden_states", "return_dict"), SWITCHES)
def test_missing_arguments_use_the_configuration(
    model: GLPNForDepthEstimation, images: Tensor, *, attentions: bool, hidden_states: bool, return_dict: bool
) -> None:
    given = model(images, None, attentions, hidden_states, return_dict)
    given_to_encoder = model.glpn(images, attentions, hidden_states, return_dict)
    model.config.output_attentions = attentions
    model.config.output_hidden_states = hidden_states
    model.config.return_dict = return_dict
    default, default_of_encoder = model(images), model.glpn(images)
    assert type(default) is type(given)
    assert type(default_of_encoder) is type(given_to_encoder)
    assert _shapes(_values(default)) == _shapes(_values(given))
    assert _shapes(_values(default_of_encoder)) == _shapes(_values(given_to_encoder))


def test_hidden_states_are_the_feature_maps_of_the_stages(model: GLPNForDepthEstimation, images: Tensor) -> None:
    output = model.glpn(images, output_hidden_states=True)
    assert _shapes(output.hidden_states) == [(2, 8, 16, 24), (2, 16, 8, 12), (2, 24, 4, 6), (2, 32, 2, 3)]
    assert output.last_hidden_state is output.hidden_states[-1]
    assert all(feature_map.is_contiguous() for feature_map in output.hidden_states)


def test_loss_is_the_silog_of_the_depth(model: GLPNForDepthEstimation, images: Tensor) -> None:
    labels = torch.rand(2, 64, 96) * 80
    output = model(images, labels)
    assert output.loss.item() == silog_loss(output.predicted_depth, labels).item()


def test_depth_follows_a_change_of_max_depth(model: GLPNForDepthEstimation, images: Tensor) -> None:
    before = model(images).predicted_depth
    model.config.max_depth = 40
    torch.testing.assert_close(model(images).predicted_depth, before / 2)


def test_depth_size_is_rounded_up_to_multiples_of_32(
    model: GLPNForDepthEstimation, draw_images: Callable[..., Tensor]
) -> None:
    assert model(draw_images(1, 93, 126)).predicted_depth.shape == (1, 96, 128)


def test_accepted_sizes_match_transformers(build_pair: Callable[..., Any], draw_images: Callable[..., Tensor]) -> None:
    pair = build_pair("tiny")
    taken: dict[str, list[int]] = {"ours": [], "theirs": []}
    for side, (name, error) in itertools.product(range(20, 70), [("ours", ValueError), ("theirs", RuntimeError)]):
        try:
            getattr(pair, name)(draw_images(1, side, 64))
        except error:
            continue
        taken[name].append(side)
    assert taken["ours"] == taken["theirs"] == [29, 30, 31, 32, 61, 62, 63, 64]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 64, 64), r"\(B, 3, H, W\), not \(3, 64, 64\)"),
        ((1, 1, 3, 64, 64), r"\(B, 3, H, W\)"),
        ((1, 1, 64, 64), r"\(B, 3, H, W\), not \(1, 1, 64, 64\)"),
        ((1, 64, 64, 3), r"\(B, 3, H, W\), not \(1, 64, 64, 3\)"),
        ((1, 3, 28, 64), r"\(1, 3, 28, 64\) are too small: .*\(7, 16\).* 8 "),
        ((1, 3, 64, 0), "too small"),
        ((1, 3, 100, 64), r"\(1, 3, 100, 64\) .* multiples of 32"),
        ((1, 3, 64, 40), "multiples of 32"),
    ],
)
def test_images_of_the_wrong_shape_are_refused(
    model: GLPNForDepthEstimation, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model(torch.zeros(shape))


def test_encoder_accepts_sides_that_do_not_halve(
    model: GLPNForDepthEstimation,
) -> None:
    assert model.glpn(torch.zeros(1, 3, 100, 40)).last_hidden_state.shape == (1, 32, 4, 2)
    with pytest.raises(ValueError, match="too small"):
        model.glpn(torch.zeros(1, 3, 28, 40))


ODD = {"patch_sizes": [4, 3, 3, 3]}
FIVE: dict[str, Any] = {
    "num_encoder_blocks": 5,
    "depths": [1] * 5,
    "sr_ratios": [1] * 5,
    "hidden_sizes": [8] * 5,
    "patch_sizes": [7, 3, 3, 3, 3],
    "strides": [4, 2, 2, 2, 2],
    "num_attention_heads": [1] * 5,
    "mlp_ratios": [1] * 5,
}


def test_sides_that_never_fit_are_not_called_multiples() -> None:
    network = GLPNForDepthEstimation(GLPNConfig(depths=[1] * 4, **ODD)).eval()
    with pytest.raises(ValueError, match=r"patch_sizes \[4, 3, 3, 3\]") as caught:
        network(torch.rand(1, 3, 96, 128))
    assert "multiples" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "sides"),
    [
        ({}, (32, 32)),
        ({"sr_ratios": [8, 8, 8, 8]}, (256, 32)),
        ({"sr_ratios": [3, 5, 3, 2]}, (64, 32)),
        ({"strides": [2, 2, 2, 2], "patch_sizes": [3, 3, 3, 3]}, (32, 32)),
        (FIVE, (64, 64)),
        ({"num_encoder_blocks": 1, "sr_ratios": [1] * 4}, (32, 32)),
        ({"num_encoder_blocks": 2}, (32, 32)),
    ],
    ids=str,
)
def test_usable_sides_are_taken_by_the_network(changes: dict[str, Any], sides: tuple[int, int]) -> None:
    config = GLPNConfig(**{"depths": [1] * 4, **changes})
    assert find_usable_sides(config) == sides
    smallest, step = sides
    network = GLPNForDepthEstimation(config).eval()
    with torch.no_grad():
        assert network(torch.rand(1, 3, smallest, smallest + step)).predicted_depth.isfinite().all()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"num_channels": 1}, "num_channels"),
        (ODD, "patch_sizes"),
        ({"patch_sizes": [8, 4, 4, 4]}, "patch_sizes"),
        ({"strides": [4, 4, 2, 2]}, "strides"),
        ({"strides": [4, 3, 2, 2]}, "strides"),
        ({"sr_ratios": [8, 4, 2, 33]}, "sr_ratios"),
        ({"strides": [10**9] * 4}, "strides"),
    ],
    ids=str,
)
def test_networks_that_suit_no_image_are_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        find_usable_sides(GLPNConfig(**changes))


def test_longer_lists_than_stages_are_not_used(draw_images: Callable[..., Tensor]) -> None:
    two = {name: values[:2] for name, values in GLPNConfig().to_dict().items() if isinstance(values, list)}
    del two["architectures"]
    long, short = (GLPNForDepthEstimation(GLPNConfig(num_encoder_blocks=2, **lists)) for lists in ({}, two))
    long.load_state_dict(short.state_dict(), strict=True)
    images = draw_images(1, 32, 64)
    with torch.no_grad():
        assert torch.equal(long.eval()(images).predicted_depth, short.eval()(images).predicted_depth)
    assert transformers.GLPNModel(transformers.GLPNConfig(num_encoder_blocks=2)).state_dict().keys() == (
        long.glpn.state_dict().keys()
    )


def test_integer_images_are_refused(model: GLPNForDepthEstimation) -> None:
    with pytest.raises(ValueError, match=r"torch\.uint8"):
        model(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


@pytest.mark.parametrize("shape", [(2, 64, 95), (2, 1, 64, 96), (64, 96)])
def test_labels_of_the_wrong_shape_are_refused(
    model: GLPNForDepthEstimation, images: Tensor, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=r"\(2, 64, 96\)"):
        model(images, labels=torch.ones(shape))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_dtypes_match_transformers(
    build_pair: Callable[..., Any],
    images: Tensor,
    dtype: torch.dtype,
    difference: Callable[..., float],
) -> None:
    pair, images = build_pair("tiny", drop_path_rate=0.1), images.to(dtype)
    with torch.no_grad():
        expected = pair.theirs.to(dtype)(images).predicted_depth
        explicit = pair.ours.to(dtype)(images, output_attentions=True).predicted_depth
        others = [pair.ours(images).predicted_depth, pair.ours.train()(images).predicted_depth]
    assert difference(explicit, expected) < torch.finfo(dtype).eps
    assert {depth.dtype for depth in others} == {dtype}
    assert all(depth.isfinite().all() for depth in others)


def test_new_network_has_normally_distributed_weights() -> None:
    torch.manual_seed(0)
    model = GLPNForDepthEstimation(GLPNConfig(initializer_range=0.05))
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            assert module.weight.std().item() == pytest.approx(0.05, rel=0.25), name
            assert not module.bias.any(), name
        if isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
            assert module.weight.eq(1).all(), name
            assert not module.bias.any(), name
    weights = torch.cat([p.flatten() for p in model.parameters() if p.dim() > 1])
    assert weights.std().item() == pytest.approx(0.05, rel=0.01)
    assert weights.abs().max() > 0.2  # not truncated


@pytest.mark.parametrize("network", [GLPNModel, GLPNForDepthEstimation])
def test_building_checks_the_configuration(network: type[nn.Module]) -> None:
    config = GLPNConfig()
    config.hidden_sizes = [32, 64, 161, 256]
    with pytest.raises(ConfigError, match=r"^hidden_sizes "):
        network(config)


def test_training_lowers_the_loss(model: GLPNForDepthEstimation, images: Tensor) -> None:
    labels = images.mean(dim=1) * 20 + 1
    optimizer = torch.optim.Adam(model.train().parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        losses.append(model(images, labels).loss)
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


# The loss


def _two_depths(*, known_fraction: float = 0.7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    predicted = torch.rand(2, 24, 32, generator=generator) * 9 + 0.5
    target = torch.rand(2, 24, 32, generator=generator) * 9 + 0.5
    target[torch.rand(2, 24, 32, generator=generator) > known_fraction] = 0
    return predicted.requires_grad_(), target


def test_loss_and_gradient_match_transformers() -> None:
    predicted, target = _two_depths()
    ours = silog_loss(predicted, target)
    (our_gradient,) = torch.autograd.grad(ours, predicted)
    theirs = SiLogLoss()(predicted, target)
    (their_gradient,) = torch.autograd.grad(theirs, predicted)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)
    assert ours.item() > 0.3
    torch.testing.assert_close(our_gradient, their_gradient, rtol=1e-5, atol=0)


@pytest.mark.parametrize("forgiveness", [0.0, 0.3, 1.0])
def test_scale_forgiveness_matches_lambda_of_transformers(forgiveness: float) -> None:
    predicted, target = _two_depths()
    ours = silog_loss(predicted, target, scale_forgiveness=forgiveness)
    assert ours.item() == pytest.approx(SiLogLoss(lambd=forgiveness)(predicted, target).item(), rel=1e-6)


def test_wrong_scale_costs_its_logarithm_unless_forgiven() -> None:
    target = torch.linspace(1, 9, 30).reshape(1, 5, 6)
    assert silog_loss(target * 2, target, scale_forgiveness=0).item() == pytest.approx(0.693147, rel=1e-4)
    assert silog_loss(target * 2, target, scale_forgiveness=0.5).item() == pytest.approx(0.490129, rel=1e-4)
    assert silog_loss(target * 2, target, scale_forgiveness=1).item() == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("unknown", [0.0, -1.0, float("nan")])
def test_loss_without_ground_truth_is_zero_with_zero_gradient(unknown: float) -> None:
    predicted = torch.rand(2, 4, 4, requires_grad=True)
    loss = silog_loss(predicted, torch.full((2, 4, 4), unknown))
    loss.backward()
    assert loss.shape == ()
    assert loss.item() == 0
    assert predicted.grad is not None
    assert predicted.grad.tolist() == torch.zeros(2, 4, 4).tolist()


def test_loss_of_a_perfect_prediction_is_zero_with_finite_gradient() -> None:
    predicted = torch.linspace(0.1, 10, 48).reshape(1, 6, 8).requires_grad_()
    loss = silog_loss(predicted, predicted.detach().clone())
    loss.backward()
    assert loss.item() == 0
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()


def test_almost_perfect_prediction_has_a_finite_nonzero_gradient() -> None:
    target = torch.linspace(0.1, 10, 48).reshape(1, 6, 8)
    predicted = (target * (1 + 1e-6)).requires_grad_()
    silog_loss(predicted, target).backward()
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()
    assert predicted.grad.abs().max() > 0


@pytest.mark.parametrize("smallest", [0.0, 1e-40, 1e-30])
def test_loss_of_an_underflowing_prediction_is_finite(smallest: float) -> None:
    predicted = torch.tensor([[[smallest, 2.0, 3.0]]], requires_grad=True)
    loss = silog_loss(predicted, torch.tensor([[[1.0, 2.0, 4.0]]]))
    loss.backward()
    assert loss.isfinite()
    assert loss > 10
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()


def test_loss_of_a_nan_prediction_is_nan() -> None:
    predicted = torch.tensor([[[float("nan"), 2.0]]])
    assert silog_loss(predicted, torch.ones(1, 1, 2)).isnan()


def test_loss_accepts_integer_targets() -> None:
    predicted, target = _two_depths()
    assert silog_loss(predicted, target.int()).item() == silog_loss(predicted, target.int().float()).item()


def test_loss_of_half_precision_is_float32() -> None:
    predicted, target = _two_depths()
    half = predicted.detach().bfloat16()
    loss = silog_loss(half, target)
    assert loss.dtype == torch.float32
    assert loss.item() == silog_loss(half.float(), target).item()


@pytest.mark.parametrize("shape", [(2, 24, 31), (1, 24, 32), (24, 32), (2, 1, 24, 32)])
def test_loss_refuses_targets_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(2, 24, 32\)"):
        silog_loss(torch.ones(2, 24, 32), torch.ones(shape))
