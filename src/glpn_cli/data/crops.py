"""Which pixels of a sample count: the crops of the benchmarks and the bounds of depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from glpn_cli.errors import UsageError
from glpn_cli.settings.measuring import Crop

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["KB_SIZE", "MIN_DEPTH_M", "crop_slices", "kb_slices", "valid_pixels"]

MIN_DEPTH_M = 1e-3
"""True depth of this or less counts as unknown."""

KB_SIZE = (352, 1216)
"""(height, width) to which all images of KITTI are cropped, for training and for evaluation."""

_NYU_SIZE = (480, 640)
_NYU_ROWS, _NYU_COLUMNS = (45, 471), (41, 601)
# Top, bottom, left and right as shares of the height and the width.
_GARG = (0.40810811, 0.99189189, 0.03594771, 0.96405229)
_EIGEN = (0.3324324, 0.91351351, 0.0359477, 0.96405229)


def kb_slices(height: int, width: int) -> tuple[slice, slice]:
    """Give the rows and columns of the KITTI crop: the lowest 352 rows, the middle 1216 columns.

    Raises:
        UsageError: the image is smaller than that.

    Source: the cropping of the KITTI benchmark's files, as arXiv 2201.07436 applies it.
    """
    if height < KB_SIZE[0] or width < KB_SIZE[1]:
        raise UsageError(f"{height}x{width} is smaller than the crop of KITTI, {KB_SIZE[0]}x{KB_SIZE[1]}")
    top, left = height - KB_SIZE[0], (width - KB_SIZE[1]) // 2
    return slice(top, top + KB_SIZE[0]), slice(left, left + KB_SIZE[1])


def crop_slices(crop: Crop, height: int, width: int) -> tuple[slice, slice]:
    """Give the rows and columns in which true depth counts.

    Args:
        crop: which.
        height: of the depth map, in pixels; for KITTI after its own crop.
        width: likewise.

    Raises:
        UsageError: the crop of NYU is of 480x640 pixels, and these are others.

    Source: Eigen et al., NIPS 2014 (nyu, eigen); Garg et al., ECCV 2016 (garg); the shares as they are in use.
    """
    if crop is Crop.NONE:
        return slice(0, height), slice(0, width)
    if crop is Crop.NYU:
        if (height, width) != _NYU_SIZE:
            raise UsageError(f"the crop of nyu is made for 480x640, not {height}x{width}", hint="--crop none")
        return slice(*_NYU_ROWS), slice(*_NYU_COLUMNS)
    top, bottom, left, right = _GARG if crop is Crop.GARG else _EIGEN
    return slice(int(top * height), int(bottom * height)), slice(int(left * width), int(right * width))


def valid_pixels(
    meters: NDArray[np.floating[Any]], *, cap_m: float, crop: Crop = Crop.NONE, min_m: float = MIN_DEPTH_M
) -> NDArray[np.bool_]:
    """Tell which pixels count: nearer than the cap, farther than nothing (both strictly), and within the crop.

    Args:
        meters: (H, W) any float dtype, meters; 0 or not a number where nothing is known.
        cap_m: true depth of this or more does not count.
        crop: see `crop_slices`.
        min_m: true depth of this or less does not count.

    Returns:
        (H, W) bool.
    """
    height, width = meters.shape
    rows, columns = crop_slices(crop, height, width)
    valid = np.zeros((height, width), bool)
    inside = meters[rows, columns]
    valid[rows, columns] = (inside > min_m) & (inside < cap_m)
    return valid
