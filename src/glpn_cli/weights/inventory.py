"""What weights there are, here and elsewhere, and whether those that are here are as they should be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli.errors import WeightsError
from glpn_cli.weights.card import WeightsCard
from glpn_cli.weights.catalog import CATALOG
from glpn_cli.weights.header import is_sealed_intact, read_metadata
from glpn_cli.weights.location import list_weights

if TYPE_CHECKING:
    from glpn_cli.weights.location import LocatedWeights

__all__ = ["InventoryRow", "Status", "take_inventory", "verify"]


class Status(StrEnum):
    """Where weights are."""

    BUNDLED = "bundled"
    DOWNLOADED = "downloaded"
    IMPORTED = "imported"
    ABSENT = "absent"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class InventoryRow:
    """Weights that have a name.

    Attributes:
        name: what to give to --weights.
        status: where they are.
        path: their file, or None where they are not here.
        size_bytes: of the file, or of what a download would fetch.
        source: a repository of the Hub, the path of an imported file, or None for those in the package.
        revision: the commit of the repository, or None.
        license: what is known of it, and the doubt about it.
        domain: what images they were trained for; empty where nobody knows.
        card: the facts that turn their output into meters; None where the file is damaged.
    """

    name: str
    status: Status
    path: Path | None
    size_bytes: int
    source: str | None
    revision: str | None
    license: str
    domain: str
    card: WeightsCard | None


def take_inventory() -> list[InventoryRow]:
    """Describe all weights that have a name: those of the catalog first, then those that are only here."""
    return [_row(name, path) for name, path in list_weights().items()]


def verify(weights: LocatedWeights) -> bool:
    """See whether weights are as they were when they were written, and are a GLPN.

    Returns:
        True if they are; False if they are a GLPN, but carry no record of what they were.

    Raises:
        WeightsError: they are damaged.
    """
    from glpn_cli.model.glpn import GLPNForDepthEstimation
    from glpn_cli.weights.checkpoint import read_checkpoint
    from glpn_cli.weights.digest import file_sha256
    from glpn_cli.weights.files import find_weights_file

    file = find_weights_file(weights.path)
    recorded: bool | None
    if weights.entry is not None and weights.entry.sha256 is not None:
        recorded = file_sha256(file) == weights.entry.sha256
    else:
        recorded = is_sealed_intact(file) if file.suffix == ".safetensors" else None
    if recorded is False:
        raise WeightsError(f"{weights.name}: {file} is not as it was written", hint=_mending(weights))
    GLPNForDepthEstimation.from_checkpoint(read_checkpoint(weights.path))
    return recorded is True


def _row(name: str, path: Path | None) -> InventoryRow:
    entry = CATALOG.get(name)
    license, domain = (entry.license, entry.domain) if entry else ("unknown", "")
    if entry is not None and (path is None or entry.bundled_file is not None):
        status = Status.ABSENT if path is None else Status.BUNDLED
        return InventoryRow(name, status, path, entry.size_bytes, entry.source, None, license, domain, entry.card)
    path = path or Path()
    try:
        size_bytes = path.stat().st_size
    except OSError:  # a link to a disk that is not there
        return InventoryRow(name, Status.DAMAGED, path, 0, None, None, license, domain, None)
    try:
        metadata = read_metadata(path)
        card = WeightsCard.from_metadata(metadata, name=name, max_depth=0.0)  # kept files say their limit
    except WeightsError:
        return InventoryRow(name, Status.DAMAGED, path, size_bytes, None, None, license, domain, None)
    revision = metadata.get("revision")
    return InventoryRow(
        name,
        Status.IMPORTED if revision is None else Status.DOWNLOADED,
        path,
        size_bytes,
        metadata.get("source"),
        revision,
        metadata.get("license", license),
        domain,
        card,
    )


def _mending(weights: LocatedWeights) -> str:
    if weights.entry is not None and weights.entry.source is None:
        return "install glpn-cli again"
    return f"glpn download-weights {weights.name}, or import the file again"
