"""What only `glpn bench` has."""

from __future__ import annotations

from typing import Annotated

import typer

from glpn_cli.cli.options.panels import TALK, WORK
from glpn_cli.settings import Precision, Rival

ImageSizes = Annotated[
    list[str] | None,
    typer.Option(
        "--size",
        metavar="HxW",
        help="Size of the photo; may be given several times. Default: 480x640 and 1080x1920.",
        rich_help_panel=WORK,
        show_default=False,
    ),
]

BenchPrecisions = Annotated[
    list[Precision] | None,
    typer.Option(
        "--precision",
        help="What the network computes in; may be given several times. Default: float32.",
        rich_help_panel=WORK,
        show_default=False,
    ),
]

BenchDevices = Annotated[
    list[str] | None,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda|cuda:N|mps|xpu",
        help="What computes; may be given several times. Default: auto.",
        rich_help_panel=WORK,
        show_default=False,
    ),
]

JsonCases = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON object per size, precision and device on standard output.",
        rich_help_panel=TALK,
    ),
]

BenchWeights = Annotated[
    str,
    typer.Option(
        "--weights",
        "-w",
        metavar="NAME|PATH|random",
        help="What is measured; random is the published architecture without its weights.",
        rich_help_panel=WORK,
    ),
]

Against = Annotated[
    list[Rival] | None,
    typer.Option(
        "--against",
        help="Also run the same network in another way, where that is installed; may be given several times.",
        rich_help_panel=WORK,
        show_default=False,
    ),
]

Rounds = Annotated[int, typer.Option("--rounds", min=1, help="How often everything is timed.", rich_help_panel=WORK)]
