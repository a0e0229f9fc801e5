from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from glpn_cli.data.sample import (
    MIN_DEPTH_M,
    RESIZED_NOTE,
    UNKNOWN_NOTE,
    SampleFiles,
    Samples,
    crop_slices,
    kb_slices,
    read_depth_png,
    valid_pixels,
)
from glpn_cli.data.settings import Crop
from glpn_cli.errors import DepthFileError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@pytest.mark.parametrize(
    ("size", "corner"),
    [((375, 1242), (23, 13)), ((370, 1226), (18, 5)), ((376, 1241), (24, 12)), ((352, 1216), (0, 0))],
)
def test_kitti_crop_is_bottom_rows_and_middle_columns(size: tuple[int, int], corner: tuple[int, int]) -> None:
    rows, columns = kb_slices(*size)
    assert (rows.start, columns.start) == corner
    assert (rows.stop - rows.start, columns.stop - columns.start) == (352, 1216)
    assert rows.stop == size[0]


def test_kitti_crop_refuses_small_images() -> None:
    with pytest.raises(UsageError, match="300x1242"):
        kb_slices(300, 1242)


@pytest.mark.parametrize(
    ("crop", "size", "expected"),
    [
        (Crop.NYU, (480, 640), (45, 471, 41, 601)),
        (Crop.GARG, (352, 1216), (143, 349, 43, 1172)),
        (Crop.GARG, (375, 1242), (153, 371, 44, 1197)),
        (Crop.EIGEN, (352, 1216), (117, 321, 43, 1172)),
        (Crop.EIGEN, (375, 1242), (124, 342, 44, 1197)),
        (Crop.NONE, (30, 40), (0, 30, 0, 40)),
    ],
)
def test_evaluation_crops_match_published_programs(
    crop: Crop, size: tuple[int, int], expected: tuple[int, int, int, int]
) -> None:
    rows, columns = crop_slices(crop, *size)
    assert (rows.start, rows.stop, columns.start, columns.stop) == expected


def test_nyu_crop_refuses_other_sizes() -> None:
    with pytest.raises(UsageError, match="240x320") as caught:
        crop_slices(Crop.NYU, 240, 320)
    assert caught.value.setting == "crop"


def test_depth_bounds_are_strict() -> None:
    meters = np.array([[0, MIN_DEPTH_M, 0.0011, 9.999, 10, np.nan, np.inf]], np.float64)
    assert valid_pixels(meters, cap_m=10.0).tolist() == [[False, False, True, True, False, False, False]]


def test_pixels_outside_crop_are_not_evaluated() -> None:
    valid = valid_pixels(np.ones((480, 640), np.float32), cap_m=10.0, crop=Crop.NYU)
    assert valid.sum() == 426 * 560
    assert [valid[corner] for corner in ((45, 41), (470, 600))] == [True, True]
    assert not any(valid[outside] for outside in ((44, 41), (471, 600), (45, 40), (470, 601)))


@pytest.mark.parametrize(("units_per_meter", "expected"), [(1000, 2.345), (256, 2345 / 256)])
def test_depth_png_is_read_in_meters(tmp_path: Path, units_per_meter: float, expected: float) -> None:
    Image.fromarray(np.array([[0, 2345, 65535]], np.uint16)).save(tmp_path / "a.png")
    meters = read_depth_png(tmp_path / "a.png", units_per_meter=units_per_meter)
    assert meters.dtype == np.float32
    assert meters.tolist() == [[0, np.float32(expected), np.float32(65535 / units_per_meter)]]


@pytest.mark.parametrize("name", ["view.png", "text.png", "truncated.png", "missing.png"])
def test_invalid_depth_png_is_named(tmp_path: Path, name: str) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "view.png")
    (tmp_path / "text.png").write_text("not an image")
    Image.fromarray(np.zeros((40, 40), np.uint16)).save(tmp_path / "whole.png")
    (tmp_path / "truncated.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    with pytest.raises(DepthFileError, match=name) as caught:
        read_depth_png(tmp_path / name, units_per_meter=1000)
    assert ("16-bit" in caught.value.message) == (name == "view.png")  # which is a valid PNG


def write_pair(folder: Path, units: NDArray[np.uint16], size: tuple[int, int]) -> Samples:
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(folder / "a.jpg")
    Image.fromarray(units).save(folder / "a.png")
    return Samples((SampleFiles("a", folder / "a.jpg", folder / "a.png", Path("a.jpg")),), 1000.0)


def test_largest_value_of_ground_truth_is_unknown(tmp_path: Path) -> None:
    sample = write_pair(tmp_path, np.array([[0, 2000, 65534, 65535]], np.uint16), (1, 4))[0]
    assert sample.meters.tolist() == [[0, 2, np.float32(65.534), 0]]
    assert sample.notes == (UNKNOWN_NOTE,)


@pytest.mark.parametrize(("size", "scale"), [((6, 8), 2), ((12, 16), 4), ((301, 401), None)])
def test_depth_of_another_size_is_resized_to_the_nearest(
    tmp_path: Path, size: tuple[int, int], scale: int | None
) -> None:
    units = np.arange(1, 13, dtype=np.uint16).reshape(3, 4) * 1000
    sample = write_pair(tmp_path, units, size)[0]
    assert sample.meters.shape == size
    assert set(sample.meters.ravel()) == set(range(1, 13))
    if scale is not None:
        assert (sample.meters == (units // 1000).repeat(scale, axis=0).repeat(scale, axis=1)).all()
    assert sample.notes == (RESIZED_NOTE,)


def test_larger_depth_is_resized_to_the_nearest(tmp_path: Path) -> None:
    units = np.arange(9 * 12, dtype=np.uint16).reshape(9, 12) + 1
    sample = write_pair(tmp_path, units, (3, 4))[0]
    assert (sample.meters * 1000).round().astype(int).tolist() == units[1::3, 1::3].tolist()


def test_depth_of_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DepthFileError, match=r"a\.png.*4x3.*3x4") as caught:
        _ = write_pair(tmp_path, np.ones((4, 3), np.uint16), (3, 4))[0]
    assert "EXIF" in str(caught.value.hint)
