from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from glpn_cli.benchmark.stages import Timing, build_random_network, make_photo, take_turns, watch_other_cores

if TYPE_CHECKING:
    from pathlib import Path

# Runs in its own process, because memory that an earlier test has freed would be reused and not raise the peak.
_PEAK_SCRIPT = """
import numpy as np, torch
from glpn_cli.benchmark.stages import watch_peak
cpu = torch.device("cpu")
before = watch_peak(cpu)()
if before is None:
    raise SystemExit("cannot reset")
read = watch_peak(cpu)
large = np.ones(200 * 2**20, np.uint8)
peak = read()
del large
later = watch_peak(cpu)()
print((peak - before) // 2**20, (peak - later) // 2**20)
"""


def test_timing_has_median_and_extremes() -> None:
    assert Timing.of([3.0, 1.0, 2.0]) == Timing(2.0, 1.0, 3.0)


def test_rivals_alternate_after_untimed_warm_up() -> None:
    calls: list[str] = []
    timings = take_turns(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")},
        rounds=3,
        warm_ups=2,
        synchronize=lambda: calls.append("."),
    )
    assert "".join(calls).replace(".", "") == "ab" * 5
    assert calls.count(".") == 2 * len("ab" * 5)
    assert timings.keys() == {"a", "b"}
    assert all(timing.fastest_s <= timing.median_s <= timing.slowest_s for timing in timings.values())


def ticks_file(folder: Path, *, busy_s: float) -> Path:
    """Return a file as Linux counts time: busy in six ways, and far more idle and waiting."""
    ticks = int(busy_s * os.sysconf("SC_CLK_TCK"))
    file = folder / "stat"
    file.write_text(f"cpu  {ticks} 0 0 77777 88888 0 0 {ticks // 2} 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
    return file


@pytest.mark.skipif(sys.platform == "win32", reason="needs sysconf")
def test_cores_of_other_programs_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "perf_counter", iter([100.0, 110.0]).__next__)
    monkeypatch.setattr(time, "process_time", iter([5.0, 11.0]).__next__)
    read = watch_other_cores(ticks_file(tmp_path, busy_s=1000))
    ticks_file(tmp_path, busy_s=1014)
    assert read() == pytest.approx(1.5)  # 14 s and half as much stolen, 6 s of them our own, in 10 s


@pytest.mark.parametrize("content", [None, "", "cpu a b c", "cpu 1 2"], ids=["missing", "empty", "words", "short"])
def test_other_cores_are_unknown_without_linux_counters(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "stat").write_text(content)
    assert watch_other_cores(tmp_path / "stat")() is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can reset the peak")
def test_peak_is_measured_since_watch_started(warm_python: list[str]) -> None:
    run = subprocess.run([*warm_python, "-c", _PEAK_SCRIPT], capture_output=True, text=True, check=False)
    if "cannot reset" in run.stderr:
        pytest.skip("this system does not let a process reset its peak")
    rise_mib, fall_mib = map(int, run.stdout.split())
    assert rise_mib > 150
    assert fall_mib > 150


def test_random_network_has_published_size_and_full_range() -> None:
    network = build_random_network()
    assert sum(parameter.numel() for parameter in network.parameters()) == 61_220_903
    with torch.no_grad():
        depth = network(torch.rand(1, 3, 96, 128)).predicted_depth
    assert depth.isfinite().all()
    assert depth.max() - depth.min() > 0.5 * network.config.max_depth


def test_network_and_photo_are_deterministic() -> None:
    assert torch.equal(build_random_network().head.head[2].weight, build_random_network().head.head[2].weight)
    assert make_photo(40, 60) == make_photo(40, 60)


def test_photo_has_requested_size_and_contrast() -> None:
    with Image.open(io.BytesIO(make_photo(120, 200))) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (200, 120), "RGB")
        assert np.asarray(image).std() > 20
