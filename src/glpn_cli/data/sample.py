"""Samples: an image and its ground truth, read from files on demand; and which of their pixels are evaluated."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from PIL import Image

from glpn_cli.data.settings import Crop
from glpn_cli.errors import DepthFileError, UsageError
from glpn_cli.files import os_reason
from glpn_cli.image.reading import read_image
from glpn_cli.settings import MAX_IMAGE_PIXELS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MIN_DEPTH_M = 1e-3
"""Ground truth of this or less counts as unknown."""

KB_SIZE = (352, 1216)
"""(height, width) of the KITTI benchmark crop, in pixels; all KITTI samples are cropped to it."""

RESIZED_NOTE = "ground truth of another size than its image was resized, to the nearest pixel"
UNKNOWN_NOTE = "values of 65535 in ground truth count as unknown"

_LARGEST_VALUE = 65535  # what many cameras and data sets store where they measured nothing, or too far away
_SAME_SHAPE = 1.02
_NYU_SIZE = (480, 640)
_NYU_ROWS, _NYU_COLUMNS = (45, 471), (41, 601)
# Top and bottom as fractions of the height, left and right as fractions of the width.
_GARG = (0.40810811, 0.99189189, 0.03594771, 0.96405229)
_EIGEN = (0.3324324, 0.91351351, 0.0359477, 0.96405229)
_GRAY16_MODES = frozenset({"I;16", "I;16B", "I;16L", "I"})


@dataclass(frozen=True, slots=True)
class SampleFiles:
    """The files of a sample.

    Attributes:
        name: unique in its data set; prediction files have this name too.
        image: the image file.
        depth: the ground truth, a 16-bit PNG of the same shape.
        relative: path of the image below the data folder, for predictions in a mirrored folder structure.
    """

    name: str
    image: Path
    depth: Path
    relative: Path


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """An image with its ground truth.

    Attributes:
        name: unique in its data set.
        rgb: (H, W, 3) uint8, in [0, 255], contiguous.
        meters: ground truth, (H, W) float32, meters; 0 where unknown.
        uncropped_size: (height, width) of the image file, in pixels.
        notes: what was done to the ground truth, as `RESIZED_NOTE`.
    """

    name: str
    rgb: NDArray[np.uint8]
    meters: NDArray[np.float32]
    uncropped_size: tuple[int, int]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Samples(Sequence[Sample]):
    """The samples of a data set; indexing reads the files. Can be pickled for other processes.

    Attributes:
        files: the files of each sample, in a fixed order.
        units_per_meter: value of a depth file that stands for one meter.
        kb_crop: whether image and ground truth are cropped as for the KITTI benchmark.
        without_depth: number of images that were skipped because they have no ground truth.
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
        """Read one sample, or select several without reading them.

        Raises:
            ImageError: the image cannot be used.
            DepthFileError: the depth file cannot be used, or its shape differs from that of the image.
        """
        if isinstance(index, slice):
            return Samples(self.files[index], self.units_per_meter, self.kb_crop)
        return self._read(self.files[index])

    def _read(self, files: SampleFiles) -> Sample:
        rgb = read_image(files.image).rgb
        meters = read_depth_png(files.depth, units_per_meter=self.units_per_meter)
        notes = []
        unknown = meters >= np.float32(_LARGEST_VALUE) / np.float32(self.units_per_meter)
        if unknown.any():
            meters[unknown] = 0
            notes.append(UNKNOWN_NOTE)
        size = rgb.shape[0], rgb.shape[1]
        if meters.shape != size:
            meters = _resize_depth(meters, size, files)
            notes.append(RESIZED_NOTE)
        if self.kb_crop:
            try:
                rows, columns = kb_slices(*size)
            except UsageError as error:
                raise DepthFileError(f"{files.image}: {error.message}") from error
            rgb, meters = rgb[rows, columns].copy(), meters[rows, columns].copy()
        return Sample(files.name, rgb, meters, size, tuple(notes))


def _resize_depth(meters: NDArray[np.float32], size: tuple[int, int], files: SampleFiles) -> NDArray[np.float32]:
    """Return ground truth at the size of its image, (height, width): the nearest pixel, so that no depth is invented.

    Raises:
        DepthFileError: the two have different shapes.
    """
    height, width = meters.shape
    ratio = (width / height) / (size[1] / size[0])
    if max(ratio, 1 / ratio) > _SAME_SHAPE:
        hint = "ground truth must show the same as its image, in the same shape"
        if (width, height) == size:
            hint = "the image is turned upright by its EXIF orientation; turn its ground truth too"
        raise DepthFileError(f"{files.depth}: {height}x{width} differs from its image, {size[0]}x{size[1]}", hint=hint)
    rows = (np.arange(size[0]) * 2 + 1) * height // (2 * size[0])
    columns = (np.arange(size[1]) * 2 + 1) * width // (2 * size[1])
    resized: NDArray[np.float32] = meters[rows[:, np.newaxis], columns]
    return resized


def valid_pixels(
    meters: NDArray[np.floating[Any]], *, cap_m: float, crop: Crop = Crop.NONE, min_m: float = MIN_DEPTH_M
) -> NDArray[np.bool_]:
    """Return which pixels are evaluated: those inside the crop with `min_m` < ground truth < `cap_m`.

    Args:
        meters: ground truth, (H, W) any float dtype, meters; 0 or NaN where unknown.
        cap_m: ground truth of this or more is ignored, meters.
        crop: see `crop_slices`.
        min_m: ground truth of this or less is ignored, meters.

    Returns:
        (H, W) bool.

    Raises:
        UsageError: the crop does not fit the size.
    """
    height, width = meters.shape
    rows, columns = crop_slices(crop, height, width)
    valid = np.zeros((height, width), bool)
    inside = meters[rows, columns]
    valid[rows, columns] = (inside > min_m) & (inside < cap_m)
    return valid


def crop_slices(crop: Crop, height: int, width: int) -> tuple[slice, slice]:
    """Return the rows and columns of an evaluation crop.

    Args:
        crop: which crop.
        height: height of the depth map in pixels; for KITTI after `kb_slices`.
        width: width of the depth map in pixels, also after `kb_slices`.

    Raises:
        UsageError: the NYU crop is used for a size other than 480x640.

    Source: Eigen et al., NIPS 2014 (nyu, eigen) and Garg et al., ECCV 2016 (garg); the fractions are those of published
    evaluation programs.
    """
    if crop is Crop.NONE:
        return slice(0, height), slice(0, width)
    if crop is Crop.NYU:
        if (height, width) != _NYU_SIZE:
            raise UsageError(
                f"the nyu crop needs images of 480x640, not {height}x{width}", setting="crop", hint="use `crop='none'`"
            )
        return slice(*_NYU_ROWS), slice(*_NYU_COLUMNS)
    top, bottom, left, right = _GARG if crop is Crop.GARG else _EIGEN
    return slice(int(top * height), int(bottom * height)), slice(int(left * width), int(right * width))


def kb_slices(height: int, width: int) -> tuple[slice, slice]:
    """Return the rows and columns of the KITTI benchmark crop: the bottom 352 rows, the middle 1216 columns.

    Raises:
        UsageError: the image is smaller than the crop.

    Source: the crop of the KITTI benchmark, as used in arXiv 2201.07436.
    """
    if height < KB_SIZE[0] or width < KB_SIZE[1]:
        raise UsageError(f"{height}x{width} is smaller than the KITTI crop, {KB_SIZE[0]}x{KB_SIZE[1]}")
    top, left = height - KB_SIZE[0], (width - KB_SIZE[1]) // 2
    return slice(top, top + KB_SIZE[0]), slice(left, left + KB_SIZE[1])


def read_depth_png(path: str | os.PathLike[str], *, units_per_meter: float) -> NDArray[np.float32]:
    """Read ground truth from a 16-bit grayscale PNG.

    Args:
        path: the file.
        units_per_meter: value that stands for one meter: 1000 if the file counts millimeters, 256 for KITTI.

    Returns:
        (H, W) float32, meters; 0 where unknown.

    Raises:
        DepthFileError: the file is missing, damaged or not a 16-bit grayscale PNG.
    """
    path = os.fspath(path)
    try:
        with open(path, "rb") as stream:
            data = stream.read()
    except FileNotFoundError as error:
        raise DepthFileError(f"{path}: no such file") from error
    except OSError as error:
        raise DepthFileError(f"{path}: cannot be read: {os_reason(error)}") from error
    # A division, as in the authors' program: multiplying by 1/1000 would round differently.
    return _decode_gray16(data, path).astype(np.float32) / np.float32(units_per_meter)


def _decode_gray16(data: bytes, path: str) -> NDArray[Any]:
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            mode, pixels = image.mode, image.width * image.height
            if mode in _GRAY16_MODES and pixels <= MAX_IMAGE_PIXELS:
                return np.asarray(image)
    except Exception as error:  # Pillow's parsers raise many types
        raise DepthFileError(f"{path}: not a PNG, or damaged") from error
    if pixels > MAX_IMAGE_PIXELS:
        raise DepthFileError(f"{path}: {pixels} pixels exceed the limit of {MAX_IMAGE_PIXELS}")
    raise DepthFileError(
        f"{path}: pixels are {mode}, not 16-bit gray",
        hint="ground truth must be a 16-bit PNG; an 8-bit image has lost its units",
    )
