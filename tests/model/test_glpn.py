from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from glpn_cli.errors import ConfigError
from glpn_cli.model.config import GLPNConfig
from glpn_cli.model.glpn import BaseModelOutput, DepthEstimatorOutput, GLPNForDepthEstimation, GLPNModel, silog_loss

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


@pytest.mark.parametrize(("attentions", "hidden_states", "labeled"), SWITCHES)
def test_a_tuple_holds_what_transformers_puts_into_it(
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
def test_an_object_holds_what_was_asked_for(
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
def test_what_is_not_said_is_left_to_the_configuration(
    model: GLPNForDepthEstimation, images: Tensor, *, attentions: bool, hidden_states: bool, return_dict: bool
) -> None:
    said = model(images, None, attentions, hidden_states, return_dict)
    said_to_encoder = model.glpn(images, attentions, hidden_states, return_dict)
    model.config.output_attentions = attentions
    model.config.output_hidden_states = hidden_states
    model.config.return_dict = return_dict
    left, left_to_encoder = model(images), model.glpn(images)
    assert type(left) is type(said)
    assert type(left_to_encoder) is type(said_to_encoder)
    assert _shapes(tuple(left)) == _shapes(tuple(said))
    assert _shapes(tuple(left_to_encoder)) == _shapes(tuple(said_to_encoder))


def test_hidden_states_are_the_stages_maps_and_the_last_one_is_the_last(
    model: GLPNForDepthEstimation, images: Tensor
) -> None:
    output = model.glpn(images, output_hidden_states=True)
    assert _shapes(output.hidden_states) == [(2, 8, 16, 24), (2, 16, 8, 12), (2, 24, 4, 6), (2, 32, 2, 3)]
    assert output.last_hidden_state is output.hidden_states[-1]
    assert all(feature_map.is_contiguous() for feature_map in output.hidden_states)


def test_the_loss_is_the_silog_of_the_depth(model: GLPNForDepthEstimation, images: Tensor) -> None:
    labels = torch.rand(2, 64, 96) * 80
    output = model(images, labels)
    assert output.loss.item() == silog_loss(output.predicted_depth, labels).item()


def test_depth_follows_a_change_of_the_configurations_scale(model: GLPNForDepthEstimation, images: Tensor) -> None:
    before = model(images).predicted_depth
    model.config.max_depth = 40
    torch.testing.assert_close(model(images).predicted_depth, before / 2)


def test_sides_a_little_under_a_multiple_of_32_give_a_depth_that_is_larger(
    model: GLPNForDepthEstimation, draw_images: Callable[..., Tensor]
) -> None:
    assert model(draw_images(1, 93, 126)).predicted_depth.shape == (1, 96, 128)


def test_the_sizes_that_go_in_are_those_of_transformers(
    build_pair: Callable[..., Any], draw_images: Callable[..., Tensor]
) -> None:
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
        ((3, 64, 64), r"must be \(B, 3, H, W\), not \(3, 64, 64\)"),
        ((1, 1, 3, 64, 64), r"must be \(B, 3, H, W\)"),
        ((1, 1, 64, 64), r"must be \(B, 3, H, W\), not \(1, 1, 64, 64\)"),
        ((1, 64, 64, 3), r"must be \(B, 3, H, W\), not \(1, 64, 64, 3\)"),
        ((1, 3, 28, 64), r"\(1, 3, 28, 64\) are too small: a stage sees \(7, 16\) and needs 8"),
        ((1, 3, 64, 0), "too small"),
        ((1, 3, 100, 64), r"\(1, 3, 100, 64\) have sides .* multiples of 32 do"),
        ((1, 3, 64, 40), "multiples of 32 do"),
    ],
)
def test_images_of_another_shape_are_refused(
    model: GLPNForDepthEstimation, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model(torch.zeros(shape))


def test_the_encoder_alone_takes_sides_that_do_not_halve_but_none_that_are_too_small(
    model: GLPNForDepthEstimation,
) -> None:
    assert model.glpn(torch.zeros(1, 3, 100, 40)).last_hidden_state.shape == (1, 32, 4, 2)
    with pytest.raises(ValueError, match="too small"):
        model.glpn(torch.zeros(1, 3, 28, 40))


def test_bytes_are_refused(model: GLPNForDepthEstimation) -> None:
    with pytest.raises(ValueError, match=r"floating point, 0 to 1, not torch\.uint8"):
        model(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


@pytest.mark.parametrize("shape", [(2, 64, 95), (2, 1, 64, 96), (64, 96)])
def test_labels_of_another_shape_are_refused(
    model: GLPNForDepthEstimation, images: Tensor, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 64, 96\), not"):
        model(images, labels=torch.ones(shape))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_a_network_that_is_moved_to_another_dtype_computes_in_it_as_transformers_does(
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


def test_a_new_network_is_drawn_from_the_configured_normal() -> None:
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
def test_a_configuration_that_was_broken_later_builds_nothing(network: type[nn.Module]) -> None:
    config = GLPNConfig()
    config.hidden_sizes = [32, 64, 161, 256]
    with pytest.raises(ConfigError, match="hidden_sizes must be multiples"):
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
