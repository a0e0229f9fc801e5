"""Folders of rendered scenes, as `glpn train --data FOLDER` reads them.

A folder has shards of 64 scenes of one size: `NNNNN.rgb.npy`, uint8, and `NNNNN.depth.npy`, float16 (a relative error
of at most 1/2000). docs/training.md describes the format. A shard is complete or absent. Its number determines the
seeds of its scenes, so several processes can render shards at the same time, and an interrupted run can resume.
"""

from __future__ import annotations

import functools
import hashlib
import json
import multiprocessing
import os
import random
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageOps

from glpn_cli.device import choose_runtime
from glpn_cli.errors import InputError, OutputError, UsageError
from glpn_cli.files import make_folder, os_reason, read_json, replacing
from glpn_cli.image.folder import walk_images
from glpn_cli.image.reading import read_image
from glpn_cli.settings import SearchSettings
from scenes.rendering import render_scenes
from scenes.textures import Atlas, build_atlas

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

SHARD_SCENES = 64
"""Scenes per shard."""

_RECIPE_NAME = "scenes.json"
_SIDES_PX = (16, 2048)
_SCENES_PER_SEED = 2**48  # more than a run can render, so that no two seeds share a scene
_BATCH = 4
_POLL_S = 0.5
_MAX_TEXTURE_IMAGES = 400
_MAX_TEXTURE_PX = 640
_SHAPES: tuple[tuple[float, float, int], ...] = (
    (1.0, 1.0, 11),
    (4 / 3, 3 / 4, 4),
    (7 / 6, 7 / 8, 2),
    (3 / 4, 11 / 8, 3),
)
"""Factors of height and width, and their weights: as requested, portrait, square, wide."""

_PREVIEW_SCENES = 24
_PREVIEW_COLUMNS = 6
_PREVIEW_RANGE_M = (0.25, 80.0)


@dataclass(frozen=True, slots=True)
class SceneRecipe:
    """Everything that determines the scenes of a folder.

    Attributes:
        seed: random seed of textures and scenes; different seeds never share a scene.
        size: (height, width) in pixels; some shards are portrait, square or wide, with about as many pixels.
        textures: folders of images; patches of them become textures.
        kinds: names of `rendering.SCENE_KINDS` with their weights; empty for the default fractions.
        canonical: whether depth is canonical (see `cameras.py`) instead of in meters.
    """

    seed: int = 0
    size: tuple[int, int] = (192, 256)
    textures: tuple[str, ...] = ()
    kinds: tuple[tuple[str, float], ...] = ()
    canonical: bool = False

    def __post_init__(self) -> None:
        """Check the size.

        Raises:
            UsageError: a side is out of range.
        """
        low, high = _SIDES_PX
        if not all(low <= side <= high for side in self.size):
            height, width = self.size
            raise UsageError(f"sides must be from {low} to {high} pixels, not {height}x{width}", setting="size")

    def scene_seed(self, number: int) -> int:
        """Return the seed of a scene."""
        return self.seed * _SCENES_PER_SEED + number

    def shard_size(self, shard: int) -> tuple[int, int]:
        """Return (height, width) of a shard in pixels, which are even."""
        rng = random.Random(f"shape {shard}")
        tall, wide, _ = rng.choices(_SHAPES, [weight for _, _, weight in _SHAPES])[0]
        return round(self.size[0] * tall / 2) * 2, round(self.size[1] * wide / 2) * 2

    def atlas(self) -> Atlas:
        """Return the textures."""
        return build_atlas(self.seed, read_texture_images(self.textures))


def fill_folder(
    folder: Path, recipe: SceneRecipe, count: int, *, workers: int | None = None, device: str = "cpu"
) -> Iterator[int]:
    """Render the shards that are missing.

    Args:
        folder: where to write; created if it does not exist.
        recipe: the scenes to render.
        count: number of scenes, rounded up to complete shards.
        workers: number of processes; 0 renders in this process, None uses one process per core.
        device: a GPU renders in this process, independent of `workers`.

    Yields:
        The number of finished scenes: at the beginning, after each shard, and every half second with processes.

    Raises:
        UsageError: the folder has scenes of another recipe, or a folder of textures does not exist.
        InputError: a texture image cannot be used.
        OutputError: a shard cannot be written, or a rendering process died.
        DeviceError: the device is not available.
    """
    chosen = choose_runtime(device).device
    read_texture_images(recipe.textures)  # fails before anything is written
    start_folder(folder, recipe)
    present = set(_present_shards(folder))
    total = -(-count // SHARD_SCENES)
    missing = [shard for shard in range(total) if shard not in present]
    done = total - len(missing)
    yield done * SHARD_SCENES
    if not missing:
        return
    workers = (os.cpu_count() or 1) if workers is None else workers
    if workers and chosen.type == "cpu":
        rendering = _render_in_processes(folder, recipe, missing, min(workers, len(missing)))
    else:
        rendering = _render_here(folder, recipe, missing, chosen)
    for finished in rendering:
        done += finished
        yield done * SHARD_SCENES


def start_folder(folder: Path, recipe: SceneRecipe) -> None:
    """Create a folder for scenes, or check that an existing one has scenes of the same recipe.

    Raises:
        UsageError: it has scenes of another recipe.
        OutputError: it cannot be created, or its recipe cannot be read.
    """
    names = {"textures": [Path(texture).name for texture in recipe.textures]}
    ours = json.loads(json.dumps(asdict(recipe) | names | {"texture_set": _texture_fingerprint(recipe.textures)}))
    file = folder / _RECIPE_NAME
    make_folder(folder)
    if not file.exists():
        try:
            with replacing(file) as partial:
                partial.write_text(json.dumps(ours, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{file}: cannot be written: {os_reason(error)}") from error
        return
    theirs = read_json(file, OutputError)
    for key, value in ours.items():
        # Earlier versions did not write all keys. A missing one does not count as a difference, except that their
        # depth was never canonical.
        found = theirs.get(key, False if key == "canonical" else value)
        if found != value:
            raise UsageError(
                f"{folder}: its scenes were rendered with other `{key}`: {found}",
                hint="choose another folder, or use the same settings",
            )


def read_texture_images(folders: Sequence[str]) -> list[NDArray[np.uint8]]:
    """Read images for textures: at most about 400 per folder, subsampled to the resolution that textures need.

    Returns:
        (H, W, 3) uint8 each.

    Raises:
        UsageError: a folder does not exist.
        InputError: a folder has no images, or an image cannot be read.
    """
    images = []
    for folder in folders:
        for path in _texture_files(folder):
            rgb = read_image(path).rgb
            step = max(1, min(rgb.shape[:2]) // _MAX_TEXTURE_PX)
            images.append(np.ascontiguousarray(rgb[::step, ::step]))
    return images


def write_shard(
    folder: Path, recipe: SceneRecipe, shard: int, atlas: Atlas, *, device: torch.device | str = "cpu"
) -> None:
    """Render a shard and write its two files.

    Raises:
        OutputError: it cannot be written.
    """
    height, width = recipe.shard_size(shard)
    first = recipe.scene_seed(shard * SHARD_SCENES)
    rgb = np.empty((SHARD_SCENES, height, width, 3), np.uint8)
    depth = np.empty((SHARD_SCENES, height, width), np.float16)
    batch = _BATCH if torch.device(device).type == "cpu" else SHARD_SCENES
    for start in range(0, SHARD_SCENES, batch):
        part = slice(start, start + batch)
        seeds = range(first + start, first + start + batch)
        images, meters = render_scenes(
            seeds, atlas, height, width, kinds=dict(recipe.kinds), canonical=recipe.canonical, device=device
        )
        rgb[part], depth[part] = images.cpu().numpy(), meters.cpu().numpy()
    image_file, depth_file = shard_files(folder, shard)
    try:
        # The image file is last: a shard is complete once it exists.
        for file, values in ((depth_file, depth), (image_file, rgb)):
            with replacing(file) as partial, partial.open("wb") as stream:
                np.save(stream, values)
    except OSError as error:
        raise OutputError(f"{image_file}: cannot be written: {os_reason(error)}") from error


def shard_files(folder: Path, shard: int) -> tuple[Path, Path]:
    """Return the files of a shard: images and depth."""
    return folder / f"{shard:05d}.rgb.npy", folder / f"{shard:05d}.depth.npy"


def write_preview(folder: Path, recipe: SceneRecipe) -> Path:
    """Write `preview.png`: some scenes, each above its depth, where near is dark.

    Raises:
        OutputError: it cannot be written.
    """
    height, width = recipe.size
    low, high = np.log(_PREVIEW_RANGE_M)
    shards = sorted(_present_shards(folder))
    cells = []
    for number in range(_PREVIEW_SCENES):
        shard, place = divmod(number * len(shards) * SHARD_SCENES // _PREVIEW_SCENES, SHARD_SCENES)
        rgb, depth = (np.load(file, mmap_mode="r")[place] for file in shard_files(folder, shards[shard]))
        meters = np.clip(depth.astype(np.float32), *_PREVIEW_RANGE_M)
        gray = ((np.log(meters) - low) / (high - low) * 255).astype(np.uint8)
        pair = [
            np.asarray(ImageOps.pad(Image.fromarray(values).convert("RGB"), (width // 2, height // 2)))
            for values in (np.array(rgb), gray)
        ]
        cells.append(np.concatenate(pair))
    rows = [np.concatenate(cells[at : at + _PREVIEW_COLUMNS], 1) for at in range(0, _PREVIEW_SCENES, _PREVIEW_COLUMNS)]
    target = folder / "preview.png"
    try:
        with replacing(target) as partial:
            Image.fromarray(np.concatenate(rows)).save(partial, format="PNG")
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {os_reason(error)}") from error
    return target


def _present_shards(folder: Path) -> list[int]:
    numbers = (path.name.partition(".")[0] for path in folder.glob("[0-9]*.rgb.npy"))
    return [int(number) for number in numbers if number.isdecimal()]


def _texture_files(folder: str) -> list[Path]:
    if not os.path.isdir(folder):
        raise UsageError(f"{folder}: no such folder", setting="textures")
    found = [
        path
        for path in walk_images(Path(folder), search=SearchSettings(recursive=True), is_output=lambda _: False)
        if isinstance(path, Path)
    ]
    # A PNG beside a JPEG of the same name is the depth of a pair, which is not a texture.
    found = [path for path in found if path.suffix.lower() != ".png" or not path.with_suffix(".jpg").exists()]
    if not found:
        raise InputError(f"{folder}: contains no images", setting="textures")
    return found[:: max(1, len(found) // _MAX_TEXTURE_IMAGES)]


def _texture_fingerprint(folders: Sequence[str]) -> str:
    """Return a hash of the names and sizes of the images, to distinguish folders of the same name."""
    files = [
        f"{path.relative_to(folder)} {path.stat().st_size}" for folder in folders for path in _texture_files(folder)
    ]
    return hashlib.sha256("\n".join(files).encode(errors="surrogateescape")).hexdigest()


def _render_here(folder: Path, recipe: SceneRecipe, shards: Sequence[int], device: torch.device) -> Iterator[int]:
    atlas = recipe.atlas()
    for shard in shards:
        write_shard(folder, recipe, shard, atlas, device=device)
        yield 1


def _render_in_processes(folder: Path, recipe: SceneRecipe, shards: Sequence[int], workers: int) -> Iterator[int]:
    """Yield the number of shards that were finished, also when there are none, so that the caller can stop."""
    # Spawned, because the threads of torch do not survive a fork.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker)
    finished = False
    try:
        pending = {pool.submit(_render_in_worker, folder, recipe, shard) for shard in shards}
        while pending:
            done, pending = wait(pending, _POLL_S, FIRST_COMPLETED)
            for future in done:
                future.result()
            yield len(done)
        finished = True
    except BrokenProcessPool as error:
        raise OutputError(
            f"{folder}: a rendering process died", hint="use fewer `workers`, which need less memory"
        ) from error
    finally:
        if not finished:  # interrupted or failed: do not wait for shards in progress
            for process in multiprocessing.active_children():
                process.terminate()
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    torch.set_num_threads(1)  # there is one process per core
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes; the parent stops its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the main script, which a spawned process imports, may change it
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """Exit when the parent dies, even if it is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@functools.cache
def _worker_atlas(recipe: SceneRecipe) -> Atlas:
    return recipe.atlas()


def _render_in_worker(folder: Path, recipe: SceneRecipe, shard: int) -> None:
    write_shard(folder, recipe, shard, _worker_atlas(recipe))
