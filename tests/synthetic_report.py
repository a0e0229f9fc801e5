"""Synthetic runs, records and depth maps for tests of the report."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from glpn_cli.depth import DepthMap, Provenance
from glpn_cli.inference.record import FAILED, Record
from glpn_cli.report.index import RunFacts
from glpn_cli.settings import OutputSettings

if TYPE_CHECKING:
    from pathlib import Path

    from glpn_cli.report.report import Report

HOSTILE = "<img src=x onerror=window.hit=1>"
"""A name that runs a script in a page that does not escape names."""


def add(report: Report, record: Record, depth: DepthMap) -> None:
    """Add an image as a run of one process does."""
    report.settle(record, report.recorder(record, depth))


@dataclass
class SyntheticReport:
    """A folder with a report, and the depth maps in it, by name."""

    folder: Path
    depths: dict[str, DepthMap]


def run_facts(
    *,
    metric: bool = True,
    meters_per_unit: float = 1.0,
    colors: OutputSettings | None = None,
    folders: tuple[str, ...] = (),
) -> RunFacts:
    return RunFacts(
        title=f"shots {HOSTILE}",
        lines=(("Weights", "mine"), ("Computed on", "cpu in float32")),
        depth_limit_m=10.0,
        metric=metric,
        meters_per_unit=meters_per_unit,
        colors=colors or OutputSettings(),
        folders=folders,
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


def step_depth(height: int, width: int, edge_px: int, *, near_m: float = 1.0, far_m: float = 4.0) -> DepthMap:
    """Return depth and a photo that change in one column, from near and black to far and white."""
    meters = np.full((height, width), far_m, np.float32)
    meters[:, :edge_px] = near_m
    rgb = np.full((height, width, 3), 255, np.uint8)
    rgb[:, :edge_px] = 0
    return DepthMap(meters, Provenance(source="step.png", depth_limit_m=10.0), rgb=rgb)


def grid_of_version_0_1(meters: np.ndarray) -> dict[str, Any]:
    """Return depth as version 0.1 stored it: in steps of 1 mm above the nearest, and without the farthest."""
    low_m = float(meters.min())
    values = np.rint((meters - low_m) * 1000 + 1).astype(np.uint16)
    residual = np.diff(np.diff(values, axis=1, prepend=np.uint16(0)), axis=0, prepend=np.uint16(0)).view(np.int16)
    zigzag = ((residual << 1) ^ (residual >> 15)).view(np.uint16)
    planes = np.stack([zigzag >> 8, zigzag & 255]).astype(np.uint8)
    height, width = meters.shape
    data = base64.b64encode(zlib.compress(planes.tobytes())).decode()
    return {"height": height, "width": width, "low_m": low_m, "step_m": 0.001, "data": data}
