"""Recipes: settings of a training run read from a JSON file, such as the `settings.json` of another run."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from glpn_cli.convert import closest_hint
from glpn_cli.errors import UsageError
from glpn_cli.files import read_json
from glpn_cli.training.settings import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable

# The names that version 0.1 wrote. `textures` was for scenes rendered during training, which is no longer possible.
_RENAMED = {
    "units_per_metre": "units_per_meter",
    "validation_pictures": "validation_images",
    "loss_per_picture": "loss_per_image",
}
_REMOVED = ("textures",)


def read_recipe(path: str) -> dict[str, Any]:
    """Read a recipe: a JSON object of settings.

    Raises:
        UsageError: the file cannot be read or is not a JSON object.
    """
    return read_json(path, UsageError)


def build_settings(
    recipe: dict[str, Any], given: dict[str, Any], *, note: Callable[[str], None] | None = None
) -> TrainSettings:
    """Build settings from a recipe and from what the user sets.

    Args:
        recipe: values by name, from a file; may be empty. Names of earlier versions are accepted.
        given: the user's values, which override the recipe; None is not set.
        note: called with a message for each setting of the recipe that has no effect any more.

    Raises:
        UsageError: a setting is unknown, of the wrong type or out of its range, or there is no data.
    """
    given = {name: value for name, value in given.items() if value is not None}
    for name in _REMOVED:
        if recipe.get(name) and note is not None:
            note(f"the recipe's {name} have no effect: scenes are no longer rendered during training")
    values = rename_settings(recipe) | given
    if "epochs" in given and "steps" not in given:
        values["steps"] = 0  # the steps of the recipe would take precedence
    if "init" in given and "config" not in given:
        values.pop("config", None)  # the recipe's architecture belongs to the recipe's initial weights
    names = [item.name for item in fields(TrainSettings)]
    for name in values:
        if name not in names:
            raise UsageError(
                f"the recipe has an unknown setting {name!r}", hint=closest_hint(name, names) or ", ".join(names)
            )
    for item in fields(TrainSettings):
        if item.default is MISSING and not values.get(item.name):
            raise UsageError("no training data", hint="set it to nyu, kitti or a folder", setting=item.name)
    return TrainSettings(**values)


def rename_settings(values: dict[str, Any]) -> dict[str, Any]:
    """Return settings that an earlier version wrote under today's names, without those that were removed."""
    return {_RENAMED.get(name, name): value for name, value in values.items() if name not in _REMOVED}
