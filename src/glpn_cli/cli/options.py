"""All options of the command line: one row for each settings field or command parameter.

A row has the help text and how the option is written; type and default are those of the settings field. To add an
option, add a field to a settings class and a row here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from glpn_cli.benchmark.settings import BenchSettings
from glpn_cli.data.settings import DataSettings, EvaluationSettings
from glpn_cli.output.formats import DEFAULT_FORMAT, FORMATS
from glpn_cli.settings import (
    ExportSettings,
    LoggingSettings,
    OutputSettings,
    PredictionSettings,
    RunSettings,
    SearchSettings,
)
from glpn_cli.training.settings import TrainRun, TrainSettings
from glpn_cli.values import Colormap
from glpn_cli.video.settings import VideoSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

INPUT, OUTPUT, APPEARANCE, INFERENCE, LOGGING = "Input", "Output", "Appearance", "Inference", "Logging"
DATA, METRICS, TRAINING = "Data", "Metrics", "Training"
PANELS = (INPUT, DATA, OUTPUT, APPEARANCE, METRICS, TRAINING, INFERENCE, LOGGING)
"""The groups of options in `--help`, in this order."""


@dataclass(frozen=True)
class Option:
    """How an option is written and described.

    Attributes:
        help: one or two sentences.
        panel: one of `PANELS`.
        metavar: the value in help; empty for flags, and for choices, which are listed.
        flag: the long name; by default that of the field.
        short: the short name, such as "-o".
        aliases: more names, which help does not show.
        default: the default in help, where the settings say None.
        rare: only shown by `--help-all`.
        required: the command does not run without it.
        once: an error if it is given twice; of other options the last counts.
        complete: returns values for shell completion.
    """

    help: str
    panel: str
    metavar: str = ""
    flag: str = ""
    short: str = ""
    aliases: tuple[str, ...] = ()
    default: str = ""
    rare: bool = False
    required: bool = False
    once: bool = False
    complete: Callable[[], Iterable[str]] | None = None


@dataclass(frozen=True)
class Argument:
    """How a positional argument is written and described.

    Attributes:
        help: one or two sentences.
        metavar: the name in help.
        required: the command does not run without it.
        complete: returns values for shell completion.
        fills: the option whose value it is; the option can be given instead.
    """

    help: str
    metavar: str
    required: bool = True
    complete: Callable[[], Iterable[str]] | None = None
    fills: str = ""


def _weights_names() -> list[str]:
    from glpn_cli.weights.location import list_weights

    return ["auto", *list_weights()]


def _devices() -> list[str]:
    return ["auto", "cpu", "cuda", "cuda:0", "mps", "xpu"]


_WEIGHTS = Option(
    "Name, path, or OWNER/REPO on the Hugging Face Hub; downloaded if missing. auto is $GLPN_WEIGHTS, else nyu if "
    "installed, else tiny.",
    INFERENCE,
    "WEIGHTS",
    short="-w",
    complete=_weights_names,
)
_DEVICE = Option("auto, cpu, cuda, cuda:N, mps or xpu.", INFERENCE, "DEVICE", complete=_devices)
_THREADS = Option("CPU threads of the network.", INFERENCE, "N", default="all cores", rare=True)
_OFFLINE = Option("Do not download anything. HF_HUB_OFFLINE has the same effect.", INFERENCE, rare=True)

OPTIONS: dict[type, dict[str, Option]] = {
    SearchSettings: {
        "recursive": Option("Include subfolders. Default: only in batch.", INPUT, flag="--recursive/--no-recursive"),
        "include": Option("Only use files in folders that match: '*.jpg', 'left/**'. Repeatable.", INPUT, "PATTERN"),
        "exclude": Option("Skip files and folders that match. Repeatable.", INPUT, "PATTERN"),
        "hidden": Option("Include hidden files and folders.", INPUT, rare=True),
        "allow_url": Option("Download images that are given as http(s) URLs.", INPUT, rare=True),
    },
    OutputSettings: {
        "scale": Option(
            "Unit of saved depth. published is the network's output as transformers returns it: for kitti, meters "
            "divided by 8.",
            OUTPUT,
            rare=True,
        ),
        "range": Option(
            "Depth range of the colors: meters (0.5:10), percentiles (p2:p98), auto (p1:p99), run (one range for all "
            "images), or model (0 to the depth limit).",
            APPEARANCE,
            "LO:HI|auto|run|model",
            default="auto in color",
        ),
        "curve": Option(
            "Map colors evenly over inverse depth (most colors for near objects), log depth, or meters.",
            APPEARANCE,
            default="inverse in color, linear in png",
        ),
        "near": Option("Whether near pixels are bright or dark.", APPEARANCE, default="dark in png, bright in color"),
        "colormap": Option("Color map.", APPEARANCE, "NAME", default="turbo", complete=lambda: list(Colormap)),
        "legend": Option("Add a scale bar in meters below color images.", APPEARANCE),
        "side_by_side": Option("Put the photo to the left of the colors.", APPEARANCE),
        "normalize": Option(
            "Gray levels of png: 255·depth/max(depth), or from the nearest to the farthest pixel.",
            APPEARANCE,
            default="max",
            rare=True,
        ),
        "png_compression": Option("Compression of PNG files; higher is smaller and slower.", OUTPUT, "0-9", rare=True),
        "edge_filter": Option(
            "Drop 3D points that differ from both neighbors by more than this fraction of their depth. 0 keeps all.",
            OUTPUT,
            "FRACTION",
            rare=True,
        ),
        "valid_range": Option(
            "Only keep 3D points in this range of meters, such as 0.5:8 or :8.",
            OUTPUT,
            "NEAR:FAR",
            default="all but the last 5 % before the depth limit",
            rare=True,
        ),
        "max_points": Option(
            "Subsample to at most this many 3D points. 0 keeps all.",
            OUTPUT,
            "N",
            default="1000000 for ply, 200000 for glb",
            rare=True,
        ),
        "axes": Option("Axes of ply files. glb always has those of glTF.", OUTPUT, rare=True),
        "png16_scale": Option(
            "Values per meter in png16: 1000 stores millimeters, 256 reaches 256 m as KITTI does.",
            OUTPUT,
            "N",
            rare=True,
        ),
        "normal_map": Option("Y direction of normal maps: opengl is up, directx is down.", OUTPUT, rare=True),
    },
    PredictionSettings: {
        "weights": _WEIGHTS,
        "device": Option(
            "cpu, mps, xpu, cuda:0,cuda:1 or all.",
            INFERENCE,
            "DEVICE",
            complete=lambda: [*_devices(), "all"],
        ),
        "precision": Option("Number format of the network. Saved depth is float32.", INFERENCE, rare=True),
        "engine": Option(
            "What computes the network on a CPU. openvino is faster and needs the extra of that name; auto uses it in "
            "a batch with at least 100 images of a size.",
            INFERENCE,
            "auto|torch|openvino",
            rare=True,
        ),
        "tiles": Option("Also run large images in overlapping tiles: sharper, slower.", INFERENCE, "off|auto|HxW"),
        "sharp_edges": Option(
            "Align the edges of depth with those of the photo. Default: off, unless the weights say otherwise.",
            INFERENCE,
            flag="--sharp-edges/--no-sharp-edges",
        ),
        "tta": Option(
            "Test-time augmentation: flip also predicts the mirrored image, in twice the time.",
            INFERENCE,
            rare=True,
        ),
        "input_size": Option(
            "Size of the network's input: that of the image, about that of the weights' training images, or fixed.",
            INFERENCE,
            "native|model|HxW",
            default="model for tiny, else native",
            rare=True,
        ),
        "fov_deg": Option(
            "Horizontal field of view, for 3D formats.",
            INFERENCE,
            "DEGREES",
            default="from EXIF, else 55 along the long side",
        ),
        "focal_px": Option("Focal length in pixels, instead of the field of view.", INFERENCE, "PIXELS", rare=True),
        "focal_mm_35": Option(
            "35 mm equivalent focal length, instead of the field of view.", INFERENCE, "MM", rare=True
        ),
        "camera": Option(
            "File with the intrinsics, instead of the field of view: JSON, also of Open3D, or camera_info.yaml of ROS.",
            INFERENCE,
            "FILE",
            rare=True,
        ),
        "threads": _THREADS,
        "max_pixels": Option(
            "Refuse images with more pixels before decoding them. A pixel takes up to 40 bytes of memory.",
            INFERENCE,
            "N",
            rare=True,
        ),
        "stretch": Option(
            "Stretch the values of 16-bit and float images to the range that they use.", INFERENCE, rare=True
        ),
        "offline": _OFFLINE,
    },
    RunSettings: {
        "batch_size": Option(
            "Images that a GPU computes together, or at most so many on a CPU with OpenVINO.",
            INFERENCE,
            "N",
            default="what fits into its memory",
            rare=True,
        ),
        "workers": Option(
            "Number of threads that read images; the same number writes depth.",
            INFERENCE,
            "N",
            default="the number of cores, at most 4",
            rare=True,
        ),
        "shard": Option(
            "Only process one of COUNT disjoint parts, such as 3/20. Parts can run on other machines and at any time.",
            INPUT,
            "NUMBER/COUNT",
            default="all images",
            rare=True,
        ),
        "cluster": Option(
            "Compute on a running Ray cluster that sees the same files. --device is that of each worker.",
            INFERENCE,
            "auto|HOST:PORT",
            default="this machine",
            rare=True,
        ),
    },
    LoggingSettings: {
        "quiet": Option("Only print errors.", LOGGING, short="-q"),
        "verbose": Option("Print more, such as the time of each stage.", LOGGING, short="-v"),
        "debug": Option("Print tracebacks of errors.", LOGGING, rare=True),
        "color": Option("When to color messages. NO_COLOR is honored.", LOGGING, rare=True),
    },
    DataSettings: {
        "data": Option(
            "A data set of the paper, or a folder of NAME.jpg with 16-bit NAME.png.",
            DATA,
            "nyu|kitti|FOLDER",
            required=True,
            once=True,
        ),
        "root": Option(
            "Folder that contains nyu_depth_v2 or kitti.", DATA, "DIR", default="$GLPN_DATA, else the current folder"
        ),
        "list_file": Option(
            "Text file with an image and its depth file in each line.",
            DATA,
            "FILE",
            flag="--list",
            default="the list at its usual place, else all pairs",
        ),
        "units_per_meter": Option(
            "Value of one meter in the depth files: 1000 for millimeters. nyu has 1000, kitti 256.",
            DATA,
            "N",
            aliases=("--units-per-metre",),
        ),
    },
    EvaluationSettings: {
        "crop": Option("Region that is evaluated.", METRICS, default="nyu for nyu, garg for kitti, else none"),
        "cap_m": Option(
            "Ignore ground truth at or beyond this depth.",
            METRICS,
            "METERS",
            flag="--cap",
            default="10 for nyu, else 80",
        ),
        "align": Option("Also report metrics with the scale of each prediction fitted to its ground truth.", METRICS),
        "baselines": Option(
            "Also evaluate two baselines that ignore the image: its median depth, and the best vertical ramp.", METRICS
        ),
        "resamples": Option("Bootstrap samples for confidence intervals. 0 gives none.", METRICS, "N", rare=True),
        "confidence_percent": Option(
            "Confidence level of the intervals.", METRICS, "PERCENT", flag="--confidence", rare=True
        ),
        "seed": Option("Random seed of the bootstrap.", METRICS, "N", rare=True),
    },
    VideoSettings: {
        "steady": Option(
            "Steady depth over time: without flicker, at the cost of some milliseconds per frame.", INFERENCE
        ),
        "start_s": Option("Skip what is before this time.", INPUT, "SECONDS", flag="--start"),
        "end_s": Option("Skip what is after this time.", INPUT, "SECONDS", flag="--end"),
        "no_sound": Option("Do not copy the sound.", OUTPUT),
    },
    ExportSettings: {
        "size": Option(
            "Input size: one image of a fixed size, or any batch of any multiples of 32.",
            OUTPUT,
            "HxW|dynamic",
            default="the weights' working size",
        ),
        "precision": Option("Number format of the file.", OUTPUT, "float32|float16", rare=True),
        "with_preprocessing": Option(
            "Take 8-bit RGB (batch, height, width, 3) and return meters, instead of [0, 1] and network units.", OUTPUT
        ),
    },
    BenchSettings: {
        "sizes": Option("Size of the synthetic photo. Repeatable.", INPUT, "HxW", flag="--size"),
        "precisions": Option("Number format of the network. Repeatable.", INFERENCE, flag="--precision"),
        "devices": Option(
            "auto, cpu, cuda, cuda:N, mps or xpu. Repeatable.",
            INFERENCE,
            "DEVICE",
            flag="--device",
            complete=_devices,
        ),
        "engine": Option("What computes the network on a CPU; auto is torch.", INFERENCE, "auto|torch|openvino"),
        "against": Option("Also time the same network in another installed runtime. Repeatable.", INFERENCE),
        "rounds": Option("Number of timing rounds.", INFERENCE, "N"),
        "weights": Option(
            "Name, path or OWNER/REPO. random is the published architecture with random weights.",
            INFERENCE,
            "WEIGHTS",
            short="-w",
            complete=_weights_names,
        ),
        "threads": _THREADS,
        "offline": _OFFLINE,
    },
    TrainSettings: {
        "data": Option(
            "Training data. Repeatable; FOLDER=2 uses each sample twice per epoch.",
            DATA,
            "nyu|kitti|FOLDER[=N]",
            required=False,
        ),
        "validation": Option(
            "Validation data. Repeatable.",
            DATA,
            "nyu|kitti|FOLDER",
            default="the test split, or the last tenth of each folder, which is not trained on",
        ),
        "root": Option(
            "Folder that contains nyu_depth_v2 or kitti.", DATA, "DIR", default="$GLPN_DATA, else the current folder"
        ),
        "units_per_meter": Option(
            "Value of one meter in the depth files of folders: 1000 for millimeters.",
            DATA,
            "N",
            aliases=("--units-per-metre",),
        ),
        "init": Option("Initial weights; none initializes them randomly.", TRAINING, "tiny|nyu|PATH|none"),
        "config": Option(
            "Architecture for --init none: a name or a config.json.",
            TRAINING,
            "tiny|b0|b1|published|FILE",
            default="tiny",
            rare=True,
        ),
        "sizes": Option(
            "Size of the network's input. Repeatable, with fractions of the steps.",
            TRAINING,
            "HxW[=FRACTION]",
            flag="--size",
            default="the weights' working size",
        ),
        "crop": Option(
            "Random crop: native resolution, or this fraction range of the image, resized.",
            TRAINING,
            "native|LOW-HIGH",
            default="native for nyu and kitti, else 0.7-1",
            rare=True,
        ),
        "batch_size": Option("Samples per step, over all processes.", TRAINING, "N"),
        "accumulate": Option("Gradient accumulation steps.", TRAINING, "N", rare=True),
        "epochs": Option("Passes over the data.", TRAINING, "N"),
        "steps": Option("Number of steps, instead of --epochs.", TRAINING, "N", default="from epochs"),
        "learning_rate": Option("Peak learning rate, reached halfway.", TRAINING, "RATE"),
        "cut_depth": Option("Probability of vertical CutDepth.", TRAINING, "P", rare=True),
        "photometric": Option("Strength of the color augmentation.", TRAINING, rare=True),
        "drop_path": Option(
            "Drop-path rate of the last layer.", TRAINING, "RATE", default="that of the weights", rare=True
        ),
        "ema": Option(
            "Decay of the moving average of the weights, such as 0.999. 0 disables it.", TRAINING, "DECAY", rare=True
        ),
        "clip_norm": Option("Clip the gradient norm to this value. 0 disables it.", TRAINING, "NORM", rare=True),
        "precision": Option("Training precision; bfloat16 uses autocast.", TRAINING, "float32|bfloat16", rare=True),
        "seed": Option("Random seed.", TRAINING, "N", rare=True),
    },
    TrainRun: {
        "out": Option("Folder for weights, logs and the checkpoint.", OUTPUT, "DIR", short="-o", required=True),
        "name": Option("Name of the weights.", OUTPUT, "NAME", default="that of DIR", rare=True),
        "overwrite": Option("Discard the training run in DIR and start over.", OUTPUT),
        "tensorboard": Option("Also write logs for TensorBoard.", OUTPUT, rare=True),
        "save_every": Option("Save a checkpoint every N steps.", OUTPUT, "N", rare=True),
        "validate_every": Option(
            "Validate every N steps.", OUTPUT, "N", default="each epoch, but at least 100 steps apart", rare=True
        ),
        "max_minutes": Option("Stop after N minutes; the same command resumes.", TRAINING, "N", default="no limit"),
        "until": Option(
            "Stop after this step; the same command without it resumes.",
            TRAINING,
            "STEP",
            default="the last",
            rare=True,
        ),
        "workers": Option("Processes that load samples.", TRAINING, "N", rare=True),
        "device": _DEVICE,
        "threads": _THREADS,
        "offline": _OFFLINE,
    },
}
"""The options of settings fields; a field without a row has no option."""

COMMON: Mapping[str, Option] = {
    "output": Option(
        "File if it has the suffix of a format, else folder; - is standard output. Several outputs need a folder.",
        OUTPUT,
        "PATH",
        short="-o",
        aliases=("--out",),
        default="next to each image",
    ),
    "formats": Option(
        f"Formats to write, separated by commas: {', '.join(FORMATS)}.",
        OUTPUT,
        "NAME,...",
        flag="--format",
        short="-f",
        default=f"{DEFAULT_FORMAT}, or color with --legend, --colormap or --side-by-side",
        complete=lambda: list(FORMATS),
    ),
    "overwrite": Option("Replace existing outputs.", OUTPUT),
    "from_list": Option(
        "Read paths of images from a file, one per line or separated by NUL; - is standard input.", INPUT, "FILE"
    ),
    "json": Option("Print a JSON object per image on standard output.", LOGGING),
    "anchor": Option("Known distance of a pixel; depth is scaled to match. Repeatable.", INFERENCE, "X,Y=METERS"),
    "preview": Option("Draw the depth map in the terminal. Writes no files without --output or --format.", LOGGING),
    "report": Option(
        "Also write index.html, which shows every image next to its depth map, with distances on hover.", OUTPUT
    ),
    "dry_run": Option("Print what would be written and exit.", OUTPUT),
    "verify": Option("Check the output folder against its manifest and exit.", OUTPUT),
}
"""The options of command parameters that several commands have, or that no settings class has."""


def flag_of(name: str, option: Option | None = None) -> str:
    """Return the long flag of a setting, without its negative form."""
    return (option.flag if option else "").split("/")[0] or "--" + name.replace("_", "-")


def all_flags() -> dict[str, str]:
    """Return the flag of every setting by its Python keyword."""
    rows = [row for group in (*OPTIONS.values(), COMMON) for row in group.items()]
    flags = {name: flag_of(name, option) for name, option in rows}
    return flags | {"format": flags["formats"]}  # the manifest's name
