"""The command line of render.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import render
from scenes import store
from scenes.rendering import SCENE_KINDS

SCRIPT = Path(render.__file__)
SMALL = ("--size", "32x64", "--workers", "0", "--count", "4")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(store, "SHARD_SCENES", 4)
    monkeypatch.chdir(tmp_path)


def exit_code(*arguments: str) -> int:
    try:
        return render.main(arguments)
    except SystemExit as error:
        return int(error.code or 0)


def test_scenes_and_preview_are_written(tmp_path: Path) -> None:
    assert exit_code("--out", "scenes", *SMALL, "--preview", "--kind", "room=2", "--kind", "meal") == 0
    assert {path.name for path in (tmp_path / "scenes").iterdir()} == {
        "scenes.json",
        "preview.png",
        "00000.rgb.npy",
        "00000.depth.npy",
    }


def test_folder_refuses_other_seed(capfd: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--out", "scenes", *SMALL) == 0
    assert exit_code("--out", "scenes", *SMALL, "--seed", "9") == 2
    assert "`seed`" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--size", "1x1"),
        ("--size", "64x20000"),
        ("--size", "64"),
        ("--kind", "zoo"),
        ("--kind", "room=nan"),
        ("--kind", "room=-1"),
        ("--count", "0"),
        ("--seed", "-1"),
        ("--out", ""),
    ],
)
def test_invalid_value_is_refused_before_anything_is_written(
    option: str, value: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("--out", "scenes", *SMALL, option, value) == 2
    assert option.strip("-") in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("workers", ["0", "2"])
def test_missing_textures_leave_the_folder_usable(workers: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--out", "scenes", *SMALL, "--textures", "gone", "--workers", workers) == 2
    assert "gone" in capfd.readouterr().err
    assert exit_code("--out", "scenes", *SMALL) == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_missing_device_is_reported_before_anything_is_written(tmp_path: Path) -> None:
    assert exit_code("--out", "scenes", *SMALL, "--device", "cuda") == 5
    assert not list(tmp_path.iterdir())


def test_help_names_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert [kind for kind in SCENE_KINDS if kind not in text] == []


def children(pid: int) -> set[int]:
    return {int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_script(number: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, SCRIPT, "--out", tmp_path / "scenes", "--size", "16x16", "--count", "640000"]
    script = subprocess.Popen([*command, "--workers", "2"], stderr=subprocess.DEVNULL)
    try:
        while len(started := children(script.pid)) < 3:  # two workers and a helper of multiprocessing
            assert script.poll() is None
            time.sleep(0.05)
        script.send_signal(number)
        script.wait(300)
        deadline = time.monotonic() + 300
        while any(os.path.exists(f"/proc/{pid}") for pid in started):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        script.kill()


def test_training_reads_rendered_scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # training expects shards of full size
    folder = tmp_path / "scenes"
    assert exit_code("--out", str(folder), "--size", "32x64", "--workers", "0", "--count", "64") == 0
    command = [sys.executable, "-m", "glpn_cli", "train", "--data", folder, "--size", "32x64", "--batch-size", "2"]
    command += ["--steps", "2", "--workers", "0", "--init", "none", "--config", "tiny", "--out", tmp_path / "run"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "run" / "last" / "model.safetensors").exists()
