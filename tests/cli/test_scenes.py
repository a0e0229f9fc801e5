from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from glpn_cli.scenes import kept
from glpn_cli.scenes.rendering import SCENE_KINDS

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "PIECE_SCENES", 4)
    monkeypatch.setattr("glpn_cli.scenes.filling.PIECE_SCENES", 4)
    monkeypatch.setattr("glpn_cli.training.datasets._VALIDATION_SCENES", 2)


def test_scenes_are_kept_and_learnt_from(glpn: Glpn, tmp_path: Path) -> None:
    run = glpn("scenes", "--out", "scenes", "--count", "8", "--size", "32x64", "--workers", "0", "--preview")
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "scenes" / "preview.png").exists()
    (tmp_path / "recipe.json").write_text('{"crop": [0.7, 1.0], "varied_shapes": true}', encoding="utf-8")
    trained = glpn(
        "train", "--data", "scenes", "--data", "./scenes=2", "--recipe", "recipe.json", "--size", "32x64",
        "--batch-size", "2", "--steps", "2", "--workers", "0", "--validation", "./scenes", "--out", "run",
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    assert b"--data scenes renders new ones; the folder of that name is ./scenes" in trained.stderr


def test_another_seed_does_not_go_into_the_same_folder(glpn: Glpn) -> None:
    options = ("scenes", "--out", "scenes", "--count", "4", "--size", "32x64", "--workers", "0")
    assert glpn(*options).returncode == 0
    run = glpn(*options, "--seed", "9")
    assert run.returncode == 2
    assert b"another seed" in run.stderr


@pytest.mark.parametrize("size", ["1x1", "64x20000"])
def test_a_size_that_no_scene_is_made_for_is_said(glpn: Glpn, tmp_path: Path, size: str) -> None:
    run = glpn("scenes", "--out", "scenes", "--count", "4", "--size", size)
    assert run.returncode == 2
    assert b"from 16 to 2048 pixels" in run.stderr
    assert not (tmp_path / "scenes").exists()


def test_textures_that_are_not_there_are_an_error(glpn: Glpn) -> None:
    for workers in ("0", "2"):
        run = glpn("scenes", "--out", "scenes", "--count", "4", "--textures", "gone", "--workers", workers)
        assert run.returncode == 2
        assert b"no such folder" in run.stderr
        assert b"Traceback" not in run.stderr
    # and nothing is left that would stand in the way of a command without the slip
    assert glpn("scenes", "--out", "scenes", "--count", "4", "--size", "32x64", "--workers", "0").returncode == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_said_before_anything_is_made(glpn: Glpn, tmp_path: Path) -> None:
    run = glpn("scenes", "--out", "scenes", "--count", "4", "--device", "cuda")
    assert run.returncode == 5
    assert b"Traceback" not in run.stderr
    assert not (tmp_path / "scenes").exists()


def test_help_names_every_kind_of_scene(glpn: Glpn) -> None:
    said = glpn("scenes", "--help-all", COLUMNS="300").stdout.decode()
    assert [kind for kind in SCENE_KINDS if f"{kind}," not in said and f"{kind};" not in said] == []
