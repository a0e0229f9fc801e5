"""From a weights file of any kind to installed weights: verified, with their scale, as one safetensors file."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import safetensors.torch

from glpn_cli.errors import UsageError, WeightsError
from glpn_cli.files import FileDigest, read_bounded
from glpn_cli.model.config import CONFIG_NAME, PUBLISHED_CONFIG_FIELDS, GLPNConfig
from glpn_cli.model.glpn import GLPNForDepthEstimation
from glpn_cli.model.pretrained import OTHER_CONFIG_HINT
from glpn_cli.weights.catalog import CATALOG, WeightsCard, scale_problem
from glpn_cli.weights.checkpoint import (
    Checkpoint,
    FoundConfig,
    read_config,
    read_tensors,
)
from glpn_cli.weights.header import seal
from glpn_cli.weights.keys import has_authors_keys, to_published_keys
from glpn_cli.weights.location import to_download_name
from glpn_cli.weights.store import (
    NO_PROGRESS,
    PROCESSOR_NAME,
    ProgressCallback,
    find_weights_file,
    is_plain_name,
    is_repository,
    lock_weights,
    stored_file,
    weights_files,
    write_stored,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from torch import Tensor

_MAX_PROCESSOR_BYTES = 2**20
_RESERVED_NAMES = {"auto", "all"}  # they stand for other weights


@dataclass(frozen=True, slots=True)
class Origin:
    """Where weights came from.

    Attributes:
        source: a repository of the Hub, or the path of a file.
        sha256: of the original file.
        revision: the commit of the repository, or None for a file.
    """

    source: str
    sha256: str
    revision: str | None = None

    @classmethod
    def of(cls, file: Path, *, source: str, revision: str | None = None) -> Origin:
        """Return the origin for a file on this machine; reads all of it.

        Raises:
            WeightsError: the file cannot be read.
        """
        return cls(source, FileDigest(*weights_files(file)).hexdigest(), revision)


@dataclass(frozen=True, slots=True)
class InstalledWeights:
    """The result of an installation.

    Attributes:
        name: the name that the weights have now.
        path: their file.
        card: how to interpret their output.
        scale_known: False if the factor to meters is 1 only because it is unknown.
    """

    name: str
    path: Path
    card: WeightsCard
    scale_known: bool

    @property
    def scale_note(self) -> str | None:
        """What a user should know if the scale is unknown, else None."""
        if self.scale_known:
            return None
        return (
            f"{self.name}: the scale of these weights is unknown, so their output is taken as meters; if that is "
            "wrong, import them with `meters_per_unit` (8 for a KITTI model with max_depth 10)"
        )


def import_weights(
    path: str | PathLike[str],
    name: str,
    *,
    meters_per_unit: float | None = None,
    overwrite: bool = False,
    progress: ProgressCallback = NO_PROGRESS,
) -> InstalledWeights:
    """Install weights from a file.

    Args:
        path: a folder as saved by transformers, a safetensors file, a pickle, or a checkpoint of the authors.
        name: the name to install them under: one of the catalog, which defines their scale; OWNER/REPO, as if they had
            been downloaded; or a new one.
        meters_per_unit: the factor from their output to meters, or None if unknown.
        overwrite: whether installed weights of this name may be replaced.
        progress: is notified of delays.

    Raises:
        UsageError: the name is not allowed, or the factor is not positive.
        WeightsError: the weights do not exist or are not a GLPN, weights of this name are installed, or the home
            folder cannot be written to.
    """
    name = _check_name(name)
    if meters_per_unit is not None and not 0 < meters_per_unit < math.inf:
        raise UsageError(f"must be a positive number, not {meters_per_unit}", setting="meters_per_unit")
    file = find_weights_file(os.path.expanduser(path))
    with lock_weights(name, progress=progress):
        if stored_file(name).exists() and not overwrite:
            raise WeightsError(f"the weights {name!r} are already installed", hint="set `overwrite` to replace them")
        origin = Origin.of(file, source=str(file.resolve()))
        checkpoint = read_glpn(file)
        for note in checkpoint.notes:
            progress.note(note)
        processor = read_processor_beside(file)
        return install(name, checkpoint, origin, meters_per_unit=meters_per_unit, processor=processor)


def read_glpn(file: Path, *, config: GLPNConfig | None = None, label: str | None = None) -> Checkpoint:
    """Read weights in any supported format, and check that they are a GLPN.

    Args:
        file: safetensors or a pickle, with the published keys or the authors'.
        config: their configuration. None looks for it in the file and beside it; for a checkpoint of the authors
            without one it is the published configuration.
        label: the name of the file in messages; None uses its path.

    Returns:
        The weights under the published keys.

    Raises:
        WeightsError: the file cannot be read, or its tensors are not those of the network.
        ConfigError: the configuration is invalid.
    """
    tensors, metadata = read_tensors(file, label=label)
    has_config = config is not None or "config" in metadata or (file.parent / CONFIG_NAME).exists()
    assumes_published = has_authors_keys(tensors) and not has_config
    if assumes_published:
        config = GLPNConfig(**PUBLISHED_CONFIG_FIELDS)
    found = read_config(file, metadata) if config is None else FoundConfig(config, metadata)
    checkpoint = Checkpoint(Path(label or file), found.config, to_published_keys(tensors), found.metadata, found.notes)
    try:
        GLPNForDepthEstimation.from_checkpoint(checkpoint)  # checks every key and shape
    except WeightsError as error:
        if not assumes_published or error.hint != OTHER_CONFIG_HINT:
            raise
        hint = f"they do not have the published size; put their {CONFIG_NAME} into the same folder"
        raise WeightsError(error.message, hint=hint) from error
    return checkpoint


def read_processor_beside(file: Path) -> bytes | None:
    """Return the file with the fields of the processor in the folder of weights, or None."""
    try:
        with (file.parent / PROCESSOR_NAME).open("rb") as stream:
            return read_bounded(stream, _MAX_PROCESSOR_BYTES)
    except OSError:
        return None


def install(
    name: str,
    checkpoint: Checkpoint,
    origin: Origin,
    *,
    meters_per_unit: float | None = None,
    processor: bytes | None = None,
) -> InstalledWeights:
    """Write weights into the home folder, with everything known about them in the metadata; replaces existing ones.

    The caller holds the lock of the name.

    Args:
        name: of the weights; a name of the catalog defines their scale.
        checkpoint: the weights, from `read_glpn`.
        origin: where they came from.
        meters_per_unit: the factor from their output to meters, if the user knows it.
        processor: the JSON file with the fields of their processor, which is stored too.

    Raises:
        WeightsError: the file cannot be written, or the metadata of the weights are invalid.
    """
    card, scale_known = _make_card(name, checkpoint, meters_per_unit)
    entry = CATALOG.get(name)
    metadata = {
        **checkpoint.metadata,
        **({"license": entry.license} if entry else {}),
        **({"revision": origin.revision} if origin.revision else {}),
        **card.to_metadata(),
        **({PROCESSOR_NAME: processor.decode(errors="replace")} if processor else {}),
        "source": origin.source,
        "source_sha256": origin.sha256,
        "config": json.dumps(checkpoint.config.to_dict()),
        "format": "pt",
    }
    data = safetensors.torch.save(_unshare(checkpoint.tensors), metadata)
    return InstalledWeights(name, write_stored(name, seal(data)), card, scale_known)


def _check_name(name: str) -> str:
    """Return the name for new weights; a repository of the catalog becomes its name there.

    Raises:
        UsageError: the name is not allowed.
    """
    if name.lower() in CATALOG and name not in CATALOG:
        raise UsageError(f"invalid name for weights: {name!r}", hint=f"did you mean {name.lower()}?")
    known = to_download_name(name)
    if known is not None and (known in CATALOG or is_repository(known)):
        if known in CATALOG and CATALOG[known].bundled_file is not None:
            raise UsageError(f"the weights {known!r} are part of the package", hint="choose another name")
        return known
    if not is_plain_name(name) or to_download_name("owner/" + name) is None or name.lower() in _RESERVED_NAMES:
        raise UsageError(
            f"invalid name for weights: {name!r}",
            hint="use letters, digits, '-', '_' and '.', not the name of a file, 'auto' or 'all'",
        )
    return name


def _make_card(name: str, checkpoint: Checkpoint, meters_per_unit: float | None) -> tuple[WeightsCard, bool]:
    """Return the card of weights, and whether their scale is known.

    The scale is, in this order, what the user, the file or the catalog states. It cannot be derived from the
    configuration: the two published ones are equal, but the scales differ.
    """
    metadata, max_depth = dict(checkpoint.metadata), float(checkpoint.config.max_depth)
    entry = CATALOG.get(name)
    if "meters_per_unit" not in metadata and entry is not None:
        # From the limits instead of the catalog's factor: stays right if the published max_depth is ever corrected.
        card = replace(entry.card, meters_per_unit=entry.card.depth_limit_m / max_depth)
    else:
        card = WeightsCard.from_metadata(metadata, name=name, max_depth=max_depth)
    if meters_per_unit is not None:
        metric = True if card.metric is None else card.metric
        limit_m = max_depth * meters_per_unit
        problem = scale_problem(limit_m, meters_per_unit)
        if problem is not None:
            raise UsageError(problem, setting="meters_per_unit")
        return replace(card, meters_per_unit=meters_per_unit, depth_limit_m=limit_m, metric=metric), True
    return card, entry is not None or "meters_per_unit" in metadata


def _unshare(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors of which no two share memory, as the format requires; copies only those that do."""
    seen: set[int] = set()
    own: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        storage = tensor.untyped_storage().data_ptr()
        own[key] = tensor.clone() if storage in seen else tensor.contiguous()
        seen.add(storage)
    return own
