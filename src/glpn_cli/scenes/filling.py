"""Fill a folder with scenes, in several processes at once."""

from __future__ import annotations

import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from glpn_cli.errors import OutputError
from glpn_cli.scenes.kept import (
    PIECE_SCENES,
    SceneRecipe,
    make_piece,
    open_kept_scenes,
    pieces_to_make,
    start_keeping,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from glpn_cli.scenes.textures import Atlas
    from glpn_cli.settings import SceneSettings

__all__ = ["fill", "write_preview"]

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
        UsageError: the folder has scenes of another recipe.
        OutputError: a piece cannot be written.
    """
    recipe = SceneRecipe(settings.seed, settings.size, settings.textures)
    start_keeping(settings.out, recipe)
    missing = pieces_to_make(settings.out, settings.count)
    done = -(-settings.count // PIECE_SCENES) - len(missing)
    yield done * PIECE_SCENES
    if not settings.workers:
        for number, piece in enumerate(missing, start=1):
            _make(settings.out, recipe, piece)
            yield (done + number) * PIECE_SCENES
        return
    # New processes, not copies of this one: torch's threads do not survive being copied.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(settings.workers, context, initializer=_begin) as pool:
        waiting = [pool.submit(_make, settings.out, recipe, piece) for piece in missing]
        try:
            for number, one in enumerate(as_completed(waiting), start=1):
                one.result()
                yield (done + number) * PIECE_SCENES
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def write_preview(settings: SceneSettings) -> Path:
    """Write `preview.png`: some scenes, each over its depth, where near is dark.

    Raises:
        OutputError: it cannot be written.
    """
    import numpy as np
    from PIL import Image

    scenes = open_kept_scenes(settings.out)
    if scenes is None:
        raise AssertionError("scenes have just been rendered here")
    height, width = settings.size
    low, high = np.log(_PREVIEW_RANGE_M)
    cells = []
    for number in range(_PREVIEW):
        sample = scenes[number * len(scenes) // _PREVIEW]
        metres = np.clip(sample.metres, *_PREVIEW_RANGE_M)
        grey = ((np.log(metres) - low) / (high - low) * 255).astype(np.uint8)
        pair = [
            np.asarray(Image.fromarray(values).convert("RGB").resize((width // 2, height // 2)))
            for values in (sample.rgb, grey)
        ]
        cells.append(np.concatenate(pair))
    rows = [np.concatenate(cells[at : at + _PREVIEW_COLUMNS], 1) for at in range(0, _PREVIEW, _PREVIEW_COLUMNS)]
    target = Path(settings.out) / "preview.png"
    try:
        Image.fromarray(np.concatenate(rows)).save(target)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error
    return target


def _begin() -> None:
    import torch

    torch.set_num_threads(1)  # there are as many processes as there should be work at once
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and stops giving out work


def _make(folder: str, recipe: SceneRecipe, piece: int) -> None:
    make_piece(folder, recipe, piece, _atlas(recipe))


@lru_cache(1)
def _atlas(recipe: SceneRecipe) -> Atlas:
    return recipe.atlas()
