"""Make the training data of the recipe: canonical depth, in files that are small enough to travel.

    python recipes/tiny/prepare.py DATA_DIR build/data [--pack build/data.tar]

DATA_DIR has a folder for each set of sets.py, with NAME.jpg and NAME.png (16 bits, millimeters). Images are copied
unchanged. Depth becomes canonical (see cameras.py) and is rounded to about 0.2 %, which is less than any camera
measures, so that PNG compresses it to half. The same command resumes.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tarfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from cameras import estimate_fov_deg, relative_focal_of_fov
from glpn_cli.data.sample import read_depth_png
from glpn_cli.errors import GLPNError, InputError
from glpn_cli.files import make_folder, write_whole
from sets import DATA_SETS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sets import DataSet

FOCALS_NAME = "focals.json"
"""The relative focal length of each frame of a prepared set. It is written last: with it, the set is complete."""

UNITS_PER_METER = 1000
PACKED_FRAMES = 120
"""Frames of one place are alike, so the rest would only make the file larger."""

_DIGITS = 9  # significant bits of depth
_FOV_RANGE_DEG = (50.0, 78.0)  # of the rendered rooms, which were rendered with 52 to 76
_LARGEST = 2**16 - 2  # the largest value would mean unknown


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument("prepared", type=Path, metavar="OUT_DIR")
    parser.add_argument("--pack", type=Path, metavar="FILE", help="also write the sets into one tar file")
    parser.add_argument("--frames", type=int, default=PACKED_FRAMES, help="largest number of frames of a packed set")
    options = parser.parse_args(arguments)
    prepare_sets(options.data, options.prepared)
    if options.pack:
        pack_sets(options.prepared, options.pack, options.frames)
        print(f"{options.pack}: {options.pack.stat().st_size / 2**20:.1f} MiB")


def prepare_sets(data: Path, prepared: Path) -> None:
    """Prepare all sets that are not prepared yet.

    Raises:
        InputError: a set is missing or has no pairs.
        DepthFileError: depth cannot be read.
        OutputError: a file cannot be written.
    """
    for dataset in DATA_SETS:
        if not (prepared / dataset.name / FOCALS_NAME).exists():
            prepare_set(dataset, data / dataset.name, prepared / dataset.name)
            print(f"{prepared / dataset.name}", flush=True)


def prepare_set(dataset: DataSet, source: Path, target: Path) -> None:
    """Write the images and the canonical depth of one set; see `prepare_sets` for errors."""
    images = sorted(source.glob("*.jpg"))
    if not images:
        raise InputError(f"{source}: contains no pairs", hint="README.md lists the data sets")
    depths = [read_depth_png(image.with_suffix(".png"), units_per_meter=UNITS_PER_METER) for image in images]
    focals = relative_focals(dataset, depths)
    make_folder(target)
    for image, meters, focal in zip(images, depths, focals, strict=True):
        write_whole(target / image.name, image.read_bytes(), overwrite=True)
        write_whole(target / f"{image.stem}.png", encode_depth(meters / focal), overwrite=True)
    text = json.dumps({image.stem: round(focal, 4) for image, focal in zip(images, focals, strict=True)}, indent=1)
    write_whole(target / FOCALS_NAME, text.encode() + b"\n", overwrite=True)


def relative_focals(dataset: DataSet, depths: Sequence[NDArray[np.float32]]) -> list[float]:
    """Return the relative focal length of each frame; one that is not clear gets the median of its set."""
    if dataset.focal is not None:
        return [dataset.focal] * len(depths)
    low, high = _FOV_RANGE_DEG
    found = [estimate_fov_deg(meters) for meters in depths]
    clear = [fov for fov in found if fov is not None and low <= fov <= high]
    usual = median(clear) if clear else (low + high) / 2
    fovs = [fov if fov in clear else usual for fov in found]
    return [
        relative_focal_of_fov(fov or usual, (meters.shape[0], meters.shape[1]))
        for fov, meters in zip(fovs, depths, strict=True)
    ]


def encode_depth(meters: NDArray[np.float32]) -> bytes:
    """Return depth as a 16-bit PNG in millimeters with nine significant bits; 0 is unknown, and so is too deep."""
    values = np.round(meters.astype(np.float64) * UNITS_PER_METER).astype(np.int64)
    step = 2 ** np.maximum(np.floor(np.log2(np.maximum(values, 1))).astype(np.int64) + 1 - _DIGITS, 0)
    values = (values + step // 2) // step * step
    values[values > _LARGEST] = 0
    stream = io.BytesIO()
    Image.fromarray(values.astype(np.uint16)).save(stream, "PNG", compress_level=8)  # 9 takes twice as long for 3 %
    return stream.getvalue()


def pack_sets(prepared: Path, packed: Path, frames: int = PACKED_FRAMES) -> None:
    """Write a tar file of the prepared sets, evenly spaced frames of each; the same files give the same bytes."""
    stream: Any = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for dataset in DATA_SETS:
            images = sorted((prepared / dataset.name).glob("*.jpg"))
            count = min(frames, len(images))
            chosen = [images[number * len(images) // count] for number in range(count)]
            files = [file for image in chosen for file in (image, image.with_suffix(".png"))]
            for file in (*files, prepared / dataset.name / FOCALS_NAME):
                entry = tarfile.TarInfo(f"{dataset.name}/{file.name}")
                entry.size = file.stat().st_size
                archive.addfile(entry, io.BytesIO(file.read_bytes()))
    write_whole(packed, stream.getvalue(), overwrite=True)


if __name__ == "__main__":
    try:
        main()
    except GLPNError as error:
        sys.exit(f"error: {error.message}")
