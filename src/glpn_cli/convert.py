"""Conversion of text to the types of settings; the base class of all settings.

The command line passes text on unchanged, and Python users may give text too. Both get the same values and errors.
"""

from __future__ import annotations

import contextlib
import difflib
import math
import operator
import os
import re
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import fields
from enum import Enum
from functools import cache
from typing import Any, ClassVar

from glpn_cli.errors import UsageError

SIZE_DIVISOR = 32
"""The sides of the network's input are multiples of this, because the encoder halves them five times."""


EMPTY_HINT = "is a variable unset or empty?"
"""The hint where a text is empty that must not be: usually it comes from an environment variable."""


class Settings:
    """Base class: converts and checks the fields of a frozen dataclass when it is built."""

    LIMITS: ClassVar[Mapping[str, tuple[float, float]]] = {}
    """The smallest and the largest value of number fields, both allowed."""

    def __post_init__(self) -> None:
        """Convert text to the types of the fields.

        Raises:
            UsageError: a value cannot be converted or is out of its range.
        """
        given = {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]
        for name, value in convert(type(self), given).items():
            object.__setattr__(self, name, value)


def convert(settings: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values converted to the field types of a settings class, and checked against its `LIMITS`.

    Raises:
        UsageError: a value cannot be converted or is out of its range.
    """
    hints = field_types(settings)
    limits: Mapping[str, tuple[float, float]] = getattr(settings, "LIMITS", {})
    converted = {name: convert_value(name, value, hints[name]) for name, value in values.items()}
    for name in limits.keys() & converted.keys():
        low, high = limits[name]
        value = converted[name]
        if value is not None and not low <= value <= high:
            wanted = f"from {low:g} to {_in_digits(high)}" if math.isfinite(high) else f"at least {low:g}"
            raise UsageError(f"must be {wanted}, not {value}", setting=name)
    return converted


def _in_digits(value: float) -> str:
    """Return a number without an exponent, which {:g} writes from a million on."""
    return str(int(value)) if float(value).is_integer() else f"{value:g}"


@cache
def field_types(settings: type) -> dict[str, Any]:
    """Return the resolved annotation of each field of a dataclass."""
    hints = typing.get_type_hints(settings)
    return {item.name: hints[item.name] for item in fields(settings)}


def without_none(hint: Any) -> Any:
    """Return the type of an annotation such as `int | None`, without the None."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        (hint,) = (part for part in typing.get_args(hint) if part is not types.NoneType)
    return hint


def convert_value(name: str, value: Any, hint: Any) -> Any:
    """Return a value converted to the type of an annotation.

    Raises:
        UsageError: it cannot be converted; the error is about the setting `name`.
    """
    wanted = without_none(hint)
    if value is None:
        if wanted is hint:
            raise UsageError("must not be None", setting=name)
        return None
    if typing.get_origin(wanted) is tuple:
        return _to_tuple(name, value, typing.get_args(wanted))
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()  # a number of numpy or torch, which need not be imported for that
    if wanted is bool and not isinstance(value, bool):
        raise UsageError(f"must be True or False, not {value!r}", setting=name)
    _refuse_empty(name, value, wanted)
    if wanted is int or wanted is float:
        return _to_number(name, value, wanted)
    if wanted is str and isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str) and not isinstance(value, wanted):
        return _to_choice(name, value, wanted) if issubclass(wanted, Enum) else wanted.parse(value)
    if not isinstance(value, wanted):
        kind = "text" if wanted is str else f"text or {wanted.__name__}"
        raise UsageError(f"must be {kind}, not {type(value).__name__}", setting=name)
    return value


def _refuse_empty(name: str, value: Any, wanted: Any) -> None:
    if value == "" and wanted is not str:
        raise UsageError("must not be empty", hint=EMPTY_HINT, setting=name)


def _to_tuple(name: str, value: Any, parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the items of a list, or of a single value, converted to the type of the items."""
    items = (value,) if isinstance(value, str) or not isinstance(value, Iterable) else tuple(value)
    if parts[-1] is Ellipsis:
        parts = parts[:1] * len(items)
    if len(items) != len(parts):
        raise UsageError(f"must have {len(parts)} values, not {len(items)}", setting=name)
    return tuple(convert_value(name, item, part) for item, part in zip(items, parts, strict=True))


def _to_number(name: str, value: Any, wanted: type[int | float]) -> int | float:
    """Return the number that is given or that a text means; True is not 1, and 1.0 is not a whole number."""
    number: int | float = math.nan
    if not isinstance(value, bool):
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            number = operator.index(value) if wanted is int and not isinstance(value, str) else wanted(value)
    if isinstance(number, float) and not math.isfinite(number):
        kind = "whole" if wanted is int else "finite"
        raise UsageError(f"must be a {kind} number, not {value}", setting=name)
    return number


def _to_choice(name: str, text: str, choices: type[Enum]) -> Enum:
    """Return the member that a text means, in any case."""
    try:
        return choices(text.lower())
    except ValueError:
        names = [str(choice.value) for choice in choices]
        raise UsageError(
            f"{text!r} is not one of {', '.join(names)}", hint=closest_hint(text, names), setting=name
        ) from None


def closest_hint(text: str, names: Iterable[str]) -> str | None:
    """Return a hint with the name that a text resembles most, or None if it resembles none."""
    close = difflib.get_close_matches(text.lower(), list(names), 1)
    return f"did you mean {close[0]!r}?" if close else None


def refuse_unknown_keywords(function: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse keyword arguments that a function does not have, and name the one that was probably meant.

    Raises:
        TypeError: there is one; as Python itself raises it.
    """
    known = list(known)
    for name in given:
        if name not in known:
            hint = closest_hint(name, known)
            raise TypeError(f"{function}() has no keyword {name!r}" + (f"; {hint}" if hint else ""))


ALL_DEVICES = "all"
"""Every accelerator of this machine, or its CPU if there is none."""

OPENVINO_PREFIX = "openvino:"
"""The start of the name of a device that OpenVINO runs the network on, such as openvino:GPU."""

DEVICE_NAME = re.compile(r"(cpu|mps|(cuda|xpu)(:\d+)?|openvino:[A-Z]+(\.\d+)?)")
"""The name of one device."""


def parse_devices(text: str) -> list[str]:
    """Return the devices that a text such as "cuda:0,cuda:1" names; a single word may be any.

    Raises:
        UsageError: one of several is not a device.
    """
    names = [name.strip() for name in text.split(",")]
    wrong = [name for name in names if not DEVICE_NAME.fullmatch(name)]
    if len(names) > 1 and wrong:
        raise UsageError(
            f"{wrong[0]!r} in {text!r} is not a device", hint="for example cuda:0,cuda:1", setting="device"
        )
    return names


def parse_size(text: str, setting: str) -> tuple[int, int]:
    """Return (height, width) of a text such as "480x640".

    Raises:
        UsageError: the text is not a size, or a side is 0.
    """
    height, separator, width = text.lower().partition("x")
    if not (separator and height.isascii() and width.isascii() and height.isdecimal() and width.isdecimal()):
        raise UsageError(f"must be HEIGHTxWIDTH, not {text!r}", hint="for example 480x640", setting=setting)
    if not (int(height) and int(width)):
        raise UsageError(f"{text} has no pixels", setting=setting)
    return int(height), int(width)


def parse_input_size(text: str, setting: str, words: str = "") -> tuple[int, int]:
    """Return (height, width) of a text such as "480x640", whose sides must be multiples of 32.

    Raises:
        UsageError: the text is not such a size.
    """
    try:
        sides = parse_size(text, setting)
    except UsageError as error:
        if not words:
            raise
        raise UsageError(f"must be {words} or HEIGHTxWIDTH, not {text!r}", hint=error.hint, setting=setting) from None
    if any(side % SIZE_DIVISOR for side in sides):
        nearest = "x".join(str(max(1, round(side / SIZE_DIVISOR)) * SIZE_DIVISOR) for side in sides)
        raise UsageError(
            f"{text}: both sides must be multiples of {SIZE_DIVISOR}", hint=f"the nearest is {nearest}", setting=setting
        )
    return sides
