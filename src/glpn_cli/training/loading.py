"""Batches for the network, made by other processes while it computes."""

from __future__ import annotations

import signal
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from glpn_cli.errors import GLPNError, InputError, TrainingError
from glpn_cli.training.augmentation import augment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from glpn_cli.data.sample import Sample
    from glpn_cli.settings.training import TrainSettings
    from glpn_cli.training.plan import Pick, Plan
    from glpn_cli.training.sets import TrainingSet

__all__ = ["Batch", "TrainingSamples", "batches"]

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
