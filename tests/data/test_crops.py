from __future__ import annotations

import numpy as np
import pytest

from glpn_cli.data.sample import MIN_DEPTH_M, crop_slices, kb_slices, valid_pixels
from glpn_cli.errors import UsageError
from glpn_cli.settings import Crop


@pytest.mark.parametrize(
    ("size", "corner"),
    [((375, 1242), (23, 13)), ((370, 1226), (18, 5)), ((376, 1241), (24, 12)), ((352, 1216), (0, 0))],
)
def test_kitti_is_cropped_to_its_lowest_rows_and_middle_columns(size: tuple[int, int], corner: tuple[int, int]) -> None:
    rows, columns = kb_slices(*size)
    assert (rows.start, columns.start) == corner
    assert (rows.stop - rows.start, columns.stop - columns.start) == (352, 1216)
    assert rows.stop == size[0]


def test_a_image_too_small_for_the_crop_of_kitti_is_refused() -> None:
    with pytest.raises(UsageError, match="300x1242 is smaller"):
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
def test_the_crops_are_those_of_the_paper(
    crop: Crop, size: tuple[int, int], expected: tuple[int, int, int, int]
) -> None:
    rows, columns = crop_slices(crop, *size)
    assert (rows.start, rows.stop, columns.start, columns.stop) == expected


def test_the_crop_of_nyu_fits_its_own_size_only() -> None:
    with pytest.raises(UsageError, match="240x320"):
        crop_slices(Crop.NYU, 240, 320)


def test_depth_counts_strictly_within_its_bounds() -> None:
    meters = np.array([[0, MIN_DEPTH_M, 0.0011, 9.999, 10, np.nan, np.inf]], np.float64)
    assert valid_pixels(meters, cap_m=10.0).tolist() == [[False, False, True, True, False, False, False]]


def test_depth_outside_the_crop_does_not_count() -> None:
    valid = valid_pixels(np.ones((480, 640), np.float32), cap_m=10.0, crop=Crop.NYU)
    assert valid.sum() == 426 * 560
    assert (valid[45, 41], valid[470, 600], valid[44, 41], valid[471, 600], valid[45, 40], valid[470, 601]) == (
        True,
        True,
        False,
        False,
        False,
        False,
    )
