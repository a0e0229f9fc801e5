from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from glpn_cli.errors import ConfigError, MissingWeightsError, OutputError, WeightsError
from glpn_cli.files import FileDigest
from glpn_cli.model.config import PUBLISHED_CONFIG_FIELDS, GLPNConfig
from glpn_cli.model.glpn import GLPNForDepthEstimation
from glpn_cli.weights import checkpoint as checkpoint_module
from glpn_cli.weights.catalog import CATALOG, WeightsCard
from glpn_cli.weights.checkpoint import read_checkpoint, write_checkpoint
from glpn_cli.weights.keys import has_authors_keys, to_published_keys
from glpn_cli.weights.location import locate_weights
from glpn_cli.weights.store import weights_files
from stand_in_hub import SMALL, random_glpn, to_authors_keys

if TYPE_CHECKING:
    from collections.abc import Callable
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


# Which configuration is used


def edit_config(folder: Path, **changes: object) -> None:
    fields = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(fields))


def test_configuration_beside_the_weights_wins_and_is_said(folder: Path) -> None:
    assert read_checkpoint(folder).notes == ()
    edit_config(folder, max_depth=80, hidden_act="relu")
    for path in (folder, folder / "model.safetensors"):
        checkpoint = read_checkpoint(path)
        assert (checkpoint.config.max_depth, checkpoint.config.hidden_act) == (80, "relu")
        (note,) = checkpoint.notes
        assert "config.json" in note
        assert "max_depth is 80, not 10" in note
        assert "hidden_act is relu, not gelu" in note


def test_fields_that_are_not_documented_are_no_conflict(folder: Path) -> None:
    edit_config(folder, transformers_version="5.0", torch_dtype="float16", architectures=["GLPNModel"])
    assert read_checkpoint(folder).notes == ()


def test_depth_limit_follows_an_edited_max_depth(folder: Path) -> None:
    write_checkpoint(folder, SMALL, random_glpn(), {"meters_per_unit": "8.0", "depth_limit_m": "80.0"})
    edit_config(folder, max_depth=5)
    checkpoint = read_checkpoint(folder)
    card = WeightsCard.from_metadata(checkpoint.metadata, name="mine", max_depth=5.0)
    assert (card.depth_limit_m, card.meters_per_unit) == (40.0, 8.0)
    write_checkpoint(folder, SMALL, random_glpn(), {"depth_limit_m": "many"})
    edit_config(folder, max_depth=5)
    with pytest.raises(WeightsError, match="metadata"):
        read_checkpoint(folder)


def test_configuration_of_another_network_beside_the_weights_is_ignored(folder: Path) -> None:
    edit_config(folder, model_type="dpt", max_depth=80)
    checkpoint = read_checkpoint(folder)
    assert (checkpoint.config, checkpoint.notes) == (SMALL, ())
    as_pickle(folder)
    with pytest.raises(ConfigError, match="model_type"):
        read_checkpoint(folder)


def test_given_configuration_comes_first(folder: Path) -> None:
    assert read_checkpoint(folder, config=GLPNConfig()).config == GLPNConfig()


# Several files


def as_shards(folder: Path) -> Path:
    tensors = read_checkpoint(folder).tensors
    return write_checkpoint(folder, SMALL, tensors, {"metric": "metric"}, max_shard_size="20KB")


def test_several_files_are_read_as_one(folder: Path) -> None:
    before = read_checkpoint(folder)
    index = as_shards(folder)
    assert not (folder / "model.safetensors").exists()
    for path in (folder, index):
        after = read_checkpoint(path)
        assert after.path == index
        assert (after.config, after.metadata["metric"]) == (SMALL, "metric")
        assert_same(after.tensors, before.tensors)
    assert len(weights_files(folder)) > 3
    digest = FileDigest(*weights_files(folder)).hexdigest()
    part = weights_files(folder)[-1]
    part.write_bytes(part.read_bytes() + b" ")
    assert FileDigest(*weights_files(folder)).hexdigest() != digest


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "JSON"),
        ("{}", "not an index"),
        ('{"weight_map": {}}', "not an index"),
        ('{"weight_map": {"a": 1}}', "not an index"),
        ('{"weight_map": {"a": "../other.safetensors"}}', "not an index"),
        ('{"weight_map": {"a": "gone.safetensors"}}', "gone.safetensors"),
    ],
)
def test_damaged_index_is_a_one_line_error(folder: Path, text: str, named: str) -> None:
    index = as_shards(folder)
    index.write_text(text)
    with pytest.raises(WeightsError, match=named) as caught:
        read_checkpoint(folder)
    assert "\n" not in caught.value.message


def test_half_precision_is_read_as_float32(folder: Path) -> None:
    tensors = {key: t.half() if t.is_floating_point() else t for key, t in read_checkpoint(folder).tensors.items()}
    save_file(tensors, folder / "model.safetensors")
    read = read_checkpoint(folder).tensors
    assert {t.dtype for t in read.values()} == {torch.float32, torch.int64}
    read = read_checkpoint(folder, as_float32=False).tensors
    assert {t.dtype for t in read.values()} == {torch.float16, torch.int64}


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


@pytest.mark.filterwarnings("ignore:.*quantize")  # creating and reading them is deprecated
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.eye(3).to_sparse(),
        lambda: torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.quint8),
        lambda: torch.zeros(3, device="meta"),
        lambda: torch.zeros(1).expand(10**9),
        lambda: torch.zeros(1, dtype=torch.float64).as_strided((2**31, 2**31), (0, 0)),
    ],
    ids=["sparse", "quantized", "meta", "expanded", "strided"],
)
def test_pickled_tensors_without_values_are_refused(folder: Path, make: Callable[[], Tensor]) -> None:
    file = as_pickle(folder)
    torch.save(random_glpn() | {"x": make()}, file)
    with pytest.raises(WeightsError, match=file.name) as caught:
        read_checkpoint(folder)
    assert "\n" not in caught.value.message


def test_a_compressed_pickle_is_refused(folder: Path) -> None:
    file = as_pickle(folder)
    with zipfile.ZipFile(file) as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in parts.items():
            packed.writestr(name, data if name.endswith("data.pkl") else bytes(10**6))
    with pytest.raises(WeightsError, match="compressed"):
        read_checkpoint(folder)


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes((99_999_999).to_bytes(8, "little") + b'{"a":' + b"[" * 1000)
    with pytest.raises(WeightsError, match="header"):
        read_checkpoint(file)


def test_missing_weights_and_configuration_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="gone"):
        read_checkpoint(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingWeightsError, match=r"model\.safetensors"):
        read_checkpoint(tmp_path / "empty")
    as_pickle(folder)
    (folder / "config.json").unlink()
    with pytest.raises(MissingWeightsError) as caught:
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


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model.", "model.module.", "net._orig_mod.", "backbone."]
)
@pytest.mark.parametrize("kind", ["published", "authors"])
def test_prefixes_of_wrappers_are_removed(prefix: str, kind: str) -> None:
    published = random_glpn()
    keys = published if kind == "published" else to_authors_keys(published, "")
    wrapped = {prefix + key: tensor for key, tensor in keys.items()}
    if prefix == "model.":  # of a class of Lightning, which also has a loss
        wrapped["loss.weights"] = torch.zeros(3)
    assert_same(to_published_keys(wrapped), published)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: {"model": tensors, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}, "epoch": 3},
        lambda tensors: {"state_dict": {f"model.{key}": value for key, value in tensors.items()}, "epoch": 3},
        lambda tensors: {"model_state_dict": tensors, "loss": torch.zeros(1), "optimizer_state_dict": {"state": {}}},
        lambda tensors: {"checkpoint": {"net": tensors}, "version": "1"},
        lambda tensors: {"model": {f"module._orig_mod.{key}": value for key, value in tensors.items()}, "ema": {}},
        lambda tensors: tensors | {"epoch": 3},
    ],
    ids=["model", "lightning", "model_state_dict", "nested", "wrapped", "flat"],
)
def test_checkpoints_of_training_programs_are_read(folder: Path, wrap: Callable[[Any], Any]) -> None:
    before = read_checkpoint(folder).tensors
    (folder / "model.safetensors").unlink()
    torch.save(wrap(dict(before)), folder / "last.ckpt")
    checkpoint = read_checkpoint(folder / "last.ckpt")
    assert_same(checkpoint.tensors, before)
    GLPNForDepthEstimation.from_checkpoint(checkpoint)


def test_a_pointer_of_git_lfs_is_named(folder: Path) -> None:
    whole = {key: tensor.clone() for key, tensor in read_checkpoint(folder).tensors.items()}  # not mapped
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    (folder / "model.safetensors").write_bytes(pointer)
    with pytest.raises(WeightsError, match="LFS") as caught:
        read_checkpoint(folder)
    assert "git lfs pull" in str(caught.value.hint)
    torch.save(whole, folder / "pytorch_model.bin")
    assert_same(read_checkpoint(folder).tensors, whole)


def test_unknown_key_stays() -> None:
    authors = to_authors_keys(random_glpn()) | {"module.decoder.linear_fuse.weight": torch.zeros(1)}
    assert set(to_published_keys(authors)) - set(random_glpn()) == {"decoder.linear_fuse.weight"}


def test_a_joint_layer_without_rows_is_left_alone() -> None:
    authors = {"encoder.patch_embed1.x": torch.zeros(1), "encoder.block1.0.attn.kv.weight": torch.zeros(())}
    assert len(to_published_keys(authors)) == 2


def test_keys_precede_values_in_the_joint_layer() -> None:
    published = random_glpn()
    joint = to_authors_keys(published)["module.encoder.block2.0.attn.kv.weight"]
    assert joint.shape == (2 * SMALL.hidden_sizes[1], SMALL.hidden_sizes[1])
    name = "glpn.encoder.block.1.0.attention.self.key.weight"
    assert torch.equal(joint[: SMALL.hidden_sizes[1]], published[name])
