"""The network that a run starts with: existing weights, or a new network initialized for fast training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from glpn_cli.errors import ConfigError, UsageError
from glpn_cli.files import modernize, read_json
from glpn_cli.model.config import PUBLISHED_CONFIG_FIELDS, GLPNConfig
from glpn_cli.model.glpn import GLPNForDepthEstimation
from glpn_cli.training.datasets import data_names
from glpn_cli.weights.catalog import WeightsCard
from glpn_cli.weights.checkpoint import read_checkpoint
from glpn_cli.weights.location import obtain_weights
from glpn_cli.weights.store import NO_PROGRESS, ProgressCallback

if TYPE_CHECKING:
    from glpn_cli.training.settings import TrainSettings

NEW_NETWORK = "none"
"""The value of `TrainSettings.init` for a new network."""

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "tiny": {"decoder_hidden_size": 32},
    "b0": {},
    "b1": {"hidden_sizes": PUBLISHED_CONFIG_FIELDS["hidden_sizes"]},
    "published": PUBLISHED_CONFIG_FIELDS,
}
"""The fields of each named architecture that differ from the default configuration."""

_INITIAL_DEPTH_M = 3.0
_NYU_DEPTH_LIMIT_M = 10.0
_DEPTH_LIMIT_M = 80.0


@dataclass(frozen=True, slots=True)
class InitialNetwork:
    """The network that a run starts or resumes with.

    Attributes:
        network: in training mode, on the CPU, float32.
        card: the metadata of the weights that the run saves.
    """

    network: GLPNForDepthEstimation
    card: WeightsCard


def create_network(
    settings: TrainSettings,
    name: str,
    *,
    paper_size: tuple[int, int] | None = None,
    offline: bool = False,
    watcher: ProgressCallback = NO_PROGRESS,
) -> InitialNetwork:
    """Load the initial weights, or initialize a new network.

    Args:
        settings: `init`, `config`, `data`, `sizes`, `depth_limit_m`, `drop_path` and `seed` are used.
        name: name of the weights that the run saves.
        paper_size: (height, width) of the network's input if `sizes` is empty; None for that of the initial weights.
        offline: see `TrainRun`.
        watcher: called back during a download.

    Raises:
        UsageError: `config` is unknown, or is set although the initial weights define the architecture.
        WeightsError: the weights are missing or damaged.
        ConfigError: the architecture is invalid.
    """
    torch.manual_seed(settings.seed)
    names = data_names(settings.data)
    metric = names <= {"nyu", "kitti"}
    if settings.init == NEW_NETWORK:
        network, card = _initialize(settings, _NYU_DEPTH_LIMIT_M if names == {"nyu"} else _DEPTH_LIMIT_M)
    else:
        network, card = _load(settings, offline=offline, watcher=watcher)
    sizes = settings.sizes or ((*(paper_size or card.working_size), 1.0),)
    card = WeightsCard(
        name,
        depth_limit_m=min(card.depth_limit_m, settings.depth_limit_m or card.depth_limit_m),
        meters_per_unit=card.meters_per_unit,
        working_size=sizes[-1][:2],
        metric=metric,
        shrink=not metric,
        canonical_depth=settings.canonical_depth,
    )
    return InitialNetwork(network.train(), card)


def restore_network(config: dict[str, Any], metadata: dict[str, str], name: str) -> InitialNetwork:
    """Build the network of a saved checkpoint. The initial weights are not needed and may be gone.

    Args:
        config: the architecture, as `GLPNConfig.to_dict` returns it.
        metadata: the card, as `WeightsCard.to_metadata` returns it; names of earlier versions are accepted.
        name: name of the weights that the run saves.

    Returns:
        A network whose weights the caller loads.
    """
    network = GLPNForDepthEstimation(GLPNConfig.from_dict(config))
    card = WeightsCard.from_metadata(modernize(metadata), name=name, max_depth=float(network.config.max_depth))
    return InitialNetwork(network.train(), card)


def _initialize(settings: TrainSettings, depth_limit_m: float) -> tuple[GLPNForDepthEstimation, WeightsCard]:
    fields = _architecture_fields(settings.config or "tiny")
    config = GLPNConfig.from_dict(fields)
    config.max_depth = settings.depth_limit_m or fields.get("max_depth", depth_limit_m)
    if settings.drop_path is not None:
        config.drop_path_rate = settings.drop_path
    network = GLPNForDepthEstimation(config)
    _initialize_weights(network)
    return network, WeightsCard("", depth_limit_m=float(config.max_depth))


def _load(
    settings: TrainSettings, *, offline: bool, watcher: ProgressCallback
) -> tuple[GLPNForDepthEstimation, WeightsCard]:
    if settings.config is not None:
        raise UsageError(
            "only for a new network: weights define their architecture", hint="set `init='none'`", setting="config"
        )
    located = obtain_weights(settings.init, offline=offline, progress=watcher)
    checkpoint = read_checkpoint(located.path)
    if settings.drop_path is not None:
        checkpoint.config.drop_path_rate = settings.drop_path
    network = GLPNForDepthEstimation.from_checkpoint(checkpoint)
    if located.entry and "depth_limit_m" not in checkpoint.metadata:
        return network, located.entry.card
    max_depth = float(checkpoint.config.max_depth)
    return network, WeightsCard.from_metadata(checkpoint.metadata, name=located.name, max_depth=max_depth)


def _architecture_fields(config: str) -> dict[str, Any]:
    """Return the fields of an architecture that differ from the default configuration."""
    if config in ARCHITECTURES:
        return ARCHITECTURES[config]
    if not config.endswith(".json"):
        raise UsageError(
            f"unknown architecture {config!r}", hint=f"{', '.join(ARCHITECTURES)}, or a JSON file", setting="config"
        )
    return read_json(config, ConfigError)


def _initialize_weights(network: GLPNForDepthEstimation) -> None:
    """Initialize convolutions so that activations keep their scale, and the head to a depth of 3 m everywhere.

    With the published initialization, a deviation of 0.02 everywhere, activations vanish in the decoder, and the loss
    stays on a plateau for thousands of steps.

    Source: He et al., arXiv 1502.01852.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(
                module.weight, mode="fan_in" if module.groups > 1 else "fan_out", nonlinearity="relu"
            )
    last = network.head.head[2]
    fraction = min(0.5, _INITIAL_DEPTH_M / float(network.config.max_depth))
    with torch.no_grad():
        last.weight.mul_(0.1)  # type: ignore[operator]
        last.bias.fill_(math.log(fraction / (1 - fraction)))  # type: ignore[operator]
