"""The memory of a batch does not grow with the number of images."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "steady_memory.py"


@pytest.mark.soak
@pytest.mark.skipif(shutil.which("ps") is None, reason="ps reports the memory of a process")
@pytest.mark.parametrize(("kind", "count", "growth"), [("small", 10_000, 0.08), ("huge", 50, 0.15)])
def test_memory_is_steady(
    tmp_path: Path, kind: str, count: int, growth: float, report_figures: Callable[[str, dict[str, Any]], None]
) -> None:
    measured = tmp_path / "memory.json"
    subprocess.run([sys.executable, SCRIPT, f"--{kind}", str(count), "--out", measured], check=True)
    run = json.loads(measured.read_text())
    assert run["images"] == count
    early = max(mib for _, done, mib in run["samples"] if 0.1 * count <= done <= 0.4 * count)
    late = max(mib for _, done, mib in run["samples"] if done >= 0.7 * count)
    report_figures(f"memory-{kind}", run | {"early_mib": early, "late_mib": late})
    assert late <= (1 + growth) * early, run["samples"]
