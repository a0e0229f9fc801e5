from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.nn import functional
from transformers.activations import ACT2FN

from glpn_cli.model.config import ACTIVATION_NAMES, GLPNConfig
from glpn_cli.model.encoder import ACTIVATIONS, DropPath, Encoder, MixFFN, SelfAttention, stage_sizes
from glpn_cli.model.glpn import GLPNModel

if TYPE_CHECKING:
    from collections.abc import Callable


def test_layer_norm_eps_ignores_the_configuration() -> None:
    config = GLPNConfig(layer_norm_eps=1e-3)
    norms = [module for module in Encoder(config).modules() if isinstance(module, nn.LayerNorm)]
    assert len(norms) == 30
    assert {norm.eps for norm in norms} == {1e-5}


def test_every_activation_name_is_implemented() -> None:
    assert set(ACTIVATIONS) == set(ACTIVATION_NAMES)


# Those of transformers that no operation of torch computes.
NOT_IN_TORCH = {"gelu_10", "laplace", "relu2", "sqrtsoftplus", "xielu"}


@pytest.mark.parametrize("name", sorted({*ACT2FN, "selu"} - NOT_IN_TORCH))
def test_activations_match_transformers(name: str) -> None:
    values = torch.linspace(-6, 6, 201)
    expected = nn.SELU() if name == "selu" else ACT2FN[name]  # documented there, but missing
    torch.testing.assert_close(ACTIVATIONS[name]()(values), expected(values), rtol=1e-5, atol=1e-6)


def test_every_layer_has_its_own_activation_weights() -> None:
    config = GLPNConfig(depths=[1, 2, 1, 1], hidden_act="prelu")
    theirs = transformers.GLPNModel(transformers.GLPNConfig(depths=[1, 2, 1, 1], hidden_act="prelu"))
    assert GLPNModel(config).state_dict().keys() == theirs.state_dict().keys()


def test_function_is_used_as_activation() -> None:
    assert MixFFN(GLPNConfig(hidden_act=torch.tanh), 0).intermediate_act_fn is torch.tanh


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 160), (93, 125), (61, 62), (37, 203)])
def test_stage_sizes_match_the_feature_maps(
    height: int, width: int, draw_images: Callable[..., Tensor], architectures: dict[str, Any]
) -> None:
    config = GLPNConfig(**architectures["tiny"] | {"patch_sizes": [7, 4, 3, 5], "sr_ratios": [2, 1, 1, 1]})
    feature_maps = Encoder(config)(draw_images(1, height, width), output_hidden_states=True).hidden_states
    assert stage_sizes(config, height, width) == [tuple(feature_map.shape[2:]) for feature_map in feature_maps]


def test_attention_is_fused_unless_probabilities_are_requested(monkeypatch: pytest.MonkeyPatch) -> None:
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
    _, none = attention(tokens, (6, 8), output_attentions=False)  # with gradients, attention is explicit
    assert none is None
    assert len(calls) == 1
    assert probabilities.shape == (1, 2, 48, 12)
    torch.testing.assert_close(probabilities.sum(dim=3), torch.ones(1, 2, 48))


@pytest.mark.parametrize("output_attentions", [False, True])
def test_attention_dropout_preserves_the_mean(*, output_attentions: bool) -> None:
    torch.manual_seed(0)
    attention = SelfAttention(8, 2, 1, dropout=0.5)
    tokens = torch.rand(1, 12, 8).expand(4000, 12, 8)
    with torch.no_grad():
        expected, _ = attention.eval()(tokens, (3, 4), output_attentions=output_attentions)
        sampled, _ = attention.train()(tokens, (3, 4), output_attentions=output_attentions)
    assert torch.equal(expected[0], expected[1])
    assert not torch.equal(sampled[0], sampled[1])
    spread = sampled.std(dim=0)
    assert spread.min() > 0.01
    torch.testing.assert_close(sampled.mean(dim=0), expected[0], rtol=0, atol=5 * spread.max().item() / 4000**0.5)


def test_feed_forward_dropout_acts_twice_and_preserves_the_mean() -> None:
    torch.manual_seed(0)
    network = MixFFN(GLPNConfig(hidden_dropout_prob=0.5), 0)
    tokens = torch.rand(1, 4, 32).expand(4000, 4, 32)
    with torch.no_grad():
        expected = network.eval()(tokens, (2, 2))
        sampled = network.train()(tokens, (2, 2))
    kept = sampled != 0
    assert kept.float().mean().item() == pytest.approx(0.5, abs=0.01)
    # Values that the second dropout keeps are doubled; they vary only because of the first one.
    assert (sampled[:, 0, 0][kept[:, 0, 0]] / 2).std() > 0.001
    tolerance = 5 * sampled.std(dim=0).max().item() / 4000**0.5
    torch.testing.assert_close(sampled.mean(dim=0), expected[0], rtol=0, atol=tolerance)


def test_drop_path_skips_whole_images_and_preserves_the_mean() -> None:
    torch.manual_seed(0)
    result = DropPath(0.3).train()(torch.ones(20_000, 3, 2))
    assert torch.equal(result.amin(dim=(1, 2)), result.amax(dim=(1, 2)))
    values, counts = result[:, 0, 0].unique(return_counts=True)
    assert values.tolist() == pytest.approx([0, 1 / 0.7])
    assert counts[0].item() == pytest.approx(6000, abs=300)


def test_drop_path_is_identity_in_eval_or_at_rate_zero() -> None:
    tokens = torch.rand(4, 3, 2)
    assert DropPath(0.9).eval()(tokens) is tokens
    assert DropPath(0.0).train()(tokens) is tokens


def test_drop_path_at_rate_one_is_zero_with_finite_gradient() -> None:
    tokens = torch.rand(4, 3, 2, requires_grad=True)
    result = DropPath(1.0).train()(tokens)
    result.sum().backward()
    assert not result.any()
    assert tokens.grad is not None
    assert not tokens.grad.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_drop_path_preserves_the_dtype(dtype: torch.dtype) -> None:
    assert DropPath(0.5).train()(torch.ones(4, 3, 2, dtype=dtype)).dtype == dtype


def test_drop_path_rates_rise_linearly_from_zero() -> None:
    encoder = Encoder(GLPNConfig(depths=[1, 2, 3, 1], drop_path_rate=0.3))
    rates = [module.rate for module in encoder.modules() if isinstance(module, DropPath)]
    assert rates == pytest.approx([0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3])


def test_single_layer_is_never_skipped() -> None:
    one = {"depths": [1], "sr_ratios": [1], "hidden_sizes": [8], "patch_sizes": [7], "strides": [4], "mlp_ratios": [2]}
    encoder = Encoder(GLPNConfig(num_encoder_blocks=1, num_attention_heads=[1], drop_path_rate=0.5, **one))
    assert encoder.block[0][0].drop_path.rate == 0


def test_drop_path_acts_in_training_only(architectures: dict[str, Any], draw_images: Callable[..., Tensor]) -> None:
    torch.manual_seed(0)
    model = GLPNModel(GLPNConfig(**architectures["tiny"] | {"drop_path_rate": 0.5}))
    images = draw_images(1, 64, 64).expand(8, 3, 64, 64)
    with torch.no_grad():
        expected = model.eval()(images).last_hidden_state
        sampled = model.train()(images).last_hidden_state
    assert torch.equal(expected[0], expected[1])
    assert len({image.sum().item() for image in sampled}) > 4
