"""What is learnt from and what is measured: the words of the command line become sets of samples.

Batches for the network, made by other processes while it computes.
"""

from __future__ import annotations

import os
import signal
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from glpn_cli.data.layouts import Split, find_samples, layout_of
from glpn_cli.errors import GLPNError, InputError, TrainingError, UsageError
from glpn_cli.scenes.kept import RenderedScenes, SceneRecipe, open_kept_scenes
from glpn_cli.settings import Crop, DataSettings
from glpn_cli.training.augmentation import augment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from glpn_cli.data.sample import Sample
    from glpn_cli.training.plan import Pick, Plan
    from glpn_cli.training.settings import TrainSettings


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


_KEPT_BYTES = 600_000_000

"""Decoded images that each process keeps, so that small sets are decoded once."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some samples of one size.

    Attributes:
        rgb: (B, 3, h, w) uint8.
        meters: (B, h, w) float32; 0 where nothing is known.
        names: of the samples.
    """

    rgb: Tensor
    meters: Tensor
    names: list[str]


class TrainingSamples(Dataset["tuple[Tensor, Tensor, str] | GLPNError"]):
    """Samples as the plan picks them. Errors come as values: other processes cannot raise ours as they are."""

    def __init__(self, sets: Sequence[TrainingSet], settings: TrainSettings, *, limit_m: float) -> None:
        """Take the sets; nothing is read yet."""
        self._samples = [one.samples for one in sets]
        self._keeps = [not (one.endless or one.mapped) for one in sets]
        self._settings = settings
        self._limit_m = limit_m
        self._kept: OrderedDict[tuple[int, int], Sample] = OrderedDict()
        self._kept_bytes = 0

    def __getitem__(self, pick: Pick) -> tuple[Tensor, Tensor, str] | GLPNError:
        """Make the sample of a pick."""
        try:
            sample = self._read(pick)
            rng = np.random.default_rng([self._settings.seed, 4, pick.number])
            made = augment(sample, pick.size, rng, self._settings, limit_m=self._limit_m)
        except GLPNError as error:
            return error
        rgb = torch.from_numpy(np.ascontiguousarray(made.rgb.transpose(2, 0, 1)))
        return rgb, torch.from_numpy(made.meters), sample.name

    def _read(self, pick: Pick) -> Sample:
        key = pick.source, pick.item
        if key in self._kept:
            return self._kept[key]
        sample = self._samples[pick.source][pick.item]
        if not (sample.meters > 0).any():
            raise InputError(
                f"{sample.name}: has no pixel of known depth",
                hint="leave it out; or, to go on with a training, put a copy of another pair in its place",
            )
        size = sample.rgb.nbytes + sample.meters.nbytes
        if self._keeps[pick.source] and self._kept_bytes + size <= _KEPT_BYTES:
            self._kept[key] = sample
            self._kept_bytes += size
        return sample


def batches(
    samples: TrainingSamples, plan: Plan, *, first_step: int, part: tuple[int, int], accumulate: int, workers: int
) -> Iterator[Batch]:
    """Give the batches of all steps from one on, in order.

    Args:
        samples: what they are made from.
        plan: which they are.
        first_step: to begin with.
        part: which of how many processes this is; each has its share of every step.
        accumulate: into how many batches the share is divided.
        workers: other processes that make samples; 0 makes them here.

    Raises:
        GLPNError: a sample cannot be used.
    """
    loader = DataLoader(
        samples,
        batch_sampler=_Picks(plan, first_step, part, accumulate),
        num_workers=workers,
        collate_fn=_gather,
        worker_init_fn=_leave_interrupts_to_the_parent if workers else None,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # its own, so that ours is left alone
    )
    try:
        for made in loader:
            if isinstance(made, GLPNError):
                raise made
            yield Batch(*made)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise TrainingError(
            f"a process that makes samples has died: {error}",
            hint="fewer --workers need less memory; 0 needs none of them",
        ) from error


class _Picks:
    """The picks of every batch, step by step."""

    def __init__(self, plan: Plan, first_step: int, part: tuple[int, int], accumulate: int) -> None:
        self._plan = plan
        self._first_step = first_step
        self._part = part
        self._accumulate = accumulate

    def __len__(self) -> int:
        return (self._plan.steps - self._first_step) * self._accumulate

    def __iter__(self) -> Iterator[list[Pick]]:
        rank, ranks = self._part
        for step in range(self._first_step, self._plan.steps):
            picks = self._plan.picks(step)
            share = len(picks) // (ranks * self._accumulate)
            for number in range(rank * self._accumulate, (rank + 1) * self._accumulate):
                yield picks[number * share : (number + 1) * share]


def _gather(made: Sequence[tuple[Tensor, Tensor, str] | GLPNError]) -> tuple[Tensor, Tensor, list[str]] | GLPNError:
    good: list[tuple[Tensor, Tensor, str]] = []
    for one in made:
        if isinstance(one, GLPNError):
            return one
        good.append(one)
    return torch.stack([rgb for rgb, _, _ in good]), torch.stack([m for _, m, _ in good]), [n for _, _, n in good]


def _leave_interrupts_to_the_parent(worker: int) -> None:
    """Ignore what a terminal or a scheduler sends to all processes of a group: the step is finished first."""
    del worker
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
