"""Settings of `glpn video`, with every default. Apart from the package's other modules, which import numpy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from glpn_cli.convert import Settings
from glpn_cli.errors import UsageError


class Steady(StrEnum):
    """Whether depth is steadied over time."""

    ON = "on"
    """Its scale is smoothed over neighboring frames, and each pixel follows the motion of the image."""
    OFF = "off"
    """Every frame is predicted by itself, as `glpn predict` does."""


@dataclass(frozen=True)
class VideoSettings(Settings):
    """Which frames of a video are used, and how.

    Attributes:
        steady: whether depth is steadied over time.
        start_s: skip frames before this time, seconds.
        end_s: skip frames from this time on, seconds.
        no_sound: do not copy sound.
    """

    steady: Steady = Steady.ON
    start_s: float | None = None
    end_s: float | None = None
    no_sound: bool = False

    LIMITS: ClassVar = {"start_s": (0, math.inf), "end_s": (0, math.inf)}

    def __post_init__(self) -> None:
        """Convert and check the values; see `Settings`."""
        super().__post_init__()
        if self.end_s is not None and self.end_s <= (self.start_s or 0):
            raise UsageError(f"must be later than the start, not {self.end_s:g} s", setting="end_s")
