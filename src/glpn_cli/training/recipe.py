"""Settings of a training from a file, so that a recipe can be kept, shared and repeated."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from glpn_cli.errors import UsageError
from glpn_cli.settings import Precision
from glpn_cli.training.settings import NATIVE_CROP, Photometric, TrainSettings

_KINDS: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "str": (str,),
    "str | None": (str, type(None)),
    "Photometric": (str,),
    "Precision": (str,),
}
_LISTS = {"data", "validation", "textures", "sizes", "crop"}


def read_recipe(path: str) -> dict[str, Any]:
    """Read a recipe: a JSON table of settings, such as the `settings.json` of a training.

    Raises:
        UsageError: it is none.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--recipe {path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"--recipe {path}: is no JSON: {error}") from error
    if not isinstance(values, dict):
        raise UsageError(f"--recipe {path}: is not a table of settings")
    return values


def build_settings(recipe: dict[str, Any], given: dict[str, Any]) -> TrainSettings:
    """Build settings.

    Args:
        recipe: from a file; may be empty.
        given: by the user, which counts more; what is None was not given.

    Raises:
        UsageError: a setting is unknown or of the wrong kind, or there is no data.
    """
    said = {name: value for name, value in given.items() if value is not None}
    values = recipe | said
    if "epochs" in said and "steps" not in said:
        values["steps"] = 0  # those of the recipe would count more
    if "init" in said and "config" not in said:
        values.pop("config", None)  # it went with what the recipe begins with
    known = {item.name: item for item in fields(TrainSettings)}
    for name, value in values.items():
        if name not in known:
            raise UsageError(f"the recipe has a setting {name!r}, which there is not", hint=", ".join(known))
        kind = str(known[name].type)
        right = value is None or isinstance(value, list | tuple) if name in _LISTS else isinstance(value, _KINDS[kind])
        if not right or (isinstance(value, bool) and kind != "bool"):
            raise UsageError(f"the setting {name} is a {kind}, not {value!r}")
    missing = [name for name, item in known.items() if item.default is MISSING and not values.get(name)]
    if missing:
        raise UsageError(f"there is no {missing[0]} to learn from", hint="--data nyu, kitti, scenes or a folder")
    try:
        return TrainSettings(**{name: _typed(name, value) for name, value in values.items()})
    except (TypeError, ValueError) as error:
        raise UsageError(f"{'the recipe makes' if recipe else 'these settings make'} no sense: {error}") from error


def _typed(name: str, value: Any) -> Any:
    if name == "photometric":
        return Photometric(value)
    if name == "precision":
        return Precision(value)
    if name == "sizes":
        return tuple((int(height), int(width), float(share)) for height, width, share in value)
    if name == "crop" and value is not None:
        low, high = value
        if (low, high) != NATIVE_CROP and not 0 < low <= high <= 1:
            raise ValueError("crop is two shares, the lower one first")
        return float(low), float(high)
    if name == "textures" and value is None:
        return ()
    return tuple(value) if name in _LISTS and value is not None else value
