"""The scripts around training: train.py, pack.py and score.py."""

from __future__ import annotations

import importlib.resources
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

import pack
import score
import train
from glpn_cli.weights.checkpoint import read_checkpoint
from glpn_cli.weights.header import verify_seal
from waiting import HANG_S, wait_until

HERE = Path(train.__file__).parent
TINY = importlib.resources.files("glpn_cli") / "weights" / "glpn-tiny.safetensors"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in train.REAL_DATA:
        (tmp_path / "data" / name).mkdir(parents=True)
    return tmp_path / "data"


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that train.py runs, which are only recorded."""
    recorded: list[list[str]] = []
    monkeypatch.setattr(train, "run", recorded.append)
    monkeypatch.setattr(train, "check_finished", lambda *_: None)
    monkeypatch.setattr(train, "pack_weights", lambda *_: {})
    return recorded


def test_three_folders_of_scenes_then_four_stages(data: Path, commands: list[list[str]], tmp_path: Path) -> None:
    train.main([str(data), "--out", str(tmp_path / "out")])
    assert [re.findall(r"--(?:count|seed)=(\d+)", " ".join(command)) for command in commands[:3]] == [
        ["22000", "0"],
        ["7000", "1"],
        ["8900", "2"],
    ]
    for number, command in enumerate(commands[3:], start=1):
        assert f"--recipe={HERE / f'stage-{number}.json'}" in command
        assert f"--out={tmp_path / 'out' / str(number)}" in command
    assert "--until=19240" in commands[3]
    assert [word for word in commands[6] if word.startswith(("--data", "--init"))] == [
        *(f"--data={data / name}={weight}" for name, weight in zip(train.REAL_DATA, (9, 22, 11, 16), strict=True)),
        *(f"--data={tmp_path / 'out' / 'scenes' / str(n)}={weight}" for n, weight in ((1, 0.6), (2, 2), (3, 1.5))),
        f"--init={tmp_path / 'out' / '3' / 'best'}",
    ]


def test_options_after_dashes_reach_every_stage(data: Path, commands: list[list[str]]) -> None:
    train.main([str(data), "--short", "--", "--max-minutes", "5"])
    assert [command[-2:] for command in commands[3:]] == [["--max-minutes", "5"]] * 4
    assert all("--count=64" in command for command in commands[:3])
    assert all("--steps" in command for command in commands[3:])


def test_missing_data_is_named(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (data / "aims_lab").rmdir()
    with pytest.raises(SystemExit) as error:
        train.main([str(data)])
    assert error.value.code == 2
    assert "aims_lab" in capfd.readouterr().err


def test_failed_command_ends_the_script() -> None:
    with pytest.raises(SystemExit) as error:
        train.run([sys.executable, "-c", "raise SystemExit(9)"])
    assert error.value.code == 9


def test_termination_waits_for_the_command(tmp_path: Path) -> None:
    child = tmp_path / "child.py"
    child.write_text(
        "import pathlib, signal, sys, time\n"
        "def save(*_):\n"
        "    time.sleep(0.2)\n"
        "    pathlib.Path('saved').touch()\n"
        "    sys.exit(130)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "pathlib.Path('ready').touch()\n"
        "while True: time.sleep(0.1)\n"
    )
    code = f"import sys, train; train.run([sys.executable, {str(child)!r}])"
    script = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": f"{HERE}:{package()}"})
    wait_until((tmp_path / "ready").exists, script)
    script.send_signal(signal.SIGTERM)
    assert script.wait(HANG_S) == 130
    assert (tmp_path / "saved").exists()


def package() -> Path:
    import glpn_cli

    return Path(glpn_cli.__file__).parents[1]


@pytest.mark.parametrize(
    ("step", "until", "finished"), [(3, None, False), (9, None, True), (3, 3, True), (9, 20, True)]
)
def test_unfinished_training_stops_the_script(
    step: int, until: int | None, finished: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = {"training": json.dumps({"step": step, "steps": 9})}
    monkeypatch.setattr(train, "read_checkpoint", lambda _: SimpleNamespace(metadata=metadata))
    if finished:
        train.check_finished(Path("last"), until)
    else:
        with pytest.raises(SystemExit, match="last: 3 of 9 steps"):
            train.check_finished(Path("last"), until)


def test_packed_weights_are_half_precision_named_and_reproducible(tmp_path: Path) -> None:
    values = pack.pack_weights(Path(str(TINY)), tmp_path / "packed.safetensors", "192x256")
    assert values["size_bytes"] == (tmp_path / "packed.safetensors").stat().st_size
    assert values["parameters"] == pytest.approx(3.4e6, rel=0.05)
    metadata = read_checkpoint(tmp_path / "packed.safetensors").metadata
    assert (metadata["name"], metadata["working_size"]) == ("tiny", "192x256")
    tensors = load_file(tmp_path / "packed.safetensors")
    kinds = {("running" in key, value.dtype) for key, value in tensors.items() if value.is_floating_point()}
    assert kinds == {(False, torch.float16), (True, torch.float32)}
    before = (tmp_path / "packed.safetensors").read_bytes()
    for name in ("again", "repacked"):  # from the same checkpoint, and from what was packed
        source = TINY if name == "again" else tmp_path / "packed.safetensors"
        pack.pack_weights(Path(str(source)), tmp_path / name, "192x256")
        assert (tmp_path / name).read_bytes() == before
    assert verify_seal(tmp_path / "packed.safetensors")


def test_score_tables_compare_and_judge() -> None:
    def metrics(mean: float) -> dict[str, dict[str, float]]:
        return {name: {"mean": mean, "low": mean - 0.1, "high": mean + 0.1} for name in score.METRICS}

    summary = {
        "images": 25,
        "predictions": {
            "tiny": {"unaligned": metrics(0.5), "median": metrics(0.2)},
            "old.safetensors": {"unaligned": metrics(0.6), "median": metrics(0.4)},
        },
        "differences": [{"theirs": "old.safetensors", "align": "median", "figures": metrics(-0.2)}],
    }
    page = score.tables({"kitchen": summary})
    assert "| kitchen | 25 | `abs_rel` | 0.200 (0.100 to 0.300) | 0.400 (0.300 to 0.500) |" in page
    assert "| kitchen | -0.200 (-0.300 to -0.100), better |" in page
    assert "| kitchen | 0.500 (0.400 to 0.600) |" in page


def test_readme_links_exist_and_numbers_match() -> None:
    page = (HERE / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page):
        assert (HERE / target).exists(), target
    for number, scenes in enumerate(train.SCENES, start=1):
        (row,) = (line for line in page.splitlines() if line.startswith(f"| `scenes/{number}` | {scenes.count:,} |"))
        assert all(f"{kind} {weight}" in row for kind, weight in scenes.kinds.items())
    for number, stage in enumerate(train.STAGES, start=1):
        steps = json.loads((HERE / f"stage-{number}.json").read_text())["steps"]
        (row,) = (line for line in page.splitlines() if line.startswith(f"| {number} | "))
        assert f"{steps:,}" in row
        assert all(f"{folder}: {weight:g}" in row for folder, weight in enumerate(stage.scenes, start=1))


def test_model_card_has_markers_and_header_of_the_tables() -> None:
    _, found, rest = score.PAGE.read_text(encoding="utf-8").partition(score.BEGIN)
    assert found
    assert rest.lstrip().startswith("| scale aligned | images | metric | tiny |")
    assert score.END in rest
