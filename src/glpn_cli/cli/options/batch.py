"""What only `glpn batch` has."""

from __future__ import annotations

from typing import Annotated

import typer

from glpn_cli.cli.options.panels import RESULT, WORK

BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        min=1,
        help="Images of one size that a GPU computes at once; a CPU takes one. Default: what its memory holds.",
        rich_help_panel=WORK,
        hidden=True,
        show_default=False,
    ),
]

Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Threads that read images, and as many that write depth. Default: the number of cores, at most 4.",
        rich_help_panel=WORK,
        hidden=True,
        show_default=False,
    ),
]

Verify = Annotated[
    bool,
    typer.Option(
        "--verify",
        help="Only hold what is in DIR to the hashes of its manifest. Needs no FOLDER.",
        rich_help_panel=RESULT,
    ),
]

ReportPage = Annotated[
    bool,
    typer.Option(
        "--report",
        help="Also make DIR/index.html: photos beside their depth. Meters are under the pointer.",
        rich_help_panel=RESULT,
    ),
]

DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Print what would be written, and do nothing.", rich_help_panel=RESULT),
]
