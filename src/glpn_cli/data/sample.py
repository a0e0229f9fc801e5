"""One image with its true depth, and many of them to be read one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

from glpn_cli.data.crops import kb_slices
from glpn_cli.data.depth_png import read_depth_png
from glpn_cli.errors import DepthFileError, UsageError
from glpn_cli.image.reading import read_image

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Sample", "SampleFiles", "Samples"]


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
