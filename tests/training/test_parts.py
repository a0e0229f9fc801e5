"""Two processes do what one does that computes the same halves one after the other."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from glpn_cli.training.checkpoints import settings_as_json
from glpn_cli.training.trainer import train

if TYPE_CHECKING:
    from collections.abc import Callable

    from glpn_cli.training.settings import TrainRun, TrainSettings

TOLERANCE = 1e-5
"""Of every weight, after six steps: sums are taken in another order, and Adam divides by their size."""


def test_two_processes_agree_with_one_that_accumulates_their_halves(
    settings: TrainSettings, run: Callable[..., TrainRun], tmp_path: Path
) -> None:
    steps = replace(settings, steps=6, learning_rate=1e-3)
    train(replace(steps, accumulate=2), run("one"))
    recipe = tmp_path / "recipe.json"
    recipe.write_text(settings_as_json(steps), encoding="utf-8")
    both = start_two(recipe, run("two"))
    said = [process.communicate(timeout=100)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    one, two = (torch.load(Path(run(name).out) / "state.pt", weights_only=True) for name in ("one", "two"))
    apart = {key: difference(one["network"][key], two["network"][key]) for key in one["network"]}
    assert max(apart.values()) < TOLERANCE, max(apart, key=lambda key: apart[key])
    start = settings.steps
    assert start == one["step"] == two["step"]


def test_a_process_whose_other_half_has_failed_says_so_in_a_line(
    settings: TrainSettings, run: Callable[..., TrainRun], tmp_path: Path
) -> None:
    folder = tmp_path / "pairs"
    shutil.copytree(settings.data[0], folder)
    damaged = min(folder.rglob("*.jpg"))
    damaged.write_bytes(damaged.read_bytes()[:300])
    recipe = tmp_path / "recipe.json"
    recipe.write_text(settings_as_json(replace(settings, data=(str(folder),), steps=200)), encoding="utf-8")
    both = start_two(recipe, run("two"))
    said = [process.communicate(timeout=100)[1].decode() for process in both]
    assert all(process.returncode for process in both), said
    assert not any("Traceback" in text for text in said), said
    first, second = sorted(said, key=lambda text: "because another one did" in text)
    assert damaged.name in first
    assert "because another one did" in second


def start_two(recipe: Path, run: TrainRun) -> list[subprocess.Popen[bytes]]:
    """Start a training of two processes on this machine, as torchrun does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "glpn_cli", "train", "--recipe", str(recipe), "--out", run.out]
    command += ["--workers", "0", "--device", "cpu", "--validate-every", "1000"]
    shared = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        subprocess.Popen(
            command,
            env=shared | {"RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for rank in "01"
    ]


def difference(first: Any, second: Any) -> float:
    return float((first.double() - second.double()).abs().max())
