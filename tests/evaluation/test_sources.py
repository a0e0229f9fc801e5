from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glpn_cli.data.sample import Sample, SampleFiles
from glpn_cli.depth import DepthMap
from glpn_cli.errors import DepthFileError, InputError
from glpn_cli.evaluation.sources import FilesSource
from glpn_cli.output.formats import FORMATS, DepthFormat, ReadsBack

FILES = SampleFiles("drive_7", Path("x/raw/7.jpg"), Path("x/7.png"), Path("raw/7.jpg"))
METERS = np.arange(1, 13, dtype=np.float32).reshape(3, 4)


def sample(size: tuple[int, int] = (3, 4), uncropped_size: tuple[int, int] | None = None) -> Sample:
    return Sample("drive_7", np.zeros((*size, 3), np.uint8), np.ones(size, np.float32), uncropped_size or size)


@pytest.mark.parametrize("name", ["raw/7.depth.npy", "raw/7.jpg.depth.npy", "raw/7.npy", "drive_7.npy"])
def test_prediction_is_found_by_each_name(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    target.parent.mkdir(exist_ok=True)
    np.save(target, METERS)
    source = FilesSource(tmp_path, units_per_meter=1000)
    assert source.predict(sample(), FILES).tolist() == METERS.tolist()
    assert not source.approximate


@pytest.mark.parametrize(
    "row", [row for row in FORMATS.values() if row.reads_back is not ReadsBack.NEVER], ids=lambda row: row.name
)
def test_every_readable_format_is_accepted(tmp_path: Path, row: DepthFormat) -> None:
    DepthMap(METERS).save(tmp_path / f"drive_7{row.ending}")
    predicted = FilesSource(tmp_path, units_per_meter=1).predict(sample(), FILES)
    # A step of 8 bits; the default range of inverse depth leaves out 1 % at each end.
    assert np.abs(predicted - METERS).max() < (0.12 if row.name == "disparity16" else 12 / 255)


def test_exact_format_is_preferred_to_8_bit_image(tmp_path: Path) -> None:
    DepthMap(METERS * 9).save(tmp_path / "drive_7.depth.png")
    DepthMap(METERS).save(tmp_path / "drive_7.depth.npy")
    assert FilesSource(tmp_path, units_per_meter=1).predict(sample(), FILES).tolist() == METERS.tolist()


def test_foreign_visualization_is_not_used(tmp_path: Path) -> None:
    np.save(tmp_path / "drive_7.npy", METERS)
    for visualization in (Image.new("L", (4, 3)), Image.fromarray((METERS * 128).astype(np.uint16))):
        visualization.save(tmp_path / "drive_7.png")
        assert FilesSource(tmp_path, units_per_meter=256).predict(sample(), FILES).tolist() == METERS.tolist()


@pytest.mark.parametrize(("name", "folder"), [("7", "."), ("../7", "mine")])
def test_ground_truth_is_never_used_as_prediction(tmp_path: Path, name: str, folder: str) -> None:
    Image.fromarray((METERS * 256).astype(np.uint16)).save(tmp_path / "7.png")
    (tmp_path / "mine").mkdir()
    files = SampleFiles(name, tmp_path / "7.jpg", tmp_path / "7.png", Path(f"{name}.jpg"))
    with pytest.raises(DepthFileError, match="7"):
        FilesSource(tmp_path / folder, units_per_meter=256).predict(sample(), files)


def test_image_outside_data_folder_has_prediction_inside(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    np.save(tmp_path / "7.npy", METERS * 2)
    np.save(tmp_path / "mine" / "7.npy", METERS)
    files = SampleFiles("../7", tmp_path / "7.jpg", tmp_path / "7.png", Path("../7.jpg"))
    predicted = FilesSource(tmp_path / "mine", units_per_meter=1).predict(sample(), files)
    assert predicted.tolist() == METERS.tolist()


def test_8_bit_prediction_is_marked_approximate(tmp_path: Path) -> None:
    DepthMap(METERS).save(tmp_path / "drive_7.depth.png")
    source = FilesSource(tmp_path, units_per_meter=1)
    assert np.abs(source.predict(sample(), FILES) - METERS).max() < 12 / 255
    assert source.approximate


def test_foreign_16_bit_png_has_units_of_the_data(tmp_path: Path) -> None:
    Image.fromarray((METERS * 256).astype(np.uint16)).save(tmp_path / "drive_7.png")
    assert FilesSource(tmp_path, units_per_meter=256).predict(sample(), FILES).tolist() == METERS.tolist()


def test_uncropped_kitti_prediction_is_cropped(tmp_path: Path) -> None:
    whole = np.zeros((375, 1242), np.float32)
    whole[23:, 13 : 13 + 1216] = 5.0
    np.save(tmp_path / "drive_7.npy", whole)
    predicted = FilesSource(tmp_path, units_per_meter=256).predict(sample((352, 1216), (375, 1242)), FILES)
    assert predicted.shape == (352, 1216)
    assert (predicted == 5.0).all()


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DepthFileError, match="drive_7"):
        FilesSource(tmp_path, units_per_meter=1).predict(sample(), FILES)
    with pytest.raises(InputError, match="gone") as caught:
        FilesSource(tmp_path / "gone", units_per_meter=1)
    assert caught.value.setting == "predictions"


def test_wrong_size_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "drive_7.npy", METERS.T)
    with pytest.raises(DepthFileError, match=r"drive_7\.npy.*4x3.*3x4"):
        FilesSource(tmp_path, units_per_meter=1).predict(sample(), FILES)


def test_ambiguous_name_needs_its_subfolder(tmp_path: Path) -> None:
    np.save(tmp_path / "7.npy", METERS)
    files = SampleFiles("a/7", Path("x/a/7.jpg"), Path("x/a/7.png"), Path("a/7.jpg"))
    other = SampleFiles("b/7", Path("x/b/7.jpg"), Path("x/b/7.png"), Path("b/7.jpg"))
    assert FilesSource(tmp_path, units_per_meter=1, samples=[files]).predict(sample(), files) is not None
    with pytest.raises(DepthFileError, match="a/7"):
        FilesSource(tmp_path, units_per_meter=1, samples=[files, other]).predict(sample(), files)
