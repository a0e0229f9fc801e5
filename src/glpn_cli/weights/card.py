"""What weights say of themselves: the facts that turn a network's output into meters, carried inside their file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glpn_cli.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["WeightsCard"]

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
