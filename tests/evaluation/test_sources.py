from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glpn_cli.data.sample import Sample, SampleFiles
from glpn_cli.depth import DepthMap
from glpn_cli.errors import DepthFileError, InputError
from glpn_cli.evaluation.sources import FromFiles
from glpn_cli.output.formats import FORMATS, DepthFormat, ReadsBack

FILES = SampleFiles("drive_7", Path("x/raw/7.jpg"), Path("x/7.png"), Path("raw/7.jpg"))
METERS = np.arange(1, 13, dtype=np.float32).reshape(3, 4)


def sample(size: tuple[int, int] = (3, 4), uncropped_size: tuple[int, int] | None = None) -> Sample:
    return Sample("drive_7", np.zeros((*size, 3), np.uint8), np.ones(size, np.float32), uncropped_size or size)


@pytest.mark.parametrize("name", ["raw/7.depth.npy", "raw/7.jpg.depth.npy", "raw/7.npy", "drive_7.npy"])
def test_a_prediction_is_found_under_each_name_it_may_have(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    target.parent.mkdir(exist_ok=True)
    np.save(target, METERS)
    source = FromFiles(tmp_path, units_per_meter=1000)
    assert source.predict(sample(), FILES).tolist() == METERS.tolist()
    assert not source.approximate


@pytest.mark.parametrize(
    "row", [row for row in FORMATS.values() if row.reads_back is not ReadsBack.NEVER], ids=lambda row: row.name
)
def test_every_format_that_reads_back_can_be_measured(tmp_path: Path, row: DepthFormat) -> None:
    DepthMap(METERS).save(tmp_path / f"drive_7{row.ending}")
    predicted = FromFiles(tmp_path, units_per_meter=1).predict(sample(), FILES)
    assert np.abs(predicted - METERS).max() < 12 / 255


def test_an_exact_file_is_preferred_to_a_image(tmp_path: Path) -> None:
    DepthMap(METERS * 9).save(tmp_path / "drive_7.depth.png")
    DepthMap(METERS).save(tmp_path / "drive_7.depth.npy")
    assert FromFiles(tmp_path, units_per_meter=1).predict(sample(), FILES).tolist() == METERS.tolist()


def test_a_image_that_others_wrote_beside_their_depth_is_not_taken_for_it(tmp_path: Path) -> None:
    np.save(tmp_path / "drive_7.npy", METERS)
    for wrong in (Image.new("L", (4, 3)), Image.fromarray((METERS * 128).astype(np.uint16))):
        wrong.save(tmp_path / "drive_7.png")
        assert FromFiles(tmp_path, units_per_meter=256).predict(sample(), FILES).tolist() == METERS.tolist()


def test_the_truth_is_no_prediction_of_itself(tmp_path: Path) -> None:
    Image.fromarray((METERS * 256).astype(np.uint16)).save(tmp_path / "7.png")
    np.save(tmp_path / "7.npy", METERS)
    (tmp_path / "mine").mkdir()
    for name, folder in (("7", tmp_path), ("../7", tmp_path / "mine")):
        files = SampleFiles(name, tmp_path / "7.jpg", tmp_path / "7.png", Path(f"{name}.jpg"))
        (tmp_path / "7.npy").unlink(missing_ok=True)
        with pytest.raises(DepthFileError, match="no prediction"):
            FromFiles(folder, units_per_meter=256).predict(sample(), files)


def test_what_a_list_names_from_elsewhere_has_its_prediction_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    np.save(tmp_path / "7.npy", METERS * 2)
    np.save(tmp_path / "mine" / "7.npy", METERS)
    files = SampleFiles("../7", tmp_path / "7.jpg", tmp_path / "7.png", Path("../7.jpg"))
    predicted = FromFiles(tmp_path / "mine", units_per_meter=1).predict(sample(), files)
    assert predicted.tolist() == METERS.tolist()


def test_a_image_of_ours_is_read_and_said_to_be_approximate(tmp_path: Path) -> None:
    DepthMap(METERS).save(tmp_path / "drive_7.depth.png")
    source = FromFiles(tmp_path, units_per_meter=1)
    assert np.abs(source.predict(sample(), FILES) - METERS).max() < 12 / 255
    assert source.approximate


def test_a_16_bit_png_of_others_counts_in_the_units_of_the_data(tmp_path: Path) -> None:
    Image.fromarray((METERS * 256).astype(np.uint16)).save(tmp_path / "drive_7.png")
    assert FromFiles(tmp_path, units_per_meter=256).predict(sample(), FILES).tolist() == METERS.tolist()


def test_a_prediction_of_the_whole_kitti_image_is_cropped_as_its_truth(tmp_path: Path) -> None:
    whole = np.zeros((375, 1242), np.float32)
    whole[23:, 13 : 13 + 1216] = 5.0
    np.save(tmp_path / "drive_7.npy", whole)
    predicted = FromFiles(tmp_path, units_per_meter=256).predict(sample((352, 1216), (375, 1242)), FILES)
    assert predicted.shape == (352, 1216)
    assert (predicted == 5.0).all()


def test_what_is_missing_or_of_another_size_is_named(tmp_path: Path) -> None:
    source = FromFiles(tmp_path, units_per_meter=1)
    with pytest.raises(DepthFileError, match="drive_7: no prediction"):
        source.predict(sample(), FILES)
    np.save(tmp_path / "drive_7.npy", METERS.T)
    with pytest.raises(DepthFileError, match="is 4x3, and its image is 3x4"):
        source.predict(sample(), FILES)
    with pytest.raises(InputError, match="no such folder"):
        FromFiles(tmp_path / "gone", units_per_meter=1)


def test_a_file_without_a_folder_is_nobodys_where_two_are_called_alike(tmp_path: Path) -> None:
    np.save(tmp_path / "7.npy", METERS)
    files = SampleFiles("a/7", Path("x/a/7.jpg"), Path("x/a/7.png"), Path("a/7.jpg"))
    other = SampleFiles("b/7", Path("x/b/7.jpg"), Path("x/b/7.png"), Path("b/7.jpg"))
    assert FromFiles(tmp_path, units_per_meter=1, samples=[files]).predict(sample(), files) is not None
    with pytest.raises(DepthFileError, match="no prediction"):
        FromFiles(tmp_path, units_per_meter=1, samples=[files, other]).predict(sample(), files)
