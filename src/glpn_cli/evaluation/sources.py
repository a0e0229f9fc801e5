"""Where predictions come from: a network, or depth files that were written before."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from glpn_cli.data.sample import kb_slices, read_depth_png
from glpn_cli.errors import DepthFileError, InputError
from glpn_cli.output.formats import FORMATS, ReadsBack
from glpn_cli.output.reading import is_ours, read_depth

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from glpn_cli.data.sample import Sample, SampleFiles
    from glpn_cli.inference.predictor import Predictor


class Source(Protocol):
    """What an evaluation asks for predictions."""

    label: str
    """What it is called in tables."""

    def predict(self, sample: Sample, files: SampleFiles) -> NDArray[np.float32]:
        """Give the depth of a sample's image: (H, W) float32, meters."""


class FromNetwork:
    """Predicts the image of the sample, for KITTI cropped as the sample is.

    Attributes:
        label: the name of the weights.
    """

    def __init__(self, predictor: Predictor, label: str | None = None) -> None:
        self.label = label or predictor.card.name
        self._predictor = predictor

    def predict(self, sample: Sample, files: SampleFiles) -> NDArray[np.float32]:
        """Run the network."""
        del files
        return self._predictor.predict(sample.rgb, name=sample.name).meters


class FromFiles:
    """Reads depth that lies in a folder under the name of the sample or, mirrored, of its image.

    Attributes:
        label: the name of the folder.
        approximate: whether something was read that had been rounded to 8 bits.
    """

    def __init__(self, folder: Path, *, units_per_meter: float, samples: Sequence[SampleFiles] = ()) -> None:
        """Take a folder.

        Args:
            folder: may have folders below it.
            units_per_meter: what a meter is in 16-bit PNG files that are not of this program.
            samples: all that will be asked for. Where several are called alike but for their folders, a file that has
                the name without a folder is nobody's.

        Raises:
            InputError: there is no such folder.
        """
        if not folder.is_dir():
            raise InputError(f"--predictions {folder}: there is no such folder")
        self.label = folder.resolve().name
        self.approximate = False
        self._folder = folder
        self._units_per_meter = units_per_meter
        names = Counter(Path(one.name).name for one in samples)
        self._ambiguous = {name for name, count in names.items() if count > 1}

    def predict(self, sample: Sample, files: SampleFiles) -> NDArray[np.float32]:
        """Read the prediction.

        Raises:
            DepthFileError: there is none, it is damaged or of another size.
        """
        found = [path for path in self._candidates(files) if os.path.isfile(path) and not _is_truth(path, files)]
        # Others write images to look at beside their depth, so a PNG that is not ours counts only where it is all.
        path = next((path for path in found if not _is_foreign_png(path)), found[0] if found else None)
        if path is None:
            raise DepthFileError(
                f"{files.name}: no prediction in {self._folder}",
                hint=f"it is looked for as {files.name}.npy and the like, or as `glpn batch --out` would name it",
            )
        meters = self._read(path)
        if meters.shape == sample.meters.shape:
            return meters
        if meters.shape == sample.uncropped_size:
            return meters[kb_slices(*sample.uncropped_size)]
        expected = " or ".join(f"{size[0]}x{size[1]}" for size in {sample.meters.shape, sample.uncropped_size})
        raise DepthFileError(f"{path}: is {meters.shape[0]}x{meters.shape[1]}, and its image is {expected}")

    def _read(self, path: Path) -> NDArray[np.float32]:
        if _is_foreign_png(path):
            return read_depth_png(path, units_per_meter=self._units_per_meter)
        depth = read_depth(path)
        self.approximate |= depth.provenance.approximate
        return depth.meters

    def _candidates(self, files: SampleFiles) -> Iterator[Path]:
        """Give the paths that are looked at, the exact formats first."""
        exactness = list(ReadsBack)
        rows = sorted(FORMATS.values(), key=lambda row: exactness.index(row.reads_back))
        places = [files.relative.with_suffix(""), files.relative, Path(files.name)]
        # What a list names may lie elsewhere; a prediction lies in its folder.
        places = [place for place in places if not place.is_absolute() and ".." not in place.parts]
        stem = Path(files.name).name
        if stem not in self._ambiguous:
            places.append(Path(stem))
        for row in rows:
            if row.reads_back is not ReadsBack.NEVER:
                for place, ending in ((place, ending) for place in places for ending in (row.ending, row.suffix)):
                    yield self._folder / place.with_name(place.name + ending)


def _is_foreign_png(path: Path) -> bool:
    return path.suffix.lower() == ".png" and not is_ours(path)


def _is_truth(path: Path, files: SampleFiles) -> bool:
    """Tell whether a file is what a prediction is measured by, or the image itself."""
    return any(os.path.samefile(path, other) for other in (files.depth, files.image) if os.path.exists(other))
