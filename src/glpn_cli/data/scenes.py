"""Scene folders: synthetic samples stored as arrays, which are memory-mapped.

    scenes.json         marks the folder; its content is not read
    00000.rgb.npy       (64, H, W, 3) uint8, in [0, 255]: 64 RGB images
    00000.depth.npy     (64, H, W) float16, meters: depth of these images; 0 or NaN is unknown, infinity is sky
    00001.rgb.npy       the next 64 images; H and W may differ between files

Numbers have five digits, and some may be missing. An image file is complete once it has its name; its depth file was
written before it. docs/training.md documents the layout.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from glpn_cli.data.sample import Sample
from glpn_cli.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCENES_NAME = "scenes.json"
"""The file that marks a scene folder."""

SCENES_PER_FILE = 64

_RGB_NAME = re.compile(r"(\d{5,})\.rgb\.npy", re.ASCII)


class Scenes(Sequence[Sample]):
    """The samples of a scene folder, each read on access; can be pickled for other processes.

    Args:
        folder: the scene folder.
        numbers: numbers of the files to read, in this order.
    """

    def __init__(self, folder: Path, numbers: Sequence[int]) -> None:
        self._folder = folder
        self._numbers = list(numbers)
        self._mapped: dict[int, tuple[NDArray[Any], NDArray[Any]]] = {}

    def __len__(self) -> int:
        return SCENES_PER_FILE * len(self._numbers)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the mapped files: another process maps them itself."""
        return {"_folder": self._folder, "_numbers": self._numbers, "_mapped": {}}

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        """Read one sample or several.

        Raises:
            InputError: a file is missing, damaged or of another shape.
        """
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        position, row = divmod(index, SCENES_PER_FILE)
        number = self._numbers[position]
        if number not in self._mapped:
            self._mapped[number] = _map_files(self._folder, number)
        rgb, depth = self._mapped[number]
        meters = depth[row].astype(np.float32)
        size = meters.shape[0], meters.shape[1]
        return Sample(f"scene {number * SCENES_PER_FILE + row}", np.array(rgb[row]), meters, size)


def open_scenes(folder: str) -> Scenes | None:
    """Open a scene folder.

    Returns:
        Its samples, or None if `folder` is not a scene folder.

    Raises:
        InputError: the scene folder is empty.
    """
    if not os.path.isfile(os.path.join(folder, SCENES_NAME)):
        return None
    numbers = sorted(_find_numbers(folder))
    if not numbers:
        raise InputError(f"{folder}: contains no scenes", hint="docs/training.md describes the files of a scene folder")
    return Scenes(Path(folder), numbers)


def _find_numbers(folder: str) -> list[int]:
    matches = [_RGB_NAME.fullmatch(name) for name in os.listdir(folder)]
    return [int(match[1]) for match in matches if match and match[1] == f"{int(match[1]):05d}"]


def _map_files(folder: Path, number: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Map the (64, H, W, 3) images and the (64, H, W) depth of one number."""
    rgb_file, depth_file = folder / f"{number:05d}.rgb.npy", folder / f"{number:05d}.depth.npy"
    rgb, depth = _map_array(rgb_file), _map_array(depth_file)
    if rgb.dtype != np.uint8 or rgb.ndim != 4 or (len(rgb), rgb.shape[3]) != (SCENES_PER_FILE, 3):
        raise InputError(f"{rgb_file}: must be ({SCENES_PER_FILE}, H, W, 3) uint8, not {rgb.shape} {rgb.dtype}")
    if depth.dtype.kind != "f" or depth.shape != rgb.shape[:3]:
        raise InputError(f"{depth_file}: must be {rgb.shape[:3]} float16, not {depth.shape} {depth.dtype}")
    return rgb, depth


def _map_array(file: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(file, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{file}: cannot be read: {error}", hint="remove both files of this number") from error
    return array
