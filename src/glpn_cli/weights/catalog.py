"""The weights that have a name: data only, one row each."""

from __future__ import annotations

from dataclasses import dataclass

from glpn_cli.weights.card import WeightsCard

__all__ = ["CATALOG", "FALLBACK_NAME", "CatalogEntry"]


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """Named weights.

    Attributes:
        card: the facts that turn their output into metres.
        domain: what pictures they were trained for.
        source: a repository of the Hugging Face Hub, or None for weights inside the package.
        bundled_file: the file inside the package, or None.
        licence: what their publisher says, and the doubt about it.
    """

    card: WeightsCard
    domain: str
    licence: str
    source: str | None = None
    bundled_file: str | None = None


_PUBLISHED_LICENCE = (
    "Apache-2.0 says the model card; the authors' code and the encoder's ImageNet weights are non-commercial"
)

CATALOG: dict[str, CatalogEntry] = {
    entry.card.name: entry
    for entry in (
        CatalogEntry(
            WeightsCard("tiny", depth_limit_m=80, working_size=(96, 128), metric=False, shrink=True),
            domain="any picture, roughly",
            licence="CC-BY-4.0",
            bundled_file="glpn-tiny.safetensors",
        ),
        CatalogEntry(
            WeightsCard("nyu", depth_limit_m=10, working_size=(480, 640), metric=True),
            domain="indoors, to 10 m",
            licence=_PUBLISHED_LICENCE,
            source="vinvino02/glpn-nyu",
        ),
        CatalogEntry(
            # Trained at 80 m, published with max_depth 10: what the network says is metres / 8.
            WeightsCard("kitti", depth_limit_m=80, metres_per_unit=8, working_size=(352, 1216), metric=True),
            domain="from a car, to 80 m",
            licence=_PUBLISHED_LICENCE,
            source="vinvino02/glpn-kitti",
        ),
    )
}

FALLBACK_NAME = "tiny"
"""The weights that are always there."""
