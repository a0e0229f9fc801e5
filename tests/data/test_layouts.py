from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glpn_cli.data.layouts import ListedPair, Split, find_samples, read_list
from glpn_cli.data.settings import DataSettings
from glpn_cli.errors import DepthFileError, InputError, UsageError

DRIVE = "2011_09_26_drive_0002_sync"
FRAME = f"2011_09_26/{DRIVE}/image_02/data/0000000069.png"
TRUTH = f"{DRIVE}/proj_depth/groundtruth/image_02/0000000069.png"


def write_pair(image: Path, depth: Path, *, size: tuple[int, int] = (4, 6), units: int = 2000) -> None:
    for path in (image, depth):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), 90, np.uint8)).save(image)
    Image.fromarray(np.full(size, units, np.uint16)).save(depth)


@pytest.fixture
def nyu(tmp_path: Path) -> Path:
    """Two training scenes and one test scene in the authors' layout."""
    root = tmp_path / "nyu_depth_v2"
    for scene in ("kitchen_0001", "bath_0002", "official_splits/test/office"):
        write_pair(root / scene / "rgb_00045.jpg", root / scene / "sync_depth_00045.png")
    return tmp_path


@pytest.fixture
def kitti(tmp_path: Path) -> Path:
    """Two frames of one drive with ground truth."""
    root = tmp_path / "kitti"
    raw = root / "raw_data" / "2011_09_26" / DRIVE
    truth = root / "data_depth_annotated" / "val" / DRIVE / "proj_depth" / "groundtruth" / "image_02"
    for frame in ("0000000069", "0000000070"):
        write_pair(raw / "image_02" / "data" / f"{frame}.png", truth / f"{frame}.png", size=(375, 1242), units=2560)
    return tmp_path


def test_nyu_is_found_without_list(nyu: Path) -> None:
    settings = DataSettings("nyu", root=str(nyu))
    test, train = find_samples(settings, Split.TEST), find_samples(settings, Split.TRAIN)
    assert [files.name for files in test.files] == ["office_rgb_00045"]
    assert [files.name for files in train.files] == ["bath_0002_rgb_00045", "kitchen_0001_rgb_00045"]
    assert test[0].meters[0, 0] == 2.0
    assert test[0].rgb.shape == (4, 6, 3)
    inner = DataSettings("nyu", root=str(nyu / "nyu_depth_v2"))
    assert find_samples(inner, Split.TEST).files == test.files


def test_default_lists_are_found(nyu: Path) -> None:
    lists = nyu / "filenames" / "nyudepthv2"
    lists.mkdir(parents=True)
    (lists / "train_list.txt").write_text("/kitchen_0001/rgb_00045.jpg /kitchen_0001/sync_depth_00045.png\n")
    (lists / "test_list.txt").write_text("/office/rgb_00045.jpg /office/sync_depth_00045.png\n")
    settings = DataSettings("nyu", root=str(nyu))
    assert [files.name for files in find_samples(settings, Split.TRAIN).files] == ["kitchen_0001_rgb_00045"]
    assert find_samples(settings, Split.TEST)[0].meters[0, 0] == 2.0


def test_root_can_come_from_environment(nyu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLPN_DATA", str(nyu))
    assert len(find_samples(DataSettings("nyu"), Split.TRAIN)) == 2


@pytest.mark.parametrize(
    "line",
    [
        f"/raw_data/{FRAME} /data_depth_annotated/val/{TRUTH}",
        f"{FRAME} {TRUTH} 721.5377",
    ],
    ids=["authors", "bts"],
)
def test_kitti_is_cropped_and_uses_256_units(kitti: Path, line: str) -> None:
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


def test_kitti_requires_list(kitti: Path) -> None:
    with pytest.raises(UsageError, match=r"kitti.*list") as caught:
        find_samples(DataSettings("kitti", root=str(kitti)), Split.TEST)
    assert str(Path("eigen_benchmark", "test_list.txt")) in str(caught.value.hint)


def test_folder_pairs_images_by_name_with_subfolders(tmp_path: Path) -> None:
    write_pair(tmp_path / "b.jpg", tmp_path / "b.png")
    write_pair(tmp_path / "deep" / "a.webp", tmp_path / "deep" / "a.png")
    Image.new("RGB", (6, 4)).save(tmp_path / "alone.jpg")
    samples = find_samples(DataSettings(str(tmp_path), units_per_meter=500), Split.TEST)
    assert [files.name for files in samples.files] == ["b", "deep/a"]
    assert samples.without_depth == 1
    assert [float(sample.meters[0, 0]) for sample in samples] == [4.0, 4.0]


def test_upper_case_suffixes_are_found(tmp_path: Path) -> None:
    write_pair(tmp_path / "UP.JPG", tmp_path / "UP.PNG")
    samples = find_samples(DataSettings(str(tmp_path), units_per_meter=1000), Split.TEST)
    assert [files.name for files in samples.files] == ["UP"]
    assert samples[0].meters[0, 0] == 2.0


def test_two_images_with_one_depth_file_are_refused(tmp_path: Path) -> None:
    write_pair(tmp_path / "a.jpg", tmp_path / "a.png")
    write_pair(tmp_path / "a.jpeg", tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png.*a\.jpe?g.*a\.jpe?g"):
        find_samples(DataSettings(str(tmp_path), units_per_meter=1000), Split.TEST)


def test_samples_can_be_pickled_and_sliced(tmp_path: Path) -> None:
    for name in "abc":
        write_pair(tmp_path / f"{name}.jpg", tmp_path / f"{name}.png")
    samples = find_samples(DataSettings(str(tmp_path), units_per_meter=1000), Split.TRAIN)
    copied = pickle.loads(pickle.dumps(samples))  # noqa: S301 - our own
    assert [sample.name for sample in copied[1:]] == ["b", "c"]


def test_two_cameras_of_one_drive_have_unique_names(kitti: Path) -> None:
    raw = kitti / "kitti" / "raw_data" / "2011_09_26" / DRIVE
    write_pair(raw / "image_03" / "data" / "0000000069.png", kitti / "kitti" / "d.png", size=(375, 1242))
    base = f"raw_data/2011_09_26/{DRIVE}"
    (kitti / "list.txt").write_text(
        f"{base}/image_02/data/0000000069.png d.png\n{base}/image_03/data/0000000069.png d.png\n"
    )
    samples = find_samples(DataSettings("kitti", str(kitti), str(kitti / "list.txt")), Split.TRAIN)
    assert len({files.name for files in samples.files}) == 2


def test_depth_of_wrong_size_is_refused(tmp_path: Path) -> None:
    write_pair(tmp_path / "a.jpg", tmp_path / "a.png")
    Image.fromarray(np.ones((4, 7), np.uint16)).save(tmp_path / "a.png")
    samples = find_samples(DataSettings(str(tmp_path), units_per_meter=1000), Split.TEST)
    with pytest.raises(DepthFileError, match=r"a\.png.*4x7.*4x6"):
        _ = samples[0]


def test_kitti_image_smaller_than_crop_is_named(kitti: Path) -> None:
    write_pair(kitti / "kitti" / "s.png", kitti / "kitti" / "d.png")
    (kitti / "list.txt").write_text("s.png d.png\n")
    samples = find_samples(DataSettings("kitti", str(kitti), str(kitti / "list.txt")), Split.TEST)
    with pytest.raises(DepthFileError, match=r"s\.png.*4x6"):
        _ = samples[0]


@pytest.mark.parametrize(
    ("data", "other", "error", "named"),
    [
        ("", {}, UsageError, "units_per_meter"),
        ("", {"units_per_meter": 1000}, InputError, "NAME.png"),
        ("gone", {"units_per_meter": 1000}, UsageError, "gone"),
        ("", {"root": ".", "units_per_meter": 1}, UsageError, "`root`"),
        ("nyu", {}, InputError, "nyu_depth_v2"),
    ],
    ids=["unit", "empty", "missing", "root", "empty-nyu"],
)
def test_missing_data_is_explained(
    tmp_path: Path, data: str, other: dict[str, object], error: type[InputError], named: str
) -> None:
    folder = {"data": "nyu", "root": str(tmp_path)} if data == "nyu" else {"data": str(tmp_path / data)}
    settings = DataSettings(**folder, **other)  # type: ignore[arg-type]
    with pytest.raises(error) as caught:
        find_samples(settings, Split.TEST)
    assert caught.value.hint
    assert named in caught.value.message + caught.value.hint


def test_list_of_missing_files_is_refused(nyu: Path) -> None:
    (nyu / "list.txt").write_text("/gone/rgb_1.jpg /gone/sync_depth_1.png\n")
    with pytest.raises(InputError, match=r"list\.txt"):
        find_samples(DataSettings("nyu", str(nyu), str(nyu / "list.txt")), Split.TEST)


def test_lists_of_authors_and_others_are_read(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text(
        "/kitchen_0/rgb_00045.jpg /kitchen_0/sync_depth_00045.png\n"
        "# a comment\n\n"
        "2011/image_02/data/1.png  drive/proj_depth/1.png 721.5377\n"
        "2011/image_02/data/2.png None 721.5377\n"
        "with a space.jpg\twith a space.png\n"
    )
    assert read_list(file) == [
        ListedPair("kitchen_0/rgb_00045.jpg", "kitchen_0/sync_depth_00045.png"),
        ListedPair("2011/image_02/data/1.png", "drive/proj_depth/1.png"),
        ListedPair("2011/image_02/data/2.png", None),
        ListedPair("with a space.jpg", "with a space.png"),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be-with-mark"])
def test_encodings_of_lists_are_recognized(tmp_path: Path, encoding: str) -> None:
    text = "rgb/\u00fc.jpg depth/\u00fc.png\r\n"
    is_big = encoding == "utf-16-be-with-mark"
    data = b"\xfe\xff" + text.encode("utf-16-be") if is_big else text.encode(encoding)
    (tmp_path / "list.txt").write_bytes(data)
    assert read_list(tmp_path / "list.txt") == [ListedPair("rgb/\u00fc.jpg", "depth/\u00fc.png")]


@pytest.mark.parametrize(
    "line",
    [
        "rgb/a.jpg,depth/a.png",
        '"rgb/a.jpg", "depth/a.png", 525.0',
        "rgb/a.jpg\t depth/a.png\t525.0",
        "rgb/a.jpg\t\tdepth/a.png",
        "rgb/a.jpg\tdepth/a.png 525.0",
        "rgb/a.jpg depth/a.png\t525.0",
        "  rgb/a.jpg   depth/a.png  ",
        "1305031102.175304 rgb/a.jpg 1305031102.160407 depth/a.png",
        "1305031102.160407 depth/a.png 1305031102.175304 rgb/a.jpg",
        "1305031102.175304,rgb/a.jpg,1305031102.160407,depth/a.png",
        "image,depth\nrgb/a.jpg,depth/a.png",
    ],
)
def test_separators_and_associations_are_recognized(tmp_path: Path, line: str) -> None:
    (tmp_path / "list.txt").write_text(line + "\n", encoding="utf-8")
    assert read_list(tmp_path / "list.txt") == [ListedPair("rgb/a.jpg", "depth/a.png")]


@pytest.mark.parametrize(
    ("line", "image", "depth"),
    [
        ("my photo.jpg my depth.png", "my photo.jpg", "my depth.png"),
        ("my photo.jpg, my depth.png", "my photo.jpg", "my depth.png"),
        ("a,b.jpg a,b.png", "a,b.jpg", "a,b.png"),
        ("1.5.jpg\t1.5.png", "1.5.jpg", "1.5.png"),
        ("photo depth", "photo", "depth"),
        ("photo one\tdepth one", "photo one", "depth one"),
    ],
)
def test_odd_names_in_lists_are_read(tmp_path: Path, line: str, image: str, depth: str) -> None:
    (tmp_path / "list.txt").write_text(line, encoding="utf-8")
    assert read_list(tmp_path / "list.txt") == [ListedPair(image, depth)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a.jpg a.png\nalone.jpg\n", "line 2"),
        (b"\n# nothing\n", "empty"),
        (b"\xfd\x00\x81", "UTF-8"),
        (b"\xff\xfea", "UTF-8"),
        (None, "read"),
    ],
    ids=["one-field", "empty", "binary", "half-a-character", "missing"],
)
def test_invalid_list_is_named(tmp_path: Path, content: bytes | None, reason: str) -> None:
    file = tmp_path / "list.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=r"list\.txt") as caught:
        read_list(file)
    assert reason in caught.value.message
