"""Training and validation data: the entries of `data` and `validation` become sets of samples."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, overload

from glpn_cli.data.layouts import Split, find_samples, layout_of
from glpn_cli.data.sample import Sample
from glpn_cli.data.scenes import open_scenes
from glpn_cli.data.settings import Crop, DataSettings
from glpn_cli.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from glpn_cli.training.settings import TrainSettings

_PAPER_SIZES = {"nyu": (448, 576), "kitti": (352, 704)}
_HELD_OUT_EVERY = 10
_VALIDATION_SCENES = 24
_MAX_WEIGHT = 1e6


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Samples to train on.

    Attributes:
        name: the entry of `data`, without its weight.
        samples: each is read on access.
        count: samples per epoch; if it is larger than the number of samples, some are repeated.
        mapped: whether samples are memory-mapped, so that caching them gains nothing.
    """

    name: str
    samples: Sequence[Sample]
    count: int
    mapped: bool = False


@dataclass(frozen=True, slots=True)
class ValidationSet:
    """Samples to validate on.

    Attributes:
        name: the entry of `validation` or `data`.
        samples: each is read on access.
        crop: region in which ground truth counts.
        cap_m: ground truth at or beyond this depth is ignored; None for the depth limit of the network.
    """

    name: str
    samples: Sequence[Sample]
    crop: Crop = Crop.NONE
    cap_m: float | None = None


def paper_size(data: Sequence[str]) -> tuple[int, int] | None:
    """Return the (height, width) of the paper's crops for a data set; None for other data and for mixtures.

    Source: arXiv 2201.07436, section 4.1, and the authors' program.
    """
    return _PAPER_SIZES.get(_split_weight(data[0])[0]) if len(data) == 1 else None


def data_names(data: Iterable[str]) -> set[str]:
    """Return the entries of `data` without their weights."""
    return {_split_weight(entry)[0] for entry in data}


def training_sets(settings: TrainSettings) -> list[TrainingSet]:
    """Find the training data; no sample is read.

    Raises:
        UsageError: an entry is invalid, or its folder does not exist.
        InputError: there are no samples.
    """
    return [_training_set(entry, settings) for entry in settings.data]


def validation_sets(settings: TrainSettings) -> list[ValidationSet]:
    """Find the validation data: what `validation` names, otherwise what the training data leaves out.

    No sample is read. Of more than `validation_images` samples, evenly spaced ones are used: of each set in proportion
    to its size, and at least one.

    Raises:
        UsageError: an entry is invalid, or its folder does not exist.
        InputError: there are no samples.
    """
    entries = settings.data if settings.validation is None else settings.validation
    sets = [_validation_set(_split_weight(entry)[0], settings) for entry in entries]
    total = sum(len(dataset.samples) for dataset in sets)
    if total <= settings.validation_images:
        return sets
    counts = [max(1, round(settings.validation_images * len(dataset.samples) / total)) for dataset in sets]
    return [
        replace(dataset, samples=_evenly_spaced(dataset.samples, count))
        for dataset, count in zip(sets, counts, strict=True)
    ]


def _training_set(entry: str, settings: TrainSettings) -> TrainingSet:
    name, weight = _split_weight(entry)
    samples, mapped = _find(name, settings, Split.TRAIN)
    if mapped:  # the others are for validation, also of runs on other data
        samples = _Subset(samples, range(len(samples) - _VALIDATION_SCENES))
    elif _has_held_out(name, settings):
        samples = _Subset(samples, range(len(samples) - _held_out_count(samples)))
    count = round(weight * len(samples))
    if count < 1:
        raise InputError(f"{entry}: no sample is left for training", setting="data")
    return TrainingSet(name, samples, count, mapped)


def _validation_set(name: str, settings: TrainSettings) -> ValidationSet:
    samples, mapped = _find(name, settings, Split.TEST)
    if mapped:
        return ValidationSet(name, _Subset(samples, range(len(samples) - _VALIDATION_SCENES, len(samples))))
    if _has_held_out(name, settings):
        samples = _Subset(samples, range(len(samples) - _held_out_count(samples), len(samples)))
    layout = layout_of(name)
    return ValidationSet(name, samples, layout.crop, layout.cap_m)


def _find(name: str, settings: TrainSettings, split: Split) -> tuple[Sequence[Sample], bool]:
    """Return the samples of a data set or folder, and whether they are memory-mapped."""
    scenes = open_scenes(name)
    if scenes is not None:
        return scenes, True
    if name == "scenes" and not os.path.isdir(name):
        raise UsageError(
            "scenes are no longer rendered during training",
            hint="write a scene folder with recipes/tiny of the source repository, and name that folder",
            setting="data",
        )
    layout = layout_of(name)
    data = DataSettings(
        name,
        root=settings.root if layout.folder else None,
        units_per_meter=None if layout.units_per_meter else settings.units_per_meter,
    )
    return find_samples(data, split), False


def _has_held_out(name: str, settings: TrainSettings) -> bool:
    """Return whether a set has no test split, so that some of its samples are left for validation."""
    return settings.validation is None and not layout_of(name).folder


def _held_out_count(samples: Sequence[Sample]) -> int:
    """Return how many samples at the end are for validation. Consecutive frames of a video are alike, its ends not."""
    return max(1, len(samples) // _HELD_OUT_EVERY)


def _split_weight(entry: str) -> tuple[str, float]:
    """Split "FOLDER=2" into the folder and the weight, which is 1 if it is not given."""
    name, separator, number = entry.rpartition("=")
    if not separator or os.path.isdir(entry):  # the name of a folder may contain "="
        return entry, 1.0
    try:
        weight = float(number)
    except ValueError:
        return entry, 1.0
    if not 0 < weight < _MAX_WEIGHT:
        raise UsageError(f"{entry}: the weight must be a positive number, not {number}", setting="data")
    return name, weight


def _evenly_spaced(samples: Sequence[Sample], count: int) -> Sequence[Sample]:
    return _Subset(samples, [number * len(samples) // count for number in range(count)])


class _Subset(Sequence[Sample]):
    """Some of the samples of a sequence, by their positions."""

    def __init__(self, samples: Sequence[Sample], positions: Sequence[int]) -> None:
        self._samples = samples
        self._positions = positions

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> _Subset: ...
    def __getitem__(self, index: int | slice) -> Sample | _Subset:
        if isinstance(index, slice):
            return _Subset(self._samples, self._positions[index])
        return self._samples[self._positions[index]]
