"""The catalog of named weights, and what a weights file states about itself in its metadata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from glpn_cli.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEFAULT_WORKING_SIZE = (480, 640)

# Bounds of what a weights file may state of itself. Depth, in any unit and scale within them, fits into float32, and
# an image of the largest working size needs about as much memory and time as one of a large photo.
_METERS_BOUNDS = (1e-6, 1e9)
_FACTOR_BOUNDS = (1e-9, 1e9)
_MAX_SIDE_PX = 8192
_MAX_WORKING_PIXELS = 2**22


@dataclass(frozen=True, slots=True)
class WeightsCard:
    """Facts about weights that their tensors do not contain.

    Attributes:
        name: the name of the weights.
        depth_limit_m: the largest depth in meters that they can predict.
        meters_per_unit: the factor from the network's published scale to meters.
        working_size: (height, width) of the images that they were trained on, pixels.
        metric: True if they were trained to predict meters, False if meters are approximate, None if unknown.
        shrink: whether images are resized to about the working size by default.
        sharp_edges: whether the edges of depth are aligned with those of the image by default.
        canonical_depth: whether they predict depth divided by the relative focal length of the camera; see
            `geometry.camera.relative_focal`.
    """

    name: str
    depth_limit_m: float
    meters_per_unit: float = 1.0
    working_size: tuple[int, int] = _DEFAULT_WORKING_SIZE
    metric: bool | None = None
    shrink: bool = False
    sharp_edges: bool = False
    canonical_depth: bool = False

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], *, name: str, max_depth: float) -> WeightsCard:
        """Read a card from the metadata of a safetensors file.

        Args:
            metadata: the strings of the file; missing values get the defaults of the published weights.
            name: the name to use. Files can be renamed, so a name in the metadata is ignored.
            max_depth: `GLPNConfig.max_depth`, the depth limit in the published scale.

        Raises:
            WeightsError: a value is invalid.
        """
        try:
            meters_per_unit = float(metadata.get("meters_per_unit", 1.0))
            height, width = _DEFAULT_WORKING_SIZE
            if "working_size" in metadata:
                height, width = (int(side) for side in metadata["working_size"].split("x"))
            depth_limit_m = float(metadata.get("depth_limit_m", max_depth * meters_per_unit))
        except (ValueError, OverflowError) as error:
            raise WeightsError(f"weights {name}: invalid metadata: {error}") from error
        problem = scale_problem(depth_limit_m, meters_per_unit) or _size_problem(height, width)
        if problem is not None:
            raise WeightsError(f"weights {name}: invalid metadata: {problem}")
        metric = {"metric": True, "approximate": False}.get(metadata.get("metric", ""))
        # Approximate weights are small networks trained on small images; larger images make their depth worse.
        return cls(
            name=name,
            depth_limit_m=depth_limit_m,
            meters_per_unit=meters_per_unit,
            working_size=(height, width),
            metric=metric,
            shrink=metadata.get("input_size", "native" if metric is not False else "model") == "model",
            sharp_edges=metadata.get("sharp_edges") == "on",
            canonical_depth=metadata.get("canonical_depth") == "on",
        )

    def to_metadata(self) -> dict[str, str]:
        """Return the strings that `from_metadata` reads."""
        metric = {True: {"metric": "metric"}, False: {"metric": "approximate"}, None: {}}[self.metric]
        return {
            "name": self.name,
            "depth_limit_m": repr(self.depth_limit_m),
            "meters_per_unit": repr(self.meters_per_unit),
            "working_size": "{}x{}".format(*self.working_size),
            "input_size": "model" if self.shrink else "native",
            "sharp_edges": "on" if self.sharp_edges else "off",
            **({"canonical_depth": "on"} if self.canonical_depth else {}),
            **metric,
        }


def scale_problem(depth_limit_m: float, meters_per_unit: float) -> str | None:
    """Return why depth cannot have a limit and a scale, or None."""
    for value, what, (low, high) in (
        (meters_per_unit, "the factor to meters", _FACTOR_BOUNDS),
        (depth_limit_m, "the depth limit in meters", _METERS_BOUNDS),
    ):
        if not low <= value <= high:
            return f"{what} must be a positive number from {low:g} to {high:g}, not {value:g}"
    return None


def _size_problem(height: int, width: int) -> str | None:
    if min(height, width) >= 1 and max(height, width) <= _MAX_SIDE_PX and height * width <= _MAX_WORKING_PIXELS:
        return None
    return f"the working size must have sides of 1 to {_MAX_SIDE_PX} and at most {_MAX_WORKING_PIXELS} pixels"


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """Weights with a name.

    Attributes:
        card: how to interpret their output.
        domain: the images that they were trained for.
        license: the publisher's license, and doubts about it.
        size_bytes: size of the file, or of the download.
        source: a repository of the Hugging Face Hub, or None if the weights are bundled with the package.
        bundled_file: the name of the file in the package, or None.
        sha256: of the bundled file, or None; a download is compared with the hash that the Hub recorded.
    """

    card: WeightsCard
    domain: str
    license: str
    size_bytes: int
    source: str | None = None
    bundled_file: str | None = None
    sha256: str | None = None


_PUBLISHED_LICENSE = (
    "Apache-2.0 according to the model card; doubtful, because the authors' code and the ImageNet weights of the "
    "encoder are non-commercial"
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
            # Trained with a limit of 80 m but published with max_depth 10, so the output is meters / 8.
            WeightsCard("kitti", depth_limit_m=80, meters_per_unit=8, working_size=(352, 1216), metric=True),
            domain="from a car, to 80 m",
            license=_PUBLISHED_LICENSE,
            size_bytes=_PUBLISHED_SIZE_BYTES,
            source="vinvino02/glpn-kitti",
        ),
    )
}

FALLBACK_NAME = "tiny"
"""The bundled weights, which "auto" uses if nothing better is installed."""

PREFERRED_NAME = "nyu"
"""The weights that "auto" prefers if they are installed: metric, and made for indoor images, the most common kind."""


def find_entry_beyond(limit_m: float) -> CatalogEntry | None:
    """Return the metric weights with the smallest depth limit above `limit_m` (meters), or None."""
    entries = [entry for entry in CATALOG.values() if entry.card.metric and entry.card.depth_limit_m > limit_m]
    return min(entries, key=lambda entry: entry.card.depth_limit_m, default=None)
