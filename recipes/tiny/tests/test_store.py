from __future__ import annotations

import json
import pickle
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from glpn_cli.errors import InputError, OutputError, UsageError
from glpn_cli.scenes import kept
from glpn_cli.scenes.filling import fill, write_preview
from glpn_cli.scenes.kept import RenderedScenes, SceneRecipe, open_kept_scenes, start_keeping
from glpn_cli.training.settings import SceneSettings

if TYPE_CHECKING:
    from pathlib import Path

SIZE = (32, 48)
PYTHON = sys.executable


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "PIECE_SCENES", 4)
    monkeypatch.setattr("glpn_cli.scenes.filling.PIECE_SCENES", 4)


def settings(folder: Path, count: int = 8, **changes: int) -> SceneSettings:
    return SceneSettings(str(folder / "scenes"), count, SIZE, (), changes.get("seed", 3), 0)


def test_what_is_kept_is_what_is_rendered(tmp_path: Path) -> None:
    assert list(fill(settings(tmp_path))) == [0, 4, 8]
    scenes = open_kept_scenes(str(tmp_path / "scenes"))
    assert scenes is not None
    assert len(scenes) == 8
    sample = pickle.loads(pickle.dumps(scenes))[1]  # noqa: S301 - our own
    height, width = sample.meters.shape
    from glpn_cli.scenes.rendering import render_scenes

    recipe = SceneRecipe(3, SIZE)
    rgb, depth = render_scenes([recipe.scene_seed(number) for number in range(4)], recipe.atlas(), height, width)
    assert np.array_equal(sample.rgb, rgb[1].numpy())
    np.testing.assert_allclose(sample.meters, depth[1].numpy(), rtol=6e-4)
    assert (sample.name, sample.meters.dtype) == ("scene 1", np.float32)


def test_an_interrupted_filling_goes_on_and_does_no_piece_twice(tmp_path: Path) -> None:
    running = fill(settings(tmp_path))
    assert next(running) == 0
    assert next(running) == 4
    running.close()
    first = tmp_path / "scenes" / "00000.rgb.npy"
    before = first.stat().st_mtime_ns
    assert list(fill(settings(tmp_path))) == [4, 8]
    assert first.stat().st_mtime_ns == before
    assert list(fill(settings(tmp_path, 6))) == [8]
    assert not list((tmp_path / "scenes").glob("*.part"))


def test_other_scenes_do_not_go_into_the_same_folder(tmp_path: Path) -> None:
    list(fill(settings(tmp_path, 4)))
    with pytest.raises(UsageError, match="another seed"):
        list(fill(settings(tmp_path, 8, seed=4)))


def test_other_textures_in_a_folder_of_the_same_name_are_other_scenes(tmp_path: Path) -> None:
    for place, side in (("a", 20), ("b", 30)):
        (tmp_path / place / "tex").mkdir(parents=True)
        Image.new("RGB", (side, 20), (90, 10, 10)).save(tmp_path / place / "tex" / "x.png")
    scenes = str(tmp_path / "scenes")
    start_keeping(scenes, SceneRecipe(textures=(str(tmp_path / "a" / "tex"),)))
    start_keeping(scenes, SceneRecipe(textures=(str(tmp_path / "a" / "tex"),)))
    with pytest.raises(UsageError, match="another texture set"):
        start_keeping(scenes, SceneRecipe(textures=(str(tmp_path / "b" / "tex"),)))


def test_scenes_of_an_earlier_version_go_on(tmp_path: Path) -> None:
    recipe = SceneRecipe(3, SIZE)
    start_keeping(str(tmp_path), recipe)
    facts = json.loads((tmp_path / "scenes.json").read_text())
    del facts["texture_set"]
    (tmp_path / "scenes.json").write_text(json.dumps(facts))
    start_keeping(str(tmp_path), recipe)


def test_a_file_of_another_kind_is_no_piece(tmp_path: Path) -> None:
    list(fill(settings(tmp_path, 4)))
    (tmp_path / "scenes" / "0abc.rgb.npy").touch()
    scenes = open_kept_scenes(str(tmp_path / "scenes"))
    assert scenes is not None
    assert len(scenes) == 4


def test_a_folder_of_other_things_has_no_scenes_and_an_empty_one_says_how_to_get_them(tmp_path: Path) -> None:
    assert open_kept_scenes(str(tmp_path)) is None
    start_keeping(str(tmp_path / "scenes"), SceneRecipe())
    with pytest.raises(InputError, match="no scenes"):
        open_kept_scenes(str(tmp_path / "scenes"))


def test_a_full_disk_is_said_and_leaves_no_half_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept.np, "save", full)
    with pytest.raises(OutputError, match="No space left"):
        list(fill(settings(tmp_path, 4)))
    assert {path.name for path in (tmp_path / "scenes").iterdir()} == {"scenes.json"}


def test_scenes_without_end_are_rendered_when_they_are_asked_for() -> None:
    scenes = RenderedScenes(SceneRecipe(0, SIZE), 2**40)
    sample = scenes[2**39]
    assert sample.rgb.shape == (*sample.meters.shape, 3)
    assert sample.rgb.size >= 32 * 32 * 3
    with pytest.raises(IndexError):
        scenes[2**40]


def test_another_process_makes_the_same_scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from glpn_cli.scenes.rendering import render_scenes

    monkeypatch.undo()  # it has pieces of full size
    assert list(fill(SceneSettings(str(tmp_path / "scenes"), 1, (32, 32), workers=2))) == [0, 64]
    scenes = open_kept_scenes(str(tmp_path / "scenes"))
    assert scenes is not None
    rgb, _ = render_scenes(range(4), SceneRecipe(0, (32, 32)).atlas(), *scenes[0].meters.shape)
    assert np.array_equal(scenes[3].rgb, rgb[3].numpy())


def test_what_goes_wrong_in_another_process_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = "import sys; print('\"full disk\"'); sys.exit(0)"
    monkeypatch.setattr("glpn_cli.scenes.filling.sys.executable", make_program(tmp_path / "python", answers))
    with pytest.raises(OutputError, match="full disk"):
        list(fill(SceneSettings(str(tmp_path / "scenes"), 4, (32, 32), workers=1)))
    dies = "import sys; sys.exit(7)"
    monkeypatch.setattr("glpn_cli.scenes.filling.sys.executable", make_program(tmp_path / "other", dies))
    with pytest.raises(OutputError, match="ended with code 7"):
        list(fill(SceneSettings(str(tmp_path / "scenes"), 4, (32, 32), workers=1)))


def make_program(path: Path, code: str) -> str:
    path.write_text(f"#!{PYTHON}\n{code}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_a_preview_shows_images_over_their_depth(tmp_path: Path) -> None:
    from PIL import Image

    list(fill(settings(tmp_path, 4)))
    with Image.open(write_preview(settings(tmp_path, 4))) as image:
        assert image.size == (6 * SIZE[1] // 2, 4 * SIZE[0])


def test_textures_come_from_images_and_not_from_their_depth(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (60, 50), (1, 2, 3)).save(tmp_path / "a.jpg")
    Image.new("I;16", (60, 50)).save(tmp_path / "a.png")
    (image,) = kept.read_texture_images([str(tmp_path)])
    assert image.shape == (50, 60, 3)
    with pytest.raises(UsageError, match="no such folder"):
        kept.read_texture_images([str(tmp_path / "gone")])


def test_no_scene_of_a_seed_is_one_of_another() -> None:
    recipes = [kept.SceneRecipe(seed, (32, 64)) for seed in (0, 1, 2)]
    seeds = [recipe.scene_seed(number) for recipe in recipes for number in range(1000)]
    assert len(set(seeds)) == len(seeds)


def test_only_the_kinds_that_are_wanted_are_rendered(tmp_path: Path) -> None:
    from glpn_cli.scenes.rendering import make_scene

    atlas = SceneRecipe().atlas()
    assert {make_scene(seed, atlas, {"meal": 1}).kind for seed in range(3)} == {"meal"}
    assert {make_scene(seed, atlas, {"meal": 1, "jam": 1}).kind for seed in range(12)} == {"meal", "jam"}
    assert "meal" not in {make_scene(seed, atlas).kind for seed in range(20)}
    usual, meals = tmp_path / "usual", tmp_path / "meals"
    for folder, kinds in ((usual, ()), (meals, (("meal", 1.0),))):
        assert list(fill(replace(settings(folder, 4), kinds=kinds))) == [0, 4]
    with pytest.raises(UsageError, match="another kinds"):
        list(fill(replace(settings(meals, 4), kinds=(("jam", 1.0),))))
