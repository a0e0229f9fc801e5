"""Make the bundled weights: render scenes, train four stages, pack the result.

    python recipes/tiny/train.py DATA_DIR --out build/tiny

DATA_DIR contains the real data: the folders tum_fr1_rpy, tum_fr2_pioneer, tum_fr3_cabinet and aims_lab (see README.md
beside this script). Run the same command again to resume.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli.errors import GLPNError
from glpn_cli.weights.checkpoint import read_checkpoint
from pack import pack_weights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[1] / "examples"
REAL_DATA = ("tum_fr1_rpy", "tum_fr2_pioneer", "tum_fr3_cabinet", "aims_lab")


@dataclass(frozen=True)
class Scenes:
    """One folder of rendered scenes.

    Attributes:
        count: number of scenes, rounded up to a multiple of 64.
        seed: random seed.
        kinds: weights of the kinds of scenes; empty for the default fractions.
    """

    count: int
    seed: int
    kinds: dict[str, int]


@dataclass(frozen=True)
class Stage:
    """One training run.

    Attributes:
        scenes: how often each sample of scene folder 1, 2, ... is used per epoch.
        real: how often each sample of `REAL_DATA` is used per epoch.
        init: initial weights, relative to the output folder; None uses those of the recipe.
        until: step at which the stage ends; None is the last step of the recipe.
    """

    scenes: tuple[float, ...]
    real: tuple[int, ...]
    init: str | None = None
    until: int | None = None


SCENES = (
    Scenes(22_000, 0, {}),
    Scenes(7_000, 1, {"meal": 30, "room": 22, "street": 17, "jam": 15, "tabletop": 8, "park": 8}),
    Scenes(8_900, 2, {"traffic": 28, "square": 16, "evening": 14, "portrait": 22, "street": 6, "room": 14}),
)
STAGES = (  # stage N has its other settings in stage-N.json
    Stage((1,), (7, 18, 9, 13), until=19_240),
    Stage((0.5, 2), (7, 18, 9, 13), init="1/last"),
    Stage((0.35, 1.2, 2), (7, 18, 9, 13), init="2/best"),
    Stage((0.6, 2, 1.5), (9, 22, 11, 16), init="3/best"),
)
SHORT_SCENES = 64
SHORT_OPTIONS = ("--steps", "4", "--batch-size", "4", "--size", "64x96=3", "--size", "96x128=1")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    own, extra = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    parser = _parser()
    options = parser.parse_args(own)
    missing = [name for name in REAL_DATA if not (options.data / name).is_dir()]
    if missing:
        parser.error(f"{options.data} has no folder {', '.join(missing)}")
    for number, scenes in enumerate(SCENES, start=1):
        run(_render_command(number, scenes, options))
    for number, stage in enumerate(STAGES, start=1):
        run(_train_command(number, stage, options, extra))
        check_finished(options.out / str(number) / "last", stage.until)
    packed = options.out / "glpn-tiny.safetensors"
    print(json.dumps(pack_weights(options.out / str(len(STAGES)) / "best", packed), indent=2))


def run(command: Sequence[str]) -> None:
    """Run a command, and exit if it fails or is interrupted.

    Ctrl-C in a terminal reaches the command directly, and SIGTERM is forwarded. The command saves its state and exits.
    """
    print(shlex.join(command), flush=True)
    process: subprocess.Popen[bytes] | None = None
    received: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        if process is not None and number == signal.SIGTERM:
            process.terminate()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        process = subprocess.Popen(command)
        if signal.SIGTERM in received:
            process.terminate()
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if code:
        sys.exit(code if code > 0 else 128 - code)
    if received:
        sys.exit(128 + received[0])


def check_finished(checkpoint: Path, until: int | None = None) -> None:
    """Exit if training stopped before its end or before step `until`, for example because of `--max-minutes`."""
    progress = json.loads(read_checkpoint(checkpoint).metadata["training"])
    wanted = progress["steps"] if until is None else min(until, progress["steps"])
    if progress["step"] < wanted:
        sys.exit(f"{checkpoint}: {progress['step']} of {wanted} steps are done; run the same command to resume")


def _render_command(number: int, scenes: Scenes, options: argparse.Namespace) -> list[str]:
    count = SHORT_SCENES if options.short else scenes.count
    command = [sys.executable, str(HERE / "render.py"), f"--out={options.out / 'scenes' / str(number)}"]
    command += [f"--count={count}", "--size=192x256", f"--seed={scenes.seed}"]
    command += [f"--kind={kind}={weight}" for kind, weight in scenes.kinds.items()]
    return [*command, *(f"--textures={folder}" for folder in (*_real_folders(options), EXAMPLES))]


def _train_command(number: int, stage: Stage, options: argparse.Namespace, extra: Sequence[str]) -> list[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={options.processes}"]
    command += ["-m", "glpn_cli", "train", "--threads=1", "--workers=0", "--name=tiny", "--units-per-meter=1000"]
    command += [f"--data={folder}={weight}" for folder, weight in zip(_real_folders(options), stage.real, strict=True)]
    command += [
        f"--data={options.out / 'scenes' / str(folder)}={weight:g}"
        for folder, weight in enumerate(stage.scenes, start=1)
    ]
    command += [f"--recipe={HERE / f'stage-{number}.json'}", f"--out={options.out / str(number)}"]
    if stage.init:
        command.append(f"--init={options.out / stage.init}")
    if stage.until:
        command.append(f"--until={stage.until}")
    return [*command, *(SHORT_OPTIONS if options.short else ()), *extra]


def _real_folders(options: argparse.Namespace) -> list[Path]:
    return [options.data / name for name in REAL_DATA]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Options after -- are passed to `glpn train` in every stage.",
    )
    parser.add_argument("data", type=Path, metavar="DATA_DIR", help="folder of the real data")
    parser.add_argument("--out", type=Path, default=Path("build/tiny"), help="output folder (default: build/tiny)")
    parser.add_argument("--short", action="store_true", help="64 scenes and 4 steps, to test the recipe in minutes")
    parser.add_argument(
        "--processes",
        type=int,
        default=2,
        help="training processes with one thread each (default: 2); must be 1 with one GPU",
    )
    return parser


if __name__ == "__main__":
    try:
        main()
    except GLPNError as error:
        sys.exit(f"error: {error.message}")
