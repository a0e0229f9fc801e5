"""Help that fits one screen: `--help` shows what most people need, `--help-all` everything."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from collections.abc import Iterator


_ALL = "glpn_cli.help_all"


class BriefCommand(TyperCommand):
    """A command whose `--help` leaves out its hidden options, and of the others says the first sentence.

    Only where there is a `--help-all`, which shows them all. Shells complete hidden options too.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._rare = {option.name for option in self.params if getattr(option, "hidden", False)}
        for option in self.params:
            if option.name in self._rare:
                option.hidden = False  # type: ignore[attr-defined]  # arguments have no such thing; or shells skip it

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse numbers that are none, which no option means."""
        rest = super().parse_args(ctx, args)
        for option in self.params:
            value = ctx.params.get(option.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise typer.BadParameter(f"{value} is no number of anything.", ctx=ctx, param=option)  # type: ignore[arg-type]
        return rest

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of this command, all of it if that is wanted."""
        if ctx.meta.get(_ALL) or not any(option.name == "help_all" for option in self.params):
            super().format_help(ctx, formatter)
            return
        brief = copy.copy(self)
        brief.params = list(self._shortened())
        TyperCommand.format_help(brief, ctx, formatter)

    def _shortened(self) -> Iterator[Any]:
        for option in self.params:
            if option.name not in self._rare:
                shown = copy.copy(option)
                shown.show_default = False  # type: ignore[attr-defined]
                shown.help = _first_sentence(getattr(option, "help", None) or "")  # type: ignore[attr-defined]
                yield shown


def print_help_of_all(ctx: typer.Context, asked: bool) -> None:
    """Print the help with every option, and end."""
    if asked:
        ctx.meta[_ALL] = True
        typer.echo(ctx.get_help())
        raise typer.Exit


def _first_sentence(text: str) -> str:
    head, dot, rest = text.partition(". ")
    return f"{head}." if dot and rest else text
