"""Wider decoders that compute the same."""

from __future__ import annotations

import pytest
import torch

import widen
from glpn_cli.errors import UsageError
from glpn_cli.model.config import GLPNConfig
from glpn_cli.model.glpn import GLPNForDepthEstimation

CONFIG = GLPNConfig(
    hidden_sizes=[8, 16, 24, 32], num_attention_heads=[1, 2, 3, 4], depths=[1] * 4, decoder_hidden_size=8
)


def make_network(config: GLPNConfig = CONFIG) -> GLPNForDepthEstimation:
    """Build a network with random weights in which every part matters."""
    torch.manual_seed(0)
    network = GLPNForDepthEstimation(config).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0.1, 0.3)
    return network


def predict(network: GLPNForDepthEstimation) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    with torch.inference_mode():
        return network(torch.rand(1, 3, 64, 96, generator=generator)).predicted_depth.log()


def test_a_wider_network_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(widen, "_NOISE", 0.0)
    network = make_network()
    config, tensors = widen.widen_decoder(CONFIG, network.state_dict(), 12)
    wide = GLPNForDepthEstimation(config).eval()
    wide.load_state_dict(tensors)
    assert config.decoder_hidden_size == 12
    torch.testing.assert_close(predict(wide), predict(network), rtol=0, atol=2e-4)


def test_copies_differ_a_little_so_that_they_can_learn() -> None:
    network = make_network()
    config, tensors = widen.widen_decoder(CONFIG, network.state_dict(), 12)
    weight = tensors["head.head.0.weight"]
    assert weight.shape == (12, 12, 3, 3)
    assert not torch.equal(weight[0], weight[8])
    wide = GLPNForDepthEstimation(config).eval()
    wide.load_state_dict(tensors)
    assert 0 < (predict(wide) - predict(network)).abs().mean() < 0.5


@pytest.mark.parametrize("channels", [8, 13, 16, 18, 6])
def test_impossible_widths_are_refused(channels: int) -> None:
    with pytest.raises(UsageError, match=str(channels)):
        widen.widen_decoder(CONFIG, make_network().state_dict(), channels)
