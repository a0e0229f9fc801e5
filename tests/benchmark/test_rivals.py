from __future__ import annotations

import sys

import pytest
import torch

from glpn_cli.benchmark.rivals import build_rival, check_installed
from glpn_cli.benchmark.settings import Rival
from glpn_cli.device import choose_runtime
from glpn_cli.errors import MissingPackageError
from glpn_cli.model.config import GLPNConfig
from glpn_cli.model.glpn import GLPNForDepthEstimation
from glpn_cli.values import Precision


@pytest.fixture
def network() -> GLPNForDepthEstimation:
    """A small network on the CPU."""
    config = GLPNConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 12, 16], num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=8
    )
    return GLPNForDepthEstimation(config).eval()


@pytest.mark.parametrize("rival", list(Rival))
def test_missing_package_is_named(
    rival: Rival, network: GLPNForDepthEstimation, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = str(rival)
    monkeypatch.setitem(sys.modules, package, None)
    pixel_values = torch.rand(1, 3, 32, 32)
    for attempt in (
        lambda: check_installed(rival),
        lambda: build_rival(rival, network, pixel_values, choose_runtime("cpu")),
    ):
        with pytest.raises(MissingPackageError, match=str(rival)) as caught:
            attempt()
        assert package in str(caught.value.hint).removeprefix("pip install ").split()


@pytest.mark.filterwarnings("ignore")  # the exporter warns about itself
@pytest.mark.parametrize("rival", list(Rival))
def test_rival_computes_the_same_depth(rival: Rival, network: GLPNForDepthEstimation) -> None:
    try:
        check_installed(rival)
    except MissingPackageError as error:
        pytest.skip(error.message)
    pixel_values = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    built = build_rival(rival, network, pixel_values, choose_runtime("cpu"))
    with torch.no_grad():
        expected = network(pixel_values).predicted_depth
    assert torch.allclose(built.forward(pixel_values), expected, atol=1e-3)
    assert (built.device, built.precision) == ("cpu", Precision.FLOAT32)
