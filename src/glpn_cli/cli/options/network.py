"""What a predictor is built from, and what took the photos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from glpn_cli.cli.options.panels import SPACE, WORK
from glpn_cli.errors import UsageError
from glpn_cli.settings import CameraSettings, InputSize, Precision, PredictorSettings, Tiles, Tta

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glpn_cli.output.formats import DepthFormat


Weights = Annotated[
    str,
    typer.Option(
        "--weights",
        "-w",
        metavar="NAME|PATH|OWNER/REPO",
        help="By name, a file, a folder, or from the Hub. Files are safetensors or .bin, folders as transformers saves "
        "them. What is named and not here is downloaded. auto is $GLPN_WEIGHTS, else nyu if it is here, else tiny.",
        rich_help_panel=WORK,
    ),
]

Offline = Annotated[
    bool,
    typer.Option(
        "--offline",
        help="Use no network: weights must be on this machine. HF_HUB_OFFLINE says the same.",
        rich_help_panel=WORK,
        hidden=True,
    ),
]

InputSizeText = Annotated[
    str | None,
    typer.Option(
        "--input-size",
        metavar="native|model|HxW",
        help="Size in which the network sees an image: its own, about the weights' working size, or a fixed one. "
        "Default: model for tiny, else native.",
        rich_help_panel=WORK,
        hidden=True,
        show_default=False,
    ),
]

TilesText = Annotated[
    str,
    typer.Option(
        "--tiles",
        metavar="off|auto|HxW",
        help="See large images in tiles, too: sharper. They overlap and are aligned to the whole; that takes longer.",
        rich_help_panel=WORK,
    ),
]

Device = Annotated[
    str,
    typer.Option("--device", metavar="auto|cpu|cuda|cuda:N|mps|xpu", help="What computes.", rich_help_panel=WORK),
]

PrecisionOf = Annotated[
    Precision,
    typer.Option(
        "--precision",
        help="What the network computes in; tf32 on NVIDIA GPUs. Depth is always float32.",
        rich_help_panel=WORK,
        hidden=True,
    ),
]

Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        help="CPU threads of the network.",
        rich_help_panel=WORK,
        hidden=True,
        show_default="all cores",
    ),
]

MaxPixels = Annotated[
    int,
    typer.Option(
        "--max-pixels",
        min=1,
        metavar="N",
        help="Refuse larger images before they are decoded. A pixel takes up to 40 bytes of memory.",
        rich_help_panel=WORK,
        hidden=True,
    ),
]

TtaOf = Annotated[
    Tta,
    typer.Option(
        "--tta",
        help="flip: average with the mirrored photo. Steadier, in twice the time; --format uncertainty needs it.",
        rich_help_panel=WORK,
    ),
]

FovDeg = Annotated[
    float | None,
    typer.Option(
        "--fov-deg",
        metavar="DEGREES",
        help="What the camera sees horizontally. Default: what the photo's EXIF says, else 55 along its long side.",
        rich_help_panel=SPACE,
        hidden=True,
        show_default=False,
    ),
]

FocalPx = Annotated[
    float | None,
    typer.Option(
        "--focal-px",
        metavar="PIXELS",
        help="Or its focal length.",
        rich_help_panel=SPACE,
        hidden=True,
        show_default=False,
    ),
]

FocalMm35 = Annotated[
    float | None,
    typer.Option(
        "--focal-mm-35",
        metavar="MM",
        help="Or its 35 mm equivalent focal length.",
        rich_help_panel=SPACE,
        hidden=True,
        show_default=False,
    ),
]

_NETWORK = PredictorSettings()


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
            rows: the formats that are going to be written, some of which need the image too.
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
            keep_rgb=any(row.needs_image for row in rows),
            tta=self.tta,
            camera=camera,
        )
