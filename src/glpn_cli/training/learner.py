"""One training step: from a batch of images to updated weights, and the loss."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from glpn_cli.errors import TrainingError
from glpn_cli.model.glpn import silog_loss
from glpn_cli.training.distributed import BatchNormSync
from glpn_cli.training.optimizer import AveragedWeights, build_optimizer
from glpn_cli.values import Precision

if TYPE_CHECKING:
    from glpn_cli.device import Runtime
    from glpn_cli.training.distributed import Processes
    from glpn_cli.training.initialization import InitialNetwork
    from glpn_cli.training.loader import Batch
    from glpn_cli.training.settings import TrainSettings

_GRADIENT_STRIDES = (1, 2, 4)
_DROPOUT = 5  # number of this stream of random numbers; the loader uses 1 to 4


class Learner:
    """A network on its device, with the optimizer that updates it.

    Args:
        initial: the network, and the metadata that converts its output to meters.
        settings: the loss, the optimizer and the seed.
        runtime: device and precision.
        processes: the processes that train together.
    """

    def __init__(
        self, initial: InitialNetwork, settings: TrainSettings, runtime: Runtime, processes: Processes
    ) -> None:
        device = runtime.device
        network: nn.Module = initial.network.to(device)
        if device.type in ("cpu", "cuda"):
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if processes.count > 1 and device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        # bfloat16 would round small depths to 3 %; inference computes this layer in float32 too.
        _exclude_from_autocast(initial.network.head.head[-1])
        self._settings, self._runtime, self._processes = settings, runtime, processes
        self._meters_per_unit = initial.card.meters_per_unit
        self._network = network
        self._optimizer = build_optimizer(network, settings)
        self._averaged = AveragedWeights(network, settings.ema) if settings.ema else None
        self._batch_norm = BatchNormSync(network, processes)
        self._parallel = network if processes.count == 1 else _wrap_parallel(network, device)

    @property
    def parameter_count(self) -> int:
        """The number of trained values."""
        return sum(parameter.numel() for parameter in self._network.parameters())

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The weights to validate and save: the averaged ones with `ema`. The next step changes them."""
        return self._network.state_dict() if self._averaged is None else self._averaged.tensors

    def state(self) -> dict[str, Any]:
        """Return everything that training resumes from. The next step changes its tensors."""
        return {
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "averaged": None if self._averaged is None else self._averaged.tensors,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Resume from a state that `state` returned."""
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._averaged is not None:
            self._averaged.load(state["averaged"])

    def step(self, step: int, learning_rate: float, micro_batches: list[Batch]) -> tuple[float, float]:
        """Train one step.

        Args:
            step: number of the step; the first one is step 0.
            learning_rate: of this step.
            micro_batches: of this process; their gradients are averaged.

        Returns:
            The loss over all processes, and the norm of the gradient before clipping; 0 without clipping.

        Raises:
            TrainingError: the loss is NaN or infinite.
        """
        count = len(micro_batches)
        self._optimizer.zero_grad()
        self._batch_norm.begin_step()
        total = torch.zeros((), device=self._runtime.device)
        for number, batch in enumerate(micro_batches):
            last = number == count - 1
            self._batch_norm.begin_micro_batch()
            # Dropout depends on the step and the micro-batch, not on the process that computes it.
            torch.manual_seed(_dropout_seed(self._settings.seed, step, self._processes.rank * count + number))
            with nullcontext() if last or self._processes.count == 1 else self._parallel.no_sync():  # type: ignore[operator]
                total += self._backward(step, batch) / count
            self._batch_norm.end_micro_batch()
        self._batch_norm.end_step(count)
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        norm = torch.zeros(())
        if self._settings.clip_norm:
            norm = nn.utils.clip_grad_norm_(self._network.parameters(), self._settings.clip_norm)
        self._optimizer.step()
        if self._averaged is not None:
            self._averaged.update(self._network, step)
        return float(self._processes.mean(total)), float(norm)

    def check_weights(self, step: int) -> None:
        """Check that all weights are finite.

        Raises:
            TrainingError: a weight is NaN or infinite.
        """
        if not all(bool(parameter.isfinite().all()) for parameter in self._network.parameters()):
            raise _diverged_error(step)

    def _backward(self, step: int, batch: Batch) -> Tensor:
        """Add the gradients of a micro-batch and return its () float32 loss."""
        device = self._runtime.device
        pixels = batch.rgb.to(device, non_blocking=True).to(torch.float32).div_(255)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        target = batch.meters.to(device, non_blocking=True)
        mixed = self._runtime.precision is not Precision.FLOAT32
        with torch.autocast(device.type, self._runtime.dtype, enabled=mixed):
            predicted = self._parallel(pixels).predicted_depth
        predicted = predicted.float() * self._meters_per_unit
        loss = training_loss(predicted, target, self._settings)
        if not bool(loss.isfinite()):
            raise _invalid_loss_error(step, predicted.detach(), target, batch.names)
        (loss / self._settings.accumulate).backward()  # type: ignore[no-untyped-call]
        return loss.detach()


def training_loss(predicted: Tensor, target: Tensor, settings: TrainSettings) -> Tensor:
    """Return the loss of a batch: SILog, over the batch or per image, and the gradient loss if it is set.

    Args:
        predicted: (B, H, W) float32, meters, positive.
        target: (B, H, W) float32, meters; 0 is unknown.
        settings: `scale_forgiveness`, `loss_per_image` and `gradient_weight` are used.

    Returns:
        () float32.
    """
    if settings.loss_per_image:
        losses = [
            silog_loss(depth[None], truth[None], scale_forgiveness=settings.scale_forgiveness)
            for depth, truth in zip(predicted, target, strict=True)
        ]
        loss = torch.stack(losses).mean()
    else:
        loss = silog_loss(predicted, target, scale_forgiveness=settings.scale_forgiveness)
    if settings.gradient_weight:
        loss = loss + settings.gradient_weight * gradient_loss(predicted, target)
    return loss


def gradient_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """Return how much the spatial gradients of log depth differ, at distances of 1, 2 and 4 pixels.

    Edges and small objects have little weight in SILog; here they have most of it.

    Args:
        predicted: (B, H, W) float32, meters, positive.
        target: (B, H, W) float32, meters; 0 is unknown.

    Returns:
        () float32, the sum over the three distances of the mean absolute difference.

    Source: the gradient-matching term of MegaDepth, arXiv 1804.00607, section 4.2, with fewer scales.
    """
    known = target > 0
    error = predicted.clamp_min(torch.finfo(predicted.dtype).tiny).log() - torch.where(known, target, 1.0).log()
    error = torch.where(known, error, 0.0)
    total = error.new_zeros(())
    for stride in _GRADIENT_STRIDES:
        coarse, seen = error[:, ::stride, ::stride], known[:, ::stride, ::stride]
        across = (coarse[:, :, 1:] - coarse[:, :, :-1]).abs() * (seen[:, :, 1:] & seen[:, :, :-1])
        down = (coarse[:, 1:] - coarse[:, :-1]).abs() * (seen[:, 1:] & seen[:, :-1])
        total = total + (across.sum() + down.sum()) / seen.sum().clamp_min(1)
    return total


def _wrap_parallel(network: nn.Module, device: torch.device) -> nn.Module:
    """Wrap a network so that the gradients of all processes are averaged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch 2.13 renamed an argument
        return nn.parallel.DistributedDataParallel(
            network,
            device_ids=[device.index] if device.type == "cuda" else None,
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
        )


def _exclude_from_autocast(layer: nn.Module) -> None:
    forward = layer.forward

    def forward_in_float32(values: Tensor) -> Tensor:
        with torch.autocast(values.device.type, enabled=False):
            computed: Tensor = forward(values.float())
        return computed

    layer.forward = forward_in_float32


def _dropout_seed(*numbers: int) -> int:
    """Return a seed for dropout that is the same on all machines and in all versions of Python."""
    return int(np.random.SeedSequence([_DROPOUT, *numbers]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _diverged_error(step: int) -> TrainingError:
    return TrainingError(
        f"step {step}: training diverged: weights are NaN or infinite",
        hint="the last checkpoint is from an earlier step; "
        "set a lower `learning_rate` or `clip_norm=1`, and `overwrite` to start over",
    )


def _invalid_loss_error(step: int, predicted: Tensor, target: Tensor, names: list[str]) -> TrainingError:
    """Return the error for a loss that is NaN or infinite; it names the images that caused it."""
    if not bool(predicted.isfinite().any()):
        return _diverged_error(step)
    causes = [
        name
        for name, depth, truth in zip(names, predicted, target, strict=True)
        if not bool(silog_loss(depth[None], truth[None]).isfinite())
    ]
    return TrainingError(
        f"step {step + 1}: the loss is NaN or infinite, caused by {', '.join(causes or names)}",
        hint="check that image and its depth; if they are valid, set a lower `learning_rate` or `clip_norm=1`",
    )
