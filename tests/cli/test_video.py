"""`glpn video`: depth of videos."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

import glpn_cli
from clips import damage_frames, scene, write_clip

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]

SMALL = ("--weights", "tiny", "--input-size", "64x64")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4", [scene(index) for index in range(6)], bf="0", g="1", sound_s=0.3)


def test_video_is_written_and_described(glpn: Glpn, clip: Path) -> None:
    run = glpn("video", clip, "-o", "depth.mkv", "--json", *SMALL)
    assert run.returncode == 0
    record = json.loads(run.stdout)
    assert (record["status"], record["frames"], record["broken_frames"]) == ("done", 6, 0)
    assert record["output"] == "depth.mkv"
    assert record["sound_packets"] > 0
    described = glpn("info", "depth.mkv", "clip.mp4", "--json")
    ours, foreign = (json.loads(line) for line in described.stdout.splitlines())
    assert (ours["status"], ours["format"], ours["codec"]) == ("ours", "video-meters", "ffv1")
    assert (ours["size"], ours["metadata"]["frames"]) == ({"height": 48, "width": 64}, 6)
    assert ours["metadata"]["depth_m"] == [record["depth_m"]["min"], record["depth_m"]["max"]]
    assert (foreign["status"], foreign["metadata"], foreign["codec"]) == ("foreign", None, "h264")
    assert b"tiny" in glpn("info", "depth.mkv").stdout


def test_default_output_is_next_to_the_video(glpn: Glpn, clip: Path) -> None:
    assert glpn("video", clip, *SMALL).returncode == 0
    assert clip.with_name("clip.depth.mp4").exists()
    again = glpn("video", clip, *SMALL)
    assert again.returncode == 6
    assert b"--overwrite" in again.stderr


def test_part_of_a_video_as_files(glpn: Glpn, clip: Path, tmp_path: Path) -> None:
    run = glpn("video", clip, "-o", "frames/", "-f", "npy", "--start", "0.05", "--end", "0.15", *SMALL)
    assert run.returncode == 0
    assert len(list((tmp_path / "frames").glob("*.npy"))) == 3


def test_broken_frames_are_a_partial_failure(glpn: Glpn, clip: Path, tmp_path: Path) -> None:
    damage_frames(clip, [2])
    run = glpn("video", clip, "-o", "depth.mkv", "--json", "--steady", "off", *SMALL)
    assert run.returncode == 7
    assert b"1 of 6 frames" in run.stderr
    assert json.loads(run.stdout)["status"] == "partial"
    frames = [frame.depth.meters for frame in glpn_cli.read_video(tmp_path / "depth.mkv")]
    assert np.array_equal(frames[2], frames[1])
    assert not np.array_equal(frames[3], frames[2])


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (("missing.mp4",), 4, b"missing.mp4"),
        (("clip.mp4", "-o", "clip.avi"), 2, b"--output"),
        (("clip.mp4", "-o", "x.mkv", "--legend"), 2, b"--legend"),
        (("clip.mp4", "-o", "x.mp4", "--start", "2", "--end", "1"), 2, b"--end"),
        (("clip.mp4", "-o", "x.mp4", "-f", "npz"), 2, b"--format"),
        (("clip.mp4", "--steady", "perhaps"), 2, b"--steady"),
        (("-",), 2, b"standard input"),
        (("clip.mp4", "-o", "-"), 2, b"--output"),
    ],
)
def test_errors_name_the_option(glpn: Glpn, clip: Path, arguments: tuple[str, ...], code: int, named: bytes) -> None:
    run = glpn("video", *arguments)
    assert run.returncode == code
    assert named in run.stderr


def test_predict_names_the_command(glpn: Glpn, clip: Path) -> None:
    run = glpn("predict", clip)
    assert run.returncode == 4
    assert b"glpn video" in run.stderr


def test_missing_package_is_named(glpn: Glpn, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glpn_cli.video.reading.find_spec", lambda _: None)
    run = glpn("video", clip)
    assert run.returncode == 8
    assert b"pip install" in run.stderr


def test_info_without_the_package_says_what_is_missing(glpn: Glpn, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glpn_cli.video.depth_file.find_spec", lambda _: None)
    run = glpn("info", clip)
    assert run.returncode == 0
    assert b"pip install" in run.stdout


def test_doctor_lists_encoders(glpn: Glpn) -> None:
    assert {"libx264", "ffv1"} <= set(json.loads(glpn("doctor", "--json").stdout)["encoders"])


def test_interrupted_run_says_that_nothing_is_saved(glpn: Glpn, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from glpn_cli.video.frame_writer import FrameWriter

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FrameWriter, "add", interrupted)
    stopped = glpn("video", clip, "-o", "depth.mkv", *SMALL)
    assert stopped.returncode == 130
    assert b"interrupted" in stopped.stderr
    assert b"resume" not in stopped.stderr
    assert {path.name for path in clip.parent.iterdir()} == {clip.name}


def test_interrupted_run_says_that_it_resumes(glpn: Glpn, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from glpn_cli.video import segments
    from glpn_cli.video.frame_writer import FrameWriter

    monkeypatch.setattr(segments, "_SMALLEST_FRAMES", 2)
    monkeypatch.setattr(segments, "_MOST_FRAMES", 2)
    add = FrameWriter.add

    def interrupted(self: FrameWriter, frame: object, frames: object) -> None:
        add(self, frame, frames)  # type: ignore[arg-type]
        if frame.index == 4:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(FrameWriter, "add", interrupted)
        stopped = glpn("video", clip, "-o", "depth.mkv", *SMALL)
    assert stopped.returncode == 130
    assert b"resume" in stopped.stderr
    resumed = glpn("video", clip, "-o", "depth.mkv", "--json", *SMALL)
    assert resumed.returncode == 0
    assert json.loads(resumed.stdout)["resumed_frames"] == 4
    assert not [path for path in clip.parent.iterdir() if path.name.startswith(".glpn")]
