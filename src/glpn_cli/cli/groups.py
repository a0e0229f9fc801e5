"""Options that commands have in common, in groups that become settings: a command takes the group, Typer sees each."""

from __future__ import annotations

import functools
import inspect
import sys
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from glpn_cli.cli.console import Console
from glpn_cli.cli.options import (  # noqa: TC001 - Typer reads the annotations when the program runs
    AllowUrl,
    Color,
    ColormapOf,
    Debug,
    Device,
    EdgeFilter,
    Exclude,
    FocalMm35,
    FocalPx,
    Format,
    FovDeg,
    FromList,
    HelpAll,
    Hidden,
    Include,
    InputSizeText,
    MaxPixels,
    MaxPoints,
    NearIs,
    NormalizeBy,
    Offline,
    PngCompression,
    PrecisionOf,
    Quiet,
    RangeText,
    Recursive,
    ScaleOf,
    SideBySide,
    Threads,
    TilesText,
    TtaOf,
    ValidRangeText,
    Verbose,
    Weights,
    WithLegend,
)
from glpn_cli.errors import UsageError
from glpn_cli.output.formats import FORMATS, check_settings
from glpn_cli.settings.inputs import SearchSettings
from glpn_cli.settings.output import DepthRange, OutputSettings, ValidRange
from glpn_cli.settings.prediction import CameraSettings, InputSize, PredictorSettings, Tiles, Tta
from glpn_cli.settings.talk import ColorPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from glpn_cli.image.listing import PictureList
    from glpn_cli.output.formats import DepthFormat

__all__ = ["CameraOptions", "InputOptions", "NetworkOptions", "OutputOptions", "TalkOptions", "with_option_groups"]

_SEARCH = SearchSettings()
_NETWORK = PredictorSettings()
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
class InputOptions:
    """Which pictures are taken."""

    from_list: FromList = None
    recursive: Recursive = None
    include: Include = None
    exclude: Exclude = None
    hidden: Hidden = _SEARCH.hidden
    allow_url: AllowUrl = _SEARCH.allow_url

    @property
    def list_is_stdin(self) -> bool:
        """Whether the list comes from standard input."""
        return self.from_list == "-"

    def settings(self, *, recursive: bool, offline: bool) -> SearchSettings:
        """Give what is looked for.

        Args:
            recursive: what the command does unless it is told.
            offline: whether the user forbids the network.

        Raises:
            UsageError: the user forbids the network and allows it.
        """
        if self.allow_url and offline:
            raise UsageError("--offline uses no network, and --allow-url does")
        return SearchSettings(
            recursive=recursive if self.recursive is None else self.recursive,
            include=tuple(self.include or ()),
            exclude=tuple(self.exclude or ()),
            hidden=self.hidden,
            allow_url=self.allow_url,
        )

    def read_list(self) -> PictureList | None:
        """Read the list that is named, if one is.

        Raises:
            UsageError: it is to come from a terminal.
            InputError: it cannot be read, or is empty.
        """
        from glpn_cli.image.listing import read_list

        if self.from_list is None:
            return None
        if not self.list_is_stdin:
            return read_list(self.from_list)
        if sys.stdin is None:
            raise UsageError("standard input is closed")
        if sys.stdin.isatty():
            raise UsageError(
                "standard input is a terminal", hint="pipe a list in: find . -print0 | glpn ... --from-list -"
            )
        return read_list(sys.stdin.buffer)


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
            raise UsageError("--range and --normalize both say what grey means", hint="leave one of them out")
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


@dataclass(frozen=True, kw_only=True)
class CameraOptions:
    """What took the photos."""

    fov_deg: FovDeg = None
    focal_px: FocalPx = None
    focal_mm_35: FocalMm35 = None

    def settings(self) -> CameraSettings:
        """Give what a predictor is told of the camera.

        Raises:
            UsageError: there is no such camera, or it is said twice.
        """
        return CameraSettings(self.fov_deg, self.focal_px, self.focal_mm_35)


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """How depth is computed."""

    weights: Weights = _NETWORK.weights
    offline: Offline = _NETWORK.offline
    input_size: InputSizeText = None
    tiles: TilesText = str(_NETWORK.tiles)
    device: Device = _NETWORK.device
    precision: PrecisionOf = _NETWORK.precision
    threads: Threads = None
    max_pixels: MaxPixels = _NETWORK.max_pixels
    tta: TtaOf = _NETWORK.tta

    def settings(self, rows: Sequence[DepthFormat] = (), camera: CameraSettings = _NETWORK.camera) -> PredictorSettings:
        """Give what a predictor is built from.

        Args:
            rows: the formats that are going to be written, some of which need the picture too.
            camera: what the user says of it.

        Raises:
            UsageError: the input size or the tiles are none, or a format needs a second opinion.
        """
        unsure = next((row.name for row in rows if row.needs_uncertainty), None)
        if unsure is not None and self.tta is Tta.NONE:
            raise UsageError(f"--format {unsure} needs --tta flip", hint="it is by how much the two answers differ")
        return PredictorSettings(
            weights=self.weights,
            device=self.device,
            precision=self.precision,
            input_size=None if self.input_size is None else InputSize.parse(self.input_size),
            tiles=Tiles.parse(self.tiles),
            threads=self.threads,
            offline=self.offline,
            max_pixels=self.max_pixels,
            keep_rgb=any(row.needs_picture for row in rows),
            tta=self.tta,
            camera=camera,
        )


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


def with_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take groups of options as one argument each.

    Args:
        command: some of its parameters are annotated with a group, a dataclass whose fields are options.

    Returns:
        The same command for Typer, which sees every field of a group as a parameter in the group's place.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    shown = [
        expanded
        for parameter in inspect.signature(command).parameters.values()
        for expanded in (
            _fields_as_parameters(groups[parameter.name])
            if parameter.name in groups
            else [parameter.replace(annotation=hints[parameter.name], kind=parameter.KEYWORD_ONLY)]
        )
    ]

    @functools.wraps(command)
    def grouped(**values: Any) -> None:
        gathered = {
            name: group(**{item.name: values.pop(item.name) for item in fields(group)})
            for name, group in groups.items()
        }
        command(**values, **gathered)

    grouped.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    grouped.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]  # where inspect looks first
    return grouped


def _fields_as_parameters(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            item.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if item.default is MISSING else item.default,
            annotation=hints[item.name],
        )
        for item in fields(group)
    ]
