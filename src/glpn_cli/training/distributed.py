"""A step in several parts, in one process or in many: what has to be averaged so that it makes no difference which."""

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


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes of a training, as `torchrun` starts them; a context manager that connects them.

    Attributes:
        rank: which this one is.
        count: how many there are.
        local_rank: which it is on its machine.
        on_gpus: whether each has a GPU of its own.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    on_gpus: bool = False

    @classmethod
    def from_environment(cls, device: str = "auto") -> Processes:
        """Read what `torchrun` says; without it there is one process.

        Args:
            device: what the user asks for. Every process of a machine takes a GPU of its own, unless that is the CPU.
        """
        rank, count, local_rank = (
            int(os.environ.get(name, default))
            for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
        )
        return cls(rank, count, local_rank, on_gpus=device in ("auto", "cuda") and torch.cuda.is_available())

    def device(self, asked: str) -> str:
        """Give the device of this process, where the user asks for one."""
        return f"cuda:{self.local_rank}" if self.count > 1 and self.on_gpus else asked

    def __enter__(self) -> Self:
        """Connect to the others.

        Raises:
            DeviceError: they cannot be reached.
        """
        if self.count > 1:
            if self.on_gpus:
                if self.local_rank >= torch.cuda.device_count():
                    raise DeviceError(
                        f"there is no GPU for process {self.local_rank} of this machine",
                        hint="start as many processes as there are GPUs, or train with --device cpu",
                    )
                torch.cuda.set_device(self.local_rank)
            backend = "nccl" if self.on_gpus else "gloo"
            try:
                distributed.init_process_group(backend, rank=self.rank, world_size=self.count)
            except (RuntimeError, ValueError) as error:
                raise DeviceError(
                    f"the other processes cannot be reached: {error}", hint="start with torchrun"
                ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the others.

        Raises:
            TrainingError: another process has left before; why is for that one to say.
        """
        if distributed.is_initialized():
            distributed.destroy_process_group()
        if self.count > 1 and isinstance(error, RuntimeError) and _is_of_a_lost_connection(error):
            raise TrainingError(
                f"process {self.rank} of {self.count} stopped, because another one did", hint="that one says why"
            ) from error

    def any_of(self, here: bool, device: torch.device) -> bool:
        """Tell whether something is so in any process."""
        if self.count == 1:
            return here
        flag = torch.tensor(float(here), device=device)
        distributed.all_reduce(flag, distributed.ReduceOp.MAX)
        return bool(flag)

    def agree(self, number: int, device: torch.device) -> bool:
        """Tell whether a number is the same in all processes."""
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
        """Wait until all are here."""
        if self.count > 1:
            distributed.barrier()


def _is_of_a_lost_connection(error: RuntimeError) -> bool:
    """Tell what gloo and NCCL say when a process is gone from the errors that are bugs."""
    return isinstance(error, distributed.DistError) or any(
        words in str(error) for words in ("Connection closed by peer", "Connection reset by peer", "Broken pipe")
    )


class StatisticsOfParts:
    """Running statistics of batch norms: every part of a step begins from the same, and the step takes their mean.

    A network would otherwise take in one part after the other, and each process only its own; so the same step would
    leave other statistics behind, depending on who computed it.
    """

    def __init__(self, network: nn.Module, processes: Processes) -> None:
        """Find the statistics."""
        self._processes = processes
        buffers: list[tuple[str, Any]] = list(network.named_buffers())
        self._means = [buffer for _, buffer in buffers if buffer.is_floating_point()]
        self._counts = [buffer for _, buffer in buffers if not buffer.is_floating_point()]
        self._before: list[Tensor] = []
        self._sums: list[Tensor] = []

    def begin_step(self) -> None:
        """Remember what there is."""
        self._before = [buffer.clone() for buffer in (*self._means, *self._counts)]
        self._sums = []

    def begin_part(self) -> None:
        """Let a part begin where the step began."""
        for buffer, before in zip((*self._means, *self._counts), self._before, strict=True):
            buffer.copy_(before)

    def end_part(self) -> None:
        """Take in what a part left behind."""
        if not self._sums:
            self._sums = [buffer.clone() for buffer in self._means]
        else:
            self._sums = [total + buffer for total, buffer in zip(self._sums, self._means, strict=True)]

    def end_step(self, parts: int) -> None:
        """Leave the mean of all parts behind, in all processes."""
        if not self._means or (parts == 1 and self._processes.count == 1):
            return
        flat = self._processes.mean(torch.cat([total.flatten() for total in self._sums]) / parts)
        for buffer, mean in zip(
            self._means, torch.split(flat, [buffer.numel() for buffer in self._means]), strict=True
        ):
            buffer.copy_(mean.view_as(buffer))
