"""Settings of benchmarks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from glpn_cli.convert import Settings, parse_size
from glpn_cli.errors import UsageError
from glpn_cli.settings import MAX_IMAGE_PIXELS
from glpn_cli.values import AUTO_ENGINE, EngineChoice, Precision

RANDOM_WEIGHTS = "random"
"""The published architecture with random weights, for benchmarks."""


class Rival(StrEnum):
    """Another runtime for the same network, to compare with."""

    TRANSFORMERS = "transformers"
    OPENVINO = "openvino"
    ONNXRUNTIME = "onnxruntime"


_LONGEST_JPEG_PX = 65_500


@dataclass(frozen=True)
class BenchSettings(Settings):
    """What a benchmark measures.

    Attributes:
        sizes: of the synthetic photo, as "HxW".
        precisions, devices: as in `PredictionSettings`; every combination is measured.
        engine: as in `PredictionSettings`; AUTO is torch.
        against: other runtimes to compare with.
        rounds: timing rounds.
        weights: as in `PredictionSettings`, or "random": the published architecture with random weights.
        threads, offline: as in `PredictionSettings`.
    """

    sizes: tuple[str, ...] = ("480x640", "1080x1920")
    precisions: tuple[Precision, ...] = (Precision.FLOAT32,)
    devices: tuple[str, ...] = ("auto",)
    engine: EngineChoice = AUTO_ENGINE
    against: tuple[Rival, ...] = ()
    rounds: int = 5
    weights: str = RANDOM_WEIGHTS
    threads: int | None = None
    offline: bool = False

    LIMITS: ClassVar = {"rounds": (1, math.inf), "threads": (1, math.inf)}

    def __post_init__(self) -> None:
        """Convert and check the values; see `Settings`."""
        super().__post_init__()
        for text, size in zip(self.sizes, self.image_sizes, strict=True):
            if max(size) > _LONGEST_JPEG_PX or math.prod(size) > MAX_IMAGE_PIXELS:
                raise UsageError(f"{text} is larger than a photo can be", setting="sizes")

    @property
    def image_sizes(self) -> list[tuple[int, int]]:
        """(height, width) of each size."""
        return [parse_size(text, "sizes") for text in self.sizes]
