from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from glpn_cli.errors import ConfigError, OutputError, WeightsError
from glpn_cli.files import file_sha256
from glpn_cli.model.config import GLPNConfig
from glpn_cli.model.glpn import GLPNForDepthEstimation
from glpn_cli.weights.catalog import CATALOG, WeightsCard
from glpn_cli.weights.checkpoint import read_checkpoint, write_checkpoint
from glpn_cli.weights.location import locate_weights

if TYPE_CHECKING:
    from pathlib import Path

SMALL = GLPNConfig(
    hidden_sizes=[8, 16, 24, 32], num_attention_heads=[1, 2, 3, 4], depths=[1] * 4, decoder_hidden_size=8
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of weights with random tensors."""
    write_checkpoint(tmp_path / "w", SMALL, GLPNForDepthEstimation(SMALL).state_dict(), {"metric": "metric"})
    return tmp_path / "w"


def as_pickle(folder: Path) -> Path:
    torch.save(read_checkpoint(folder).tensors, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder / "pytorch_model.bin"


def test_what_is_written_is_read_with_its_configuration_and_metadata(folder: Path) -> None:
    for path in (folder, folder / "model.safetensors"):
        checkpoint = read_checkpoint(path)
        assert checkpoint.config == SMALL
        assert checkpoint.metadata["metric"] == "metric"
        assert checkpoint.path == folder / "model.safetensors"


def test_a_safetensors_file_of_ours_is_whole_without_its_folder(folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "alone.safetensors"
    shutil.move(folder / "model.safetensors", moved)
    assert read_checkpoint(moved).config == SMALL


def test_a_pickle_of_tensors_gives_the_same_tensors(folder: Path) -> None:
    before = read_checkpoint(folder).tensors
    pickled = as_pickle(folder)
    for path in (folder, pickled):
        after = read_checkpoint(path).tensors
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)


def test_half_precision_storage_becomes_float32_and_counters_stay_whole(folder: Path) -> None:
    tensors = {key: t.half() if t.is_floating_point() else t for key, t in read_checkpoint(folder).tensors.items()}
    save_file(tensors, folder / "model.safetensors")
    read = read_checkpoint(folder).tensors
    assert {t.dtype for t in read.values()} == {torch.float32, torch.int64}


def test_safetensors_wins_over_a_pickle_beside_it(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"never looked at")
    assert read_checkpoint(folder).path.name == "model.safetensors"


class _Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("harm-was-done",)


def test_a_pickle_that_wants_to_run_code_is_refused_and_runs_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pickled = as_pickle(folder)
    torch.save({"weight": _Harmful()}, pickled)
    with pytest.raises(WeightsError, match="more than tensors"):
        read_checkpoint(folder)
    pickled.write_bytes(pickle.dumps({"weight": _Harmful()}, protocol=2))
    with pytest.raises(WeightsError):
        read_checkpoint(folder)
    assert not (tmp_path / "harm-was-done").exists()


@pytest.mark.parametrize("keep", [0.0, 0.2, 0.9])
@pytest.mark.parametrize("kind", ["safetensors", "pickle"])
def test_a_file_cut_short_is_one_line(folder: Path, kind: str, keep: float) -> None:
    file = folder / "model.safetensors" if kind == "safetensors" else as_pickle(folder)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * keep)])
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(folder)
    assert "\n" not in caught.value.message
    assert file.name in caught.value.message


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\n <html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"hello, world, this is a text", "something else"),
        (b"", "empty"),
    ],
)
def test_what_a_failed_download_leaves_is_named(folder: Path, content: bytes, kind: str) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=kind):
        read_checkpoint(folder)


def test_a_pickle_of_something_else_is_refused(folder: Path) -> None:
    torch.save([torch.zeros(1)], as_pickle(folder))
    with pytest.raises(WeightsError, match="table of tensors"):
        read_checkpoint(folder)


def test_missing_weights_and_missing_configuration_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no weights there"):
        read_checkpoint(tmp_path / "gone")
    with pytest.raises(WeightsError, match="neither"):
        read_checkpoint(tmp_path)
    as_pickle(folder)
    (folder / "config.json").unlink()
    with pytest.raises(WeightsError, match="no configuration"):
        read_checkpoint(folder)


@pytest.mark.parametrize("text", ["{", "[1]", '{"max_depth": "ten"}'])
def test_a_broken_configuration_is_one_line(folder: Path, text: str) -> None:
    as_pickle(folder)
    (folder / "config.json").write_text(text)
    with pytest.raises(ConfigError):
        read_checkpoint(folder)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        write_checkpoint(tmp_path / "file" / "w", SMALL, {}, {})


def test_the_hash_is_that_of_the_file(folder: Path) -> None:
    file = folder / "model.safetensors"
    assert file_sha256(file) == hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_bundled_weights_say_what_the_catalog_says() -> None:
    checkpoint = read_checkpoint(locate_weights("tiny").path)
    card = WeightsCard.from_metadata(checkpoint.metadata, name="tiny", max_depth=0.0)
    assert card == CATALOG["tiny"].card
    GLPNForDepthEstimation(checkpoint.config).load_state_dict(checkpoint.tensors, strict=True)


def test_the_bundled_weights_carry_everything_in_their_metadata() -> None:
    with safe_open(locate_weights("tiny").path, framework="pt") as opened:
        metadata = opened.metadata()
    assert {"config", "depth_limit_m", "working_size", "meters_per_unit"} <= metadata.keys()
    assert json.loads(metadata["config"])["max_depth"] == 80
