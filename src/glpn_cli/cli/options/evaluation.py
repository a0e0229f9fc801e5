"""The options of `glpn evaluate` that no other command has."""

from __future__ import annotations

from typing import Annotated

import typer

from glpn_cli.cli.options.panels import RESULT
from glpn_cli.settings import Align, Crop

_COUNTS = "What counts"
_COMPARED = "What it is compared with"
_SURE = "How sure it is"

CropTo = Annotated[
    Crop | None,
    typer.Option(
        "--crop",
        help="Where true depth counts. Default: nyu for nyu, garg for kitti, else none.",
        rich_help_panel=_COUNTS,
        show_default=False,
    ),
]
Cap = Annotated[
    float | None,
    typer.Option(
        "--cap",
        metavar="METERS",
        min=0.01,
        max=1e6,
        help="True depth from here on does not count. Default: 10 for nyu, else 80.",
        rich_help_panel=_COUNTS,
        show_default=False,
    ),
]
AlignBy = Annotated[
    Align | None,
    typer.Option(
        "--align",
        help="Measure also with aligned scales. The scale of each image is fitted to its true depth.",
        rich_help_panel=_COUNTS,
        show_default=False,
    ),
]
Predictions = Annotated[
    str | None,
    typer.Option(
        "--predictions",
        metavar="DIR",
        help="Measure depth files and not weights. They are there already.",
        rich_help_panel=_COMPARED,
        show_default=False,
    ),
]
AgainstWeights = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="NAME|PATH|OWNER/REPO",
        help="Measure other weights too, and how sure the difference is.",
        rich_help_panel=_COMPARED,
        show_default=False,
    ),
]
Baselines = Annotated[
    bool,
    typer.Option(
        "--baselines",
        help="Measure predictions that do not look. They are each image's median, and the best vertical ramp.",
        rich_help_panel=_COMPARED,
    ),
]
Resamples = Annotated[
    int,
    typer.Option(
        "--resamples",
        min=0,
        max=1_000_000,
        metavar="NUMBER",
        help="Bootstrap draws of the images for intervals; 0 for none.",
        rich_help_panel=_SURE,
        hidden=True,
    ),
]
Confidence = Annotated[
    float,
    typer.Option(
        "--confidence",
        metavar="PERCENT",
        min=1,
        max=99.99,
        help="Of the intervals.",
        rich_help_panel=_SURE,
        hidden=True,
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", metavar="NUMBER", min=0, help="Of the draws.", rich_help_panel=_SURE, hidden=True)
]
FigureFile = Annotated[
    str | None,
    typer.Option(
        "--figure",
        metavar="FILE.png",
        help="Draw error over depth, and the worst images.",
        rich_help_panel=RESULT,
        show_default=False,
    ),
]
PerImage = Annotated[
    str | None,
    typer.Option(
        "--per-image",
        metavar="FILE.jsonl",
        help="Write one JSON object per image.",
        rich_help_panel=RESULT,
        hidden=True,
        show_default=False,
    ),
]
JsonOfImages = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON object per image and one for all, instead of the table.",
        rich_help_panel=RESULT,
    ),
]
