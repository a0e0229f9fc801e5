"""Several processes that train one network, and batch norm statistics that do not depend on how a step is split."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed, nn

from glpn_cli.errors import DeviceError, TrainingError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_LOST_CONNECTION = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes of a run, as `torchrun` starts them. A context manager that connects them.

    Attributes:
        rank: number of this process.
        count: number of processes.
        local_rank: number of this process on its machine.
        on_gpus: whether each process has its own GPU.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    on_gpus: bool = False

    @classmethod
    def from_environment(cls, device: str = "auto") -> Processes:
        """Read the environment variables of `torchrun`; without them there is one process.

        Args:
            device: the device that the user asks for. With "auto" and "cuda" each process uses its own GPU.
        """
        rank, count, local_rank = (
            int(os.environ.get(name, default))
            for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
        )
        return cls(rank, count, local_rank, on_gpus=device in ("auto", "cuda") and torch.cuda.is_available())

    @property
    def is_main(self) -> bool:
        """Whether this process validates, reports and writes files."""
        return self.rank == 0

    def device(self, requested: str) -> str:
        """Return the device of this process."""
        return f"cuda:{self.local_rank}" if self.count > 1 and self.on_gpus else requested

    def __enter__(self) -> Self:
        """Connect to the other processes.

        Raises:
            DeviceError: they cannot be reached, or there are fewer GPUs than processes.
        """
        if self.count > 1:
            if self.on_gpus:
                if self.local_rank >= torch.cuda.device_count():
                    raise DeviceError(
                        f"no GPU for process {self.local_rank} of this machine",
                        hint="start as many processes as there are GPUs, or set `device='cpu'`",
                    )
                torch.cuda.set_device(self.local_rank)
            backend = "nccl" if self.on_gpus else "gloo"
            try:
                distributed.init_process_group(backend, rank=self.rank, world_size=self.count)
            except (RuntimeError, ValueError) as error:
                raise DeviceError(
                    f"the other processes cannot be reached: {error}", hint="start them with torchrun"
                ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Disconnect.

        Raises:
            TrainingError: this process failed because another one did; that one reports the reason.
        """
        if distributed.is_initialized():
            distributed.destroy_process_group()
        if self.count > 1 and isinstance(error, RuntimeError) and _is_lost_connection(error):
            raise TrainingError(
                f"process {self.rank} of {self.count} stopped because another one failed",
                hint="see the error of that process",
            ) from error

    def any_of(self, flag: bool, device: torch.device) -> bool:
        """Return whether the flag is set in any process."""
        if self.count == 1:
            return flag
        highest = torch.tensor(float(flag), device=device)
        distributed.all_reduce(highest, distributed.ReduceOp.MAX)
        return bool(highest)

    def agree(self, number: int, device: torch.device) -> bool:
        """Return whether the number is the same in all processes."""
        if self.count == 1:
            return True
        ends = torch.tensor([number, -number], device=device)
        distributed.all_reduce(ends, distributed.ReduceOp.MAX)
        return ends.tolist() == [number, -number]

    def mean(self, value: Tensor) -> Tensor:
        """Average a tensor over all processes, in place."""
        if self.count > 1:
            distributed.all_reduce(value, distributed.ReduceOp.SUM)
            value /= self.count
        return value

    def wait(self) -> None:
        """Wait for all processes."""
        if self.count > 1:
            distributed.barrier()


class BatchNormSync:
    """Gives each micro-batch the same batch norm statistics to start from, and the step their mean.

    Otherwise the running statistics would depend on how a step is split: a network would update them once per
    micro-batch, and each process with its own samples only.
    """

    def __init__(self, network: nn.Module, processes: Processes) -> None:
        self._processes = processes
        buffers: list[tuple[str, Any]] = list(network.named_buffers())
        self._means = [buffer for _, buffer in buffers if buffer.is_floating_point()]
        self._counts = [buffer for _, buffer in buffers if not buffer.is_floating_point()]
        self._before: list[Tensor] = []
        self._sums: list[Tensor] = []

    def begin_step(self) -> None:
        """Store the statistics before the step."""
        self._before = [buffer.clone() for buffer in (*self._means, *self._counts)]
        self._sums = []

    def begin_micro_batch(self) -> None:
        """Restore the statistics from before the step."""
        for buffer, before in zip((*self._means, *self._counts), self._before, strict=True):
            buffer.copy_(before)

    def end_micro_batch(self) -> None:
        """Add the statistics after the micro-batch to the sum."""
        if not self._sums:
            self._sums = [buffer.clone() for buffer in self._means]
        else:
            self._sums = [total + buffer for total, buffer in zip(self._sums, self._means, strict=True)]

    def end_step(self, micro_batches: int) -> None:
        """Set the mean over the micro-batches of all processes."""
        if not self._means or (micro_batches == 1 and self._processes.count == 1):
            return
        flat = self._processes.mean(torch.cat([total.flatten() for total in self._sums]) / micro_batches)
        means = torch.split(flat, [buffer.numel() for buffer in self._means])
        for buffer, mean in zip(self._means, means, strict=True):
            buffer.copy_(mean.view_as(buffer))


def _is_lost_connection(error: RuntimeError) -> bool:
    """Return whether gloo or NCCL lost another process; other runtime errors are bugs."""
    return isinstance(error, distributed.DistError) or any(text in str(error) for text in _LOST_CONNECTION)
