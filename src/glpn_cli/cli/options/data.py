"""Images with known depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from glpn_cli.cli.options.panels import DATA
from glpn_cli.errors import UsageError
from glpn_cli.settings import DataSettings

Data = Annotated[
    list[str],
    typer.Option(
        "--data",
        metavar="nyu|kitti|FOLDER",
        help="A data set of the paper, or a folder of pairs. Laid out as by its authors; or NAME.jpg with 16-bit "
        "NAME.png.",
        rich_help_panel=DATA,
        show_default=False,
    ),
]

DataRoot = Annotated[
    str | None,
    typer.Option(
        "--root",
        metavar="DIR",
        help="Holds nyu_depth_v2 or kitti. Default: $GLPN_DATA, else this folder.",
        rich_help_panel=DATA,
        show_default=False,
    ),
]

DataList = Annotated[
    str | None,
    typer.Option(
        "--list",
        metavar="FILE",
        help="An image and its depth in each line. Default: the list at its usual place, else all pairs.",
        rich_help_panel=DATA,
        show_default=False,
    ),
]

UnitsPerMeter = Annotated[
    float | None,
    typer.Option(
        "--units-per-meter",
        metavar="NUMBER",
        min=1e-9,
        help="A meter in the depth files: 1000 for mm. nyu has 1000, kitti 256.",
        rich_help_panel=DATA,
        show_default=False,
    ),
]


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Images with known depth."""

    data: Data
    root: DataRoot = None
    list_file: DataList = None
    units_per_meter: UnitsPerMeter = None

    def settings(self) -> DataSettings:
        """Give where the images are and how their files are to be understood.

        Raises:
            UsageError: no data are named.
        """
        first, *others = self.data
        if others:
            raise UsageError("--data is given more than once", hint="one set at a time: their figures have no mean")
        if not first:
            raise UsageError("--data is empty", hint="is a variable of the shell not set?")
        return DataSettings(data=first, root=self.root, list_file=self.list_file, units_per_meter=self.units_per_meter)
