"""What weights say of themselves: the facts that turn a network's output into meters, carried inside their file.

The weights that have a name: data only, one row each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glpn_cli.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping


_UNKNOWN_WORKING_SIZE = (480, 640)


@dataclass(frozen=True, slots=True)
class WeightsCard:
    """The facts about weights that their tensors do not tell.

    Attributes:
        name: what the weights are called.
        depth_limit_m: the largest depth in meters that they can give.
        meters_per_unit: the factor from the network's published scale to meters.
        working_size: (height, width) of the images that they were made for.
        metric: True where they were trained to give meters, False where meters are approximate, None where
            nobody knows.
        shrink: whether an image is brought to the working size unless the user says otherwise.
    """

    name: str
    depth_limit_m: float
    meters_per_unit: float = 1.0
    working_size: tuple[int, int] = _UNKNOWN_WORKING_SIZE
    metric: bool | None = None
    shrink: bool = False

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], *, name: str, max_depth: float) -> WeightsCard:
        """Read the metadata of a safetensors file; what is not there gets the published convention.

        Args:
            metadata: strings, as safetensors keeps them; empty for files that others wrote.
            name: what the weights are called here; files get renamed, so what they call themselves is not used.
            max_depth: the configuration's depth limit in the published scale.

        Raises:
            WeightsError: a value is there and makes no sense.
        """
        try:
            meters_per_unit = float(metadata.get("meters_per_unit", 1.0))
            height, width = _UNKNOWN_WORKING_SIZE
            if "working_size" in metadata:
                height, width = (int(side) for side in metadata["working_size"].split("x"))
            depth_limit_m = float(metadata.get("depth_limit_m", max_depth * meters_per_unit))
        except ValueError as error:
            raise WeightsError(f"weights {name}: metadata makes no sense: {error}") from error
        if not all(0 < value < math.inf for value in (meters_per_unit, depth_limit_m, height, width)):
            raise WeightsError(f"weights {name}: metadata makes no sense: sizes and scales must be positive")
        metric = {"metric": True, "approximate": False}.get(metadata.get("metric", ""))
        # Weights that only approximate meters are small and were made at a small size; seeing more confuses them.
        return cls(
            name=name,
            depth_limit_m=depth_limit_m,
            meters_per_unit=meters_per_unit,
            working_size=(height, width),
            metric=metric,
            shrink=metadata.get("input_size", "native" if metric is not False else "model") == "model",
        )

    def to_metadata(self) -> dict[str, str]:
        """Give the strings that `from_metadata` reads."""
        metric = {True: {"metric": "metric"}, False: {"metric": "approximate"}, None: {}}[self.metric]
        return {
            "name": self.name,
            "depth_limit_m": repr(self.depth_limit_m),
            "meters_per_unit": repr(self.meters_per_unit),
            "working_size": "{}x{}".format(*self.working_size),
            "input_size": "model" if self.shrink else "native",
            **metric,
        }


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
