"""From weights of anywhere to weights that are kept: checked, given their scale, written as one file.

A weights file of the user's becomes weights with a name.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import safetensors.torch

from glpn_cli.errors import UsageError, WeightsError
from glpn_cli.files import FileDigest
from glpn_cli.model.glpn import GLPNForDepthEstimation
from glpn_cli.weights.catalog import CATALOG, WeightsCard
from glpn_cli.weights.checkpoint import (
    PUBLISHED_CONFIG,
    Checkpoint,
    is_authors,
    read_config,
    read_tensors,
    to_published_keys,
)
from glpn_cli.weights.header import seal
from glpn_cli.weights.location import to_known_name
from glpn_cli.weights.store import (
    CONFIG_NAME,
    QUIET,
    Watcher,
    alone_with,
    find_weights_file,
    is_plain_name,
    is_repository,
    put_whole,
    stored_file,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from torch import Tensor

    from glpn_cli.model.config import GLPNConfig


@dataclass(frozen=True, slots=True)
class Origin:
    """Where weights came from.

    Attributes:
        source: a repository of the Hub, or the path of a file.
        sha256: of the file as it came.
        revision: the commit of the repository, or None for a file.
    """

    source: str
    sha256: str
    revision: str | None = None

    @classmethod
    def of(cls, file: Path, *, source: str, revision: str | None = None) -> Origin:
        """Describe a file that is here now."""
        return cls(source, FileDigest(file).hexdigest(), revision)


@dataclass(frozen=True, slots=True)
class KeptWeights:
    """Weights that are on this machine now.

    Attributes:
        name: what they are kept as.
        path: their file.
        card: the facts that turn their output into meters.
        scale_known: False where the factor to meters is 1 for want of better knowledge.
    """

    name: str
    path: Path
    card: WeightsCard
    scale_known: bool

    @property
    def scale_note(self) -> str | None:
        """What to tell a user whose weights do not say their scale."""
        if self.scale_known:
            return None
        return (
            f"{self.name}: nothing tells the scale of these weights, so what they say is taken for meters; if it is "
            "not, import them with --meters-per-unit (8 for a KITTI model with max_depth 10)"
        )


def take_in(file: Path, *, config: GLPNConfig | None = None, called: str | None = None) -> Checkpoint:
    """Read weights of any kind and see that they are a GLPN.

    Args:
        file: safetensors or a pickle, with the published keys or the authors'.
        config: their configuration; None looks inside the file and beside it, and takes the published one for a file
            of the authors.
        called: what to call the file in messages.

    Returns:
        The weights under the published keys.

    Raises:
        WeightsError: they cannot be read, or are no GLPN, with the keys that do not fit.
        ConfigError: their configuration is none.
    """
    tensors, metadata = read_tensors(file, called=called)
    has_config = config is not None or "config" in metadata or (file.parent / CONFIG_NAME).exists()
    tensors_only = is_authors(tensors) and not has_config
    if config is None:
        config = PUBLISHED_CONFIG if tensors_only else read_config(file, metadata)
    checkpoint = Checkpoint(Path(called or file), config, to_published_keys(tensors), metadata)
    try:
        GLPNForDepthEstimation.from_checkpoint(checkpoint)  # refuses whatever is not exactly this network
    except WeightsError as error:
        if not tensors_only:
            raise
        hint = f"they are not of the published size, so put their {CONFIG_NAME} into the same folder"
        raise WeightsError(error.message, hint=hint) from error
    return checkpoint


def keep(name: str, checkpoint: Checkpoint, origin: Origin, *, meters_per_unit: float | None = None) -> KeptWeights:
    """Keep weights under a name, replacing what was there.

    Args:
        name: what to keep them as; a name of the catalog gives them its facts.
        checkpoint: the weights, from `take_in`.
        origin: where they came from.
        meters_per_unit: the factor from their scale to meters, where the user knows it.

    Raises:
        WeightsError: they cannot be written, or what they say of their scale makes no sense.
    """
    card, scale_known = _card(name, checkpoint, meters_per_unit)
    entry = CATALOG.get(name)
    metadata = {
        **checkpoint.metadata,
        **({"license": entry.license} if entry else {}),
        **({"revision": origin.revision} if origin.revision else {}),
        **card.to_metadata(),
        "source": origin.source,
        "source_sha256": origin.sha256,
        "config": json.dumps(checkpoint.config.to_dict()),
        "format": "pt",
    }
    data = safetensors.torch.save(_unshared(checkpoint.tensors), metadata)
    return KeptWeights(name, put_whole(name, seal(data)), card, scale_known)


def _card(name: str, checkpoint: Checkpoint, meters_per_unit: float | None) -> tuple[WeightsCard, bool]:
    """Find the facts: what the user says counts first, then what the file says, then what the catalog says.

    The two published configurations are alike though the scales are not, so nothing else can tell.

    Returns:
        The card, and whether its scale is known.
    """
    metadata, max_depth = dict(checkpoint.metadata), float(checkpoint.config.max_depth)
    entry = CATALOG.get(name)
    if "meters_per_unit" not in metadata and entry is not None:
        # From the limits, not the catalog's factor: it stays right if the published configuration is ever mended.
        card = replace(entry.card, meters_per_unit=entry.card.depth_limit_m / max_depth)
    else:
        card = WeightsCard.from_metadata(metadata, name=name, max_depth=max_depth)
    if meters_per_unit is not None:
        metric = True if card.metric is None else card.metric
        limit_m = max_depth * meters_per_unit
        return replace(card, meters_per_unit=meters_per_unit, depth_limit_m=limit_m, metric=metric), True
    return card, entry is not None or "meters_per_unit" in metadata


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give each tensor memory of its own, which the format wants; copies only those that share."""
    seen: set[int] = set()
    own: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        storage = tensor.untyped_storage().data_ptr()
        own[key] = tensor.clone() if storage in seen else tensor.contiguous()
        seen.add(storage)
    return own


_MEANINGS = {"auto", "all"}  # words that stand for other weights


def import_weights(
    path: str | PathLike[str],
    name: str,
    *,
    meters_per_unit: float | None = None,
    overwrite: bool = False,
    watcher: Watcher = QUIET,
) -> KeptWeights:
    """Keep a file under a name.

    Args:
        path: a folder as transformers saves it, a safetensors file, a pickle, or a checkpoint of the authors.
        name: what to keep it as: one of the catalog's, which gives it the facts and the scale of its row; OWNER/REPO,
            as if it had been downloaded; or a new one.
        meters_per_unit: the factor from its scale to meters, where the user knows it.
        overwrite: replace what is kept under the name.
        watcher: is told of a wait.

    Raises:
        UsageError: the name cannot be one, or the factor is not positive.
        WeightsError: there are no such weights, they are no GLPN, something is kept under the name already, or the
            home cannot be written to.
    """
    name = _checked_name(name)
    if meters_per_unit is not None and not 0 < meters_per_unit < math.inf:
        raise UsageError(f"--meters-per-unit must be a positive number, not {meters_per_unit}")
    file = find_weights_file(os.path.expanduser(path))
    with alone_with(name, watcher=watcher):
        if stored_file(name).exists() and not overwrite:
            raise WeightsError(f"the weights {name!r} are there already", hint="--overwrite replaces them")
        origin = Origin.of(file, source=str(file.resolve()))
        return keep(name, take_in(file), origin, meters_per_unit=meters_per_unit)


def _checked_name(name: str) -> str:
    known = to_known_name(name)
    if known is not None and (known in CATALOG or is_repository(known)):
        if known in CATALOG and CATALOG[known].bundled_file is not None:
            raise UsageError(f"the weights {known!r} come with the package and stay", hint="choose another name")
        return known
    if not is_plain_name(name) or to_known_name("owner/" + name) is None or name.lower() in _MEANINGS:
        raise UsageError(
            f"no weights can be called {name!r}",
            hint="a name has letters, digits, - _ and . in it, is not that of a file, and is neither auto nor all",
        )
    if name.lower() in CATALOG:
        raise UsageError(f"no weights can be called {name!r}", hint=f"did you mean {name.lower()}?")
    return name
