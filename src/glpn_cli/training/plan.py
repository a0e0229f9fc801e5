"""Which samples a step has, in which size, and which chance: all of it follows from the seed and the step's number.

So there is no state of a sampler to be kept, and a training goes on exactly, whatever makes the samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from glpn_cli.errors import InputError
from glpn_cli.image.processor import fitted_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from glpn_cli.training.datasets import TrainingSet
    from glpn_cli.training.settings import TrainSettings


_SHAPES = ((1.0, 0.5), (-1.0, 0.18), (0.0, 0.12), (2.0, 0.14), (3.3, 0.06))
"""Shapes of batches and their shares: 1 as given, -1 on its side, 0 square, else so many times as wide as high."""


@dataclass(frozen=True, slots=True)
class Pick:
    """One sample of a batch.

    Attributes:
        source: which set.
        item: which of its samples.
        number: counts all samples of a training; with the seed it decides everything that is done to this one.
        size: (height, width) that is shown.
    """

    source: int
    item: int
    number: int
    size: tuple[int, int]


class Plan:
    """What is seen when.

    Attributes:
        steps: of the whole training.
        steps_per_epoch: a rest that does not fill a batch is left out.
    """

    def __init__(
        self, sets: Sequence[TrainingSet], settings: TrainSettings, sizes: Sequence[tuple[int, int, float]]
    ) -> None:
        """Lay the training out.

        Args:
            sets: what is learnt from.
            settings: how many epochs or steps, and of how many samples.
            sizes: (height, width) and for which share of the steps.

        Raises:
            InputError: an epoch is smaller than a batch.
        """
        self._sets = sets
        self._seed = settings.seed
        self._batch = settings.batch_size
        self._varied = settings.varied_shapes
        total = sum(one.count for one in sets)
        self.steps_per_epoch = total // self._batch
        if not self.steps_per_epoch:
            raise InputError(
                f"there are {total} samples and a batch has {self._batch}", hint="a smaller --batch-size, or more data"
            )
        self.steps = settings.steps or max(1, round(settings.epochs * self.steps_per_epoch))
        self._sizes = sizes
        self._order = lru_cache(2)(self._shuffled_epoch)
        self._permutation = lru_cache(4 * len(sets))(self._shuffled_set)

    def picks(self, step: int) -> list[Pick]:
        """Give the samples of a step."""
        epoch, within = divmod(step, self.steps_per_epoch)
        size = self.size(step)
        chosen = self._order(epoch)[within * self._batch : (within + 1) * self._batch]
        return [self._pick(int(place), epoch, step * self._batch + k, size) for k, place in enumerate(chosen)]

    def size(self, step: int) -> tuple[int, int]:
        """Give the (height, width) of a step's images."""
        done, end = (step + 0.5) / self.steps * sum(share for _, _, share in self._sizes), 0.0
        size = self._sizes[-1][:2]
        for height, width, share in self._sizes:
            end += share
            if done < end:
                size = height, width
                break
        if not self._varied:
            return size
        rng = np.random.default_rng([self._seed, 3, step])
        shape = _SHAPES[int(rng.choice(len(_SHAPES), p=[share for _, share in _SHAPES]))][0]
        if shape == 1.0:
            return size
        if shape == -1.0:
            return size[1], size[0]
        return fitted_size(1000, round(1000 * (shape or 1.0)), size)

    def _pick(self, place: int, epoch: int, number: int, size: tuple[int, int]) -> Pick:
        """Give the sample at a place of an epoch before it was shuffled: set after set."""
        for source, one in enumerate(self._sets):
            if place < one.count:
                position = epoch * one.count + place
                if one.endless:
                    return Pick(source, position, number, size)
                turn, rest = divmod(position, len(one.samples))
                return Pick(source, int(self._permutation(source, turn)[rest]), number, size)
            place -= one.count
        raise IndexError(place)

    def _shuffled_epoch(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self._seed, 1, epoch]).permutation(sum(one.count for one in self._sets))

    def _shuffled_set(self, source: int, turn: int) -> NDArray[np.int64]:
        return np.random.default_rng([self._seed, 2, source, turn]).permutation(len(self._sets[source].samples))
