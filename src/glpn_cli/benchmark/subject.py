"""What is measured when nobody names weights or images: the published architecture and an image made up."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from glpn_cli.inference.predictor import LoadedWeights, load_weights
from glpn_cli.model.config import GLPNConfig
from glpn_cli.model.glpn import GLPNForDepthEstimation
from glpn_cli.settings.weights import RANDOM_WEIGHTS
from glpn_cli.weights.card import WeightsCard

if TYPE_CHECKING:
    from torch import Tensor

    from glpn_cli.weights.watcher import Watcher

__all__ = ["load_subject", "make_photo", "published_network"]

_SEED = 0
_JPEG_QUALITY = 90
_COARSE = 12
_LOGIT_SPREAD = 2.0


def load_subject(weights: str, *, offline: bool, watcher: Watcher) -> LoadedWeights:
    """Load what is measured: weights as everywhere, or "random" for the published architecture without its weights."""
    if weights != RANDOM_WEIGHTS:
        return load_weights(weights, offline=offline, watcher=watcher)
    network = published_network()
    return LoadedWeights(network, WeightsCard(RANDOM_WEIGHTS, float(network.config.max_depth)), sha256=lambda: "")


def published_network() -> GLPNForDepthEstimation:
    """Build the architecture of the published weights (MiT-B4) with random ones that use the whole range of depth.

    Time does not depend on the weights, but errors do: as initialized, a network gives the same depth everywhere and
    hides them.

    Returns:
        float32, on the CPU, in evaluation mode, the same at every call.
    """
    config = GLPNConfig(depths=[3, 8, 27, 3], hidden_sizes=[64, 128, 320, 512])
    with torch.device("meta"):
        network = GLPNForDepthEstimation(config)
    network = network.to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(_SEED)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.weight.normal_(0, module.weight[0].numel() ** -0.5, generator=generator)
                if module.bias is not None:
                    module.bias.normal_(0, 0.1, generator=generator)
            elif isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
                module.reset_parameters()
        _spread_depth(network, torch.rand(1, 3, 64, 64, generator=generator))
    return network


def _spread_depth(network: GLPNForDepthEstimation, pixel_values: Tensor) -> None:
    """Scale the last layer so that depth lies on both sides of the middle of its range."""
    last: Any = network.head.head[2]
    with torch.no_grad():
        predicted: Tensor = network(pixel_values).predicted_depth
    logits = (predicted / network.config.max_depth).logit()
    last.weight *= _LOGIT_SPREAD / logits.std()
    last.bias.copy_((last.bias - logits.mean()) * _LOGIT_SPREAD / logits.std())


def make_photo(height: int, width: int) -> bytes:
    """Make up a photo-like image: soft shapes and some noise, as a JPEG file."""
    random = np.random.default_rng(_SEED)
    coarse = random.integers(0, 256, (_COARSE, _COARSE, 3), np.uint8)
    soft = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), np.int16)
    rgb = np.clip(soft + random.integers(-12, 13, (height, width, 3), np.int16), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()
