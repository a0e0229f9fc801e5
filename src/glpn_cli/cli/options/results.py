"""What comes out: formats, what is in their files, and where they go."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from glpn_cli.cli.options.panels import LOOK, RESULT, SPACE
from glpn_cli.errors import UsageError
from glpn_cli.output.formats import FORMATS, check_settings
from glpn_cli.settings import Colormap, DepthRange, Near, Normalize, OutputSettings, Scale, ValidRange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glpn_cli.output.formats import DepthFormat


FormatName = StrEnum("FormatName", {name: name for name in FORMATS})  # type: ignore[misc]  # names from the table

Format = Annotated[
    list[FormatName] | None,
    typer.Option(
        "--format",
        "-f",
        metavar="NAME",
        help=f"{', '.join(FORMATS)}; several at once. "
        + "; ".join(f"{row.name}: {row.holds}" for row in FORMATS.values())
        + ". Default: png.",
        rich_help_panel=RESULT,
        show_default=False,
    ),
]

ScaleOf = Annotated[
    Scale,
    typer.Option(
        "--scale",
        help="Numbers in files: meters, or published as transformers gives them (kitti: meters / 8).",
        rich_help_panel=RESULT,
        hidden=True,
    ),
]

NormalizeBy = Annotated[
    Normalize | None,
    typer.Option(
        "--normalize",
        help="png: max (the default) is 255·depth/max(depth); minmax makes the nearest pixel black.",
        rich_help_panel=LOOK,
        hidden=True,
        show_default=False,
    ),
]

RangeText = Annotated[
    str | None,
    typer.Option(
        "--range",
        metavar="LO:HI|auto|model",
        help="png, color: the depths that are shown. In meters or, as p2:p98, in percentiles; auto is p1:p99, model "
        "all that the weights see. Default: auto for color, in a batch of the whole run.",
        rich_help_panel=LOOK,
        show_default=False,
    ),
]

NearIs = Annotated[
    Near | None,
    typer.Option(
        "--near",
        help="png, color: what near is. Default: dark in png, bright in color.",
        rich_help_panel=LOOK,
        hidden=True,
        show_default=False,
    ),
]

ColormapOf = Annotated[
    Colormap,
    typer.Option(
        "--colormap", metavar="NAME", help=f"color: which colors. {', '.join(Colormap)}.", rich_help_panel=LOOK
    ),
]

WithLegend = Annotated[
    bool, typer.Option("--legend", help="color: a bar with meters below the image.", rich_help_panel=LOOK)
]

SideBySide = Annotated[bool, typer.Option("--side-by-side", help="color: the photo to the left.", rich_help_panel=LOOK)]

PngCompression = Annotated[
    int,
    typer.Option(
        "--png-compression",
        min=0,
        max=9,
        metavar="0-9",
        help="PNGs: higher is smaller and slower, and the same image.",
        rich_help_panel=LOOK,
        hidden=True,
    ),
]

EdgeFilter = Annotated[
    float,
    typer.Option(
        "--edge-filter",
        min=0,
        metavar="SHARE",
        help="Leave out what hangs between near and far: differs from both by more than this share. 0: keep all.",
        rich_help_panel=SPACE,
        hidden=True,
    ),
]

ValidRangeText = Annotated[
    str | None,
    typer.Option(
        "--valid-range",
        metavar="NEAR:FAR",
        help="Meters to keep, such as 0.5:8 or :8. Default: all but the last 5 % before the depth limit.",
        rich_help_panel=SPACE,
        hidden=True,
        show_default=False,
    ),
]

MaxPoints = Annotated[
    int,
    typer.Option(
        "--max-points",
        min=0,
        metavar="N",
        help="Thin larger images to about this. 0: all.",
        rich_help_panel=SPACE,
        hidden=True,
    ),
]

Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE|FOLDER|-",
        help="Where depth goes, if not beside each image. A folder ends in a slash or is there already; "
        "- is standard output.",
        rich_help_panel=RESULT,
        show_default=False,
    ),
]

Out = Annotated[
    str,
    typer.Option(
        "--out",
        "-o",
        metavar="DIR",
        help="Where depth goes; it is created. In folders like those of the images.",
        rich_help_panel=RESULT,
        show_default=False,
    ),
]

Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace outputs that are there already.", rich_help_panel=RESULT),
]

_OUTPUT = OutputSettings()
_IN_SPACE = {row.name for row in FORMATS.values() if row.needs_camera}
_ABOUT = {
    "normalize": {"png"},
    "range": {"png", "color"},
    "near": {"png", "color"},
    "colormap": {"color"},
    "legend": {"color"},
    "side_by_side": {"color"},
    "edge_filter": _IN_SPACE,
    "valid_range": _IN_SPACE,
    "max_points": _IN_SPACE,
}
"""Settings that only some formats take, and which."""


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What comes out."""

    formats: Format = None
    scale: ScaleOf = _OUTPUT.scale
    normalize: NormalizeBy = None
    range: RangeText = None
    near: NearIs = None
    colormap: ColormapOf = _OUTPUT.colormap
    legend: WithLegend = _OUTPUT.legend
    side_by_side: SideBySide = _OUTPUT.side_by_side
    png_compression: PngCompression = _OUTPUT.png_compression
    edge_filter: EdgeFilter = _OUTPUT.edge_filter
    valid_range: ValidRangeText = None
    max_points: MaxPoints = _OUTPUT.max_points

    def settings(self, rows: Sequence[DepthFormat]) -> OutputSettings:
        """Give what the codecs get.

        Args:
            rows: the formats that are going to be written.

        Raises:
            UsageError: options contradict each other, or say something of a format that is not written.
            MissingPackageError: a format needs a package that is not installed.
        """
        if self.range is not None and self.normalize is not None:
            raise UsageError("--range and --normalize both say what gray means", hint="leave one of them out")
        settings = OutputSettings(
            normalize=self.normalize or _OUTPUT.normalize,
            scale=self.scale,
            png_compression=self.png_compression,
            range=None if self.range is None else DepthRange.parse(self.range),
            near=self.near,
            colormap=self.colormap,
            legend=self.legend,
            side_by_side=self.side_by_side,
            edge_filter=self.edge_filter,
            valid_range=None if self.valid_range is None else ValidRange.parse(self.valid_range),
            max_points=self.max_points,
        )
        check_settings(rows, settings)
        written = {row.name for row in rows}
        for name in settings.that_differ():
            about = _ABOUT.get(name, written)
            if not about & written:
                raise UsageError(
                    f"--{name.replace('_', '-')} is for {' and '.join(sorted(about))}, and none of it is written",
                    hint=f"add --format {min(about)}",
                )
        return settings
