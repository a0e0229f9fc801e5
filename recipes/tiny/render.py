"""Render synthetic scenes with exact depth into a folder, for `glpn train --data DIR`.

    python recipes/tiny/render.py --out build/scenes --count 10000 --kind room=2 --kind street=1

The same seed and the same textures give the same scenes. Run the same command again to resume.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from glpn_cli.errors import INTERRUPTED_EXIT_CODE, GLPNError
from scenes.rendering import SCENE_KINDS
from scenes.store import SceneRecipe, fill_folder, write_preview

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def main(arguments: Sequence[str] | None = None, *, stopped: Callable[[], int] = lambda: 0) -> int:
    """Run the command line and return the exit code.

    Args:
        arguments: of the command line; None for those of the process.
        stopped: returns an exit code when rendering should end early, else 0.
    """
    options = _parser().parse_args(arguments)
    try:
        recipe = SceneRecipe(
            options.seed, options.size, tuple(options.textures), tuple(options.kind), options.canonical
        )
        done = _render(options, recipe, stopped)
        if stopped():
            return stopped()
        print(f"{options.out}: {done} scenes")
        if options.preview:
            print(write_preview(options.out, recipe))
    except GLPNError as error:
        print(f"error: {error.message}" + (f"\nhint: {error.hint}" if error.hint else ""), file=sys.stderr)
        return error.exit_code
    return 0


def _render(options: argparse.Namespace, recipe: SceneRecipe, stopped: Callable[[], int]) -> int:
    columns = TextColumn("scenes"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    done = 0
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("scenes", total=options.count)
        for done in fill_folder(options.out, recipe, options.count, workers=options.workers, device=options.device):
            progress.update(task, completed=min(done, options.count))
            if stopped():
                break
    return done


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--out", type=_parse_folder, required=True, metavar="DIR", help="Output folder.")
    add("--count", type=_parse_positive, default=10_000, help="Number of scenes, rounded up to a multiple of 64.")
    add("--size", type=_parse_size, default=(192, 256), metavar="HxW", help="Size in pixels (default: 192x256). Some "
        "scenes are portrait, square or wide, with about as many pixels.")  # fmt: skip
    add("--kind", type=_parse_kind, action="append", default=[], metavar="KIND[=WEIGHT]", help="Only render this kind "
        f"of scene; repeat it for several kinds. One of {', '.join(SCENE_KINDS)}. Default: room, tabletop, street and "
        "park.")  # fmt: skip
    add("--textures", action="append", default=[], metavar="DIR", help="Folder of images; patches of them become "
        "textures. Repeatable.")  # fmt: skip
    add("--canonical", action="store_true", help="Store canonical depth: meters divided by the relative focal length.")
    add("--seed", type=_parse_count, default=0, help="Random seed. Different seeds never share a scene.")
    add("--workers", type=_parse_count, help="Number of processes (default: one per core); 0 renders in this process.")
    add("--device", default="cpu", help="Device to render on (default: cpu). A GPU does not use other processes.")
    add("--preview", action="store_true", help="Also write preview.png: some scenes above their depth.")
    return parser


def _parse_folder(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("must not be empty; is a shell variable unset?")
    return Path(text)


def _parse_count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must not be negative: {text}")
    return number


def _parse_positive(text: str) -> int:
    number = _parse_count(text)
    if number == 0:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _parse_size(text: str) -> tuple[int, int]:
    height, separator, width = text.partition("x")
    if not (separator and height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"must be HxW, for example 192x256: {text}")
    return int(height), int(width)


def _parse_kind(text: str) -> tuple[str, float]:
    name, _, weight = text.partition("=")
    if name not in SCENE_KINDS:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(SCENE_KINDS)}: {text}")
    number = float(weight or 1)
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"the weight must be positive: {text}")
    return name, number


if __name__ == "__main__":
    # A handler that raises may do so while a lock of the process pool is held, and then stopping waits forever.
    codes: list[int] = []
    signal.signal(signal.SIGINT, lambda *_: codes.append(INTERRUPTED_EXIT_CODE))
    signal.signal(signal.SIGTERM, lambda *_: codes.append(128 + signal.SIGTERM))
    sys.exit(main(stopped=lambda: codes[0] if codes else 0))
