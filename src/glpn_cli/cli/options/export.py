"""The options of `glpn export` that no other command has."""

from __future__ import annotations

from typing import Annotated

import typer

from glpn_cli.cli.options.panels import RESULT
from glpn_cli.settings import Precision

OnnxFile = Annotated[
    str,
    typer.Option("--onnx", metavar="OUT.onnx", help="The file to write.", rich_help_panel=RESULT, show_default=False),
]
ExportSize = Annotated[
    str | None,
    typer.Option(
        "--size",
        metavar="HxW|dynamic",
        help="Of the input: one image of a fixed size, or any batch of any multiples of 32. Default: the size that "
        "the weights were made for.",
        rich_help_panel=RESULT,
        show_default=False,
    ),
]
ExportPrecision = Annotated[
    Precision,
    typer.Option(
        "--precision",
        metavar="float32|float16",
        help="What the network in the file computes in.",
        rich_help_panel=RESULT,
        hidden=True,
    ),
]
WithPreprocessing = Annotated[
    bool,
    typer.Option(
        "--with-preprocessing",
        help="8-bit RGB (batch, height, width, 3) in and meters out, instead of [0, 1] and the published scale.",
        rich_help_panel=RESULT,
    ),
]
