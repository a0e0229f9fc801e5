"""Synthetic runs, records and depth maps for tests of the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from glpn_cli.depth import DepthMap, Provenance
from glpn_cli.inference.manifest import FAILED, Record
from glpn_cli.report.index import RunFacts
from glpn_cli.settings import OutputSettings

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "<img src=x onerror=window.hit=1>"
"""A name that runs a script in a page that does not escape names."""


@dataclass
class SyntheticReport:
    """A folder with a report, and the depth maps in it, by name."""

    folder: Path
    depths: dict[str, DepthMap]


def run_facts(*, metric: bool = True, meters_per_unit: float = 1.0) -> RunFacts:
    return RunFacts(
        title=f"shots {HOSTILE}",
        lines=(("Weights", "mine"), ("Computed on", "cpu in float32")),
        depth_limit_m=10.0,
        metric=metric,
        meters_per_unit=meters_per_unit,
        colors=OutputSettings(),
    )


def done_record(name: str, seconds: float = 0.25) -> Record:
    return Record(
        source=f"/photos/{name}",
        status="done",
        outputs={"npy": f"{name}.depth.npy"},
        seconds=seconds,
        source_mark="1-1",
        sha256={"npy": name},
    )


def failed_record(name: str, error: str = "an empty file", hint: str | None = "copy it again") -> Record:
    return Record(
        source=f"/photos/{name}", status=FAILED, error=f"/photos/{name}: {error}", hint=hint, exit_code=4, seconds=0.001
    )


def random_depth(seed: int, height: int = 30, width: int = 40, *, far_m: float = 8.0) -> DepthMap:
    """Return random depth with a photo of one color."""
    generator = np.random.default_rng(seed)
    meters = generator.uniform(far_m / 2, far_m, (height, width)).astype(np.float32)
    rgb = np.full((height, width, 3), (200, 40, 10 * seed % 256), np.uint8)
    return DepthMap(meters, Provenance(source=f"{seed}.png", depth_limit_m=10.0, notes=(f"note {HOSTILE}",)), rgb=rgb)
