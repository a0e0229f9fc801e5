"""Sources of predictions: weights, or existing depth files."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from glpn_cli.data.sample import kb_slices, read_depth_png
from glpn_cli.errors import DepthFileError, InputError
from glpn_cli.output.formats import FORMATS, ReadsBack
from glpn_cli.output.reading import is_glpn_file, read_depth

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from glpn_cli.data.sample import Sample, SampleFiles
    from glpn_cli.inference.predictor import Predictor


class Source(Protocol):
    """Predicts the depth of samples."""

    label: str
    """Name of the source in results; unique in an evaluation."""

    def predict(self, sample: Sample, files: SampleFiles) -> NDArray[np.float32]:
        """Return the predicted depth of a sample: (H, W) float32, meters.

        Raises:
            GLPNError: there is no prediction for this sample.
        """


class WeightsSource:
    """Predictions of a network from the image of the sample, which for KITTI is cropped.

    Attributes:
        label: name of the weights, unless another label is given.
    """

    def __init__(self, predictor: Predictor, label: str | None = None) -> None:
        self.label = label or predictor.card.name
        self._predictor = predictor

    def predict(self, sample: Sample, files: SampleFiles) -> NDArray[np.float32]:
        """Run the network; see `Source.predict`."""
        del files
        return self._predictor.predict(sample.rgb, name=sample.name).meters


class FilesSource:
    """Predictions from the depth files of a folder.

    A file is found by the name of the sample, or by the path of its image in a mirrored folder structure.

    Attributes:
        label: name of the folder.
        approximate: whether a file with 8-bit values has been read.
    """

    def __init__(self, folder: Path, *, units_per_meter: float, samples: Sequence[SampleFiles] = ()) -> None:
        """Check the folder; files are read on demand.

        Args:
            folder: may have subfolders.
            units_per_meter: value that stands for one meter in 16-bit PNG files of other programs.
            samples: all samples of the evaluation. If several have the same file name in different folders, a
                prediction with that name must be in the right subfolder.

        Raises:
            InputError: the folder does not exist.
        """
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder", setting="predictions")
        self.label = folder.resolve().name
        self.approximate = False
        self._folder = folder
        self._units_per_meter = units_per_meter
        names = Counter(Path(one.name).name for one in samples)
        self._ambiguous = {name for name, count in names.items() if count > 1}

    def predict(self, sample: Sample, files: SampleFiles) -> NDArray[np.float32]:
        """Read the depth file of a sample; see `Source.predict`.

        Raises:
            DepthFileError: there is no file, it is damaged, or it has the wrong size.
        """
        path = self._find(files)
        meters = self._read(path)
        if meters.shape == sample.meters.shape:
            return meters
        if meters.shape == sample.uncropped_size:
            return meters[kb_slices(*sample.uncropped_size)]
        expected = " or ".join(f"{size[0]}x{size[1]}" for size in {sample.meters.shape, sample.uncropped_size})
        raise DepthFileError(f"{path}: size {meters.shape[0]}x{meters.shape[1]} differs from {expected} of its image")

    def _find(self, files: SampleFiles) -> Path:
        found = [path for path in self._candidates(files) if os.path.isfile(path) and not _is_input(path, files)]
        if not found:
            raise DepthFileError(
                f"{files.name}: no prediction in {self._folder}",
                hint=f"name it {files.name}.npy, or with another depth format's suffix, or as `glpn batch` does",
            )
        # Other programs save visualizations beside their depth files, so their PNG files are the last choice.
        return next((path for path in found if not _is_foreign_png(path)), found[0])

    def _candidates(self, files: SampleFiles) -> Iterator[Path]:
        """Yield all paths that a prediction may have, the most exact format first."""
        exactness = list(ReadsBack)
        formats = sorted(FORMATS.values(), key=lambda row: exactness.index(row.reads_back))
        stems = [files.relative.with_suffix(""), files.relative, Path(files.name)]
        # A list may name images outside the data folder; predictions are always inside their folder.
        stems = [stem for stem in stems if not stem.is_absolute() and ".." not in stem.parts]
        name = Path(files.name).name
        if name not in self._ambiguous:
            stems.append(Path(name))
        for row in formats:
            if row.reads_back is not ReadsBack.NEVER:
                for stem in stems:
                    for ending in (row.ending, row.suffix):
                        yield self._folder / stem.with_name(stem.name + ending)

    def _read(self, path: Path) -> NDArray[np.float32]:
        if _is_foreign_png(path):
            return read_depth_png(path, units_per_meter=self._units_per_meter)
        depth = read_depth(path)
        self.approximate |= depth.provenance.approximate
        return depth.meters


def _is_foreign_png(path: Path) -> bool:
    return path.suffix.lower() == ".png" and not is_glpn_file(path)


def _is_input(path: Path, files: SampleFiles) -> bool:
    """Return whether a file is the ground truth or the image of the sample itself."""
    return any(os.path.samefile(path, other) for other in (files.depth, files.image) if os.path.exists(other))
