"""A download that is killed at any moment loses nothing, repeats nothing and leaves nothing half."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from glpn_cli.model.config import GLPNConfig
from glpn_cli.weights.download import download

if TYPE_CHECKING:
    from pathlib import Path

    from stand_in_hub import StandInHub

KITTI = "vinvino02/glpn-kitti"
LARGER = GLPNConfig(depths=[1, 1, 1, 1], decoder_hidden_size=32, max_depth=10)
IN_FLIGHT_BYTES = 2**18
"""What the buffers of a connection hold, and is lost with it."""

DOWNLOAD = [sys.executable, "-m", "glpn_cli", "download-weights", "kitti"]


@pytest.mark.parametrize("kills", [5, pytest.param(20, marks=pytest.mark.soak)])
def test_a_download_that_is_killed_again_and_again_ends_with_the_right_file(
    hub: StandInHub, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int
) -> None:
    hub.publish(KITTI, config=LARGER)
    size = len(hub.files[KITTI, "pytorch_model.bin"])
    monkeypatch.setenv("GLPN_HOME", str(tmp_path / "undisturbed"))
    undisturbed = download("kitti")
    assert undisturbed is not None
    monkeypatch.setenv("GLPN_HOME", str(home))

    hub.chunk_bytes = 2**14
    hub.pause_s = 0.5 * kills / (size / hub.chunk_bytes)  # so that most of the kills hit it
    hub.asked.clear()
    hub.sent_bytes = 0
    moments = random.Random(kills)
    here_bytes = 0
    for _ in range(kills):
        already_asked = len(hub.ranges)
        process = subprocess.Popen(DOWNLOAD, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.4, 2.0))
        process.kill()
        process.wait()
        assert hub.ranges[already_asked:] in ([], [f"bytes={here_bytes}-" if here_bytes else None])
        parts = [part for part in (home / "downloads").rglob("*.part") if part.name != "converted.part"]
        assert len(parts) <= 1
        assert not parts or parts[0].stat().st_size >= here_bytes
        here_bytes = parts[0].stat().st_size if parts else here_bytes

    hub.pause_s = 0.0
    assert subprocess.run(DOWNLOAD, check=False).returncode == 0
    assert (home / "weights" / "kitti.safetensors").read_bytes() == undisturbed.path.read_bytes()
    assert not list((home / "downloads").rglob("*.part"))
    assert hub.sent_bytes <= size + kills * IN_FLIGHT_BYTES
    assert len(hub.ranges) > 1
