"""A network with its weights and their facts, from files on this machine."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli.files import FileDigest
from glpn_cli.model.glpn import GLPNForDepthEstimation
from glpn_cli.weights.catalog import WeightsCard
from glpn_cli.weights.checkpoint import read_checkpoint
from glpn_cli.weights.store import BEST_NAME, LAST_NAME, weights_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from glpn_cli.weights.location import LocatedWeights


@dataclass(frozen=True, slots=True, eq=False)
class LoadedWeights:
    """A network with its weights and their facts.

    Attributes:
        network: float32, on the CPU, in evaluation mode; its tensors may be mapped from the file.
        card: the facts that turn its output into meters.
        sha256: returns the SHA-256 of the weights file; it may still be computed.
        chosen: False if "auto" fell back to these weights.
        notes: what the user should know of them.
        config_sha256: of the configuration, if it is another one than in the weights file; else None.
        located: where they come from; None if the network is not from a file.
    """

    network: GLPNForDepthEstimation
    card: WeightsCard
    sha256: Callable[[], str]
    chosen: bool = True
    notes: tuple[str, ...] = ()
    config_sha256: str | None = None
    located: LocatedWeights | None = None


def load_network(located: LocatedWeights, digest: FileDigest | None = None) -> LoadedWeights:
    """Load a network from weights on this machine.

    Args:
        located: where they are.
        digest: of the weights file, if it was started earlier.

    Raises:
        WeightsError: the weights are damaged or of another architecture.
        ConfigError: no image suits the architecture.
    """
    digest = digest or FileDigest(*weights_files(located.path))
    checkpoint = read_checkpoint(digest.path)
    if located.entry is not None and "depth_limit_m" not in checkpoint.metadata:
        card = located.entry.card
    else:
        name = located.name
        if located.path.name in (BEST_NAME, LAST_NAME) and "training" in checkpoint.metadata:
            name = checkpoint.metadata.get("name", name)  # every training run has folders of these names
        card = WeightsCard.from_metadata(checkpoint.metadata, name=name, max_depth=float(checkpoint.config.max_depth))
    network = GLPNForDepthEstimation.from_checkpoint(checkpoint)
    config = checkpoint.config.to_json_string().encode() if checkpoint.notes else None
    config_sha256 = None if config is None else hashlib.sha256(config).hexdigest()
    absolute = replace(located, path=Path(os.path.abspath(located.path)))  # the current folder may change
    return LoadedWeights(
        network, card, digest.hexdigest, located.chosen, checkpoint.notes, config_sha256, located=absolute
    )
