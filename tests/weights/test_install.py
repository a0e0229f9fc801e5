from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save, save_file

from glpn_cli.errors import ConfigError, UsageError, WeightsError
from glpn_cli.files import file_sha256
from glpn_cli.model.glpn import GLPNForDepthEstimation
from glpn_cli.weights import install as install_module
from glpn_cli.weights.catalog import CATALOG
from glpn_cli.weights.checkpoint import read_checkpoint, write_checkpoint
from glpn_cli.weights.header import read_metadata, verify_seal
from glpn_cli.weights.install import import_weights
from glpn_cli.weights.location import locate_weights
from stand_in_hub import SMALL, random_glpn, to_authors_keys

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A GLPN as saved by transformers."""
    folder = tmp_path / "glpn-mine"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(SMALL.to_dict()))
    save_file(random_glpn(), folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture
def ckpt(tmp_path: Path) -> Path:
    """A checkpoint of the authors without a configuration."""
    path = tmp_path / "alone" / "best_model.ckpt"
    path.parent.mkdir()
    torch.save(to_authors_keys(random_glpn()), path)
    return path


def assert_holds_the_weights(name: str) -> None:
    checkpoint = read_checkpoint(locate_weights(name).path)
    assert verify_seal(checkpoint.path)
    assert checkpoint.config == SMALL
    wanted = random_glpn()
    assert checkpoint.tensors.keys() == wanted.keys()
    assert all(torch.equal(checkpoint.tensors[key], wanted[key]) for key in wanted)


def test_folder_safetensors_file_and_pickle_are_imported(folder: Path) -> None:
    import_weights(folder, "from-folder")
    import_weights(folder / "model.safetensors", "from-file")
    torch.save(random_glpn(), folder / "weights.bin")
    import_weights(folder / "weights.bin", "from-pickle")
    for name in ("from-folder", "from-file", "from-pickle"):
        assert_holds_the_weights(name)
    metadata = read_metadata(locate_weights("from-folder").path)
    assert metadata["source"] == str(folder / "model.safetensors")
    assert metadata["source_sha256"] == file_sha256(folder / "model.safetensors")


@pytest.mark.parametrize("prefix", ["module.", ""])
def test_authors_checkpoint_with_a_configuration_is_imported(folder: Path, prefix: str) -> None:
    torch.save(to_authors_keys(random_glpn(), prefix), folder / "best.ckpt")
    import_weights(folder / "best.ckpt", "mine")
    assert_holds_the_weights("mine")


def test_authors_checkpoint_alone_has_the_published_configuration(ckpt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match=ckpt.name) as caught:  # these are far smaller
        import_weights(ckpt, "mine")
    assert "config.json" in str(caught.value.hint)
    monkeypatch.setattr(install_module, "PUBLISHED_CONFIG_FIELDS", SMALL.to_dict())
    import_weights(ckpt, "mine")
    assert_holds_the_weights("mine")


def test_published_keys_without_configuration_are_refused(tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    torch.save(random_glpn(), tmp_path / "alone" / "weights.bin")
    with pytest.raises(WeightsError, match=r"weights\.bin") as caught:
        import_weights(tmp_path / "alone" / "weights.bin", "mine")
    assert "config.json" in str(caught.value.hint)


def test_unknown_scale_is_one_with_a_note(folder: Path) -> None:
    installed = import_weights(folder, "mine")
    assert (installed.card.meters_per_unit, installed.card.depth_limit_m, installed.card.metric) == (1.0, 10.0, None)
    assert "`meters_per_unit`" in str(installed.scale_note)


def test_given_factor_makes_meters(folder: Path) -> None:
    installed = import_weights(folder, "mine", meters_per_unit=1 / 3)
    assert installed.scale_note is None
    assert (installed.card.meters_per_unit, installed.card.depth_limit_m, installed.card.metric) == (
        1 / 3,
        10 * (1 / 3),
        True,
    )
    metadata = read_metadata(installed.path)
    assert float(metadata["meters_per_unit"]) == 1 / 3
    assert GLPNForDepthEstimation.from_pretrained(installed.path).config.max_depth == 10


@pytest.mark.parametrize("name", ["kitti", "vinvino02/glpn-kitti"])
def test_import_as_kitti_has_the_scale_of_the_catalog(folder: Path, name: str) -> None:
    installed = import_weights(folder, name)
    assert installed.name == "kitti"
    assert (installed.card.meters_per_unit, installed.card.depth_limit_m, installed.scale_note) == (8.0, 80, None)
    assert locate_weights("kitti").path == installed.path


def test_repository_can_be_imported_from_a_file(folder: Path) -> None:
    import_weights(folder, "someone/glpn-x")
    assert locate_weights("someone/glpn-x").name == "someone/glpn-x"


def test_scale_in_the_metadata_is_used(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "w", SMALL, random_glpn(), {"meters_per_unit": "8", "metric": "metric"})
    installed = import_weights(tmp_path / "w", "mine")
    assert (installed.card.meters_per_unit, installed.card.metric, installed.scale_note) == (8.0, True, None)
    assert import_weights(tmp_path / "w", "mine", meters_per_unit=2.0, overwrite=True).card.depth_limit_m == 20.0


def test_file_of_version_0_1_is_imported_with_its_scale(folder: Path) -> None:
    old = {"metres_per_unit": "8.0", "licence": "CC-BY-4.0", "metric": "metric"}
    (folder / "model.safetensors").write_bytes(save(random_glpn(), old))
    installed = import_weights(folder, "mine")
    assert (installed.card.meters_per_unit, installed.card.metric, installed.scale_note) == (8.0, True, None)
    metadata = read_metadata(installed.path)
    assert metadata["license"] == "CC-BY-4.0"
    assert not metadata.keys() & old.keys() - {"metric"}


def test_copy_of_bundled_weights_stays_approximate() -> None:
    installed = import_weights(locate_weights("tiny").path, "mine", meters_per_unit=2.0)
    assert (installed.card.metric, installed.card.shrink, installed.card.working_size) == (
        False,
        True,
        CATALOG["tiny"].card.working_size,
    )
    assert read_metadata(installed.path)["license"] == "CC-BY-4.0"


def test_import_replaces_weights_only_if_allowed(folder: Path) -> None:
    first = import_weights(folder, "mine").path.read_bytes()
    with pytest.raises(WeightsError, match="'mine'") as caught:
        import_weights(folder, "mine", meters_per_unit=5.0)
    assert "`overwrite`" in str(caught.value.hint)
    assert locate_weights("mine").path.read_bytes() == first
    import_weights(folder, "mine", meters_per_unit=5.0, overwrite=True)
    assert locate_weights("mine").path.read_bytes() != first


@pytest.mark.parametrize(
    "name",
    [
        *("", "tiny", "Tiny", "NYU", "auto", "All", "a b", "../x", "a/b/c", ".hidden", "-x", "a--b", "ü"),
        *("x.safetensors", "x.ckpt", "a\nb", "x" * 65, "a\\b", "./x", "owner/..", "con:"),
    ],
)
def test_invalid_names_are_refused(folder: Path, home: Path, name: str) -> None:
    with pytest.raises(UsageError):
        import_weights(folder, name)
    assert not home.exists()


@pytest.mark.parametrize("name", ["mine", "my-glpn_2.1", "8", "x" * 64])
def test_valid_names_are_located(folder: Path, name: str) -> None:
    import_weights(folder, name)
    assert locate_weights(name).name == name


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_invalid_factor_is_refused(folder: Path, factor: float) -> None:
    with pytest.raises(UsageError) as caught:
        import_weights(folder, "mine", meters_per_unit=factor)
    assert caught.value.setting == "meters_per_unit"


@pytest.mark.parametrize(
    ("break_it", "error"),
    [
        (lambda folder: (folder / "config.json").write_text("{"), ConfigError),
        (lambda folder: (folder / "config.json").unlink(), WeightsError),
        (lambda folder: (folder / "model.safetensors").unlink(), WeightsError),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"<html>"), WeightsError),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "dpt"}'), ConfigError),
        (lambda folder: (folder / "config.json").write_text("{}"), WeightsError),
    ],
)
def test_other_files_are_not_installed(folder: Path, home: Path, break_it: Any, error: type[Exception]) -> None:
    break_it(folder)
    with pytest.raises(error):
        import_weights(folder, "mine")
    assert not (home / "weights").exists()


def test_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone\.ckpt"):
        import_weights(tmp_path / "gone.ckpt", "mine")
