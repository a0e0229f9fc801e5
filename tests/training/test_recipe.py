from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from glpn_cli.errors import UsageError
from glpn_cli.training.checkpoints import settings_as_json
from glpn_cli.training.recipe import build_settings, read_recipe
from glpn_cli.training.settings import Photometric, TrainSettings

if TYPE_CHECKING:
    from pathlib import Path


def test_the_settings_of_a_training_are_a_recipe_for_the_same(tmp_path: Path) -> None:
    settings = TrainSettings(
        data=("a=2", "scenes"),
        sizes=((32, 64, 0.5), (64, 64, 0.5)),
        crop=(0.5, 1.0),
        photometric=Photometric.STRONG,
        validation=("b",),
        drop_path=0.2,
    )
    file = tmp_path / "settings.json"
    file.write_text(settings_as_json(settings), encoding="utf-8")
    assert build_settings(read_recipe(str(file)), {"seed": None}) == settings


def test_what_the_user_says_counts_more_than_the_recipe() -> None:
    settings = build_settings({"data": ["a"], "batch_size": 3, "epochs": 2}, {"batch_size": 8, "epochs": None})
    assert (settings.batch_size, settings.epochs, settings.data) == (8, 2, ("a",))


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({}, "no data"),
        ({"data": []}, "no data"),
        ({"data": ["a"], "bach_size": 3}, "'bach_size'"),
        ({"data": ["a"], "batch_size": "3"}, "batch_size is a int"),
        ({"data": ["a"], "batch_size": True}, "batch_size"),
        ({"data": "a"}, "data is a"),
        ({"data": ["a"], "photometric": "wild"}, "wild"),
        ({"data": ["a"], "crop": [0.9, 0.5]}, "crop"),
        ({"data": ["a"], "sizes": [[32]]}, "makes no sense"),
        ({"data": ["a"], "sizes": [[0, 0, 1]]}, "0x0=1"),
        ({"data": ["a"], "sizes": [[32, 64, 1], [64, 96, 0]]}, "64x96=0"),
        ({"data": ["a"], "sizes": [[32, 64, float("nan")]]}, "32x64=nan"),
        ({"data": ["a"], "units_per_meter": -5}, "units_per_meter is a positive number"),
    ],
)
def test_a_recipe_that_makes_no_sense_says_where(recipe: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        build_settings(recipe, {})


def test_a_file_that_is_no_recipe_is_named(tmp_path: Path) -> None:
    for text in ("{", "[1]"):
        (tmp_path / "r.json").write_text(text, encoding="utf-8")
        with pytest.raises(UsageError, match=r"r\.json"):
            read_recipe(str(tmp_path / "r.json"))
    with pytest.raises(UsageError, match="cannot be read"):
        read_recipe(str(tmp_path / "gone.json"))
    assert json.loads("{}") == {}


def test_epochs_that_the_user_says_count_more_than_the_steps_of_the_recipe() -> None:
    recipe = {"data": ["a"], "steps": 26000}
    assert build_settings(recipe, {"epochs": 2}).steps == 0
    assert build_settings(recipe, {"epochs": 2, "steps": 7}).steps == 7
    assert build_settings(recipe, {"epochs": None}).steps == 26000


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0},
        {"accumulate": 0},
        {"seed": -1},
        {"beta2": 1.0},
        {"learning_rate": 1e-5, "learning_rate_end": 1e-4},
        {"weight_decay": -1.0},
        {"epochs": float("inf")},
        {"learning_rate": float("nan")},
        {"epochs": 0},
        {"data": [1]},
        {"data": [""]},
        {"textures": [""]},
    ],
    ids=str,
)
def test_a_setting_out_of_its_range_is_refused_wherever_it_comes_from(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="the recipe makes no sense"):
        build_settings({"data": ["a"]} | wrong, {})
    with pytest.raises(UsageError, match="these settings make no sense"):
        build_settings({}, {"data": ["a"]} | wrong)


def test_no_textures_are_no_textures() -> None:
    assert build_settings({"data": ["a"], "textures": None}, {}).textures == ()


def test_weights_to_begin_with_that_the_user_names_take_the_architecture_of_the_recipe_away() -> None:
    recipe = {"data": ["a"], "init": "none", "config": "b0"}
    assert build_settings(recipe, {}).config == "b0"
    assert build_settings(recipe, {"init": "tiny"}).config is None
    assert build_settings(recipe, {"init": "none", "config": "b1"}).config == "b1"
