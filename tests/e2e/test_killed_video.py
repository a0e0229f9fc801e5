"""A video run that is killed again and again gives the same file as one that is not."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from clips import damage_frames, frame_times, scene, write_clip
from waiting import HANG_S

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 30
FRAMES = 240
RUN = """
import sys
from glpn_cli.video import segments
segments._SMALLEST_FRAMES = segments._MOST_FRAMES = 8
import glpn_cli
def show(frame):
    print(frame.index, flush=True)
glpn_cli.run_video(sys.argv[1], sys.argv[2], weights="tiny", input_size="64x64", progress=show)
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
    with av.open(str(path)) as container:
        return [frame.to_ndarray() for frame in container.decode(video=0)]


@pytest.mark.soak
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_killed_runs_give_the_same_video(tmp_path: Path, suffix: str) -> None:
    images = [scene(index % 100, 32, 32, seed=index // 100) for index in range(FRAMES)]
    clip = write_clip(tmp_path / "clip.mp4", images, bf="0", g="1", sound_s=2)
    damage_frames(clip, [50])
    whole, killed = tmp_path / f"whole{suffix}", tmp_path / f"killed{suffix}"
    run_to_the_end(clip, whole)
    rng = random.Random(0)
    kills = 0
    while kills < KILLS // 2:
        process = start(clip, killed)
        assert process.stdout is not None
        for _ in range(rng.randint(1, 14)):  # frames that it computes before
            if not process.stdout.readline():
                break
        process.kill()
        process.wait(HANG_S)
        process.stdout.close()
        kills += 1
        assert not killed.exists()
    run_to_the_end(clip, killed)
    assert all(np.array_equal(one, two) for one, two in zip(decoded(killed), decoded(whole), strict=True))
    assert frame_times(killed) == frame_times(whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["clip.mp4", whole.name, killed.name])
