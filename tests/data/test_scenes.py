from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest

from glpn_cli.data.scenes import open_scenes
from glpn_cli.errors import InputError
from scene_folder import write_scenes

if TYPE_CHECKING:
    from pathlib import Path

    from glpn_cli.data.scenes import Scenes


def opened(folder: Path) -> Scenes:
    scenes = open_scenes(str(folder))
    assert scenes is not None
    return scenes


def test_samples_have_the_images_and_depth_of_the_files(tmp_path: Path) -> None:
    scenes = opened(write_scenes(tmp_path / "s", 0, 3))
    assert len(scenes) == 128
    for index, name, row in ((0, "scene 0", 0), (63, "scene 63", 63), (64, "scene 192", 0), (127, "scene 255", 63)):
        sample = scenes[index]
        assert (sample.name, sample.uncropped_size) == (name, (40, 72))
        assert (sample.rgb.shape, sample.rgb.dtype, sample.meters.dtype) == ((40, 72, 3), np.uint8, np.float32)
        assert (sample.rgb == (row, 90, 90)).all()
        assert (sample.meters == 1 + row / 8).all()
    assert [sample.name for sample in scenes[62:66]] == ["scene 62", "scene 63", "scene 192", "scene 193"]
    for index in (-1, 128):
        with pytest.raises(IndexError):
            _ = scenes[index]


def test_sizes_may_differ_between_files(tmp_path: Path) -> None:
    write_scenes(tmp_path, 0)
    scenes = opened(write_scenes(tmp_path, 1, height=64, width=32))
    assert (scenes[0].meters.shape, scenes[64].meters.shape) == ((40, 72), (64, 32))


def test_sky_and_unknown_depth_are_preserved(tmp_path: Path) -> None:
    write_scenes(tmp_path, 0)
    depth = np.load(tmp_path / "00000.depth.npy")
    depth[5, 0, :3] = (0, np.nan, np.inf)
    np.save(tmp_path / "00000.depth.npy", depth)
    np.testing.assert_array_equal(opened(tmp_path)[5].meters[0, :3], [0, np.nan, np.inf])


def test_samples_can_be_read_in_another_process(tmp_path: Path) -> None:
    scenes = opened(write_scenes(tmp_path, 0))
    before = len(pickle.dumps(scenes))
    assert scenes[7].rgb[0, 0, 0] == 7
    pickled = pickle.dumps(scenes)
    assert len(pickled) == before  # the arrays stay where they are
    assert pickle.loads(pickled)[7].rgb[0, 0, 0] == 7  # noqa: S301 - it was made above


def test_samples_are_copies_of_the_files(tmp_path: Path) -> None:
    scenes = opened(write_scenes(tmp_path, 0))
    scenes[0].rgb[:] = 1
    scenes[0].meters[:] = 1000
    assert (scenes[0].rgb == (0, 90, 90)).all()
    assert (scenes[0].meters == 1).all()


@pytest.mark.parametrize("name", ["0abc.rgb.npy", "1.rgb.npy", "000002.rgb.npy", ".00003.rgb.npy.12.part", "x.rgb.npy"])
def test_files_with_other_names_are_ignored(tmp_path: Path, name: str) -> None:
    write_scenes(tmp_path, 0)
    (tmp_path / name).touch()
    assert len(opened(tmp_path)) == 64


def test_depth_without_an_image_is_not_complete(tmp_path: Path) -> None:
    write_scenes(tmp_path, 0, 1)
    (tmp_path / "00001.rgb.npy").unlink()
    assert len(opened(tmp_path)) == 64


def test_other_folders_are_not_scene_folders(tmp_path: Path) -> None:
    assert open_scenes(str(tmp_path)) is None
    assert open_scenes(str(tmp_path / "missing")) is None


def test_an_empty_scene_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="empty"):
        open_scenes(str(write_scenes(tmp_path / "empty")))


@pytest.mark.parametrize("name", ["00000.rgb.npy", "00000.depth.npy"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "pickle", "shape", "dtype"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, damage: str) -> None:
    write_scenes(tmp_path, 0)
    scenes, file = opened(tmp_path), tmp_path / name
    if damage == "missing":
        file.unlink()
    elif damage == "truncated":
        file.write_bytes(file.read_bytes()[:1000])
    elif damage == "pickle":
        file.write_bytes(pickle.dumps("code"))
    elif damage == "shape":
        np.save(file, np.load(file)[:, :-1] if name == "00000.depth.npy" else np.load(file)[:32])
    else:
        np.save(file, np.load(file).astype(np.int32))
    with pytest.raises(InputError) as raised:
        _ = scenes[0]
    assert name in str(raised.value)
