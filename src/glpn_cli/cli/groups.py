"""Groups of options: a command takes a dataclass whose fields are options, and Typer sees each of them."""

from __future__ import annotations

import functools
import inspect
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Callable


def with_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take groups of options as one argument each.

    Args:
        command: some of its parameters are annotated with a group, a dataclass whose fields are options.

    Returns:
        The same command for Typer, which sees every field of a group as a parameter in the group's place.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    shown = [
        expanded
        for parameter in inspect.signature(command).parameters.values()
        for expanded in (
            _fields_as_parameters(groups[parameter.name])
            if parameter.name in groups
            else [parameter.replace(annotation=hints[parameter.name], kind=parameter.KEYWORD_ONLY)]
        )
    ]

    @functools.wraps(command)
    def grouped(**values: Any) -> None:
        gathered = {
            name: group(**{item.name: values.pop(item.name) for item in fields(group)})
            for name, group in groups.items()
        }
        command(**values, **gathered)

    grouped.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    grouped.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]  # where inspect looks first
    return grouped


def _fields_as_parameters(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            item.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if item.default is MISSING else item.default,
            annotation=hints[item.name],
        )
        for item in fields(group)
    ]
