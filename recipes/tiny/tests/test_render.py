"""The command line of render.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import render
from glpn_cli.data.scenes import SCENES_PER_FILE
from glpn_cli.training.settings import TrainRun, TrainSettings
from glpn_cli.training.trainer import train
from scenes import store
from scenes.rendering import SCENE_KINDS
from waiting import HANG_S, wait_until

SCRIPT = Path(render.__file__)
SMALL = ("--size", "32x64", "--workers", "0", "--count", "4")


SMALL_NETWORK = {"hidden_sizes": [8, 16, 16, 32], "num_attention_heads": [1, 1, 1, 2], "depths": [1] * 4}
FULL_SHARD = store.SHARD_SCENES

pytestmark = pytest.mark.usefixtures("few_textures")


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Four scenes per shard, for the script and for training."""
    monkeypatch.setattr(store, "SHARD_SCENES", 4)
    monkeypatch.setattr("glpn_cli.data.scenes.SCENES_PER_FILE", 4)
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
        # Two workers and a helper of multiprocessing.
        wait_until(lambda: len(children(script.pid)) >= 3, script)
        started = children(script.pid)
        script.send_signal(number)
        script.wait(HANG_S)
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in started))
    finally:
        script.kill()


def test_training_expects_as_many_scenes_per_shard() -> None:
    assert FULL_SHARD == SCENES_PER_FILE


def test_training_reads_rendered_scenes(tmp_path: Path) -> None:
    folder = str(tmp_path / "scenes")
    assert exit_code("--out", folder, *SMALL, "--count", "28", "--kind", "tabletop") == 0
    (tmp_path / "small.json").write_text(json.dumps(SMALL_NETWORK), encoding="utf-8")
    settings = TrainSettings(  # 24 scenes are for validation
        (folder,), sizes=((32, 64, 1.0),), batch_size=2, steps=2, init="none", config=str(tmp_path / "small.json")
    )
    assert train(settings, TrainRun(str(tmp_path / "run"), workers=0, threads=1)).finished
    assert (tmp_path / "run" / "last" / "model.safetensors").exists()
