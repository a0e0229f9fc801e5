"""A download that is killed at any moment is resumed: no byte is lost or downloaded twice, and the file is right."""

from __future__ import annotations

import random
import subprocess
from threading import Event
from typing import TYPE_CHECKING, Self

import pytest

from glpn_cli.model.config import GLPNConfig
from glpn_cli.weights.download import download
from waiting import HANG_S, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from stand_in_hub import StandInHub

KITTI = "vinvino02/glpn-kitti"
LARGER = GLPNConfig(depths=[1, 1, 1, 1], decoder_hidden_size=32, max_depth=10)
CHUNK_BYTES = 2**14
IN_FLIGHT_BYTES = 2**18
"""The size of the buffers of a connection, whose contents are lost with it."""

AT_START, AT_REQUEST = "start", "request"
"""Moments of a kill besides a number of bytes: right after the start, and at the first request to the Hub."""


class PausedFile(bytes):
    """The bytes of a file, whose server stops before an offset until the client has been killed."""

    stop_at: int
    reached: Event
    killed: Event

    @classmethod
    def build(cls, data: bytes, stop_at: int) -> Self:
        file = cls(data)
        file.stop_at, file.reached, file.killed = stop_at, Event(), Event()
        return file

    def __getitem__(self, key: slice) -> bytes:  # type: ignore[override] - the server only takes chunks
        if key.stop > self.stop_at:
            self.reached.set()
            self.killed.wait()
            raise ConnectionError
        return super().__getitem__(key)


def kill_moments(kills: int, size: int) -> list[str | int]:
    """Return the moments of all kills: at the beginning, spread over the bytes, and after the last byte."""
    chance = random.Random(kills)
    moments: list[str | int] = [AT_START, AT_REQUEST]
    moments += sorted(chance.randrange(CHUNK_BYTES, size) for _ in range(kills - 3))
    return [*moments, size]


@pytest.mark.parametrize("kills", [5, pytest.param(20, marks=pytest.mark.soak)])
def test_killed_download_is_resumed(
    hub: StandInHub,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    warm_python: list[str],
    kills: int,
) -> None:
    command = [*warm_python, "-m", "glpn_cli", "download-weights", "kitti"]
    hub.publish(KITTI, config=LARGER)
    data = hub.files[KITTI, "pytorch_model.bin"]
    size = len(data)
    monkeypatch.setenv("GLPN_HOME", str(tmp_path / "undisturbed"))
    undisturbed = download("kitti")
    assert undisturbed is not None
    monkeypatch.setenv("GLPN_HOME", str(home))

    def parts() -> list[Path]:
        return [part for part in (home / "downloads").rglob("*.part") if part.name != "converted.part"]

    def downloaded_bytes() -> int:
        return sum(part.stat().st_size for part in parts())

    hub.chunk_bytes = CHUNK_BYTES
    hub.asked.clear()
    hub.sent_bytes = 0
    here_bytes = 0
    for moment in kill_moments(kills, size):
        ranges_before, requests_before = len(hub.ranges), len(hub.asked)
        # A process that is killed early may be a little faster than the kill, but it gets only one chunk.
        stop_at = moment if isinstance(moment, int) else here_bytes + CHUNK_BYTES
        paused = PausedFile.build(data, stop_at)
        hub.body = lambda _, paused=paused: paused  # type: ignore[misc]
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        if moment == AT_REQUEST:
            wait_until(lambda before=requests_before: len(hub.asked) > before, process)  # type: ignore[misc]
        elif moment == size:
            wait_until(lambda child=process: downloaded_bytes() == size or child.poll() is not None)  # type: ignore[misc]
        elif moment != AT_START:
            wait_until(paused.reached.is_set, process)
            # All that arrived is written at once, even if no more arrives.
            wait_until(lambda stop_at=stop_at: downloaded_bytes() >= stop_at - IN_FLIGHT_BYTES, process)  # type: ignore[misc]
        process.kill()
        process.communicate(timeout=HANG_S)  # until nobody can write
        paused.killed.set()
        asked = hub.ranges[ranges_before:]
        assert asked in ([], [f"bytes={here_bytes}-" if here_bytes else None])
        assert asked or not isinstance(moment, int) or here_bytes == size
        assert len(parts()) <= 1
        assert not parts() or downloaded_bytes() >= here_bytes
        here_bytes = downloaded_bytes() or here_bytes

    hub.body = bytes
    assert subprocess.run(command, check=False).returncode == 0
    assert (home / "weights" / "kitti.safetensors").read_bytes() == undisturbed.path.read_bytes()
    assert not list((home / "downloads").rglob("*.part"))
    assert hub.sent_bytes <= size + kills * IN_FLIGHT_BYTES
    assert len(hub.ranges) > 1
