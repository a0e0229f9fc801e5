"""Pixels and files that are looked at."""

from __future__ import annotations

from typing import Annotated

import typer

from glpn_cli.cli.options.panels import RESULT, TALK, WORK

AnchorTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--anchor",
        metavar="X,Y=METERS",
        help="A known depth: all is rescaled to it. At a pixel from the top left; may be given several times.",
        rich_help_panel=WORK,
        show_default=False,
    ),
]

Measured = Annotated[
    str,
    typer.Argument(
        metavar="PHOTO|DEPTH", help="An image, a depth file, or - for an image from a pipe.", show_default=False
    ),
]

AtTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--at",
        metavar="X,Y",
        help="A pixel of the upright image. Column from the left, row from the top, from 0; may be given several "
        "times.",
        rich_help_panel=RESULT,
        show_default=False,
    ),
]

BoxTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--box",
        metavar="X0,Y0,X1,Y1",
        help="A box of pixels, without column X1 and row Y1. May be given several times.",
        rich_help_panel=RESULT,
        show_default=False,
    ),
]

Preview = Annotated[bool, typer.Option("--preview", help="Draw the depth in the terminal, too.", rich_help_panel=TALK)]

DepthFiles = Annotated[
    list[str],
    typer.Argument(metavar="FILE...", help="Depth files, or any others.", show_default=False),
]
