from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Glpn = Callable[..., subprocess.CompletedProcess[bytes]]

PAIRS = Path(__file__).parents[1] / "data" / "pairs"
DATA = ("--data", PAIRS, "--units-per-meter", "1000")
SHORT = ("--size", "32x64", "--batch-size", "2", "--steps", "2", "--workers", "0", "--device", "cpu")


def test_the_weights_of_a_training_predict(glpn: Glpn, photo: Path, tmp_path: Path) -> None:
    run = glpn("train", *DATA, *SHORT, "--out", "run", "--name", "mine")
    assert run.returncode == 0, run.stderr
    assert run.stdout == b""
    assert b"scale-aligned" in run.stderr
    assert b"glpn predict --weights run/best" in run.stderr
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {
        "best", "last", "state.pt", "train.csv", "validation.csv", "settings.json",
    }  # fmt: skip
    predicted = glpn("predict", photo, "--weights", "run/best", "-o", "depth.png", "--json")
    assert predicted.returncode == 0, predicted.stderr
    assert json.loads(predicted.stdout)["weights"]["metric"] is False
    again = glpn("train", *DATA, *SHORT, "--out", "run", "--name", "mine")
    assert again.returncode == 0
    assert b"going on after 2 of 2 steps" in again.stderr


def test_verbose_tells_what_is_learnt_from_and_by_what_it_is_measured(glpn: Glpn) -> None:
    once = ("--data", PAIRS, "--data", "scenes", "--units-per-meter", "1000", *SHORT)
    run = glpn("train", *once, "--out", "run", "--until", "1", "-v")
    assert run.returncode == 0, run.stderr
    for told in (b"pairs: ", b" samples, 0% of what is seen", b"scenes: rendered as they are needed, 100%",
                 b"measured by ", b"3.4 million parameters, float32 on cpu, processes: 1"):  # fmt: skip
        assert told in run.stderr
    assert b"million parameters" not in glpn("train", *once, "--out", "run", "--until", "1").stderr


def test_time_that_is_over_is_said_and_the_same_command_goes_on(glpn: Glpn) -> None:
    run = glpn("train", *DATA, *SHORT, "--out", "run", "--max-minutes", "0.00001")
    assert run.returncode == 0, run.stderr
    assert b"stopped after 1 of 2 steps; the same command goes on" in run.stderr
    assert b" on cpu; glpn predict --weights run/best" in glpn("train", *DATA, *SHORT, "--out", "run").stderr


def test_a_recipe_is_read_and_options_count_more(glpn: Glpn, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text('{"steps": 1, "batch_size": 3, "seed": 4}', encoding="utf-8")
    run = glpn("train", *DATA, *SHORT[:4], "--workers", "0", "--recipe", "recipe.json", "--out", "run")
    assert run.returncode == 0, run.stderr
    written = json.loads((tmp_path / "run" / "settings.json").read_text(encoding="utf-8"))
    assert (written["steps"], written["batch_size"], written["seed"]) == (1, 2, 4)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, b"no data to learn from"),
        (("--data", "gone", "--units-per-meter", "1000"), 2, b"there is no folder gone"),
        (("--data", PAIRS), 2, b"--units-per-meter"),
        ((*DATA, "--config", "tiny"), 2, b"--config goes with --init none"),
        ((*DATA, "--init", "none", "--config", "huge"), 2, b"no architecture is called 'huge'"),
        ((*DATA, "--size", "32x64=much"), 2, b"its share is a number"),
        ((*DATA, "--crop", "small"), 2, b"two shares"),
        ((*DATA, "--init", "gone.safetensors"), 3, b"gone.safetensors"),
        ((*DATA, "--init", "nyu", "--offline"), 3, b"offline"),
        ((*DATA, "--batch-size", "50"), 4, b"a batch has 50"),
    ],
)
def test_what_cannot_be_trained_is_one_line(glpn: Glpn, arguments: tuple[str, ...], code: int, words: bytes) -> None:
    run = glpn("train", "--out", "run", "--workers", "0", *arguments)
    assert run.returncode == code, run.stderr
    assert words in run.stderr


def test_trained_weights_are_called_by_their_name_or_that_of_their_folder(glpn: Glpn) -> None:
    for out, name in (("first", ()), ("second", ("--name", "mine"))):
        assert glpn("train", *DATA, *SHORT, "--out", out, *name).returncode == 0
    run = glpn("evaluate", *DATA, "--weights", "first/last", "--against", "second/best", "--json")
    assert list(json.loads(run.stdout.splitlines()[-1])["predictions"]) == ["first", "mine"]
    assert glpn("train", *DATA, *SHORT, "--out", "third", "--name", "tiny").returncode == 0
    run = glpn("evaluate", *DATA, "--weights", "third/last", "--against", "tiny", "--json")
    assert list(json.loads(run.stdout.splitlines()[-1])["predictions"]) == ["third/last", "tiny"]
