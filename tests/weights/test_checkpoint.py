from __future__ import annotations

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
from glpn_cli.model.config import PUBLISHED_CONFIG_FIELDS, GLPNConfig
from glpn_cli.model.glpn import GLPNForDepthEstimation
from glpn_cli.weights import checkpoint as checkpoint_module
from glpn_cli.weights.catalog import CATALOG, WeightsCard
from glpn_cli.weights.checkpoint import has_authors_keys, read_checkpoint, to_published_keys, write_checkpoint
from glpn_cli.weights.location import locate_weights
from stand_in_hub import SMALL, random_glpn, to_authors_keys

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of weights with random tensors."""
    write_checkpoint(tmp_path / "w", SMALL, GLPNForDepthEstimation(SMALL).state_dict(), {"metric": "metric"})
    return tmp_path / "w"


def as_pickle(folder: Path) -> Path:
    torch.save(read_checkpoint(folder).tensors, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder / "pytorch_model.bin"


def test_written_checkpoint_is_read_with_config_and_metadata(folder: Path) -> None:
    for path in (folder, folder / "model.safetensors"):
        checkpoint = read_checkpoint(path)
        assert checkpoint.config == SMALL
        assert checkpoint.metadata["metric"] == "metric"
        assert checkpoint.path == folder / "model.safetensors"


def test_safetensors_file_contains_its_configuration(folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "alone.safetensors"
    shutil.move(folder / "model.safetensors", moved)
    assert read_checkpoint(moved).config == SMALL


def test_pickle_has_the_same_tensors(folder: Path) -> None:
    before = read_checkpoint(folder).tensors
    pickled = as_pickle(folder)
    for path in (folder, pickled):
        after = read_checkpoint(path).tensors
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)


def test_half_precision_is_read_as_float32(folder: Path) -> None:
    tensors = {key: t.half() if t.is_floating_point() else t for key, t in read_checkpoint(folder).tensors.items()}
    save_file(tensors, folder / "model.safetensors")
    read = read_checkpoint(folder).tensors
    assert {t.dtype for t in read.values()} == {torch.float32, torch.int64}


def test_safetensors_has_precedence_over_a_pickle(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"never looked at")
    assert read_checkpoint(folder).path.name == "model.safetensors"


class _Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("harm-was-done",)


def test_pickle_with_code_is_refused_and_runs_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pickled = as_pickle(folder)
    torch.save({"weight": _Harmful()}, pickled)
    with pytest.raises(WeightsError, match=pickled.name) as caught:
        read_checkpoint(folder)
    assert "safetensors" in str(caught.value.hint)  # not what to do with a damaged file
    pickled.write_bytes(pickle.dumps({"weight": _Harmful()}, protocol=2))
    with pytest.raises(WeightsError):
        read_checkpoint(folder)
    assert not (tmp_path / "harm-was-done").exists()


@pytest.mark.parametrize("keep", [0.0, 0.2, 0.9])
@pytest.mark.parametrize("kind", ["safetensors", "pickle"])
def test_truncated_file_is_a_one_line_error(folder: Path, kind: str, keep: float) -> None:
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
        (b"hello, world, this is a text", "another kind"),
        (b"", "empty"),
    ],
)
def test_error_names_the_kind_of_a_wrong_file(folder: Path, content: bytes, kind: str) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=kind):
        read_checkpoint(folder)


def test_pickle_of_another_type_is_refused(folder: Path) -> None:
    torch.save([torch.zeros(1)], as_pickle(folder))
    with pytest.raises(WeightsError, match="dictionary of tensors"):
        read_checkpoint(folder)


def test_missing_weights_and_configuration_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="gone"):
        read_checkpoint(tmp_path / "gone")
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        read_checkpoint(tmp_path)
    as_pickle(folder)
    (folder / "config.json").unlink()
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(folder)
    assert not isinstance(caught.value, ConfigError)
    assert "config.json" in str(caught.value.hint)


@pytest.mark.parametrize("text", ["{", "[1]", '{"max_depth": "ten"}'])
def test_invalid_configuration_is_a_one_line_error(folder: Path, text: str) -> None:
    as_pickle(folder)
    (folder / "config.json").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_checkpoint(folder)
    assert "\n" not in caught.value.message


def test_unwritable_folder_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        write_checkpoint(tmp_path / "file" / "w", SMALL, {}, {})


def test_failed_write_keeps_the_old_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_tensors: object, partial: Path, _metadata: object) -> None:
        partial.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    monkeypatch.setattr(checkpoint_module, "save_file", fail)
    with pytest.raises(OutputError, match=r"model\.safetensors"):
        write_checkpoint(folder, SMALL, random_glpn(), {})
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_metadata_of_version_0_1_is_read_with_the_new_names(folder: Path) -> None:
    old = {"metres_per_unit": "8.0", "licence": "CC-BY-4.0", "config": json.dumps(SMALL.to_dict())}
    save_file(random_glpn(), folder / "model.safetensors", old)
    metadata = read_checkpoint(folder).metadata
    assert (metadata["meters_per_unit"], metadata["license"]) == ("8.0", "CC-BY-4.0")
    assert WeightsCard.from_metadata(metadata, name="old", max_depth=10.0).depth_limit_m == 80.0


def test_bundled_weights_match_the_catalog() -> None:
    checkpoint = read_checkpoint(locate_weights("tiny").path)
    card = WeightsCard.from_metadata(checkpoint.metadata, name="tiny", max_depth=0.0)
    assert card == CATALOG["tiny"].card
    GLPNForDepthEstimation(checkpoint.config).load_state_dict(checkpoint.tensors, strict=True)


def test_bundled_weights_have_complete_metadata() -> None:
    with safe_open(locate_weights("tiny").path, framework="pt") as opened:
        metadata = opened.metadata()
    assert {"config", "depth_limit_m", "working_size"} <= metadata.keys()
    assert metadata.keys() & {"meters_per_unit", "metres_per_unit"}  # the name of version 0.1
    assert json.loads(metadata["config"])["max_depth"] == 80


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize("prefix", ["module.", ""])
def test_authors_keys_become_published_keys(prefix: str) -> None:
    published = random_glpn()
    authors = to_authors_keys(published, prefix)
    assert has_authors_keys(authors)
    assert not has_authors_keys(published)
    assert_same(to_published_keys(authors), published)


@pytest.mark.parametrize("prefix", ["module.", ""])
def test_published_keys_only_lose_the_prefix(prefix: str) -> None:
    published = random_glpn()
    assert_same(to_published_keys({prefix + key: tensor for key, tensor in published.items()}), published)


def test_published_network_has_as_many_tensors_as_released_files() -> None:
    with torch.device("meta"):
        published = GLPNForDepthEstimation(GLPNConfig(**PUBLISHED_CONFIG_FIELDS)).state_dict()
    assert len(published) == 972
    authors = to_authors_keys(published)
    assert len(authors) == 890
    assert to_published_keys(authors).keys() == published.keys()


def test_unknown_key_stays() -> None:
    authors = to_authors_keys(random_glpn()) | {"module.decoder.linear_fuse.weight": torch.zeros(1)}
    assert set(to_published_keys(authors)) - set(random_glpn()) == {"decoder.linear_fuse.weight"}


def test_keys_precede_values_in_the_joint_layer() -> None:
    published = random_glpn()
    joint = to_authors_keys(published)["module.encoder.block2.0.attn.kv.weight"]
    assert joint.shape == (2 * SMALL.hidden_sizes[1], SMALL.hidden_sizes[1])
    name = "glpn.encoder.block.1.0.attention.self.key.weight"
    assert torch.equal(joint[: SMALL.hidden_sizes[1]], published[name])
