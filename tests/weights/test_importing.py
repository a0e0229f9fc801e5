from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file

from glpn_cli.errors import ConfigError, UsageError, WeightsError
from glpn_cli.files import file_sha256
from glpn_cli.model.glpn import GLPNForDepthEstimation
from glpn_cli.weights import install as intake
from glpn_cli.weights.catalog import CATALOG
from glpn_cli.weights.checkpoint import read_checkpoint, write_checkpoint
from glpn_cli.weights.header import is_sealed_intact, read_metadata
from glpn_cli.weights.install import import_weights
from glpn_cli.weights.location import locate_weights
from stand_in_hub import SMALL, random_glpn, to_authors_keys

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A GLPN as transformers saves it."""
    folder = tmp_path / "glpn-mine"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(SMALL.to_dict()))
    save_file(random_glpn(), folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture
def ckpt(tmp_path: Path) -> Path:
    """A checkpoint of the authors, with nothing beside it."""
    path = tmp_path / "alone" / "best_model.ckpt"
    path.parent.mkdir()
    torch.save(to_authors_keys(random_glpn()), path)
    return path


def assert_holds_the_weights(name: str) -> None:
    checkpoint = read_checkpoint(locate_weights(name).path)
    assert is_sealed_intact(checkpoint.path)
    assert checkpoint.config == SMALL
    wanted = random_glpn()
    assert checkpoint.tensors.keys() == wanted.keys()
    assert all(torch.equal(checkpoint.tensors[key], wanted[key]) for key in wanted)


def test_a_folder_a_safetensors_file_and_a_pickle_are_kept_whole(folder: Path) -> None:
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
def test_a_checkpoint_of_the_authors_with_its_configuration_beside_it(folder: Path, prefix: str) -> None:
    torch.save(to_authors_keys(random_glpn(), prefix), folder / "best.ckpt")
    import_weights(folder / "best.ckpt", "mine")
    assert_holds_the_weights("mine")


def test_a_checkpoint_of_the_authors_alone_is_taken_for_the_published_network(
    ckpt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WeightsError, match="do not fit") as caught:  # these are far smaller
        import_weights(ckpt, "mine")
    assert "config.json" in str(caught.value.hint)
    monkeypatch.setattr(intake, "PUBLISHED_CONFIG", SMALL)
    import_weights(ckpt, "mine")
    assert_holds_the_weights("mine")


def test_a_pickle_with_the_published_keys_alone_needs_its_configuration(tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    torch.save(random_glpn(), tmp_path / "alone" / "weights.bin")
    with pytest.raises(WeightsError, match="has no configuration"):
        import_weights(tmp_path / "alone" / "weights.bin", "mine")


def test_the_scale_of_an_unknown_file_is_one_and_is_said_to_be_unknown(folder: Path) -> None:
    kept = import_weights(folder, "mine")
    assert (kept.card.meters_per_unit, kept.card.depth_limit_m, kept.card.metric) == (1.0, 10.0, None)
    assert "--meters-per-unit" in str(kept.scale_note)


def test_a_factor_that_the_user_knows_makes_meters(folder: Path) -> None:
    kept = import_weights(folder, "mine", meters_per_unit=1 / 3)
    assert kept.scale_note is None
    assert (kept.card.meters_per_unit, kept.card.depth_limit_m, kept.card.metric) == (1 / 3, 10 * (1 / 3), True)
    metadata = read_metadata(kept.path)
    assert float(metadata["meters_per_unit"]) == 1 / 3
    assert GLPNForDepthEstimation.from_pretrained(kept.path).config.max_depth == 10


@pytest.mark.parametrize("name", ["kitti", "vinvino02/glpn-kitti"])
def test_importing_as_kitti_gives_the_scale_of_the_catalog(folder: Path, name: str) -> None:
    kept = import_weights(folder, name)
    assert kept.name == "kitti"
    assert (kept.card.meters_per_unit, kept.card.depth_limit_m, kept.scale_note) == (8.0, 80, None)
    assert locate_weights("kitti").path == kept.path


def test_a_repository_can_be_brought_as_a_file(folder: Path) -> None:
    import_weights(folder, "someone/glpn-x")
    assert locate_weights("someone/glpn-x").name == "someone/glpn-x"


def test_what_a_file_says_of_its_scale_counts(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "w", SMALL, random_glpn(), {"meters_per_unit": "8", "metric": "metric"})
    kept = import_weights(tmp_path / "w", "mine")
    assert (kept.card.meters_per_unit, kept.card.metric, kept.scale_note) == (8.0, True, None)
    assert import_weights(tmp_path / "w", "mine", meters_per_unit=2.0, overwrite=True).card.depth_limit_m == 20.0


def test_a_copy_of_the_bundled_weights_stays_approximate() -> None:
    kept = import_weights(locate_weights("tiny").path, "mine", meters_per_unit=2.0)
    assert (kept.card.metric, kept.card.shrink, kept.card.working_size) == (
        False,
        True,
        CATALOG["tiny"].card.working_size,
    )
    assert read_metadata(kept.path)["license"] == "CC-BY-4.0"


def test_a_name_is_never_taken_from_other_weights_unless_asked(folder: Path) -> None:
    first = import_weights(folder, "mine").path.read_bytes()
    with pytest.raises(WeightsError, match="there already") as caught:
        import_weights(folder, "mine", meters_per_unit=5.0)
    assert "--overwrite" in str(caught.value.hint)
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
def test_names_that_cannot_be_are_refused(folder: Path, home: Path, name: str) -> None:
    with pytest.raises(UsageError):
        import_weights(folder, name)
    assert not home.exists()


@pytest.mark.parametrize("name", ["mine", "my-glpn_2.1", "8", "x" * 64])
def test_names_that_can_be_are_found_again(folder: Path, name: str) -> None:
    import_weights(folder, name)
    assert locate_weights(name).name == name


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_a_factor_that_makes_no_sense_is_refused(folder: Path, factor: float) -> None:
    with pytest.raises(UsageError, match="--meters-per-unit"):
        import_weights(folder, "mine", meters_per_unit=factor)


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
def test_what_is_no_glpn_is_not_kept(folder: Path, home: Path, break_it: Any, error: type[Exception]) -> None:
    break_it(folder)
    with pytest.raises(error):
        import_weights(folder, "mine")
    assert not (home / "weights").exists()


def test_a_path_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no weights there"):
        import_weights(tmp_path / "gone.ckpt", "mine")
