from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from glpn_cli.errors import UsageError
from glpn_cli.scenes import kept
from glpn_cli.scenes.filling import fill
from glpn_cli.training.datasets import paper_size, training_sets, validation_sets
from glpn_cli.training.settings import SceneSettings, TrainSettings

PAIRS = Path(__file__).parents[1] / "data" / "pairs"
REAL = TrainSettings(data=(str(PAIRS),), units_per_meter=1000)


def names(samples: object) -> set[str]:
    return {samples[number].name for number in range(len(samples))}  # type: ignore[arg-type, index]


def test_a_folder_gives_its_last_tenth_away_and_learns_from_the_rest() -> None:
    (learnt,), (measured,) = training_sets(REAL), validation_sets(REAL)
    assert (len(learnt.samples), learnt.count, len(measured.samples)) == (11, 11, 1)
    assert not names(learnt.samples) & names(measured.samples)
    assert names(measured.samples) == {"tum_fr3_cabinet/00043"}


def test_what_is_measured_by_name_is_not_taken_from_what_is_learnt() -> None:
    named = replace(REAL, data=(f"{PAIRS / 'aims_lab'}=2.5",), validation=(str(PAIRS / "tum_fr1_rpy"),))
    (learnt,), (measured,) = training_sets(named), validation_sets(named)
    assert (len(learnt.samples), learnt.count, len(measured.samples)) == (4, 10, 4)


def test_not_more_is_measured_than_was_said_and_every_set_has_its_share() -> None:
    words = tuple(str(PAIRS / name) for name in ("aims_lab", "tum_fr1_rpy", "tum_fr2_pioneer"))
    few = replace(REAL, validation=words, validation_images=5)
    assert [len(one.samples) for one in validation_sets(few)] == [2, 2, 1]


def test_kept_scenes_are_measured_by_those_that_are_never_learnt_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "PIECE_SCENES", 4)
    monkeypatch.setattr("glpn_cli.scenes.filling.PIECE_SCENES", 4)
    monkeypatch.setattr("glpn_cli.training.datasets._VALIDATION_SCENES", 1)
    folder = str(tmp_path / "scenes")
    list(fill(SceneSettings(folder, 4, (32, 32), workers=0)))
    for validation in (None, (folder,)):
        settings = TrainSettings(data=(folder,), validation=validation)
        (learnt,), (measured,) = training_sets(settings), validation_sets(settings)
        assert names(learnt.samples) == {"scene 0", "scene 1", "scene 2"}
        assert names(measured.samples) == {"scene 3"}
        assert learnt.mapped


def test_scenes_without_end_are_measured_by_others_than_are_ever_learnt_from() -> None:
    (learnt,), (measured,) = (make(TrainSettings(data=("scenes=0.5",))) for make in (training_sets, validation_sets))
    assert learnt.endless
    assert learnt.count == 5000
    assert int(measured.samples[0].name.split()[1]) > len(learnt.samples)


@pytest.mark.parametrize("times", ["0", "-1", "nan", "inf"])
def test_times_that_are_none_are_refused(times: str) -> None:
    with pytest.raises(UsageError, match="is a positive number"):
        training_sets(replace(REAL, data=(f"{PAIRS}={times}",)))


def test_a_folder_may_have_an_equals_sign_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "a=b").symlink_to(PAIRS)
    (learnt,) = training_sets(replace(REAL, data=(str(tmp_path / "a=b"),)))
    assert learnt.count == 11


def test_the_papers_pieces_are_for_one_of_its_data_sets_alone() -> None:
    assert paper_size(["nyu"]) == (448, 576)
    assert paper_size(["kitti=1"]) == (352, 704)
    assert paper_size(["nyu", "kitti"]) is None
    assert paper_size(["scenes"]) is None


def test_a_folder_may_be_called_as_if_it_had_a_weight(tmp_path: Path) -> None:
    shutil.copytree(PAIRS, tmp_path / "x=2")
    (plain,) = training_sets(replace(REAL, data=(str(PAIRS),)))
    (called,) = training_sets(replace(REAL, data=(str(tmp_path / "x=2"),)))
    (twice,) = training_sets(replace(REAL, data=(f"{tmp_path / 'x=2'}=2",)))
    assert plain.count == called.count
    assert twice.count == 2 * called.count
