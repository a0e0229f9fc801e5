"""What is printed for programs; every command has its own words for it."""

from __future__ import annotations

from typing import Annotated

import typer

from glpn_cli.cli.options.panels import TALK

JsonObject = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output.", rich_help_panel=TALK)
]

JsonFindings = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print a JSON object per image on standard output. With --verify one per output.",
        rich_help_panel=TALK,
    ),
]

JsonFacts = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object per file on standard output.", rich_help_panel=TALK),
]

JsonLines = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object per image on standard output.", rich_help_panel=TALK),
]

JsonRecords = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object per weights on standard output.", rich_help_panel=TALK),
]
