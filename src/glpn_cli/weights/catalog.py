"""The weights that have a name: data only, one row each."""

from __future__ import annotations

from dataclasses import dataclass

from glpn_cli.weights.card import WeightsCard

__all__ = ["CATALOG", "FALLBACK_NAME", "PREFERRED_NAME", "CatalogEntry", "find_farther_sighted"]


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """Named weights.

    Attributes:
        card: the facts that turn their output into meters.
        domain: what images they were trained for.
        source: a repository of the Hugging Face Hub, or None for weights inside the package.
        bundled_file: the file inside the package, or None.
        license: what their publisher says, and the doubt about it.
        size_bytes: of the file, or of what a download fetches.
        sha256: of the file inside the package. For the others the Hub's own record of the file counts.
    """

    card: WeightsCard
    domain: str
    license: str
    size_bytes: int
    source: str | None = None
    bundled_file: str | None = None
    sha256: str | None = None


_PUBLISHED_LICENSE = (
    "Apache-2.0 says the model card; doubtful, as the authors' code and the encoder's ImageNet weights are "
    "non-commercial"
)
_PUBLISHED_SIZE_BYTES = 245_000_000  # as the Hub shows it, rounded

CATALOG: dict[str, CatalogEntry] = {
    entry.card.name: entry
    for entry in (
        CatalogEntry(
            WeightsCard("tiny", depth_limit_m=80, working_size=(160, 224), metric=False, shrink=True),
            domain="any image, roughly",
            license="CC-BY-4.0",
            size_bytes=6_859_846,
            bundled_file="glpn-tiny.safetensors",
            sha256="2ce8f56b2cb3cd84d8ef4cdd5d9f13b254df25f36d230cbe9972292381ee8527",
        ),
        CatalogEntry(
            WeightsCard("nyu", depth_limit_m=10, working_size=(480, 640), metric=True),
            domain="indoors, to 10 m",
            license=_PUBLISHED_LICENSE,
            size_bytes=_PUBLISHED_SIZE_BYTES,
            source="vinvino02/glpn-nyu",
        ),
        CatalogEntry(
            # Trained at 80 m, published with max_depth 10: what the network says is meters / 8.
            WeightsCard("kitti", depth_limit_m=80, meters_per_unit=8, working_size=(352, 1216), metric=True),
            domain="from a car, to 80 m",
            license=_PUBLISHED_LICENSE,
            size_bytes=_PUBLISHED_SIZE_BYTES,
            source="vinvino02/glpn-kitti",
        ),
    )
}

FALLBACK_NAME = "tiny"
"""The weights that are always there."""

PREFERRED_NAME = "nyu"
"""The weights that are used instead when they are there: true meters, for the images that most people have."""


def find_farther_sighted(limit_m: float) -> CatalogEntry | None:
    """Find the weights that see farther than a limit, in true meters, and of several those with the nearest limit."""
    entries = [entry for entry in CATALOG.values() if entry.card.metric and entry.card.depth_limit_m > limit_m]
    return min(entries, key=lambda entry: entry.card.depth_limit_m, default=None)
