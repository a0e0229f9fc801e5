"""Recipes: settings of a training run read from a JSON file, such as the `settings.json` of another run."""

from __future__ import annotations

from dataclasses import MISSING, fields
from enum import StrEnum
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

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

_KINDS = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}


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
    hints = get_type_hints(TrainSettings)
    for name in values:
        if name not in hints:
            raise UsageError(
                f"the recipe has an unknown setting {name!r}",
                hint=closest_hint(name, hints) or ", ".join(hints),
            )
    for item in fields(TrainSettings):
        if item.default is MISSING and not values.get(item.name):
            raise UsageError("no training data", hint="set it to nyu, kitti or a folder", setting=item.name)
    return TrainSettings(**{name: _convert_setting(name, value, hints[name]) for name, value in values.items()})


def rename_settings(values: dict[str, Any]) -> dict[str, Any]:
    """Return settings that an earlier version wrote under today's names, without those that were removed."""
    return {_RENAMED.get(name, name): value for name, value in values.items() if name not in _REMOVED}


def _convert_setting(name: str, value: Any, hint: Any) -> Any:
    try:
        return _convert(value, hint)
    except TypeError:
        raise UsageError(f"must be {_describe(hint)}, not {value!r}", setting=name) from None


def _convert(value: Any, hint: Any) -> Any:
    """Return a JSON value as the type of a hint.

    Raises:
        TypeError: the value has another type.
    """
    arguments = get_args(hint)
    if get_origin(hint) is UnionType:  # the only unions are optional values
        return None if value is None else _convert(value, arguments[0])
    if get_origin(hint) is tuple:
        return _convert_tuple(value, arguments)
    if issubclass(hint, StrEnum):
        if value not in list(hint):
            raise TypeError
        return hint(value)
    accepted = (int, float) if hint is float else hint  # an integer stays one, so that it is written as it was read
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise TypeError
    return value


def _convert_tuple(value: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError
    if arguments[-1] is Ellipsis:
        return tuple(_convert(item, arguments[0]) for item in value)
    if len(value) != len(arguments):
        raise TypeError
    return tuple(_convert(item, argument) for item, argument in zip(value, arguments, strict=True))


def _describe(hint: Any) -> str:
    """Return what a JSON value of a type hint looks like: "a list of [an integer, an integer, a number]"."""
    arguments = get_args(hint)
    if get_origin(hint) is UnionType:
        return " or ".join("null" if argument is NoneType else _describe(argument) for argument in arguments)
    if get_origin(hint) is tuple:
        if arguments[-1] is Ellipsis:
            return f"a list, each item {_describe(arguments[0])}"
        return f"[{', '.join(_describe(argument) for argument in arguments)}]"
    return ", ".join(hint) if issubclass(hint, StrEnum) else _KINDS[hint]
