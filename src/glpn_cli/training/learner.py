"""What training makes small: the paper's loss, by batch or by image, and the slopes of depth beside it.

A network that learns: one step from images to moved weights, whoever decides how many there are.
"""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from glpn_cli.errors import TrainingError
from glpn_cli.model.glpn import silog_loss
from glpn_cli.settings import Precision
from glpn_cli.training.distributed import StatisticsOfParts
from glpn_cli.training.optimizer import AveragedWeights, build_optimizer

if TYPE_CHECKING:
    from torch import Tensor

    from glpn_cli.device import Runtime
    from glpn_cli.training.datasets import Batch
    from glpn_cli.training.distributed import Processes
    from glpn_cli.training.initialization import Start
    from glpn_cli.training.settings import TrainSettings


_STRIDES = (1, 2, 4)


def training_loss(predicted: Tensor, target: Tensor, settings: TrainSettings) -> Tensor:
    """Measure a batch.

    Args:
        predicted: (B, H, W) float32, meters, positive.
        target: (B, H, W) float32, meters; 0 where nothing is known.
        settings: which parts count how much.

    Returns:
        () float32.
    """
    if settings.loss_per_image:
        per_image = [
            silog_loss(one[None], truth[None], scale_forgiveness=settings.scale_forgiveness)
            for one, truth in zip(predicted, target, strict=True)
        ]
        loss = torch.stack(per_image).mean()
    else:
        loss = silog_loss(predicted, target, scale_forgiveness=settings.scale_forgiveness)
    if settings.gradient_weight:
        loss = loss + settings.gradient_weight * slope_loss(predicted, target)
    return loss


def slope_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Measure how much the slopes of log depth differ, from a pixel to the next, the second and the fourth.

    Edges and small things weigh little in the paper's loss; here they weigh most.

    Args:
        predicted: (B, H, W) float32, meters, positive.
        target: (B, H, W) float32, meters; 0 where nothing is known.

    Returns:
        () float32, the sum over the three distances of the mean absolute difference.

    Source: the gradient-matching term of MegaDepth, arXiv 1804.00607, section 4.2, on fewer scales.
    """
    known = target > 0
    error = predicted.clamp_min(torch.finfo(predicted.dtype).tiny).log() - torch.where(known, target, 1.0).log()
    error = torch.where(known, error, 0.0)
    total = error.new_zeros(())
    for stride in _STRIDES:
        part, seen = error[:, ::stride, ::stride], known[:, ::stride, ::stride]
        across = (part[:, :, 1:] - part[:, :, :-1]).abs() * (seen[:, :, 1:] & seen[:, :, :-1])
        down = (part[:, 1:] - part[:, :-1]).abs() * (seen[:, 1:] & seen[:, :-1])
        total = total + (across.sum() + down.sum()) / seen.sum().clamp_min(1)
    return total


class Learner:
    """A network on its device, with what moves its weights.

    Args:
        start: the network, and what turns its output into meters.
        settings: how it learns.
        runtime: what computes.
        processes: those that learn together.
    """

    def __init__(self, start: Start, settings: TrainSettings, runtime: Runtime, processes: Processes) -> None:
        device = runtime.device
        network: nn.Module = start.network.to(device)
        if device.type in ("cpu", "cuda"):
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if processes.count > 1 and device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        # Close to the lens bfloat16 would round depth to 3 %; the engine computes this layer in float32 too.
        _keep_in_float32(start.network.head.head[-1])
        self._settings, self._runtime, self._processes = settings, runtime, processes
        self._meters_per_unit = start.card.meters_per_unit
        self._network = network
        self._optimizer = build_optimizer(network, settings)
        self._averaged = AveragedWeights(network, settings.ema) if settings.ema else None
        self._statistics = StatisticsOfParts(network, processes)
        self._wrapped = network if processes.count == 1 else _shared(network, device)

    @property
    def parameters(self) -> int:
        """How many numbers are learnt."""
        return sum(one.numel() for one in self._network.parameters())

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The weights that are measured and kept: the averaged ones, if there are any."""
        return self._network.state_dict() if self._averaged is None else self._averaged.tensors

    def state(self) -> dict[str, Any]:
        """Give everything that learning goes on from; its tensors change with the next step."""
        return {
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "averaged": None if self._averaged is None else self._averaged.tensors,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._averaged is not None:
            self._averaged.load(state["averaged"])

    def step(self, step: int, rate: float, parts: list[Batch]) -> tuple[float, float]:
        """Do one step.

        Args:
            step: how many were done before.
            rate: of learning.
            parts: this process's batches of it; their gradients are averaged.

        Returns:
            The loss over all processes, and the length of the gradient before it was clipped, or 0 where nobody asks.

        Raises:
            TrainingError: the loss is no number.
        """
        self._optimizer.zero_grad()
        self._statistics.begin_step()
        total = torch.zeros((), device=self._runtime.device)
        for number, batch in enumerate(parts):
            last = number == len(parts) - 1
            self._statistics.begin_part()
            # What is dropped depends on the step and the part, and not on who computes it.
            torch.manual_seed(_seed(self._settings.seed, step, self._processes.rank * len(parts) + number))
            with nullcontext() if last or self._processes.count == 1 else self._wrapped.no_sync():  # type: ignore[operator]
                total += self._learn_part(step, batch) / len(parts)
            self._statistics.end_part()
        self._statistics.end_step(len(parts))
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        norm = torch.zeros(())
        if self._settings.clip_norm:
            norm = nn.utils.clip_grad_norm_(self._network.parameters(), self._settings.clip_norm)
        self._optimizer.step()
        if self._averaged is not None:
            self._averaged.update(self._network, step)
        return float(self._processes.mean(total)), float(norm)

    def check_weights(self, step: int) -> None:
        """See that the weights are numbers.

        Raises:
            TrainingError: they are not.
        """
        if not all(bool(one.isfinite().all()) for one in self._network.parameters()):
            raise _come_apart(step)

    def _learn_part(self, step: int, batch: Batch) -> Tensor:
        device = self._runtime.device
        pixels = batch.rgb.to(device, non_blocking=True).to(torch.float32).div_(255)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        target = batch.meters.to(device, non_blocking=True)
        mixed = self._runtime.precision is not Precision.FLOAT32
        with torch.autocast(device.type, self._runtime.dtype, enabled=mixed):
            predicted = self._wrapped(pixels).predicted_depth
        predicted = predicted.float() * self._meters_per_unit
        loss = training_loss(predicted, target, self._settings)
        if not bool(loss.isfinite()):
            raise _no_number(step, predicted.detach(), target, batch.names)
        (loss / self._settings.accumulate).backward()  # type: ignore[no-untyped-call]
        return loss.detach()


def _shared(network: nn.Module, device: torch.device) -> nn.Module:
    """Wrap a network so that all processes move its weights by the mean of their gradients."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the option has another name since torch 2.13
        return nn.parallel.DistributedDataParallel(
            network,
            device_ids=[device.index] if device.type == "cuda" else None,
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
        )


def _keep_in_float32(layer: nn.Module) -> None:
    """Leave a layer out of autocast."""
    forward = layer.forward

    def without_autocast(values: Tensor) -> Tensor:
        with torch.autocast(values.device.type, enabled=False):
            computed: Tensor = forward(values.float())
        return computed

    layer.forward = without_autocast


def _seed(*numbers: int) -> int:
    """Give the seed for the chance within the network; the same everywhere and in every version of Python."""
    return int(np.random.SeedSequence([5, *numbers]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _come_apart(step: int) -> TrainingError:
    return TrainingError(
        f"step {step}: the network has come apart: its weights are no numbers any more",
        hint="the last state that was kept is older; a lower --learning-rate, or --clip-norm 1, with --overwrite",
    )


def _no_number(step: int, predicted: Tensor, target: Tensor, names: list[str]) -> TrainingError:
    """Give the error for a loss that is no number, with the images that it comes from, if it comes from them."""
    if not bool(predicted.isfinite().any()):
        return _come_apart(step)
    guilty = [
        name
        for name, one, truth in zip(names, predicted, target, strict=True)
        if not bool(silog_loss(one[None], truth[None]).isfinite())
    ]
    called = ", ".join(guilty or names)
    return TrainingError(
        f"step {step + 1}: the loss is no number; it comes from {called}",
        hint="look at that image and its depth; if they are right, a lower --learning-rate or --clip-norm 1",
    )
