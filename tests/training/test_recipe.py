from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from glpn_cli.errors import UsageError
from glpn_cli.training.checkpoints import settings_to_json
from glpn_cli.training.recipe import build_settings, read_recipe
from glpn_cli.training.settings import Photometric, TrainSettings
from glpn_cli.values import Precision

RECIPES = sorted((Path(__file__).parents[2] / "recipes").rglob("*.json"))


def test_the_settings_of_a_run_are_a_recipe(tmp_path: Path) -> None:
    settings = TrainSettings(
        data=("a=2", "scenes"),
        sizes=((32, 64, 0.5), (64, 64, 0.5)),
        crop=(0.5, 1.0),
        photometric=Photometric.STRONG,
        precision=Precision.BFLOAT16,
        validation=("b",),
        drop_path=0.2,
    )
    file = tmp_path / "settings.json"
    file.write_text(settings_to_json(settings), encoding="utf-8")
    read = build_settings(read_recipe(str(file)), {"seed": None})
    assert read == settings
    assert settings_to_json(read) == settings_to_json(settings)
    assert (type(read.photometric), type(read.precision)) == (Photometric, Precision)


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.name)
def test_recipes_of_the_bundled_weights_can_be_read(file: Path) -> None:
    recipe = json.loads(file.read_text(encoding="utf-8"))
    settings = build_settings(read_recipe(str(file)), {"data": ["a"]})
    written = json.loads(settings_to_json(settings))
    assert {name: written[name] for name in recipe} == recipe
    assert settings.loss_per_image


def test_given_values_override_the_recipe() -> None:
    settings = build_settings({"data": ["a"], "batch_size": 3, "epochs": 2}, {"batch_size": 8, "epochs": None})
    assert (settings.batch_size, settings.epochs, settings.data) == (8, 2, ("a",))


@pytest.mark.parametrize(
    ("recipe", "setting"),
    [
        ({}, "data"),
        ({"data": []}, "data"),
        ({"data": [1]}, "data"),
        ({"data": [""]}, "data"),
        ({"batch_size": "three"}, "batch_size"),
        ({"batch_size": True}, "batch_size"),
        ({"batch_size": 3.5}, "batch_size"),
        ({"batch_size": None}, "batch_size"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": False}, "learning_rate"),
        ({"muon": 1}, "muon"),
        ({"root": 5}, "root"),
        ({"photometric": "wild"}, "photometric"),
        ({"photometric": ["paper"]}, "photometric"),
        ({"precision": "float64"}, "precision"),
        ({"crop": [0.9, 0.5]}, "crop"),
        ({"crop": [0.9]}, "crop"),
        ({"crop": "small"}, "crop"),
        ({"sizes": ["32x64=much"]}, "sizes"),
        ({"sizes": [[32]]}, "sizes"),
        ({"sizes": [[32, 64, 1], [64, 96, 0]]}, "sizes"),
    ],
    ids=str,
)
def test_invalid_values_name_their_setting(recipe: dict[str, Any], setting: str) -> None:
    complete = recipe if setting == "data" else {"data": ["a"]} | recipe
    with pytest.raises(UsageError) as raised:
        build_settings(complete, {})
    assert raised.value.setting == setting
    if all(value is not None for value in recipe.values()):
        with pytest.raises(UsageError) as raised:
            build_settings({}, complete)
        assert raised.value.setting == setting


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("root", None),
        ("depth_limit_m", 80),
        ("depth_limit_m", None),
        ("epochs", 2),
        ("crop", None),
        ("validation", None),
    ],
)
def test_integers_and_null_are_accepted_where_they_fit(name: str, value: Any) -> None:
    settings = build_settings({"data": ["a"], name: value}, {})
    assert getattr(settings, name) == value


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("data", "a", ("a",)),
        ("validation", "a", ("a",)),
        ("batch_size", "3", 3),
        ("depth_limit_m", "80", 80.0),
        ("crop", "native", (0.0, 0.0)),
        ("crop", "0.7-1", (0.7, 1.0)),
        ("sizes", ["32x64", "64x96=0.5"], ((32, 64, 1.0), (64, 96, 0.5))),
        ("sizes", [["32", 64, 1]], ((32, 64, 1.0),)),
        ("photometric", "Strong", Photometric.STRONG),
    ],
)
def test_text_is_converted(name: str, text: Any, value: Any) -> None:
    assert getattr(build_settings({"data": ["a"], name: text}, {}), name) == value


def test_an_unknown_setting_is_named_with_the_closest() -> None:
    with pytest.raises(UsageError, match="bach_size") as raised:
        build_settings({"data": ["a"], "bach_size": 3}, {})
    assert raised.value.hint is not None
    assert "batch_size" in raised.value.hint
    with pytest.raises(UsageError, match="zzz"):
        build_settings({"data": ["a"], "zzz": 3}, {})


def test_a_file_that_is_not_a_recipe_is_named(tmp_path: Path) -> None:
    for text in ("{", "[1]"):
        (tmp_path / "r.json").write_text(text, encoding="utf-8")
        with pytest.raises(UsageError, match=r"r\.json"):
            read_recipe(str(tmp_path / "r.json"))
    with pytest.raises(UsageError, match=r"gone\.json"):
        read_recipe(str(tmp_path / "gone.json"))


def test_given_epochs_override_the_steps_of_the_recipe() -> None:
    recipe = {"data": ["a"], "steps": 26000}
    assert build_settings(recipe, {"epochs": 2}).steps == 0
    assert build_settings(recipe, {"epochs": 2, "steps": 7}).steps == 7
    assert build_settings(recipe, {"epochs": None}).steps == 26000


def test_given_initial_weights_override_the_architecture_of_the_recipe() -> None:
    recipe = {"data": ["a"], "init": "none", "config": "b0"}
    assert build_settings(recipe, {}).config == "b0"
    assert build_settings(recipe, {"init": "tiny"}).config is None
    assert build_settings(recipe, {"init": "none", "config": "b1"}).config == "b1"


def test_names_of_version_0_1_are_accepted() -> None:
    recipe = {"data": ["a"], "units_per_metre": 5000, "validation_pictures": 7, "loss_per_picture": True}
    settings = build_settings(recipe, {})
    assert (settings.units_per_meter, settings.validation_images, settings.loss_per_image) == (5000, 7, True)


@pytest.mark.parametrize(("textures", "count"), [(["photos"], 1), ([], 0), (None, 0)])
def test_textures_of_an_old_recipe_are_ignored_with_a_note(textures: list[str] | None, count: int) -> None:
    notes: list[str] = []
    recipe = {"data": ["a"], "textures": textures}
    assert build_settings(recipe, {}, note=notes.append) == build_settings(recipe, {}) == TrainSettings(data=("a",))
    assert len(notes) == count
    assert all("textures" in note for note in notes)
