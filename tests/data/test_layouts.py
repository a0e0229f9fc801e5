from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from glpn_cli.data.layouts import Split, find_samples
from glpn_cli.errors import DepthFileError, InputError, UsageError
from glpn_cli.settings import DataSettings

if TYPE_CHECKING:
    from pathlib import Path


def write_pair(image: Path, depth: Path, *, size: tuple[int, int] = (4, 6), units: int = 2000) -> None:
    for path in (image, depth):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), 90, np.uint8)).save(image)
    Image.fromarray(np.full(size, units, np.uint16)).save(depth)


@pytest.fixture
def nyu(tmp_path: Path) -> Path:
    """Two scenes to train on and one to test with, as the authors lay them out."""
    root = tmp_path / "nyu_depth_v2"
    for scene in ("kitchen_0001", "bath_0002", "official_splits/test/office"):
        write_pair(root / scene / "rgb_00045.jpg", root / scene / "sync_depth_00045.png")
    return tmp_path


def test_nyu_is_found_without_a_list(nyu: Path) -> None:
    settings = DataSettings("nyu", root=str(nyu))
    test, train = find_samples(settings, Split.TEST), find_samples(settings, Split.TRAIN)
    assert [files.name for files in test.files] == ["office_rgb_00045"]
    assert [files.name for files in train.files] == ["bath_0002_rgb_00045", "kitchen_0001_rgb_00045"]
    assert test[0].meters[0, 0] == 2.0
    assert test[0].rgb.shape == (4, 6, 3)
    inner = DataSettings("nyu", root=str(nyu / "nyu_depth_v2"))
    assert find_samples(inner, Split.TEST).files == test.files


def test_the_authors_lists_are_found_at_their_place_and_lead_to_the_files(nyu: Path) -> None:
    lists = nyu / "filenames" / "nyudepthv2"
    lists.mkdir(parents=True)
    (lists / "train_list.txt").write_text("/kitchen_0001/rgb_00045.jpg /kitchen_0001/sync_depth_00045.png\n")
    (lists / "test_list.txt").write_text("/office/rgb_00045.jpg /office/sync_depth_00045.png\n")
    settings = DataSettings("nyu", root=str(nyu))
    assert [files.name for files in find_samples(settings, Split.TRAIN).files] == ["kitchen_0001_rgb_00045"]
    assert find_samples(settings, Split.TEST)[0].meters[0, 0] == 2.0


def test_the_root_may_come_from_the_environment(nyu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLPN_DATA", str(nyu))
    assert len(find_samples(DataSettings("nyu"), Split.TRAIN)) == 2


DRIVE = "2011_09_26_drive_0002_sync"
FRAME = f"2011_09_26/{DRIVE}/image_02/data/0000000069.png"
TRUTH = f"{DRIVE}/proj_depth/groundtruth/image_02/0000000069.png"


@pytest.fixture
def kitti(tmp_path: Path) -> Path:
    """Two frames of one drive, of which the list gives one, and another without depth."""
    root = tmp_path / "kitti"
    raw = root / "raw_data" / "2011_09_26" / DRIVE
    truth = root / "data_depth_annotated" / "val" / DRIVE / "proj_depth" / "groundtruth" / "image_02"
    for frame in ("0000000069", "0000000070"):
        write_pair(raw / "image_02" / "data" / f"{frame}.png", truth / f"{frame}.png", size=(375, 1242), units=2560)
    return tmp_path


@pytest.mark.parametrize(
    "line",
    [
        f"/raw_data/{FRAME} /data_depth_annotated/val/{TRUTH}",
        f"{FRAME} {TRUTH} 721.5377",
    ],
    ids=["authors", "bts"],
)
def test_kitti_is_cropped_and_counted_in_256ths(kitti: Path, line: str) -> None:
    (kitti / "list.txt").write_text(line + f"\n/raw_data/2011_09_26/{DRIVE}/image_02/data/0000000070.png None\n")
    settings = DataSettings("kitti", root=str(kitti), list_file=str(kitti / "list.txt"))
    samples = find_samples(settings, Split.TEST)
    assert (len(samples), samples.without_depth) == (1, 1)
    sample = samples[0]
    assert sample.name == f"{DRIVE}_0000000069"
    assert sample.rgb.shape == (352, 1216, 3)
    assert sample.meters.shape == (352, 1216)
    assert sample.uncropped_size == (375, 1242)
    assert float(sample.meters[0, 0]) == 10.0


def test_kitti_without_a_list_is_refused_because_frames_alone_do_not_tell_the_split(kitti: Path) -> None:
    with pytest.raises(UsageError, match="said by a list"):
        find_samples(DataSettings("kitti", root=str(kitti)), Split.TEST)


def test_a_plain_folder_is_paired_by_name_in_all_its_folders(tmp_path: Path) -> None:
    write_pair(tmp_path / "b.jpg", tmp_path / "b.png")
    write_pair(tmp_path / "deep" / "a.webp", tmp_path / "deep" / "a.png")
    Image.new("RGB", (6, 4)).save(tmp_path / "alone.jpg")
    samples = find_samples(DataSettings(str(tmp_path), units_per_meter=500), Split.TEST)
    assert [files.name for files in samples.files] == ["b", "deep/a"]
    assert samples.without_depth == 1
    assert [float(sample.meters[0, 0]) for sample in samples] == [4.0, 4.0]


def test_the_depth_of_a_camera_that_shouts_is_found(tmp_path: Path) -> None:
    write_pair(tmp_path / "UP.JPG", tmp_path / "UP.PNG")
    samples = find_samples(DataSettings(str(tmp_path), units_per_meter=1000), Split.TEST)
    assert [files.name for files in samples.files] == ["UP"]
    assert samples[0].meters[0, 0] == 2.0


def test_one_depth_of_two_images_is_refused(tmp_path: Path) -> None:
    write_pair(tmp_path / "a.jpg", tmp_path / "a.png")
    write_pair(tmp_path / "a.jpeg", tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png: is the depth of a\.jpe?g and of a\.jpe?g"):
        find_samples(DataSettings(str(tmp_path), units_per_meter=1000), Split.TEST)


def test_samples_go_to_other_processes_and_can_be_cut_into_parts(tmp_path: Path) -> None:
    for name in "abc":
        write_pair(tmp_path / f"{name}.jpg", tmp_path / f"{name}.png")
    samples = find_samples(DataSettings(str(tmp_path), units_per_meter=1000), Split.TRAIN)
    traveled = pickle.loads(pickle.dumps(samples))  # noqa: S301 - our own
    assert [sample.name for sample in traveled[1:]] == ["b", "c"]


def test_two_cameras_of_one_drive_keep_two_names(kitti: Path) -> None:
    raw = kitti / "kitti" / "raw_data" / "2011_09_26" / DRIVE
    write_pair(raw / "image_03" / "data" / "0000000069.png", kitti / "kitti" / "d.png", size=(375, 1242))
    base = f"raw_data/2011_09_26/{DRIVE}"
    (kitti / "list.txt").write_text(
        f"{base}/image_02/data/0000000069.png d.png\n{base}/image_03/data/0000000069.png d.png\n"
    )
    samples = find_samples(DataSettings("kitti", str(kitti), str(kitti / "list.txt")), Split.TRAIN)
    assert len({files.name for files in samples.files}) == 2


def test_depth_of_another_size_than_its_image_is_refused(tmp_path: Path) -> None:
    write_pair(tmp_path / "a.jpg", tmp_path / "a.png")
    Image.fromarray(np.ones((4, 7), np.uint16)).save(tmp_path / "a.png")
    samples = find_samples(DataSettings(str(tmp_path), units_per_meter=1000), Split.TEST)
    with pytest.raises(DepthFileError, match=r"a\.png: is 4x7, its image 4x6"):
        _ = samples[0]


def test_a_kitti_image_that_is_too_small_is_named(kitti: Path) -> None:
    write_pair(kitti / "kitti" / "s.png", kitti / "kitti" / "d.png")
    (kitti / "list.txt").write_text("s.png d.png\n")
    samples = find_samples(DataSettings("kitti", str(kitti), str(kitti / "list.txt")), Split.TEST)
    with pytest.raises(DepthFileError, match=r"s\.png: 4x6 is smaller"):
        _ = samples[0]


def test_what_cannot_be_found_is_said_with_a_hint(tmp_path: Path) -> None:
    cases = [
        (DataSettings(str(tmp_path)), UsageError, "count in"),
        (DataSettings(str(tmp_path), units_per_meter=1000), InputError, "no images with true depth"),
        (DataSettings(str(tmp_path / "gone"), units_per_meter=1000), UsageError, "no folder"),
        (DataSettings(str(tmp_path), root=str(tmp_path), units_per_meter=1), UsageError, "--root"),
        (DataSettings("nyu", root=str(tmp_path)), InputError, "no images with true depth"),
    ]
    for settings, kind, message in cases:
        with pytest.raises(kind, match=message) as caught:
            find_samples(settings, Split.TEST)
        assert caught.value.hint  # type: ignore[attr-defined]


def test_a_list_of_files_that_are_elsewhere_is_refused(nyu: Path) -> None:
    (nyu / "list.txt").write_text("/gone/rgb_1.jpg /gone/sync_depth_1.png\n")
    with pytest.raises(InputError, match="none of its images"):
        find_samples(DataSettings("nyu", str(nyu), str(nyu / "list.txt")), Split.TEST)
