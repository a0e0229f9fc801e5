"""Fill a folder with scenes, in several processes at once."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glpn_cli.device import choose_runtime
from glpn_cli.errors import GLPNError, OutputError
from glpn_cli.scenes.kept import (
    PIECE_SCENES,
    SceneRecipe,
    make_piece,
    open_kept_scenes,
    pieces_to_make,
    read_texture_images,
    start_keeping,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

    from glpn_cli.training.settings import SceneSettings


_PREVIEW = 24
_PREVIEW_COLUMNS = 6
_PREVIEW_RANGE_M = (0.25, 80.0)


def fill(settings: SceneSettings) -> Iterator[int]:
    """Render what is missing.

    Args:
        settings: what there should be.

    Yields:
        How many scenes are there, at the beginning and whenever a piece is done.

    Raises:
        UsageError: the folder has scenes of another recipe, or there is no such folder of textures.
        InputError: an image for textures cannot be used.
        OutputError: a piece cannot be written.
        DeviceError: the device is not here.
    """
    device = choose_runtime(settings.device).device
    recipe = _recipe(settings)
    read_texture_images(settings.textures)  # what is wrong with them is said here, before anything is written
    start_keeping(settings.out, recipe)
    missing = pieces_to_make(settings.out, settings.count)
    done = -(-settings.count // PIECE_SCENES) - len(missing)
    yield done * PIECE_SCENES
    workers = (os.cpu_count() or 1) if settings.workers is None else settings.workers
    if workers and missing and device.type == "cpu":
        making = _make_elsewhere(settings, missing, workers)
    else:
        making = _make_here(settings, missing, device)
    for number, _ in enumerate(making, start=1):
        yield (done + number) * PIECE_SCENES


def write_preview(settings: SceneSettings) -> Path:
    """Write `preview.png`: some scenes, each over its depth, where near is dark.

    Raises:
        OutputError: it cannot be written.
    """
    import numpy as np
    from PIL import Image, ImageOps

    scenes = open_kept_scenes(settings.out)
    if scenes is None:
        raise AssertionError("scenes have just been rendered here")
    height, width = settings.size
    low, high = np.log(_PREVIEW_RANGE_M)
    cells = []
    for number in range(_PREVIEW):
        sample = scenes[number * len(scenes) // _PREVIEW]
        meters = np.clip(sample.meters, *_PREVIEW_RANGE_M)
        gray = ((np.log(meters) - low) / (high - low) * 255).astype(np.uint8)
        pair = [
            np.asarray(ImageOps.pad(Image.fromarray(values).convert("RGB"), (width // 2, height // 2)))
            for values in (sample.rgb, gray)
        ]
        cells.append(np.concatenate(pair))
    rows = [np.concatenate(cells[at : at + _PREVIEW_COLUMNS], 1) for at in range(0, _PREVIEW, _PREVIEW_COLUMNS)]
    target = Path(settings.out) / "preview.png"
    try:
        Image.fromarray(np.concatenate(rows)).save(target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error
    return target


def _recipe(settings: SceneSettings) -> SceneRecipe:
    return SceneRecipe(settings.seed, settings.size, settings.textures, settings.kinds)


def _make_here(settings: SceneSettings, pieces: Sequence[int], device: torch.device) -> Iterator[int]:
    if pieces:
        recipe = _recipe(settings)
        atlas = recipe.atlas()
        for piece in pieces:
            make_piece(settings.out, recipe, piece, atlas, device=device)
            yield piece


def _make_elsewhere(settings: SceneSettings, pieces: Sequence[int], workers: int) -> Iterator[int]:
    """Divide pieces among new processes, which say on their standard output which they have made.

    They are programs of their own and no copies of this one: torch's threads do not survive being copied, and what
    `multiprocessing` starts anew wants the main program to be a module that can be imported.
    """
    said: queue.Queue[str] = queue.Queue()
    with contextlib.ExitStack() as stack:
        for number in range(min(workers, len(pieces))):
            job = {
                "out": settings.out,
                "size": settings.size,
                "textures": settings.textures,
                "seed": settings.seed,
                "kinds": settings.kinds,
                "pieces": pieces[number::workers],
            }
            worker = stack.enter_context(
                subprocess.Popen(  # noqa: S603 - ourselves
                    [sys.executable, "-m", "glpn_cli.scenes.filling", json.dumps(job)],
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(worker.terminate)
            threading.Thread(target=_listen, args=(worker, said), daemon=True).start()
        for _ in pieces:
            answer = json.loads(said.get())
            if isinstance(answer, str):
                raise OutputError(answer)
            yield answer


def _listen(worker: subprocess.Popen[str], said: queue.Queue[str]) -> None:
    """Pass on what a worker says, and that it has died if it does."""
    assert worker.stdout is not None  # noqa: S101 - it was asked for
    for line in worker.stdout:
        said.put(line)
    if worker.wait():
        said.put(json.dumps(f"a process that renders scenes ended with code {worker.returncode}"))


def _work(job: dict[str, Any]) -> None:
    """Be one of the processes that make pieces."""
    import torch

    torch.set_num_threads(1)  # there are as many processes as there should be work at once
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this is told, and ends it
    try:
        kinds = tuple((name, share) for name, share in job["kinds"])
        recipe = SceneRecipe(job["seed"], tuple(job["size"]), tuple(job["textures"]), kinds)
        atlas = recipe.atlas()
        for piece in job["pieces"]:
            make_piece(job["out"], recipe, piece, atlas)
            _say(piece)
    except GLPNError as error:
        _say(error.message)


def _say(answer: int | str) -> None:
    """Tell whoever started this process."""
    try:
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    except OSError:  # nobody is there any more
        sys.exit()


if __name__ == "__main__":
    _work(json.loads(sys.argv[1]))
