from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from glpn_cli.errors import DeviceError
from glpn_cli.training.checkpoints import settings_to_json
from glpn_cli.training.distributed import BatchNormSync, Processes
from glpn_cli.training.trainer import train
from waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from glpn_cli.training.settings import TrainRun, TrainSettings

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]

TOLERANCE = 1e-5
"""Of every weight, after six steps: sums have another order, and Adam divides by their size."""


def test_two_processes_agree_with_one_that_accumulates(
    settings: TrainSettings, run: Callable[..., TrainRun], tmp_path: Path, glpn: Glpn
) -> None:
    steps = replace(settings, steps=6, learning_rate=1e-3)
    train(replace(steps, accumulate=2), run("one"))
    recipe = tmp_path / "recipe.json"
    recipe.write_text(settings_to_json(steps), encoding="utf-8")
    both = run_two(glpn, recipe, run("two"))
    assert [process.returncode for process in both] == [0, 0], both
    one, two = (torch.load(Path(run(name).out) / "state.pt", weights_only=True) for name in ("one", "two"))
    differences = {key: difference(one["network"][key], two["network"][key]) for key in one["network"]}
    assert max(differences.values()) < TOLERANCE, max(differences, key=lambda key: differences[key])
    assert one["step"] == two["step"] == 6


def test_a_process_reports_that_another_one_failed(
    settings: TrainSettings, run: Callable[..., TrainRun], tmp_path: Path, glpn: Glpn
) -> None:
    folder = tmp_path / "pairs"
    shutil.copytree(settings.data[0], folder)
    damaged = min(folder.rglob("*.jpg"))
    damaged.write_bytes(damaged.read_bytes()[:300])
    recipe = tmp_path / "recipe.json"
    recipe.write_text(settings_to_json(replace(settings, data=(str(folder),), steps=200)), encoding="utf-8")
    both = run_two(glpn, recipe, run("two"))
    messages = [process.stderr.decode() for process in both]
    assert all(process.returncode for process in both), messages
    assert not any("Traceback" in text for text in messages), messages
    first, second = sorted(messages, key=lambda text: "another one failed" in text)
    assert damaged.name in first
    assert "another one failed" in second


def run_two(glpn: Glpn, recipe: Path, run: TrainRun) -> list[subprocess.CompletedProcess[bytes]]:
    """Run two processes on this machine, as torchrun does. The first one is this process, which has loaded torch."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ["train", "--recipe", str(recipe), "--out", run.out]
    arguments += ["--workers", "0", "--device", "cpu", "--validate-every", "1000"]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "COLUMNS": "500"}
    command = [sys.executable, "-m", "glpn_cli", *arguments]
    environment = os.environ | shared | {"RANK": "1", "LOCAL_RANK": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as second:
        try:
            first = glpn(*arguments, **shared, RANK="0", LOCAL_RANK="0")
            output, messages = second.communicate(timeout=HANG_S)
        finally:
            second.kill()
    return [first, subprocess.CompletedProcess(command, second.returncode, output, messages)]


def difference(first: Any, second: Any) -> float:
    return float((first.double() - second.double()).abs().max())


def test_the_environment_of_torchrun_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    alone = Processes.from_environment("cpu")
    assert alone == Processes(0, 1, 0)
    assert alone.is_main
    for name, value in (("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    several = Processes.from_environment("cpu")
    assert several == Processes(5, 8, 1)
    assert not several.is_main


def test_each_process_has_its_own_gpu() -> None:
    assert Processes(5, 8, 1, on_gpus=True).device("auto") == "cuda:1"
    assert Processes(5, 8, 1).device("cpu") == "cpu"
    assert Processes(on_gpus=True).device("cuda:3") == "cuda:3"


def test_one_process_needs_no_connection() -> None:
    value, cpu = torch.tensor(3.0), torch.device("cpu")
    with Processes() as alone:
        alone.wait()
        assert alone.mean(value) == 3
        assert alone.agree(4, cpu)
        assert [alone.any_of(flag, cpu) for flag in (False, True)] == [False, True]


def test_unreachable_processes_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(DeviceError), Processes(1, 2, 1):
        pass


def test_micro_batches_start_from_the_same_statistics_and_are_averaged() -> None:
    first, second = torch.randn(2, 8, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = []
    for batch in (first, second):
        norm = nn.BatchNorm2d(3)
        norm(batch)
        expected.append(norm.running_mean)
    norm = nn.BatchNorm2d(3)
    sync = BatchNormSync(norm, Processes())
    sync.begin_step()
    for batch in (first, second):
        sync.begin_micro_batch()
        norm(batch)
        sync.end_micro_batch()
    sync.end_step(2)
    torch.testing.assert_close(norm.running_mean, (expected[0] + expected[1]) / 2)
    assert norm.num_batches_tracked == 1
