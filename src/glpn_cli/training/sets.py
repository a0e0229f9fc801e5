"""What is learnt from and what is measured: the words of the command line become sets of samples."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glpn_cli.data.layouts import Split, find_samples, layout_of
from glpn_cli.errors import InputError, UsageError
from glpn_cli.scenes.kept import RenderedScenes, SceneRecipe, open_kept_scenes
from glpn_cli.settings.measuring import Crop, DataSettings

if TYPE_CHECKING:
    from glpn_cli.data.sample import Sample
    from glpn_cli.settings.training import TrainSettings

__all__ = ["SCENES", "TrainingSet", "ValidationSet", "paper_size", "training_sets", "validation_sets"]

SCENES = "scenes"
"""What `--data` calls scenes that are rendered when they are needed."""

_SCENES_PER_EPOCH = 10_000
_ENDLESS = 2**40
_SCENE_SIZE = (192, 256)
_HELD_OUT_EVERY = 10
_VALIDATION_SCENES = 24
_PAPER_SIZES = {"nyu": (448, 576), "kitti": (352, 704)}
_OTHER_SEEDS = 2**41  # where scenes for validation begin, which no training reaches


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Samples to learn from.

    Attributes:
        name: as the user called it.
        samples: each read when it is asked for.
        count: how many of them an epoch has; more than there are shows some again.
        endless: whether none is ever seen again.
        mapped: whether reading one costs nothing, so that none has to be remembered.
    """

    name: str
    samples: Sequence[Sample]
    count: int
    endless: bool = False
    mapped: bool = False


@dataclass(frozen=True, slots=True)
class ValidationSet:
    """Samples to measure by.

    Attributes:
        name: as the user called it.
        samples: each read when it is asked for.
        crop: in which true depth counts.
        cap_m: true depth of this or more does not count; None leaves it to the network's limit.
    """

    name: str
    samples: Sequence[Sample]
    crop: Crop = Crop.NONE
    cap_m: float | None = None


def paper_size(words: Sequence[str]) -> tuple[int, int] | None:
    """Give the size that the paper cuts out of the images of a data set; None for others and for mixtures.

    Source: arXiv 2201.07436, section 4.1, and the authors' program.
    """
    return _PAPER_SIZES.get(_split_weight(words[0])[0]) if len(words) == 1 else None


def training_sets(settings: TrainSettings) -> list[TrainingSet]:
    """Find what is learnt from.

    Raises:
        UsageError: a word makes no sense.
        InputError: there are no samples.
    """
    return [_training_set(word, settings) for word in settings.data]


def validation_sets(settings: TrainSettings) -> list[ValidationSet]:
    """Find what is measured: what was named, else what the training sets leave out.

    Raises:
        UsageError: a word makes no sense.
        InputError: there are no samples.
    """
    words = settings.data if settings.validation is None else settings.validation
    sets = [_validation_set(_split_weight(word)[0], settings) for word in words]
    total = sum(len(one.samples) for one in sets)
    if total <= settings.validation_images:
        return sets
    # Every set keeps its share, and at least one image.
    return [
        ValidationSet(
            one.name,
            _spread(one.samples, max(1, round(settings.validation_images * len(one.samples) / total))),
            one.crop,
            one.cap_m,
        )
        for one in sets
    ]


def _training_set(word: str, settings: TrainSettings) -> TrainingSet:
    data, weight = _split_weight(word)
    if data == SCENES:
        scenes = RenderedScenes(SceneRecipe(settings.seed, _SCENE_SIZE, settings.textures), _ENDLESS)
        return TrainingSet(data, scenes, round(weight * _SCENES_PER_EPOCH), endless=True)
    samples: Sequence[Sample] | None = open_kept_scenes(data)
    mapped = samples is not None
    if samples is None:
        samples = find_samples(_data_settings(data, settings), Split.TRAIN)
        if _is_held_out(data, settings):
            samples = _Chosen(samples, range(len(samples) - _held_out(len(samples))))
    else:  # the others are what these scenes are for wherever they are measured by
        samples = _Chosen(samples, range(len(samples) - _VALIDATION_SCENES))
    count = round(weight * len(samples))
    if count < 1:
        raise InputError(f"--data {word}: leaves no sample to learn from")
    return TrainingSet(data, samples, count, mapped=mapped)


def _validation_set(data: str, settings: TrainSettings) -> ValidationSet:
    if data == SCENES:
        recipe = SceneRecipe(settings.seed + _OTHER_SEEDS, _SCENE_SIZE, settings.textures)
        return ValidationSet(data, RenderedScenes(recipe, _VALIDATION_SCENES))
    kept = open_kept_scenes(data)
    if kept is not None:
        return ValidationSet(data, _Chosen(kept, range(len(kept) - _VALIDATION_SCENES, len(kept))))
    layout = layout_of(data)
    samples: Sequence[Sample] = find_samples(_data_settings(data, settings), Split.TEST)
    if _is_held_out(data, settings):
        samples = _Chosen(samples, range(len(samples) - _held_out(len(samples)), len(samples)))
    return ValidationSet(data, samples, layout.crop, layout.cap_m)


def _data_settings(data: str, settings: TrainSettings) -> DataSettings:
    return DataSettings(
        data,
        root=settings.root if layout_of(data).folder else None,
        units_per_meter=None if layout_of(data).units_per_meter else settings.units_per_meter,
    )


def _is_held_out(data: str, settings: TrainSettings) -> bool:
    """Tell whether a set has no test split of its own and has to give some samples away."""
    return settings.validation is None and not layout_of(data).folder


def _held_out(count: int) -> int:
    """Give how many samples at the end are measured and not learnt from: frames of a film are alike, ends are not."""
    return max(1, count // _HELD_OUT_EVERY)


def _split_weight(word: str) -> tuple[str, float]:
    name, separator, number = word.rpartition("=")
    if not separator or os.path.isdir(word):  # a folder may be called so
        return word, 1.0
    try:
        weight = float(number)
    except ValueError:
        return word, 1.0
    if not 0 < weight < 1e6:
        raise UsageError(f"--data {word}: how often its samples are seen is a positive number, not {number}")
    return name, weight


def _spread(samples: Sequence[Sample], count: int) -> Sequence[Sample]:
    return _Chosen(samples, [number * len(samples) // count for number in range(count)])


class _Chosen(Sequence["Sample"]):
    """Some of many samples."""

    def __init__(self, samples: Sequence[Sample], places: Sequence[int]) -> None:
        self._samples = samples
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204 - as of any sequence
        if isinstance(index, slice):
            return _Chosen(self._samples, self._places[index])
        return self._samples[self._places[index]]
