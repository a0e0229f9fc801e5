from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from glpn_cli.errors import InputError, UsageError
from glpn_cli.training.datasets import data_names, paper_size, training_sets, validation_sets
from glpn_cli.training.settings import TrainSettings
from scene_folder import write_scenes

PAIRS = Path(__file__).parents[1] / "data" / "pairs"
REAL = TrainSettings(data=(str(PAIRS),), units_per_meter=1000)


def names(samples: object) -> set[str]:
    return {samples[number].name for number in range(len(samples))}  # type: ignore[arg-type, index]


def test_the_last_tenth_of_a_folder_is_for_validation() -> None:
    (training,), (validation,) = training_sets(REAL), validation_sets(REAL)
    assert (len(training.samples), training.count, len(validation.samples)) == (11, 11, 1)
    assert not names(training.samples) & names(validation.samples)
    assert names(validation.samples) == {"tum_fr3_cabinet/00043"}
    assert not training.mapped


def test_named_validation_data_leaves_training_data_complete() -> None:
    named = replace(REAL, data=(f"{PAIRS / 'aims_lab'}=2.5",), validation=(str(PAIRS / "tum_fr1_rpy"),))
    (training,), (validation,) = training_sets(named), validation_sets(named)
    assert (len(training.samples), training.count, len(validation.samples)) == (4, 10, 4)


def test_validation_images_are_limited_in_proportion() -> None:
    entries = tuple(str(PAIRS / name) for name in ("aims_lab", "tum_fr1_rpy", "tum_fr2_pioneer"))
    few = replace(REAL, validation=entries, validation_images=5)
    assert [len(one.samples) for one in validation_sets(few)] == [2, 2, 1]


def test_the_last_scenes_are_never_used_for_training(tmp_path: Path) -> None:
    folder = str(write_scenes(tmp_path / "scenes", 0))
    for validation in (None, (folder,)):
        settings = TrainSettings(data=(folder,), validation=validation)
        (training,), (validated,) = training_sets(settings), validation_sets(settings)
        assert names(training.samples) == {f"scene {number}" for number in range(40)}
        assert names(validated.samples) == {f"scene {number}" for number in range(40, 64)}
        assert training.mapped
    (other,) = training_sets(replace(REAL, data=(f"{folder}=0.5",), validation=(str(PAIRS),)))
    assert names(other.samples) == {f"scene {number}" for number in range(40)}
    assert other.count == 20


@pytest.mark.parametrize("find", [training_sets, validation_sets])
def test_scenes_rendered_during_training_are_refused(
    find: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = TrainSettings(data=("scenes=0.5",))
    with pytest.raises(UsageError) as raised:
        find(settings)  # type: ignore[operator]
    assert raised.value.setting == "data"
    assert raised.value.hint is not None
    assert "recipes/tiny" in raised.value.hint
    write_scenes(tmp_path / "scenes", 0)
    assert len(find(settings)) == 1  # type: ignore[operator] # a folder may have that name


@pytest.mark.parametrize("weight", ["0", "-1", "nan", "inf"])
def test_invalid_weights_are_refused(weight: str) -> None:
    with pytest.raises(UsageError) as raised:
        training_sets(replace(REAL, data=(f"{PAIRS}={weight}",)))
    assert raised.value.setting == "data"


def test_a_weight_that_leaves_no_sample_is_refused() -> None:
    with pytest.raises(InputError) as raised:
        training_sets(replace(REAL, data=(f"{PAIRS}=0.01",)))
    assert raised.value.setting == "data"


def test_a_folder_name_may_contain_an_equals_sign(tmp_path: Path) -> None:
    (tmp_path / "a=b").symlink_to(PAIRS)
    (training,) = training_sets(replace(REAL, data=(str(tmp_path / "a=b"),)))
    assert training.count == 11


def test_a_folder_name_may_end_like_a_weight(tmp_path: Path) -> None:
    shutil.copytree(PAIRS, tmp_path / "x=2")
    (plain,) = training_sets(replace(REAL, data=(str(PAIRS),)))
    (named,) = training_sets(replace(REAL, data=(str(tmp_path / "x=2"),)))
    (twice,) = training_sets(replace(REAL, data=(f"{tmp_path / 'x=2'}=2",)))
    assert plain.count == named.count
    assert twice.count == 2 * named.count


def test_the_papers_size_is_for_one_data_set_alone() -> None:
    assert paper_size(["nyu"]) == (448, 576)
    assert paper_size(["kitti=1"]) == (352, 704)
    assert paper_size(["nyu", "kitti"]) is None
    assert paper_size(["folder"]) is None


def test_names_are_entries_without_weights() -> None:
    assert data_names(["nyu=2", "kitti", "a=b"]) == {"nyu", "kitti", "a=b"}
