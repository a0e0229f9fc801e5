"""What is said, and help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from glpn_cli._version import __version__
from glpn_cli.cli.command_help import print_help_of_all
from glpn_cli.cli.console import Console
from glpn_cli.cli.options.panels import TALK
from glpn_cli.settings import ColorPolicy


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"glpn {__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True),
]

HelpAll = Annotated[
    bool,
    typer.Option("--help-all", help="Show all options, and more of each.", callback=print_help_of_all, is_eager=True),
]

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.", rich_help_panel=TALK)]

Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say more, such as the time of each stage.", rich_help_panel=TALK)
]

Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks with errors.", rich_help_panel=TALK, hidden=True)]

Color = Annotated[
    ColorPolicy,
    typer.Option("--color", help="Color what is said; NO_COLOR is honoured too.", rich_help_panel=TALK, hidden=True),
]


@dataclass(frozen=True, kw_only=True)
class TalkOptions:
    """What is said."""

    quiet: Quiet = False
    verbose: Verbose = False
    debug: Debug = False
    color: Color = ColorPolicy.AUTO
    help_all: HelpAll = False  # its callback acts

    def console(self) -> Console:
        """Give the console that talks like this."""
        return Console(color=self.color, quiet=self.quiet, verbose=self.verbose, debug=self.debug)
