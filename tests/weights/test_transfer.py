from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from glpn_cli.errors import WeightsError
from glpn_cli.settings import DownloadSettings
from glpn_cli.weights.hub import HubAccess, HubFile, ask_for_file
from glpn_cli.weights.store import QUIET
from glpn_cli.weights.transfer import fetch_whole, is_etag, matches_etag
from stand_in_hub import Refusal, sha256

if TYPE_CHECKING:
    from pathlib import Path

    from stand_in_hub import StandInHub

KITTI = "vinvino02/glpn-kitti"


def file_of(hub: StandInHub, access: HubAccess) -> HubFile:
    file = ask_for_file(KITTI, "pytorch_model.bin", access=access, watcher=QUIET)
    assert file is not None
    return file


def test_a_connection_that_goes_silent_counts_as_cut(hub: StandInHub, tmp_path: Path) -> None:
    hub.publish(KITTI)
    hub.pause_s = 1.0
    access = HubAccess(hub.url, {}, DownloadSettings(attempts=1, silence_timeout_s=0.2))
    with pytest.raises(WeightsError, match="the connection was cut"):
        fetch_whole(file_of(hub, access), tmp_path / "part", access=access, watcher=QUIET)
    assert (tmp_path / "part").stat().st_size > 0


def test_a_hub_that_goes_silent_cannot_be_reached(hub: StandInHub) -> None:
    hub.publish(KITTI)
    hub.pause_before_s = 1.0
    access = HubAccess(hub.url, {}, DownloadSettings(connect_timeout_s=0.2))
    with pytest.raises(WeightsError, match="cannot be reached"):
        file_of(hub, access)


def test_progress_makes_patience_new(hub: StandInHub, tmp_path: Path, waits: list[float]) -> None:
    hub.publish(KITTI)
    access = HubAccess(hub.url, {}, DownloadSettings(attempts=2, progress_bytes=1000))
    file = file_of(hub, access)
    hub.cut_after = [1000] * 6
    fetch_whole(file, tmp_path / "part", access=access, watcher=QUIET)
    assert waits == [1.0] * 6
    hub.cut_after = [999] * 6
    with pytest.raises(WeightsError, match="1998 of"):
        fetch_whole(file, tmp_path / "other", access=access, watcher=QUIET)


@pytest.mark.parametrize(
    "content_range", ["bytes 0-9/10", "bytes 7-9/288755", "nonsense", "bytes 100-288754/10", "bytes 100-99/*"]
)
def test_an_answer_about_other_bytes_is_never_taken_for_the_rest(
    hub: StandInHub, tmp_path: Path, waits: list[float], content_range: str
) -> None:
    hub.publish(KITTI)
    access = HubAccess(hub.url, {})
    file = file_of(hub, access)
    part = tmp_path / "part"
    part.write_bytes(hub.files[KITTI, "pytorch_model.bin"][:100])
    hub.refuse = {"blob": Refusal(206, {"Content-Range": content_range})}
    with pytest.raises(WeightsError):
        fetch_whole(file, part, access=access, watcher=QUIET)
    assert part.stat().st_size == 100


def test_an_etag_is_a_sha256_or_the_hash_of_git(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"what is up, doc?")
    assert matches_etag(tmp_path / "file", sha256(b"what is up, doc?"))
    assert matches_etag(tmp_path / "file", "bd9dbf5aae1a3862dd1526723246b20206e5fc37")  # git hash-object says so
    assert not matches_etag(tmp_path / "file", "0" * 40)
    assert not is_etag("W/123")
    with pytest.raises(WeightsError, match="no hash to compare with"):
        matches_etag(tmp_path / "file", "W/123")


@pytest.mark.skipif(sys.platform == "win32", reason="limits of processes")
@pytest.mark.parametrize(("half", "share"), [(False, 0.5), (True, 1.2)])
def test_a_disk_that_is_full_in_the_middle_leaves_what_can_be_continued_and_nothing_that_is_half(
    hub: StandInHub, home: Path, half: bool, share: float
) -> None:
    """The limit on the size of a file fails like a full disk; half precision becomes larger when it is converted."""
    hub.publish(KITTI, half=half)
    size = len(hub.files[KITTI, "pytorch_model.bin"])
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({int(share * size)},) * 2)\n"
        "import sys; sys.argv = ['glpn', 'download-weights', 'kitti']\n"
        "from glpn_cli.cli.app import main\nmain()"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 3, run.stderr
    assert "no room to write" in run.stderr
    assert "GLPN_HOME" in run.stderr
    assert not list((home / "weights").glob("*"))
    (kept,) = (home / "downloads" / "kitti").iterdir()
    assert kept.suffix == ".part"
    assert kept.stat().st_size == min(size, int(share * size))
