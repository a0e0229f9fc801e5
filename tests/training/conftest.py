from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from glpn_cli.training.settings import TrainRun, TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable

PAIRS = Path(__file__).parents[1] / "data" / "pairs"
SMALL = """{
  "hidden_sizes": [8, 16, 16, 32],
  "num_attention_heads": [1, 1, 1, 2],
  "depths": [1, 1, 1, 1],
  "decoder_hidden_size": 8
}"""


@pytest.fixture
def settings(tmp_path: Path) -> TrainSettings:
    """A run of seconds: twelve pairs, a network of a few thousand parameters, small images."""
    (tmp_path / "small.json").write_text(SMALL, encoding="utf-8")
    return TrainSettings(
        data=(str(PAIRS),),
        units_per_meter=1000,
        init="none",
        config=str(tmp_path / "small.json"),
        sizes=((32, 64, 1.0),),
        batch_size=4,
        steps=6,
        validation_images=1,
        learning_rate=3e-3,
        ema=0.9,
        clip_norm=1.0,
        drop_path=0.5,
    )


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., TrainRun]:
    """Make options of a run that uses no other processes."""

    def make(name: str = "run", **changes: object) -> TrainRun:
        base = TrainRun(out=str(tmp_path / name), workers=0, save_every=1000, validate_every=1000, device="cpu")
        return replace(base, **changes)  # type: ignore[arg-type]

    return make


@pytest.fixture
def same() -> Callable[[Any, Any], bool]:
    """Compare nested values that contain tensors, bit by bit."""

    def compare(first: Any, second: Any) -> bool:
        if isinstance(first, torch.Tensor):
            return torch.equal(first, second)
        if isinstance(first, dict):
            return first.keys() == second.keys() and all(compare(first[key], second[key]) for key in first)
        if isinstance(first, list | tuple):
            return len(first) == len(second) and all(map(compare, first, second))
        return bool(first == second)

    return compare


@pytest.fixture
def read_rows() -> Callable[[Path], list[dict[str, str]]]:
    """Read the rows of a CSV log."""

    def read(file: Path) -> list[dict[str, str]]:
        return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))

    return read
