"""`glpn train`: a short run, its weights, recipes, and invalid settings."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from glpn_cli.cli.progress import TrainProgress

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]

PAIRS = Path(__file__).parents[1] / "data" / "pairs"
DATA = ("--data", PAIRS, "--units-per-meter", "1000")
SHORT = ("--size", "32x64", "--batch-size", "2", "--steps", "2", "--workers", "0", "--device", "cpu")


def test_trained_weights_predict(glpn: Glpn, photo: Path, tmp_path: Path) -> None:
    run = glpn("train", *DATA, *SHORT, "--out", "run", "--name", "mine")
    assert run.returncode == 0, run.stderr
    assert run.stdout == b""
    assert b"scale-aligned" in run.stderr
    assert b"--weights run/best" in run.stderr
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {
        "best", "last", "state.pt", "train.csv", "validation.csv", "settings.json",
    }  # fmt: skip
    predicted = glpn("predict", photo, "--weights", "run/best", "-o", "depth.png", "--json")
    assert predicted.returncode == 0, predicted.stderr
    assert json.loads(predicted.stdout)["weights"]["metric"] is False
    again = glpn("train", *DATA, *SHORT, "--out", "run", "--name", "mine")
    assert again.returncode == 0
    assert b"resuming after step 2 of 2" in again.stderr


def test_verbose_prints_data_and_network(glpn: Glpn) -> None:
    once = ("--data", PAIRS, "--units-per-meter", "1000", *SHORT)
    run = glpn("train", *once, "--out", "run", "--until", "1", "-v")
    assert run.returncode == 0, run.stderr
    for text in (b"pairs: 11 samples, 100%", b"1 validation", b"3.4 million parameters, float32 on cpu, processes: 1"):
        assert text in run.stderr
    assert b"million parameters" not in glpn("train", *once, "--out", "run", "--until", "1").stderr


def test_the_same_command_resumes_after_the_time_limit(glpn: Glpn) -> None:
    run = glpn("train", *DATA, *SHORT, "--out", "run", "--max-minutes", "0.00001")
    assert run.returncode == 0, run.stderr
    assert b"stopped after step 1 of 2" in run.stderr
    assert b"--weights run/best" in glpn("train", *DATA, *SHORT, "--out", "run").stderr


def test_options_override_the_recipe(glpn: Glpn, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text('{"steps": 1, "batch_size": 3, "seed": 4}', encoding="utf-8")
    run = glpn("train", *DATA, *SHORT[:4], "--workers", "0", "--recipe", "recipe.json", "--out", "run")
    assert run.returncode == 0, run.stderr
    written = json.loads((tmp_path / "run" / "settings.json").read_text(encoding="utf-8"))
    assert (written["steps"], written["batch_size"], written["seed"]) == (1, 2, 4)


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        ((), 2, b"error: --data: "),
        (("--data", "gone", "--units-per-meter", "1000"), 2, b"error: --data: gone"),
        (("--data", PAIRS), 2, b"--units-per-meter"),
        ((*DATA, "--config", "tiny"), 2, b"error: --config: "),
        ((*DATA, "--init", "none", "--config", "huge"), 2, b"error: --config: "),
        ((*DATA, "--size", "32x64=much"), 2, b"error: --size: "),
        ((*DATA, "--crop", "small"), 2, b"error: --crop: "),
        ((*DATA, "--init", "gone.safetensors"), 3, b"gone.safetensors"),
        ((*DATA, "--init", "nyu", "--offline"), 3, b"offline"),
        ((*DATA, "--batch-size", "50"), 4, b"--batch-size"),
    ],
)
def test_invalid_arguments_are_refused(glpn: Glpn, arguments: tuple[str, ...], code: int, named: bytes) -> None:
    run = glpn("train", "--out", "run", "--workers", "0", *arguments)
    assert run.returncode == code, run.stderr
    assert named in run.stderr


def test_weights_have_a_given_name_or_that_of_their_folder(glpn: Glpn) -> None:
    for out, name in (("first", ()), ("second", ("--name", "mine"))):
        assert glpn("train", *DATA, *SHORT, "--out", out, *name).returncode == 0
    run = glpn("evaluate", *DATA, "--weights", "first/last", "--against", "second/best", "--json")
    assert list(json.loads(run.stdout.splitlines()[-1])["predictions"]) == ["first", "mine"]
    assert glpn("train", *DATA, *SHORT, "--out", "third", "--name", "tiny").returncode == 0
    run = glpn("evaluate", *DATA, "--weights", "third/last", "--against", "tiny", "--json")
    assert list(json.loads(run.stdout.splitlines()[-1])["predictions"]) == ["third/last", "tiny"]


def test_an_ignored_interrupt_does_not_stop_training(glpn: Glpn, monkeypatch: pytest.MonkeyPatch) -> None:
    # As a shell starts a command in the background.
    monkeypatch.setattr(TrainProgress, "advance", lambda *_: signal.raise_signal(signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run = glpn("train", *DATA, *SHORT, "--out", "run")
    finally:
        signal.signal(signal.SIGINT, before)
    assert run.returncode == 0, run.stderr
    assert b"stopped" not in run.stderr
