"""Which pixels of a sample count: the crops of the benchmarks and the bounds of depth.

True depth as data sets keep it: 16-bit PNG files of whole units, 0 where nothing is known.

One image with its true depth, and many of them to be read one by one.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from PIL import Image

from glpn_cli.errors import DepthFileError, UsageError
from glpn_cli.image.reading import read_image
from glpn_cli.settings import MAX_IMAGE_PIXELS, Crop

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


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


_SIXTEEN_BITS = frozenset({"I;16", "I;16B", "I;16L", "I"})


def read_depth_png(path: str | os.PathLike[str], *, units_per_meter: float) -> NDArray[np.float32]:
    """Read a 16-bit gray PNG.

    Args:
        path: the file.
        units_per_meter: what a meter is in the file: 1000 where it counts millimeters, 256 in KITTI.

    Returns:
        (H, W) float32, meters, 0 where nothing is known.

    Raises:
        DepthFileError: the file is missing, damaged or no such PNG.
    """
    path = os.fspath(path)
    try:
        with open(path, "rb") as stream:
            data = stream.read()
    except FileNotFoundError as error:
        raise DepthFileError(f"{path}: no such file") from error
    except OSError as error:
        raise DepthFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    # One division, as the authors do it: a product with 1/1000 would round other values.
    return _decode(data, path).astype(np.float32) / np.float32(units_per_meter)


def _decode(data: bytes, path: str) -> NDArray[Any]:
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            mode, pixels = image.mode, image.width * image.height
            if mode in _SIXTEEN_BITS and pixels <= MAX_IMAGE_PIXELS:
                return np.asarray(image)
    except Exception as error:  # Pillow raises whatever its parsers raise
        raise DepthFileError(f"{path}: is a damaged PNG, or none") from error
    if pixels > MAX_IMAGE_PIXELS:
        raise DepthFileError(f"{path}: {pixels} pixels are more than the limit of {MAX_IMAGE_PIXELS}")
    raise DepthFileError(
        f"{path}: holds {mode} pixels, not 16-bit gray",
        hint="true depth is a 16-bit PNG; an 8-bit image of depth has lost what it meant",
    )


@dataclass(frozen=True, slots=True)
class SampleFiles:
    """Where a sample is.

    Attributes:
        name: unique within its data set; also what its prediction is called.
        image: the image.
        depth: a 16-bit PNG of the same size.
        relative: the image's path below the root of the data, for predictions that mirror it.
    """

    name: str
    image: Path
    depth: Path
    relative: Path


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """An image with its true depth.

    Attributes:
        name: unique within its data set.
        rgb: (H, W, 3) uint8, in [0, 255], contiguous.
        meters: (H, W) float32, meters; 0 where nothing is known.
        uncropped_size: (height, width) of the image as it is in its file.
    """

    name: str
    rgb: NDArray[np.uint8]
    meters: NDArray[np.float32]
    uncropped_size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Samples(Sequence[Sample]):
    """Samples of one data set, each read from its files when it is asked for; may go to other processes.

    Attributes:
        files: in a fixed order.
        units_per_meter: what a meter is in the depth files.
        kb_crop: whether image and depth are cropped as KITTI's are.
        without_depth: how many images were left out because no true depth of them is there.
    """

    files: tuple[SampleFiles, ...]
    units_per_meter: float
    kb_crop: bool = False
    without_depth: int = 0

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Samples: ...
    def __getitem__(self, index: int | slice) -> Sample | Samples:
        """Read one sample, or choose several without reading them.

        Raises:
            ImageError: the image cannot be used.
            DepthFileError: the depth cannot be used, or is of another size than the image.
        """
        if isinstance(index, slice):
            return Samples(self.files[index], self.units_per_meter, self.kb_crop)
        return self._read(self.files[index])

    def _read(self, files: SampleFiles) -> Sample:
        rgb = read_image(files.image).rgb
        meters = read_depth_png(files.depth, units_per_meter=self.units_per_meter)
        size = rgb.shape[0], rgb.shape[1]
        if meters.shape != size:
            raise DepthFileError(
                f"{files.depth}: is {meters.shape[0]}x{meters.shape[1]}, its image {size[0]}x{size[1]}",
                hint="true depth has the size of its image",
            )
        if self.kb_crop:
            try:
                rows, columns = kb_slices(*size)
            except UsageError as error:
                raise DepthFileError(f"{files.image}: {error.message}") from error
            rgb, meters = rgb[rows, columns].copy(), meters[rows, columns].copy()
        return Sample(files.name, rgb, meters, size)
