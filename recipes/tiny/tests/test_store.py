from __future__ import annotations

import functools
import json
import multiprocessing
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from glpn_cli.errors import InputError, OutputError, UsageError
from scenes import store
from scenes.rendering import render_scenes
from scenes.store import SceneRecipe, fill_folder, read_texture_images, shard_files, start_folder, write_preview

if TYPE_CHECKING:
    from pathlib import Path

RECIPE = SceneRecipe(3, (32, 48), kinds=(("tabletop", 1.0),))


START_WORKER = """
from scenes import store, textures
store.SHARD_SCENES = 4
textures._PER_FAMILY = 1
store._start_worker()
"""

pytestmark = pytest.mark.usefixtures("few_textures")


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four scenes per shard, also in worker processes, which then have few textures, too."""
    monkeypatch.setattr(store, "SHARD_SCENES", 4)
    monkeypatch.setattr(store, "_start_worker", functools.partial(exec, START_WORKER, {}))


def fill(folder: Path, count: int, recipe: SceneRecipe = RECIPE) -> list[int]:
    return list(fill_folder(folder, recipe, count, workers=0))


@pytest.mark.usefixtures("small_shards")
def test_shard_holds_rendered_scenes(tmp_path: Path) -> None:
    assert fill(tmp_path / "scenes", 8) == [0, 4, 8]
    for shard in (0, 1):
        rgb, depth = (np.load(file) for file in shard_files(tmp_path / "scenes", shard))
        assert (rgb.dtype, depth.dtype) == (np.uint8, np.float16)
        assert rgb.shape == (4, *RECIPE.shard_size(shard), 3)
        seeds = [RECIPE.scene_seed(4 * shard + number) for number in range(4)]
        images, meters = render_scenes(seeds, RECIPE.atlas(), *RECIPE.shard_size(shard), kinds={"tabletop": 1})
        assert np.array_equal(rgb, images.numpy())
        np.testing.assert_allclose(depth, meters.numpy(), rtol=6e-4)


@pytest.mark.usefixtures("small_shards")
def test_interrupted_run_resumes_without_rendering_twice(tmp_path: Path) -> None:
    running = fill_folder(tmp_path, RECIPE, 8, workers=0)
    assert next(running) == 0
    assert next(running) == 4
    running.close()
    first, _ = shard_files(tmp_path, 0)
    before = first.stat().st_mtime_ns
    assert fill(tmp_path, 8) == [4, 8]
    assert first.stat().st_mtime_ns == before
    assert fill(tmp_path, 6) == [8]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.usefixtures("small_shards")
def test_folder_refuses_scenes_of_other_seed(tmp_path: Path) -> None:
    fill(tmp_path, 4)
    with pytest.raises(UsageError, match=r"`seed`.* 3"):
        fill(tmp_path, 8, replace(RECIPE, seed=4))


def test_folder_refuses_other_textures_of_same_name(tmp_path: Path) -> None:
    for place, side in (("a", 20), ("b", 30)):
        (tmp_path / place / "tex").mkdir(parents=True)
        Image.new("RGB", (side, 20), (90, 10, 10)).save(tmp_path / place / "tex" / "x.png")
    start_folder(tmp_path / "scenes", SceneRecipe(textures=(str(tmp_path / "a" / "tex"),)))
    start_folder(tmp_path / "scenes", SceneRecipe(textures=(str(tmp_path / "a" / "tex"),)))
    with pytest.raises(UsageError, match="`texture_set`"):
        start_folder(tmp_path / "scenes", SceneRecipe(textures=(str(tmp_path / "b" / "tex"),)))


def test_folder_of_earlier_version_is_accepted(tmp_path: Path) -> None:
    start_folder(tmp_path, RECIPE)
    content = json.loads((tmp_path / "scenes.json").read_text())
    del content["texture_set"]
    (tmp_path / "scenes.json").write_text(json.dumps(content))
    start_folder(tmp_path, RECIPE)


def test_damaged_recipe_of_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "scenes.json").write_text("{")
    with pytest.raises(OutputError, match=r"scenes\.json"):
        start_folder(tmp_path, RECIPE)


@pytest.mark.usefixtures("small_shards")
def test_other_files_are_not_shards(tmp_path: Path) -> None:
    (tmp_path / "0abc.rgb.npy").touch()
    assert fill(tmp_path, 4) == [0, 4]


@pytest.mark.usefixtures("small_shards")
def test_full_disk_leaves_no_partial_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OutputError, match="No space left on device"):
        fill(tmp_path, 4)
    assert {path.name for path in tmp_path.iterdir()} == {"scenes.json"}


@pytest.mark.usefixtures("small_shards")
def test_worker_processes_render_the_same_scenes(tmp_path: Path) -> None:
    found = list(fill_folder(tmp_path, RECIPE, 9, workers=2))
    assert (found[0], found[-1]) == (0, 12)
    assert sorted(found) == found
    for shard in (0, 1, 2):
        rgb, _ = (np.load(file) for file in shard_files(tmp_path, shard))
        seeds = [RECIPE.scene_seed(4 * shard + number) for number in range(4)]
        images, _ = render_scenes(seeds, RECIPE.atlas(), *RECIPE.shard_size(shard), kinds={"tabletop": 1})
        assert np.array_equal(rgb, images.numpy())


@pytest.mark.usefixtures("small_shards")
def test_error_in_worker_is_reported(tmp_path: Path) -> None:
    _, depth = shard_files(tmp_path, 0)
    depth.mkdir()  # the worker cannot replace a folder by its file
    with pytest.raises(OutputError, match=r"00000\.rgb\.npy"):
        list(fill_folder(tmp_path, RECIPE, 1, workers=1))
    assert not multiprocessing.active_children()


@pytest.mark.usefixtures("small_shards")
def test_death_of_worker_is_reported(tmp_path: Path) -> None:
    def kill_worker() -> None:
        while not (workers := multiprocessing.active_children()):
            time.sleep(0.01)
        workers[0].kill()

    killer = threading.Thread(target=kill_worker)
    killer.start()
    with pytest.raises(OutputError, match="process died"):
        list(fill_folder(tmp_path, RECIPE, 1, workers=1))
    killer.join()


@pytest.mark.usefixtures("small_shards")
def test_interrupted_run_stops_its_workers(tmp_path: Path) -> None:
    running = fill_folder(tmp_path, RECIPE, 4 * 1000, workers=1)
    assert next(done for done in running if done) >= 4
    running.close()
    assert not multiprocessing.active_children()
    assert len(list(tmp_path.glob("*.rgb.npy"))) < 1000


@pytest.mark.usefixtures("small_shards")
def test_preview_has_images_above_their_depth(tmp_path: Path) -> None:
    fill(tmp_path, 4)
    with Image.open(write_preview(tmp_path, RECIPE)) as image:
        assert image.size == (6 * 48 // 2, 4 * 32)


def test_textures_come_from_images_and_not_from_depth(tmp_path: Path) -> None:
    Image.new("RGB", (60, 50), (1, 2, 3)).save(tmp_path / "a.jpg")
    Image.new("I;16", (60, 50)).save(tmp_path / "a.png")
    (image,) = read_texture_images([str(tmp_path)])
    assert image.shape == (50, 60, 3)
    with pytest.raises(UsageError, match="gone"):
        read_texture_images([str(tmp_path / "gone")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty"):
        read_texture_images([str(tmp_path / "empty")])


def test_seeds_share_no_scene() -> None:
    seeds = [SceneRecipe(seed).scene_seed(number) for seed in (0, 1, 2) for number in range(1000)]
    assert len(set(seeds)) == len(seeds)


def test_shards_have_several_even_shapes_of_similar_area() -> None:
    sizes = {RECIPE.shard_size(shard) for shard in range(60)}
    assert len(sizes) == 4
    assert all(height % 2 == width % 2 == 0 for height, width in sizes)
    assert all(0.9 < height * width / (32 * 48) < 1.1 for height, width in sizes)


@pytest.mark.usefixtures("small_shards")
def test_kinds_are_part_of_the_recipe(tmp_path: Path) -> None:
    fill(tmp_path, 4, replace(RECIPE, kinds=(("meal", 1.0),)))
    with pytest.raises(UsageError, match="`kinds`"):
        fill(tmp_path, 4, replace(RECIPE, kinds=(("jam", 1.0),)))
