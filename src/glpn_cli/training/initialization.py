"""The network that a training begins with: weights that are there, or a new network drawn to learn quickly."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from glpn_cli.errors import ConfigError, UsageError
from glpn_cli.model.config import GLPNConfig
from glpn_cli.model.glpn import GLPNForDepthEstimation
from glpn_cli.weights.catalog import WeightsCard
from glpn_cli.weights.checkpoint import read_checkpoint
from glpn_cli.weights.location import obtain_weights
from glpn_cli.weights.store import NO_PROGRESS, ProgressCallback

if TYPE_CHECKING:
    from glpn_cli.training.settings import TrainSettings


NOTHING = "none"

"""What `--init` calls a new network."""

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "tiny": {"decoder_hidden_size": 32},
    "b0": {},
    "b1": {"hidden_sizes": [64, 128, 320, 512]},
    "published": {"hidden_sizes": [64, 128, 320, 512], "depths": [3, 8, 27, 3]},
}

"""Named architectures, each as it differs from the default configuration."""

_STARTING_DEPTH_M = 3.0

_NEW_DEPTH_LIMIT_M = {True: 10.0, False: 80.0}


@dataclass(frozen=True, slots=True)
class Start:
    """What a training begins with.

    Attributes:
        network: in training mode, on the CPU, float32.
        card: the facts that go with its weights, or that will go with them.
    """

    network: GLPNForDepthEstimation
    card: WeightsCard


def load_start(
    settings: TrainSettings,
    name: str,
    *,
    paper_size: tuple[int, int] | None = None,
    offline: bool = False,
    watcher: ProgressCallback = NO_PROGRESS,
) -> Start:
    """Load the weights to begin with, or draw a new network; see `TrainSettings`.

    Args:
        settings: which.
        name: what the weights that come out are called.
        paper_size: (height, width) of what the network sees where the settings do not say; None is the size that the
            weights were made for.
        offline: see `TrainRun`.
        watcher: is told of a download.

    Raises:
        UsageError: there is an architecture and weights, which have one.
        WeightsError: the weights are absent or broken.
        ConfigError: the architecture is none.
    """
    torch.manual_seed(settings.seed)
    only_nyu = {word.partition("=")[0] for word in settings.data} == {"nyu"}
    metric = {word.partition("=")[0] for word in settings.data} <= {"nyu", "kitti"}
    if settings.init == NOTHING:
        fields = _fields(settings.config or "tiny")
        config = GLPNConfig.from_dict(fields)
        config.max_depth = settings.depth_limit_m or fields.get("max_depth", _NEW_DEPTH_LIMIT_M[only_nyu])
        if settings.drop_path is not None:
            config.drop_path_rate = settings.drop_path
        network = GLPNForDepthEstimation(config)
        _draw(network)
        card = WeightsCard(name, depth_limit_m=float(config.max_depth))
    else:
        if settings.config is not None:
            raise UsageError("--config goes with --init none", hint="weights have their architecture")
        located = obtain_weights(settings.init, offline=offline, progress=watcher)
        checkpoint = read_checkpoint(located.path)
        if settings.drop_path is not None:
            checkpoint.config.drop_path_rate = settings.drop_path
        network = GLPNForDepthEstimation.from_checkpoint(checkpoint)
        known = WeightsCard.from_metadata(
            checkpoint.metadata, name=located.name, max_depth=float(checkpoint.config.max_depth)
        )
        card = located.entry.card if located.entry and "depth_limit_m" not in checkpoint.metadata else known
    sizes = settings.sizes or ((*(paper_size or card.working_size), 1.0),)
    card = WeightsCard(
        name,
        depth_limit_m=min(card.depth_limit_m, settings.depth_limit_m or card.depth_limit_m),
        meters_per_unit=card.meters_per_unit,
        working_size=sizes[-1][:2],
        metric=metric,
        shrink=not metric,
    )
    return Start(network.train(), card)


def restore_start(config: dict[str, Any], facts: dict[str, str], name: str) -> Start:
    """Give the network and the facts of a training that goes on; what it began with may be gone by now.

    Args:
        config: its architecture, as `GLPNConfig.to_dict` gives it.
        facts: its card, as `WeightsCard.to_metadata` gives it.
        name: as for `load_start`.

    Returns:
        A network whose weights are still to be loaded.
    """
    network = GLPNForDepthEstimation(GLPNConfig.from_dict(config))
    card = WeightsCard.from_metadata(facts, name=name, max_depth=float(network.config.max_depth))
    return Start(network.train(), card)


def _fields(text: str) -> dict[str, Any]:
    """Give the fields of an architecture that differ from those of the default configuration."""
    if text in ARCHITECTURES:
        return ARCHITECTURES[text]
    if not text.endswith(".json"):
        raise UsageError(
            f"--config: no architecture is called {text!r}", hint=f"{', '.join(ARCHITECTURES)}, or a JSON file"
        )
    try:
        fields = json.loads(Path(text).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{text}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"{text}: is no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ConfigError(f"{text}: is not a table of fields")
    return fields


def _draw(network: GLPNForDepthEstimation) -> None:
    """Draw convolutions so that a signal keeps its size, and begin at three meters everywhere.

    The published initialization, a deviation of 0.02 everywhere, lets signals die away over the decoder and takes
    thousands of steps to leave the beginning.

    Source: He et al., arXiv 1502.01852.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(
                module.weight, mode="fan_in" if module.groups > 1 else "fan_out", nonlinearity="relu"
            )
    last = network.head.head[2]
    share = min(0.5, _STARTING_DEPTH_M / float(network.config.max_depth))
    with torch.no_grad():
        last.weight.mul_(0.1)  # type: ignore[operator]
        last.bias.fill_(math.log(share / (1 - share)))  # type: ignore[operator]
