from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from glpn_cli.model.config import ActivationName, GLPNConfig
from glpn_cli.model.encoder import ACTIVATIONS, DropPath, Encoder, MixFFN, SelfAttention, stage_sizes
from glpn_cli.model.glpn import GLPNModel

if TYPE_CHECKING:
    from collections.abc import Callable


def test_every_layer_norm_has_the_eps_of_the_reference_whatever_the_file_says() -> None:
    config = GLPNConfig(layer_norm_eps=1e-3)
    norms = [module for module in Encoder(config).modules() if isinstance(module, nn.LayerNorm)]
    assert len(norms) == 30
    assert {norm.eps for norm in norms} == {1e-5}


def test_every_activation_that_a_configuration_may_name_is_there() -> None:
    assert set(ACTIVATIONS) == set(get_args(ActivationName))


def test_a_function_is_used_as_the_activation() -> None:
    assert MixFFN(GLPNConfig(hidden_act=torch.tanh), 0).intermediate_act_fn is torch.tanh


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 160), (93, 125), (61, 62), (37, 203)])
def test_stage_sizes_foretell_the_feature_maps(
    height: int, width: int, draw_images: Callable[..., Tensor], architectures: dict[str, Any]
) -> None:
    config = GLPNConfig(**architectures["tiny"] | {"patch_sizes": [7, 4, 3, 5], "sr_ratios": [2, 1, 1, 1]})
    feature_maps, _ = Encoder(config)(draw_images(1, height, width))
    assert stage_sizes(config, height, width) == [tuple(feature_map.shape[2:]) for feature_map in feature_maps]


def test_attention_holds_no_table_of_probabilities_unless_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    fused = functional.scaled_dot_product_attention

    def count(*args: Any, **kwargs: Any) -> Tensor:
        calls.append(kwargs)
        return fused(*args, **kwargs)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", count)
    attention, tokens = SelfAttention(16, 2, 2, dropout=0.5).eval(), torch.rand(1, 48, 16)
    with torch.no_grad():
        _, probabilities = attention(tokens, (6, 8), output_attentions=False)
        assert probabilities is None
        assert len(calls) == 1
        _, probabilities = attention(tokens, (6, 8), output_attentions=True)
    _, none = attention(tokens, (6, 8), output_attentions=False)  # gradients are those of the explicit form
    assert none is None
    assert len(calls) == 1
    assert probabilities.shape == (1, 2, 48, 12)
    torch.testing.assert_close(probabilities.sum(dim=3), torch.ones(1, 2, 48))


@pytest.mark.parametrize("output_attentions", [False, True])
def test_attention_dropout_acts_in_training_and_leaves_the_mean(*, output_attentions: bool) -> None:
    torch.manual_seed(0)
    attention = SelfAttention(8, 2, 1, dropout=0.5)
    tokens = torch.rand(1, 12, 8).expand(4000, 12, 8)
    with torch.no_grad():
        calm, _ = attention.eval()(tokens, (3, 4), output_attentions=output_attentions)
        shaken, _ = attention.train()(tokens, (3, 4), output_attentions=output_attentions)
    assert torch.equal(calm[0], calm[1])
    assert not torch.equal(shaken[0], shaken[1])
    spread = shaken.std(dim=0)
    assert spread.min() > 0.01
    torch.testing.assert_close(shaken.mean(dim=0), calm[0], rtol=0, atol=5 * spread.max().item() / 4000**0.5)


def test_dropout_acts_twice_in_a_feed_forward_network_and_leaves_its_mean() -> None:
    torch.manual_seed(0)
    network = MixFFN(GLPNConfig(hidden_dropout_prob=0.5), 0)
    tokens = torch.rand(1, 4, 32).expand(4000, 4, 32)
    with torch.no_grad():
        calm = network.eval()(tokens, (2, 2))
        shaken = network.train()(tokens, (2, 2))
    kept = shaken != 0
    assert kept.float().mean().item() == pytest.approx(0.5, abs=0.01)
    # What the second dropout kept is doubled; it varies only because the first acts inside.
    assert (shaken[:, 0, 0][kept[:, 0, 0]] / 2).std() > 0.001
    tolerance = 5 * shaken.std(dim=0).max().item() / 4000**0.5
    torch.testing.assert_close(shaken.mean(dim=0), calm[0], rtol=0, atol=tolerance)


def test_drop_path_skips_whole_images_at_its_rate_and_leaves_the_mean() -> None:
    torch.manual_seed(0)
    result = DropPath(0.3).train()(torch.ones(20_000, 3, 2))
    assert torch.equal(result.amin(dim=(1, 2)), result.amax(dim=(1, 2)))
    values, counts = result[:, 0, 0].unique(return_counts=True)
    assert values.tolist() == pytest.approx([0, 1 / 0.7])
    assert counts[0].item() == pytest.approx(6000, abs=300)


def test_drop_path_does_nothing_in_eval_mode_or_at_a_rate_of_zero() -> None:
    tokens = torch.rand(4, 3, 2)
    assert DropPath(0.9).eval()(tokens) is tokens
    assert DropPath(0.0).train()(tokens) is tokens


def test_drop_path_at_a_rate_of_one_gives_zeros_and_a_finite_gradient() -> None:
    tokens = torch.rand(4, 3, 2, requires_grad=True)
    result = DropPath(1.0).train()(tokens)
    result.sum().backward()
    assert not result.any()
    assert tokens.grad is not None
    assert not tokens.grad.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_drop_path_keeps_the_dtype(dtype: torch.dtype) -> None:
    assert DropPath(0.5).train()(torch.ones(4, 3, 2, dtype=dtype)).dtype == dtype


def test_drop_path_rates_rise_from_zero_over_all_layers() -> None:
    encoder = Encoder(GLPNConfig(depths=[1, 2, 3, 1], drop_path_rate=0.3))
    rates = [module.rate for module in encoder.modules() if isinstance(module, DropPath)]
    assert rates == pytest.approx([0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3])


def test_a_single_layer_is_never_skipped() -> None:
    one = {"depths": [1], "sr_ratios": [1], "hidden_sizes": [8], "patch_sizes": [7], "strides": [4], "mlp_ratios": [2]}
    encoder = Encoder(GLPNConfig(num_encoder_blocks=1, num_attention_heads=[1], drop_path_rate=0.5, **one))
    assert encoder.block[0][0].drop_path.rate == 0


def test_drop_path_acts_in_training_only(architectures: dict[str, Any], draw_images: Callable[..., Tensor]) -> None:
    torch.manual_seed(0)
    model = GLPNModel(GLPNConfig(**architectures["tiny"] | {"drop_path_rate": 0.5}))
    images = draw_images(1, 64, 64).expand(8, 3, 64, 64)
    with torch.no_grad():
        calm = model.eval()(images).last_hidden_state
        shaken = model.train()(images).last_hidden_state
    assert torch.equal(calm[0], calm[1])
    assert len({image.sum().item() for image in shaken}) > 4
