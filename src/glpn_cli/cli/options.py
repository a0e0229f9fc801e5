"""The options of the command line, each written once; commands pick from them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from glpn_cli import __version__
from glpn_cli.cli.command_help import print_help_of_all
from glpn_cli.output.formats import FORMATS
from glpn_cli.settings.measuring import Rival
from glpn_cli.settings.output import Colormap, Near, Normalize, Scale
from glpn_cli.settings.prediction import Precision, Tta
from glpn_cli.settings.talk import ColorPolicy

__all__ = [
    "Against",
    "AllowUrl",
    "AnchorTexts",
    "AnyWeightsNames",
    "AtTexts",
    "BatchSize",
    "BenchPrecisions",
    "BenchWeights",
    "BoxTexts",
    "Color",
    "ColormapOf",
    "Data",
    "DataList",
    "DataRoot",
    "Debug",
    "DepthFiles",
    "Device",
    "DryRun",
    "EdgeFilter",
    "Exclude",
    "FocalMm35",
    "FocalPx",
    "Folders",
    "Format",
    "FormatName",
    "FovDeg",
    "FromList",
    "HelpAll",
    "Hidden",
    "ImportAs",
    "Include",
    "Input",
    "InputSizeText",
    "JsonFacts",
    "JsonFindings",
    "JsonLines",
    "JsonObject",
    "JsonRecords",
    "MaxPixels",
    "MaxPoints",
    "Measured",
    "MetresPerUnit",
    "NearIs",
    "NormalizeBy",
    "Offline",
    "Out",
    "Output",
    "Overwrite",
    "OverwriteWeights",
    "PictureSizes",
    "PngCompression",
    "PrecisionOf",
    "Preview",
    "Quiet",
    "RangeText",
    "Recursive",
    "ReportPage",
    "Rounds",
    "ScaleOf",
    "SideBySide",
    "Threads",
    "TilesText",
    "TtaOf",
    "UnitsPerMetre",
    "ValidRangeText",
    "Verbose",
    "Verify",
    "Version",
    "Weights",
    "WeightsFile",
    "WeightsName",
    "WeightsNames",
    "WeightsToDownload",
    "WithLegend",
    "Workers",
]

_DATA = "Pictures with known depth"
_SOURCE = "What goes in"
_RESULT = "What comes out"
_LOOK = "What pictures of depth look like"
_WORK = "How it is computed"
_SPACE = "In space (ply, glb)"
_TALK = "What is said"

FormatName = StrEnum("FormatName", {name: name for name in FORMATS})  # type: ignore[misc]  # names from the table


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"glpn {__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True),
]
HelpAll = Annotated[
    bool,
    typer.Option("--help-all", help="Show all options, and more of each.", callback=print_help_of_all, is_eager=True),
]
Input = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PHOTO...",
        help="Pictures, folders of pictures, patterns such as 'shots/**/*.jpg', or - for standard input.",
        show_default=False,
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE|FOLDER|-",
        help="Where depth goes, if not beside each picture. A folder ends in a slash or is there already; "
        "- is standard output.",
        rich_help_panel=_RESULT,
        show_default=False,
    ),
]
Folders = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FOLDER...", help="Folders of pictures; folders below them are done too.", show_default=False
    ),
]
FromList = Annotated[
    str | None,
    typer.Option(
        "--from-list",
        metavar="FILE|-",
        help="More pictures: a path on each line, or between NULs.",
        rich_help_panel=_SOURCE,
        show_default=False,
    ),
]
Recursive = Annotated[
    bool | None,
    typer.Option(
        "--recursive/--no-recursive",
        help="Look into folders below folders. By default batch does, predict does not.",
        rich_help_panel=_SOURCE,
        show_default=False,
    ),
]
Include = Annotated[
    list[str] | None,
    typer.Option(
        "--include",
        metavar="PATTERN",
        help="Take of folders only what matches. Such as '*.jpg' or 'left/**'; repeatable.",
        rich_help_panel=_SOURCE,
        show_default=False,
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="PATTERN",
        help="Leave out what matches. Files or whole folders; repeatable.",
        rich_help_panel=_SOURCE,
        show_default=False,
    ),
]
Hidden = Annotated[
    bool,
    typer.Option("--hidden", help="Take hidden files and folders too.", rich_help_panel=_SOURCE, hidden=True),
]
AllowUrl = Annotated[
    bool,
    typer.Option(
        "--allow-url", help="Fetch pictures that are named by http(s) addresses.", rich_help_panel=_SOURCE, hidden=True
    ),
]
Out = Annotated[
    str,
    typer.Option(
        "--out",
        "-o",
        metavar="DIR",
        help="Where depth goes; it is created. In folders like those of the pictures.",
        rich_help_panel=_RESULT,
        show_default=False,
    ),
]
Format = Annotated[
    list[FormatName] | None,
    typer.Option(
        "--format",
        "-f",
        metavar="NAME",
        help=f"{', '.join(FORMATS)}; several at once. "
        + "; ".join(f"{row.name}: {row.holds}" for row in FORMATS.values())
        + ". Default: png.",
        rich_help_panel=_RESULT,
        show_default=False,
    ),
]
NormalizeBy = Annotated[
    Normalize | None,
    typer.Option(
        "--normalize",
        help="png: max (the default) is 255·depth/max(depth); minmax makes the nearest pixel black.",
        rich_help_panel=_LOOK,
        hidden=True,
        show_default=False,
    ),
]
RangeText = Annotated[
    str | None,
    typer.Option(
        "--range",
        metavar="LO:HI|auto|model",
        help="png, color: the depths that are shown. In metres or, as p2:p98, in percentiles; auto is p1:p99, model "
        "all that the weights see. Default: auto for color, in a batch of the whole run.",
        rich_help_panel=_LOOK,
        show_default=False,
    ),
]
NearIs = Annotated[
    Near | None,
    typer.Option(
        "--near",
        help="png, color: what near is. Default: dark in png, bright in color.",
        rich_help_panel=_LOOK,
        hidden=True,
        show_default=False,
    ),
]
ColormapOf = Annotated[
    Colormap,
    typer.Option(
        "--colormap", metavar="NAME", help=f"color: which colours. {', '.join(Colormap)}.", rich_help_panel=_LOOK
    ),
]
WithLegend = Annotated[
    bool, typer.Option("--legend", help="color: a bar with metres below the picture.", rich_help_panel=_LOOK)
]
SideBySide = Annotated[
    bool, typer.Option("--side-by-side", help="color: the photo to the left.", rich_help_panel=_LOOK)
]
ScaleOf = Annotated[
    Scale,
    typer.Option(
        "--scale",
        help="Numbers in files: metres, or published as transformers gives them (kitti: metres / 8).",
        rich_help_panel=_RESULT,
        hidden=True,
    ),
]
PngCompression = Annotated[
    int,
    typer.Option(
        "--png-compression",
        min=0,
        max=9,
        metavar="0-9",
        help="PNGs: higher is smaller and slower, and the same picture.",
        rich_help_panel=_LOOK,
        hidden=True,
    ),
]
AnchorTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--anchor",
        metavar="X,Y=METRES",
        help="A known depth: all is rescaled to it. At a pixel from the top left; may be given several times.",
        rich_help_panel=_WORK,
        show_default=False,
    ),
]
Preview = Annotated[bool, typer.Option("--preview", help="Draw the depth in the terminal, too.", rich_help_panel=_TALK)]
Measured = Annotated[
    str,
    typer.Argument(
        metavar="PHOTO|DEPTH", help="A picture, a depth file, or - for a picture from a pipe.", show_default=False
    ),
]
AtTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--at",
        metavar="X,Y",
        help="A pixel of the upright picture. Column from the left, row from the top, from 0; may be given several "
        "times.",
        rich_help_panel=_RESULT,
        show_default=False,
    ),
]
BoxTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--box",
        metavar="X0,Y0,X1,Y1",
        help="A box of pixels, without column X1 and row Y1. May be given several times.",
        rich_help_panel=_RESULT,
        show_default=False,
    ),
]
JsonObject = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output.", rich_help_panel=_TALK)
]
FovDeg = Annotated[
    float | None,
    typer.Option(
        "--fov-deg",
        metavar="DEGREES",
        help="What the camera sees horizontally. Default: what the photo's EXIF says, else 55 along its long side.",
        rich_help_panel=_SPACE,
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
        rich_help_panel=_SPACE,
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
        rich_help_panel=_SPACE,
        hidden=True,
        show_default=False,
    ),
]
EdgeFilter = Annotated[
    float,
    typer.Option(
        "--edge-filter",
        min=0,
        metavar="SHARE",
        help="Leave out what hangs between near and far: differs from both by more than this share. 0: keep all.",
        rich_help_panel=_SPACE,
        hidden=True,
    ),
]
ValidRangeText = Annotated[
    str | None,
    typer.Option(
        "--valid-range",
        metavar="NEAR:FAR",
        help="Metres to keep, such as 0.5:8 or :8. Default: all but the last 5 % before the depth limit.",
        rich_help_panel=_SPACE,
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
        help="Thin larger pictures to about this. 0: all.",
        rich_help_panel=_SPACE,
        hidden=True,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace outputs that are there already.", rich_help_panel=_RESULT),
]
Weights = Annotated[
    str,
    typer.Option(
        "--weights",
        "-w",
        metavar="NAME|PATH|OWNER/REPO",
        help="By name, a file, a folder, or from the Hub. Files are safetensors or .bin, folders as transformers saves "
        "them. What is named and not here is downloaded. auto is $GLPN_WEIGHTS, else nyu if it is here, else tiny.",
        rich_help_panel=_WORK,
    ),
]
InputSizeText = Annotated[
    str | None,
    typer.Option(
        "--input-size",
        metavar="native|model|HxW",
        help="Size in which the network sees a picture: its own, about the weights' working size, or a fixed one. "
        "Default: model for tiny, else native.",
        rich_help_panel=_WORK,
        hidden=True,
        show_default=False,
    ),
]
TilesText = Annotated[
    str,
    typer.Option(
        "--tiles",
        metavar="off|auto|HxW",
        help="See large pictures in tiles, too: sharper. They overlap and are aligned to the whole; that takes longer.",
        rich_help_panel=_WORK,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        min=1,
        help="Pictures of one size that a GPU computes at once; a CPU takes one. Default: what its memory holds.",
        rich_help_panel=_WORK,
        hidden=True,
        show_default=False,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Threads that read pictures, and as many that write depth. Default: the number of cores, at most 4.",
        rich_help_panel=_WORK,
        hidden=True,
        show_default=False,
    ),
]
Verify = Annotated[
    bool,
    typer.Option(
        "--verify",
        help="Only hold what is in DIR to the hashes of its manifest. Needs no FOLDER.",
        rich_help_panel=_RESULT,
    ),
]
JsonFindings = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print a JSON object per picture on standard output. With --verify one per output.",
        rich_help_panel=_TALK,
    ),
]
ReportPage = Annotated[
    bool,
    typer.Option(
        "--report",
        help="Also make DIR/index.html: photos beside their depth. Metres are under the pointer.",
        rich_help_panel=_RESULT,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Print what would be written, and do nothing.", rich_help_panel=_RESULT),
]
Device = Annotated[
    str,
    typer.Option("--device", metavar="auto|cpu|cuda|cuda:N|mps|xpu", help="What computes.", rich_help_panel=_WORK),
]
PrecisionOf = Annotated[
    Precision,
    typer.Option(
        "--precision", help="What the network computes in. Depth is always float32.", rich_help_panel=_WORK, hidden=True
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        help="CPU threads of the network.",
        rich_help_panel=_WORK,
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
        help="Refuse larger pictures before they are decoded. A pixel takes up to 40 bytes of memory.",
        rich_help_panel=_WORK,
        hidden=True,
    ),
]
PictureSizes = Annotated[
    list[str] | None,
    typer.Option(
        "--size",
        metavar="HxW",
        help="Size of the photo; may be given several times. Default: 480x640 and 1080x1920.",
        rich_help_panel=_WORK,
        show_default=False,
    ),
]
BenchPrecisions = Annotated[
    list[Precision] | None,
    typer.Option(
        "--precision",
        help="What the network computes in; may be given several times. Default: float32.",
        rich_help_panel=_WORK,
        show_default=False,
    ),
]
BenchWeights = Annotated[
    str,
    typer.Option(
        "--weights",
        "-w",
        metavar="NAME|PATH|random",
        help="What is measured; random is the published architecture without its weights.",
        rich_help_panel=_WORK,
    ),
]
Against = Annotated[
    list[Rival] | None,
    typer.Option(
        "--against",
        help="Also run the same network in another way, where that is installed; may be given several times.",
        rich_help_panel=_WORK,
        show_default=False,
    ),
]
Rounds = Annotated[int, typer.Option("--rounds", min=1, help="How often everything is timed.", rich_help_panel=_WORK)]
DepthFiles = Annotated[
    list[str],
    typer.Argument(metavar="FILE...", help="Depth files, or any others.", show_default=False),
]
JsonFacts = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object per file on standard output.", rich_help_panel=_TALK),
]
JsonLines = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object per picture on standard output.", rich_help_panel=_TALK),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.", rich_help_panel=_TALK)]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say more, such as the time of each stage.", rich_help_panel=_TALK)
]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show tracebacks with errors.", rich_help_panel=_TALK, hidden=True)
]
Color = Annotated[
    ColorPolicy,
    typer.Option("--color", help="Colour what is said; NO_COLOR is honoured too.", rich_help_panel=_TALK, hidden=True),
]
TtaOf = Annotated[
    Tta,
    typer.Option(
        "--tta",
        help="flip: average with the mirrored photo. Steadier, in twice the time; --format uncertainty needs it.",
        rich_help_panel=_WORK,
    ),
]
Offline = Annotated[
    bool,
    typer.Option(
        "--offline",
        help="Use no network: weights must be on this machine. HF_HUB_OFFLINE says the same.",
        rich_help_panel=_WORK,
        hidden=True,
    ),
]
JsonRecords = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object per weights on standard output.", rich_help_panel=_TALK),
]
WeightsToDownload = Annotated[
    list[str],
    typer.Argument(
        metavar="nyu|kitti|all|OWNER/REPO...",
        help="Weights of the catalogue, all of them, or a repository of the Hugging Face Hub.",
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
        help="What to call them. nyu and kitti give them the scale of the catalogue.",
        rich_help_panel=_RESULT,
        show_default=False,
    ),
]
MetresPerUnit = Annotated[
    float | None,
    typer.Option(
        "--metres-per-unit",
        metavar="FACTOR",
        help="From what these weights say to metres. Default: what their file or name tells, else 1.",
        rich_help_panel=_RESULT,
        show_default=False,
    ),
]
OverwriteWeights = Annotated[
    bool,
    typer.Option("--overwrite", help="Get or import them again, in place of those here.", rich_help_panel=_RESULT),
]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="nyu|kitti|FOLDER",
        help="A data set of the paper, or a folder of pairs. Laid out as by its authors; or NAME.jpg with 16-bit "
        "NAME.png.",
        rich_help_panel=_DATA,
        show_default=False,
    ),
]
DataRoot = Annotated[
    str | None,
    typer.Option(
        "--root",
        metavar="DIR",
        help="Holds nyu_depth_v2 or kitti. Default: $GLPN_DATA, else this folder.",
        rich_help_panel=_DATA,
        show_default=False,
    ),
]
DataList = Annotated[
    str | None,
    typer.Option(
        "--list",
        metavar="FILE",
        help="A picture and its depth in each line. Default: the list at its usual place, else all pairs.",
        rich_help_panel=_DATA,
        show_default=False,
    ),
]
UnitsPerMetre = Annotated[
    float | None,
    typer.Option(
        "--units-per-metre",
        metavar="NUMBER",
        min=1e-9,
        help="A metre in the depth files: 1000 for mm. nyu has 1000, kitti 256.",
        rich_help_panel=_DATA,
        show_default=False,
    ),
]
