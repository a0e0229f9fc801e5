"""Weights as things that are fetched, kept and looked at."""

from __future__ import annotations

from typing import Annotated

import typer

from glpn_cli.cli.options.panels import RESULT

WeightsToDownload = Annotated[
    list[str],
    typer.Argument(
        metavar="nyu|kitti|all|OWNER/REPO...",
        help="Weights of the catalog, all of them, or a repository of the Hugging Face Hub.",
        show_default=False,
    ),
]

WeightsName = Annotated[str, typer.Argument(metavar="NAME", help="The name of weights.", show_default=False)]

WeightsNames = Annotated[list[str], typer.Argument(metavar="NAME...", help="The names of weights.", show_default=False)]

AnyWeightsNames = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME|PATH]...", help="Which weights. Default: all on this machine.", show_default=False),
]

WeightsFile = Annotated[
    str,
    typer.Argument(
        metavar="FILE|FOLDER",
        help="A folder as transformers saves it, a safetensors or .bin file, or a .ckpt of the authors.",
        show_default=False,
    ),
]

ImportAs = Annotated[
    str,
    typer.Option(
        "--as",
        metavar="NAME",
        help="What to call them. nyu and kitti give them the scale of the catalog.",
        rich_help_panel=RESULT,
        show_default=False,
    ),
]

MetersPerUnit = Annotated[
    float | None,
    typer.Option(
        "--meters-per-unit",
        metavar="FACTOR",
        help="From what these weights say to meters. Default: what their file or name tells, else 1.",
        rich_help_panel=RESULT,
        show_default=False,
    ),
]

OverwriteWeights = Annotated[
    bool,
    typer.Option("--overwrite", help="Get or import them again, in place of those here.", rich_help_panel=RESULT),
]
