"""A depth map in meters and where it came from: what every predictor gives and every writer gets."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from glpn_cli.settings import SATURATED_FRACTION, Scale

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray

    from glpn_cli.settings import OutputSettings


def is_known(meters: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell where depth is known: a finite number above 0."""
    known: NDArray[np.bool_] = np.isfinite(meters) & (meters > 0)
    return known


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the meters of a depth map came from. Every field may be unknown (None).

    Attributes:
        source: the image's file name, without its folder.
        weights: the name of the weights, or the name of their file.
        weights_sha256: of the weights file.
        metric: whether the weights were trained to give true meters; False where they only approximate them;
            "anchored" where known distances set the scale.
        depth_limit_m: the largest depth that the weights can give.
        meters_per_unit: the factor from the network's published scale to meters.
        network_size: (height, width) that the network saw.
        tile_size: (height, width) of the overlapping tiles, pixels of the image; None if it was seen only as a whole.
        device: what computed it, as torch names it.
        precision: the number format that the network computed in.
        tool: name and version of the program.
        notes: what had to be done to the image before the network could see it.
        approximate: the depth was read back from a file that rounds, such as an 8-bit image.
        tta: what else the network was asked, such as "flip".
        anchor_factor: what the depth was multiplied by to agree with known distances.
        anchors: the known distances: `x`, `y`, `known_m`, `predicted_m` before, and `residual_m` after it.
    """

    source: str | None = None
    weights: str | None = None
    weights_sha256: str | None = None
    metric: bool | str | None = None
    depth_limit_m: float | None = None
    meters_per_unit: float | None = None
    network_size: tuple[int, int] | None = None
    tile_size: tuple[int, int] | None = None
    device: str | None = None
    precision: str | None = None
    tool: str | None = None
    notes: tuple[str, ...] = ()
    approximate: bool = False
    tta: str | None = None
    anchor_factor: float | None = None
    anchors: tuple[dict[str, float], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Give the known fields, ready for JSON."""
        return {name: value for name, value in asdict(self).items() if value not in (None, (), False)} | (
            {} if self.metric is None else {"metric": self.metric}
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Build from what `to_dict` gave, ignoring fields that a newer version may have added."""
        known = {item.name for item in fields(cls)}
        kept = {name: value for name, value in values.items() if name in known}
        for name in ("network_size", "tile_size", "notes", "anchors"):
            if isinstance(kept.get(name), list):
                kept[name] = tuple(kept[name])
        return cls(**kept)


@dataclass(frozen=True, slots=True)
class Camera:
    """What took an image: square pixels, and the optical axis through the middle.

    Attributes:
        focal_px: the focal length in pixels of the upright image.
        source: where it is known from, such as "EXIF 35 mm focal length" or "assumed: 55 degrees wide".
    """

    focal_px: float
    source: str

    @property
    def is_assumed(self) -> bool:
        """Whether neither the user nor the image said anything of the camera."""
        return self.source.startswith("assumed")

    def to_dict(self) -> dict[str, Any]:
        """Give the fields, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Build from what `to_dict` gave, ignoring fields that a newer version may have added."""
        return cls(float(values["focal_px"]), str(values["source"]))


@dataclass(frozen=True, slots=True, eq=False)
class DepthMap:
    """Depth along the optical axis for every pixel of an image.

    Attributes:
        meters: (H, W) float32, meters, at the size of the upright image.
        provenance: where it came from.
        rgb: (H, W, 3) uint8, in [0, 255], the upright image itself; None where nobody needed it.
        camera: what took the image, where that is known or assumed.
        uncertainty_m: (H, W) float32, meters, not negative; None where it was not estimated.
    """

    meters: np.ndarray[tuple[int, int], np.dtype[np.float32]]
    provenance: Provenance = field(default_factory=Provenance)
    rgb: np.ndarray[Any, np.dtype[np.uint8]] | None = None
    camera: Camera | None = None
    uncertainty_m: np.ndarray[tuple[int, int], np.dtype[np.float32]] | None = None

    def __post_init__(self) -> None:
        """Refuse what is no depth map at the door, so that no writer has to check again."""
        if self.meters.ndim != 2 or self.meters.dtype != np.float32 or self.meters.size == 0:
            raise ValueError(f"meters must be (H, W) float32, not {self.meters.shape} {self.meters.dtype}")
        shape = self.meters.shape
        if self.rgb is not None and (self.rgb.shape != (*shape, 3) or self.rgb.dtype != np.uint8):
            raise ValueError(f"rgb must be {(*shape, 3)} uint8, not {self.rgb.shape} {self.rgb.dtype}")
        unsure = self.uncertainty_m
        if unsure is not None and (unsure.shape != shape or unsure.dtype != np.float32):
            raise ValueError(f"uncertainty_m must be {shape} float32, not {unsure.shape} {unsure.dtype}")

    @property
    def metres(self) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        """The name of `meters` until version 0.1."""
        return self.meters

    @property
    def saturated_fraction(self) -> float:
        """The share of the pixels whose depth is so close to the limit of the weights that it may be any farther."""
        limit_m = self.provenance.depth_limit_m
        return 0.0 if limit_m is None else float(np.mean(self.meters >= SATURATED_FRACTION * limit_m))

    def in_scale(self, scale: Scale) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        """Give the depth in meters, or in the scale in which the weights were published."""
        if scale is Scale.METERS or self.provenance.meters_per_unit is None:
            return self.meters
        return self.meters / np.float32(self.provenance.meters_per_unit)

    def save(
        self, path: str | PathLike[str], *, overwrite: bool = False, settings: OutputSettings | None = None
    ) -> None:
        """Write to a file, whole or not at all, in the format that the name asks for.

        Args:
            path: ends in an ending of `glpn_cli.output.formats`, such as `.depth16.png`, or just in a suffix, such as
                `.npy`; `.png` alone is the 8-bit gray image.
            overwrite: replace a file that is there.
            settings: what the numbers in the file are; None for the defaults.

        Raises:
            UsageError: no format has this suffix, or the settings make no sense for it.
            OutputExistsError: the file is there and `overwrite` is False.
            OutputError: the file cannot be written.
            MissingPackageError: the format needs a package that is not installed.
        """
        from glpn_cli.output.formats import save_depth  # a door upward: depth is the ground, output a room

        save_depth(self, path, overwrite=overwrite, settings=settings)
