"""A video run that is killed again and again gives the same file as one that is not."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

import glpn_cli
from clips import damage_frames, frame_times, scene, write_clip
from glpn_cli.video.plan import INDEX_NAME
from waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KILLS = 12  # of each kind of output
FRAMES = 240
RUN = """
import sys
from glpn_cli.video import segments
segments._SMALLEST_FRAMES = segments._MOST_FRAMES = 8
import glpn_cli
def show(frame):
    print(frame.index, flush=True)
formats = () if "." in sys.argv[2].rsplit("/", 1)[-1] else "npz"
glpn_cli.run_video(sys.argv[1], sys.argv[2], formats=formats, weights="tiny", input_size="64x64", progress=show)
"""


def start(clip: Path, output: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(clip), str(output)], stdout=subprocess.PIPE, text=True, env=environment
    )


def run_to_the_end(clip: Path, output: Path) -> None:
    process = start(clip, output)
    process.communicate(timeout=HANG_S)
    assert process.returncode == 0


def decoded(path: Path) -> list[np.ndarray]:
    if path.is_dir():
        return [glpn_cli.read(file).meters for file in sorted(path.glob("*.npz"))]
    with av.open(str(path)) as container:
        return [frame.to_ndarray() for frame in container.decode(video=0)]


def times(path: Path) -> list[float]:
    if path.is_dir():
        return [json.loads(line)["time_s"] for line in (path / INDEX_NAME).read_text().splitlines()]
    return frame_times(path)


@pytest.mark.soak
@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ""])
def test_killed_runs_give_the_same_video(
    tmp_path: Path, suffix: str, report_figures: Callable[[str, dict[str, Any]], None]
) -> None:
    images = [scene(index % 100, 32, 32, seed=index // 100) for index in range(FRAMES)]
    clip = write_clip(tmp_path / "clip.mp4", images, bf="0", g="1", sound_s=2)
    damage_frames(clip, [50])
    whole, killed = tmp_path / f"whole{suffix}", tmp_path / f"killed{suffix}"
    run_to_the_end(clip, whole)
    rng = random.Random(0)
    most_saved = 0
    for _ in range(KILLS):
        process = start(clip, killed)
        assert process.stdout is not None
        for _ in range(rng.randint(1, 14)):  # frames that it computes before
            line = process.stdout.readline()
            most_saved = max(most_saved, int(line or 0))
            if not line:
                break
        process.kill()
        process.wait(HANG_S)
        process.stdout.close()
        assert not (killed / INDEX_NAME if killed.is_dir() else killed).exists()
    run_to_the_end(clip, killed)
    assert len(decoded(killed)) == FRAMES
    assert all(np.array_equal(one, two) for one, two in zip(decoded(killed), decoded(whole), strict=True))
    assert times(killed) == times(whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["clip.mp4", whole.name, killed.name])
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".glpn")]
    report_figures(
        f"killed-video{suffix.replace('.', '-') or '-folder'}",
        {"kills": KILLS, "frames": FRAMES, "frames_computed_before_the_last_kill": most_saved, "differences": 0},
    )
