"""Batches: which samples each step uses, and the processes that prepare them during the computation.

The samples of a step, their order and their augmentation are functions of the seed and the step number. So there is no
sampler state to save, and a resumed run continues exactly, with any number of worker processes.
"""

from __future__ import annotations

import multiprocessing
import signal
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from glpn_cli.errors import GLPNError, InputError, TrainingError
from glpn_cli.image.preprocessing import fitted_size
from glpn_cli.training.augmentation import augment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.process import BaseProcess

    from numpy.typing import NDArray
    from torch import Tensor

    from glpn_cli.data.sample import Sample
    from glpn_cli.training.datasets import TrainingSet
    from glpn_cli.training.settings import TrainSettings

_CACHE_BYTES = 600_000_000
"""Size of each process's cache of decoded samples, so that small data sets are decoded once."""

_SHAPES = ((1.0, 0.5), (-1.0, 0.18), (0.0, 0.12), (2.0, 0.14), (3.3, 0.06))
"""Shapes with `varied_shapes`, and probabilities: 1 is the given size, -1 transposed, 0 square, others width/height."""

# Streams of random numbers; each is seeded with [seed, stream, ...]. The learner uses 5.
_EPOCH_ORDER, _SET_ORDER, _BATCH_SHAPE, _AUGMENTATION = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Pick:
    """One sample of a step.

    Attributes:
        source: index of its training set.
        item: index within the set.
        number: counts all samples of a run; with the seed it determines the augmentation.
        size: (height, width) of the network's input.
    """

    source: int
    item: int
    number: int
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one size.

    Attributes:
        rgb: (B, 3, h, w) uint8, in [0, 255].
        meters: (B, h, w) float32, meters; 0 is unknown.
        names: of the samples.
    """

    rgb: Tensor
    meters: Tensor
    names: list[str]


@dataclass(frozen=True, slots=True)
class _Arrays:
    """A batch on its way from a worker process.

    Arrays travel through a pipe. Tensors would need shared memory, of which Docker gives a container 64 MiB; torch only
    prints that it ran out, and the batch would be waited for without end.
    """

    rgb: NDArray[np.uint8]
    meters: NDArray[np.float32]
    names: list[str]

    def to_batch(self) -> Batch:
        """Return the batch as tensors."""
        rgb, meters = (torch.from_numpy(np.require(values, requirements="W")) for values in (self.rgb, self.meters))
        if torch.cuda.is_available():  # a GPU copies faster from such memory
            rgb, meters = rgb.pin_memory(), meters.pin_memory()
        return Batch(rgb, meters, self.names)


class SamplingPlan:
    """Which samples each step uses, in which size.

    Args:
        sets: the training data.
        settings: `epochs` or `steps`, `batch_size`, `varied_shapes` and `seed` are used.
        sizes: (height, width, fraction of the steps), in order.

    Attributes:
        steps: steps of the whole run.
        steps_per_epoch: full batches per epoch; the rest of an epoch is not used.

    Raises:
        InputError: an epoch is smaller than a batch.
    """

    def __init__(
        self, sets: Sequence[TrainingSet], settings: TrainSettings, sizes: Sequence[tuple[int, int, float]]
    ) -> None:
        self._sets = sets
        self._seed = settings.seed
        self._batch_size = settings.batch_size
        self._varied_shapes = settings.varied_shapes
        total = sum(dataset.count for dataset in sets)
        self.steps_per_epoch = total // self._batch_size
        if not self.steps_per_epoch:
            raise InputError(
                f"a batch of {self._batch_size} is larger than an epoch of {total} samples",
                hint="set a smaller `batch_size`, or add data",
            )
        self.steps = settings.steps or max(1, round(settings.epochs * self.steps_per_epoch))
        self._sizes = sizes
        self._epoch_order = lru_cache(2)(self._shuffle_epoch)
        self._set_order = lru_cache(4 * len(sets))(self._shuffle_set)

    def picks(self, step: int) -> list[Pick]:
        """Return the samples of a step."""
        epoch, within = divmod(step, self.steps_per_epoch)
        size = self.size(step)
        positions = self._epoch_order(epoch)[within * self._batch_size : (within + 1) * self._batch_size]
        return [
            self._pick(int(position), epoch, step * self._batch_size + k, size) for k, position in enumerate(positions)
        ]

    def size(self, step: int) -> tuple[int, int]:
        """Return the (height, width) of a step's images."""
        size = self._scheduled_size(step)
        if not self._varied_shapes:
            return size
        rng = np.random.default_rng([self._seed, _BATCH_SHAPE, step])
        shape = _SHAPES[int(rng.choice(len(_SHAPES), p=[probability for _, probability in _SHAPES]))][0]
        if shape == 1.0:
            return size
        if shape == -1.0:
            return size[1], size[0]
        return fitted_size(1000, round(1000 * (shape or 1.0)), size)

    def _scheduled_size(self, step: int) -> tuple[int, int]:
        done, end = (step + 0.5) / self.steps * sum(fraction for _, _, fraction in self._sizes), 0.0
        for height, width, fraction in self._sizes:
            end += fraction
            if done < end:
                return height, width
        return self._sizes[-1][:2]

    def _pick(self, position: int, epoch: int, number: int, size: tuple[int, int]) -> Pick:
        """Return the sample at a position of an unshuffled epoch, in which the sets follow each other."""
        for source, dataset in enumerate(self._sets):
            if position < dataset.count:
                turn, rest = divmod(epoch * dataset.count + position, len(dataset.samples))
                return Pick(source, int(self._set_order(source, turn)[rest]), number, size)
            position -= dataset.count
        raise IndexError(position)

    def _shuffle_epoch(self, epoch: int) -> NDArray[np.int64]:
        rng = np.random.default_rng([self._seed, _EPOCH_ORDER, epoch])
        return rng.permutation(sum(dataset.count for dataset in self._sets))

    def _shuffle_set(self, source: int, turn: int) -> NDArray[np.int64]:
        rng = np.random.default_rng([self._seed, _SET_ORDER, source, turn])
        return rng.permutation(len(self._sets[source].samples))


class TrainingSamples(Dataset["_Arrays | GLPNError"]):
    """Augmented samples by `Pick`. Errors are values, because worker processes cannot raise them unchanged.

    Args:
        sets: the training data.
        settings: `seed` and the settings of augmentation are used.
        limit_m: deeper ground truth becomes this depth, in meters.
    """

    def __init__(self, sets: Sequence[TrainingSet], settings: TrainSettings, *, limit_m: float) -> None:
        self._samples = [dataset.samples for dataset in sets]
        self._is_cached = [not dataset.mapped for dataset in sets]
        self._settings = settings
        self._limit_m = limit_m
        self._cache: dict[tuple[int, int], Sample] = {}
        self._cache_bytes = 0

    def __getitem__(self, pick: Pick) -> _Arrays | GLPNError:
        """Return a batch of one sample, without the dimension of the batch."""
        try:
            sample = self._read(pick)
            rng = np.random.default_rng([self._settings.seed, _AUGMENTATION, pick.number])
            augmented = augment(sample, pick.size, rng, self._settings, limit_m=self._limit_m)
        except GLPNError as error:
            return error
        return _Arrays(augmented.rgb.transpose(2, 0, 1), augmented.meters, [sample.name])

    def _read(self, pick: Pick) -> Sample:
        key = pick.source, pick.item
        if key in self._cache:
            return self._cache[key]
        sample = self._samples[pick.source][pick.item]
        if not (sample.meters > 0).any():
            raise InputError(
                f"{sample.name}: has no pixel of known depth",
                hint="remove it; to resume a run, replace it by a copy of another pair",
            )
        size = sample.rgb.nbytes + sample.meters.nbytes
        if self._is_cached[pick.source] and self._cache_bytes + size <= _CACHE_BYTES:
            self._cache[key] = sample
            self._cache_bytes += size
        return sample


def load_batches(
    samples: TrainingSamples,
    plan: SamplingPlan,
    *,
    first_step: int,
    rank: int,
    processes: int,
    accumulate: int,
    workers: int,
) -> Iterator[Batch]:
    """Yield the micro-batches of this process, in order.

    Args:
        samples: the samples.
        plan: which samples each step uses.
        first_step: step to start at.
        rank: number of this process.
        processes: number of processes; each has an equal part of every step.
        accumulate: micro-batches per step of a process.
        workers: processes that prepare samples; 0 prepares them in this process.

    Raises:
        GLPNError: a sample cannot be used.
        TrainingError: a worker process died.
    """
    loader = DataLoader(
        samples,
        batch_sampler=_MicroBatchSampler(plan, first_step, rank, processes, accumulate),
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_ignore_interrupts if workers else None,
        prefetch_factor=4 if workers else None,
        generator=torch.Generator(),  # otherwise it draws from the global one
    )
    batches = None
    others = multiprocessing.active_children()
    try:
        batches = iter(loader)
        for collated in batches:
            if isinstance(collated, GLPNError):
                raise collated
            yield collated.to_batch()
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise TrainingError(
            f"a process that prepares samples has died: {' '.join(str(error).split())}",
            hint="set fewer `workers` to save memory; 0 uses no such processes",
        ) from error
    finally:
        if batches is None:  # the first worker died while the others were started
            _kill([process for process in multiprocessing.active_children() if process not in others])
        else:
            _end_workers(batches)


def _end_workers(batches: Any) -> None:
    """End the worker processes of a loader's iterator, also those that wait for a disk or a pipe.

    They ignore SIGTERM, which is all that torch and Python's exit send before they wait for them without end.
    """
    if hasattr(batches, "_shutdown_workers"):
        batches._shutdown_workers()  # noqa: SLF001 - otherwise it happens when the last traceback is gone
    _kill([process for process in getattr(batches, "_workers", ()) if process.is_alive()])


def _kill(processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        process.kill()
    for process in processes:
        process.join()


class _MicroBatchSampler:
    """The picks of every micro-batch of a process."""

    def __init__(self, plan: SamplingPlan, first_step: int, rank: int, processes: int, accumulate: int) -> None:
        self._plan = plan
        self._first_step = first_step
        self._rank = rank
        self._processes = processes
        self._accumulate = accumulate

    def __len__(self) -> int:
        return (self._plan.steps - self._first_step) * self._accumulate

    def __iter__(self) -> Iterator[list[Pick]]:
        for step in range(self._first_step, self._plan.steps):
            picks = self._plan.picks(step)
            size = len(picks) // (self._processes * self._accumulate)
            for number in range(self._rank * self._accumulate, (self._rank + 1) * self._accumulate):
                yield picks[number * size : (number + 1) * size]


def _collate(samples: Sequence[_Arrays | GLPNError]) -> _Arrays | GLPNError:
    good: list[_Arrays] = []
    for sample in samples:
        if isinstance(sample, GLPNError):
            return sample
        good.append(sample)
    return _Arrays(
        np.stack([sample.rgb for sample in good]),
        np.stack([sample.meters for sample in good]),
        [name for sample in good for name in sample.names],
    )


def _ignore_interrupts(worker: int) -> None:
    """Ignore signals that a terminal or scheduler sends to all processes: the main one finishes the step first."""
    del worker
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
