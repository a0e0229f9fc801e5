from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from glpn_cli.errors import WeightsError
from glpn_cli.weights.hub import DownloadSettings, HubAccess, HubFile, find_hub_file
from glpn_cli.weights.store import NO_PROGRESS
from glpn_cli.weights.transfer import fetch_file, is_etag, matches_etag
from stand_in_hub import Refusal, sha256
from waiting import HANG_S

if TYPE_CHECKING:
    from pathlib import Path

    from stand_in_hub import StandInHub


KITTI = "vinvino02/glpn-kitti"


def file_of(hub: StandInHub, access: HubAccess) -> HubFile:
    file = find_hub_file(KITTI, "pytorch_model.bin", access=access, progress=NO_PROGRESS)
    assert file is not None
    return file


def test_silent_connection_is_interrupted(hub: StandInHub, tmp_path: Path) -> None:
    hub.publish(KITTI)
    hub.pause_s = HANG_S
    access = HubAccess(hub.url, {}, DownloadSettings(attempts=1, silence_timeout_s=1.0))
    with pytest.raises(WeightsError, match="interrupted"):
        fetch_file(file_of(hub, access), tmp_path / "part", access=access, progress=NO_PROGRESS)
    assert (tmp_path / "part").stat().st_size > 0


def test_silent_hub_is_unreachable(hub: StandInHub) -> None:
    hub.publish(KITTI)
    hub.pause_before_s = HANG_S
    access = HubAccess(hub.url, {}, DownloadSettings(connect_timeout_s=0.2))
    with pytest.raises(WeightsError, match="cannot be reached"):
        file_of(hub, access)


def test_progress_resets_the_retries(hub: StandInHub, tmp_path: Path, waits: list[float]) -> None:
    hub.publish(KITTI)
    access = HubAccess(hub.url, {}, DownloadSettings(attempts=2, progress_bytes=1000))
    file = file_of(hub, access)
    hub.cut_after = [1000] * 6
    fetch_file(file, tmp_path / "part", access=access, progress=NO_PROGRESS)
    assert waits == [1.0] * 6
    hub.cut_after = [999] * 6
    with pytest.raises(WeightsError, match="1998 of"):
        fetch_file(file, tmp_path / "other", access=access, progress=NO_PROGRESS)


@pytest.mark.parametrize(
    "content_range", ["bytes 0-9/10", "bytes 7-9/288755", "nonsense", "bytes 100-288754/10", "bytes 100-99/*"]
)
def test_response_with_another_range_is_never_appended(
    hub: StandInHub, tmp_path: Path, waits: list[float], content_range: str
) -> None:
    hub.publish(KITTI)
    access = HubAccess(hub.url, {})
    file = file_of(hub, access)
    part = tmp_path / "part"
    part.write_bytes(hub.files[KITTI, "pytorch_model.bin"][:100])
    hub.refuse = {"blob": Refusal(206, {"Content-Range": content_range})}
    with pytest.raises(WeightsError):
        fetch_file(file, part, access=access, progress=NO_PROGRESS)
    assert part.stat().st_size == 100


def test_etag_is_a_sha256_or_a_git_hash(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"what is up, doc?")
    assert matches_etag(tmp_path / "file", sha256(b"what is up, doc?"))
    assert matches_etag(tmp_path / "file", "bd9dbf5aae1a3862dd1526723246b20206e5fc37")  # by git hash-object
    assert not matches_etag(tmp_path / "file", "0" * 40)
    assert not is_etag("W/123")
    with pytest.raises(WeightsError, match="W/123"):
        matches_etag(tmp_path / "file", "W/123")


@pytest.mark.skipif(sys.platform == "win32", reason="limits of processes")
@pytest.mark.parametrize(("half", "fraction"), [(False, 0.5), (True, 1.2)])
def test_full_disk_leaves_a_resumable_download_and_nothing_else(
    hub: StandInHub, home: Path, warm_python: list[str], half: bool, fraction: float
) -> None:
    """A limit on the file size fails like a full disk. Half precision weights grow when they are converted."""
    hub.publish(KITTI, half=half)
    size = len(hub.files[KITTI, "pytorch_model.bin"])
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({int(fraction * size)},) * 2)\n"
        "import sys; sys.argv = ['glpn', 'download-weights', 'kitti']\n"
        "from glpn_cli.cli.app import main\nmain()"
    )
    run = subprocess.run([*warm_python, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 3, run.stderr
    assert str(home) in run.stderr
    assert "GLPN_HOME" in run.stderr
    assert not list((home / "weights").glob("*"))
    (part,) = (home / "downloads" / "kitti").iterdir()
    assert part.suffix == ".part"
    assert part.stat().st_size == min(size, int(fraction * size))
