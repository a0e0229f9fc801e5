"""Fixtures for parity tests: networks of both implementations with the same weights, and a measure of difference."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from glpn_cli.model.config import GLPNConfig
from glpn_cli.model.glpn import GLPNForDepthEstimation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TINY = {
    "depths": [1, 2, 1, 1],
    "hidden_sizes": [8, 16, 24, 32],
    "num_attention_heads": [1, 2, 3, 4],
    "mlp_ratios": [2, 4, 3, 2],
    "decoder_hidden_size": 16,
    "max_depth": 80,
    "drop_path_rate": 0.0,
}
DEFAULT = {"drop_path_rate": 0.0}  # otherwise training mode is random
PUBLISHED = {"depths": [3, 8, 27, 3], "hidden_sizes": [64, 128, 320, 512], "drop_path_rate": 0.0}
ARCHITECTURES: dict[str, dict[str, Any]] = {"tiny": TINY, "default": DEFAULT, "published": PUBLISHED}


class Pair(NamedTuple):
    """The same network in both implementations."""

    ours: GLPNForDepthEstimation
    theirs: Any


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Small networks gain nothing from threads, and parallel tests would compete for cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def architectures() -> dict[str, dict[str, Any]]:
    return ARCHITECTURES


@pytest.fixture(scope="session")
def build_pair() -> Callable[..., Pair]:
    """Return a function that builds an architecture by name, with changes to its configuration, in eval mode."""
    built: dict[str, Pair] = {}

    def build(architecture: str, **changes: Any) -> Pair:
        key = repr((architecture, changes))
        if key not in built:
            built[key] = _build_pair(ARCHITECTURES[architecture] | changes)
        return copy.deepcopy(built[key])  # a test may train or change it

    return build


@pytest.fixture(scope="session")
def draw_images() -> Callable[..., Tensor]:
    """Return a function that makes random images, (B, 3, H, W) float32, 0 to 1."""

    def draw(batch: int, height: int, width: int, *, channels: int = 3, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        coarse = torch.rand(batch, channels, 5, 7, generator=generator)
        smooth = nn.functional.interpolate(coarse, (height, width), mode="bilinear")
        return 0.6 * smooth + 0.4 * torch.rand(batch, channels, height, width, generator=generator)

    return draw


@pytest.fixture(scope="session")
def difference() -> Callable[..., float]:
    """Return the measure of parity: the largest difference, relative to the largest value of the reference.

    For tuples of tensors it is the maximum over all pairs.
    """

    def measure(ours: Tensor | tuple[Tensor, ...], theirs: Tensor | tuple[Tensor, ...]) -> float:
        if isinstance(theirs, tuple):
            return max(measure(*two) for two in zip(ours, theirs, strict=True))
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        return ((ours - theirs).abs().max() / theirs.abs().max()).item()

    return measure


def _build_pair(fields: dict[str, Any]) -> Pair:
    import transformers  # takes seconds, and most tests do not need it

    theirs = transformers.GLPNForDepthEstimation(transformers.GLPNConfig(**fields)).eval()
    _randomize(theirs)
    ours = GLPNForDepthEstimation(GLPNConfig(**fields)).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return Pair(ours, theirs)


@torch.no_grad()
def _randomize(network: Any) -> None:
    """Set weights with which every part of the network affects the depth, and depth covers its range.

    The initial weights of a network hide errors: branches are close to 0, norms do nothing, depth is almost constant.
    Here each matrix preserves the magnitude of its input, and attention is peaked. Values before a norm are small, so
    that its eps matters; the branches of a layer are as large as their residual.
    """
    generator = torch.Generator().manual_seed(1)
    small = 0.1
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            fan_in = module.weight[0].numel()
            gain = 1.5 if name.endswith((".query", ".key")) else 1.0
            if name.endswith((".proj", ".sr", ".output.dense", ".dense2")):
                gain = small
            module.weight.normal_(0, gain / fan_in**0.5, generator=generator)
            module.bias.normal_(0, 0.2 * gain, generator=generator)
        if isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
            gain = small if "patch_embeddings" in name else 1.0
            module.weight.uniform_(0.5 * gain, 1.5 * gain, generator=generator)
            module.bias.normal_(0, 0.2 * gain, generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.3, 2.0, generator=generator)
    last = network.head.head[2]
    shape = (2, network.config.num_channels, 128, 128)
    depth = network(torch.rand(shape, generator=generator)).predicted_depth / network.config.max_depth
    logits = depth.double().logit()
    last.weight *= 2.0 / logits.std().item()
    last.bias -= logits.mean().item()
    last.bias *= 2.0 / logits.std().item()
