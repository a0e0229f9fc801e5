"""The recipe of the next version, from the data to the best weights."""

from __future__ import annotations

import csv
import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import prepare
import version3
from glpn_cli.cli.app import build_app
from glpn_cli.errors import InputError
from glpn_cli.weights.checkpoint import read_checkpoint
from recipe_data import write_pairs
from sets import DATA_SETS, HELD_OUT, sample_weights, training_sets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for dataset in DATA_SETS:
        write_pairs(tmp_path / "data" / dataset.name, 2)
    return tmp_path / "data"


@pytest.fixture
def scenes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The recipes of the scenes that are rendered, which are noise here, in one stage."""
    rendered: list[Any] = []

    def fill_folder(folder: Path, recipe: Any, count: int, **_: Any) -> Iterator[int]:
        rendered.append(recipe)
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        np.save(folder / "00000.rgb.npy", rng.integers(0, 256, (64, 48, 64, 3), np.uint8))
        np.save(folder / "00000.depth.npy", rng.uniform(1, 5, (64, 48, 64)).astype(np.float16))
        (folder / "scenes.json").write_text("{}")
        yield count

    monkeypatch.setattr(version3, "fill_folder", fill_folder)
    monkeypatch.setattr(version3, "STAGES", version3.STAGES[:1])
    return rendered


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The training commands, which run in this process."""
    recorded: list[list[str]] = []

    def run(command: list[str]) -> None:
        recorded.append(command)
        build_app("train")(command[command.index("train") :], standalone_mode=False)

    monkeypatch.setattr(version3, "run", run)
    return recorded


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "candidates.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_recipe_trains_measures_and_resumes(
    data: Path, scenes: list[Any], commands: list[list[str]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    measured = data / "skoltech_lab"
    arguments = [str(data), "--out", str(out), "--short", "--trainers", "3", "--measure", f"mine:{measured}:1000"]
    version3.main(arguments)
    assert scenes[0].canonical
    found = rows(out)
    assert [(row["step"], row["blend"], row["working_size"]) for row in found] == [
        ("4", f"{blend:g}", size) for blend in (1, *version3.BLENDS) for size in version3.WORKING_SIZES
    ]
    assert {f"{name} unaligned" for name in (*HELD_OUT["a"], "mine")} < set(found[0])
    best = read_checkpoint(out / "best.safetensors")
    lowest = min(found, key=lambda row: float(row["score"]))
    assert best.metadata["canonical_depth"] == "on"
    assert best.metadata["working_size"] == lowest["working_size"]
    assert best.config.decoder_hidden_size == version3.DECODER_CHANNELS
    settings = json.loads((out / "1" / "settings.json").read_text())
    assert not [entry for entry in settings["data"] for name in HELD_OUT["a"] if f"/{name}=" in entry]
    assert len(settings["data"]) == len(DATA_SETS) - 3 + 1
    (command,) = commands
    assert "--nproc-per-node=3" in command

    (out / "candidates.csv").unlink()  # as if the measurement had been interrupted
    version3.main([*arguments, "--measure", f"more:{measured}:1000"])
    again = rows(out)
    assert [row["mine aligned"] for row in again] == [row["mine aligned"] for row in found]
    assert [row["more aligned"] for row in again] == [row["mine aligned"] for row in found]
    assert len(commands) == 1


def test_an_interrupted_stage_ends_the_command(
    data: Path, scenes: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del scenes
    monkeypatch.setattr(version3, "run", lambda _: sys.exit(130))
    with pytest.raises(SystemExit) as raised:
        version3.main([str(data), "--out", str(tmp_path / "out"), "--short"])
    assert raised.value.code == 130


def test_weights_are_averaged() -> None:
    first, second = {"a": torch.tensor([0.0, 4.0])}, {"a": torch.tensor([4.0, 0.0]).half(), "n": torch.tensor(7)}
    average = version3.average_weights(first, second, 0.25)
    assert average["a"].tolist() == [1, 3]
    assert average["n"].item() == 7


@pytest.mark.parametrize("text", ["name", "name:folder", "name:folder:many"])
def test_an_incomplete_set_to_measure_is_refused(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        version3.main(["data", "--measure", text])
    assert raised.value.code == 2
    assert text in capfd.readouterr().err


def test_packed_data_is_unpacked_once(data: Path, tmp_path: Path) -> None:
    prepare.prepare_sets(data, tmp_path / "prepared")
    prepare.pack_sets(tmp_path / "prepared", tmp_path / "p.tar")
    version3.unpack_sets(tmp_path / "p.tar", tmp_path / "out")
    image = tmp_path / "out" / "aims_lab" / "1.jpg"
    assert image.read_bytes() == (data / "aims_lab" / "1.jpg").read_bytes()
    before = image.stat().st_mtime_ns
    (tmp_path / "out" / "aims_lab" / "0.png").unlink()
    version3.unpack_sets(tmp_path / "p.tar", tmp_path / "out")
    assert (tmp_path / "out" / "aims_lab" / "0.png").exists()
    assert image.stat().st_mtime_ns == before


def test_a_damaged_pack_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "p.tar").write_bytes(b"no archive" * 100)
    with pytest.raises(InputError, match=r"p\.tar"):
        version3.unpack_sets(tmp_path / "p.tar", tmp_path / "out")


def test_places_count_and_not_frames() -> None:
    lengths = {dataset.name: number for number, dataset in enumerate(DATA_SETS, start=2)}
    weights = sample_weights(lengths, "a", 3000)
    assert not set(weights) & set(HELD_OUT["a"])
    assert sum(weights[name] * lengths[name] for name in weights) == pytest.approx(3000)
    used = {
        dataset.name: weights[dataset.name] * lengths[dataset.name] / dataset.share for dataset in training_sets("a")
    }
    assert len({round(value, 6) for value in used.values()}) == 1


def test_photographed_sets_can_count_more() -> None:
    lengths = {dataset.name: 10 for dataset in DATA_SETS}
    equal, more = sample_weights(lengths, "a", 3000), sample_weights(lengths, "a", 3000, 2.0)
    rise = {dataset.rendered: more[dataset.name] / equal[dataset.name] for dataset in training_sets("a")}
    assert rise[False] == pytest.approx(2 * rise[True])
    assert sum(more.values()) * 10 == pytest.approx(3000)


def test_each_split_leaves_out_two_rendered_rooms_and_a_real_place() -> None:
    by_name = {dataset.name: dataset for dataset in DATA_SETS}
    for names in HELD_OUT.values():
        assert sorted(by_name[name].rendered for name in names) == [False, True, True]
    assert not set(HELD_OUT["a"]) & set(HELD_OUT["b"])
    assert not set(version3._TEXTURE_SETS) & {name for names in HELD_OUT.values() for name in names}


def test_better_depth_and_better_edges_give_a_lower_score() -> None:
    shipped = {"render_bedroom": {"aligned": 0.2, "boundary_f1": 0.1}, "tum_fr2_pioneer": {"aligned": 0.3}}
    assert version3.score_candidate(shipped, shipped) == 0
    sharper = {**shipped, "render_bedroom": {"aligned": 0.2, "boundary_f1": 0.4}}
    nearer = {**shipped, "tum_fr2_pioneer": {"aligned": 0.2}}
    assert version3.score_candidate(sharper, shipped) < 0
    assert version3.score_candidate(nearer, shipped) < 0
