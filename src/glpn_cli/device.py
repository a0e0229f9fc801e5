"""What this machine can compute on, and with which numbers: the only place that asks torch about hardware."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from glpn_cli.errors import DeviceError, UsageError
from glpn_cli.settings import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager


_DEVICE_PATTERN = re.compile(r"(auto|cpu|mps|(cuda|xpu)(:\d+)?)")


@dataclass(frozen=True, slots=True)
class Runtime:
    """Where and in which numbers a network runs.

    Attributes:
        device: a device that exists here.
        precision: a number format that the device computes in.
    """

    device: torch.device
    precision: Precision

    @property
    def dtype(self) -> torch.dtype:
        """The precision as torch names it."""
        return {
            Precision.FLOAT32: torch.float32,
            Precision.BFLOAT16: torch.bfloat16,
            Precision.FLOAT16: torch.float16,
            Precision.TF32: torch.float32,
        }[self.precision]

    def products(self) -> AbstractContextManager[None]:
        """Compute products of float32 within a block as the precision says, whatever the process has allowed."""
        return _float32_products(tf32=self.precision is Precision.TF32)


def choose_runtime(
    device: str = "auto", precision: Precision | str = Precision.FLOAT32, threads: int | None = None
) -> Runtime:
    """Choose the device and the number format, once per program.

    Args:
        device: "auto" (CUDA, XPU, MPS, CPU, the first that is there), "cpu", "cuda", "cuda:N", "xpu", "mps".
        precision: see `Precision`.
        threads: CPU threads for torch in this process; None leaves torch's own choice.

    Raises:
        UsageError: the words are none of the above.
        DeviceError: the device is not here, or does not compute in this precision. There is no silent fallback.
    """
    if not _DEVICE_PATTERN.fullmatch(device):
        raise UsageError(f"no device is called {device!r}", hint="auto, cpu, cuda, cuda:N, mps or xpu")
    if precision not in list(Precision):
        raise UsageError(f"no precision is called {precision!r}", hint=", ".join(Precision))
    if threads is not None:
        if threads < 1:
            raise UsageError(f"threads must be at least 1, not {threads}")
        torch.set_num_threads(threads)
    present = available_devices()
    name = present[0] if device == "auto" else device
    if name in ("cuda", "xpu"):
        name += ":0"
    if name not in present:
        raise DeviceError(f"there is no device {device!r} here", hint=f"torch sees: {', '.join(present)}")
    runtime = Runtime(torch.device(name), Precision(precision))
    if runtime.device.type == "cpu" and runtime.precision is Precision.FLOAT16 and not _cpu_computes_float16():
        raise DeviceError("this CPU does not compute in float16", hint="use --precision bfloat16 or float32")
    if runtime.device.type != "cuda" and runtime.precision is Precision.TF32:
        raise DeviceError("only NVIDIA GPUs compute in tf32", hint="use --precision bfloat16 or float32")
    return runtime


def available_devices() -> list[str]:
    """List the devices that torch sees, the fastest kind first, as `--device` takes them."""
    devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        devices += [f"xpu:{index}" for index in range(torch.xpu.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What is known of a device.

    Attributes:
        name: as `--device` takes it.
        what: its make, or what else there is to say.
        memory_bytes: all of its own memory, or None.
    """

    name: str
    what: str
    memory_bytes: int | None = None


def describe_devices() -> list[DeviceFacts]:
    """Describe the devices that torch sees, the fastest kind first."""
    return [_describe(name) for name in available_devices()]


def _describe(name: str) -> DeviceFacts:
    kind, _, index = name.partition(":")
    if kind in ("cuda", "xpu"):
        facts = getattr(torch, kind).get_device_properties(int(index))
        version = f", CUDA {torch.version.cuda}" if kind == "cuda" and torch.version.cuda else ""
        return DeviceFacts(name, f"{facts.name}{version}", int(facts.total_memory))
    if kind == "mps":
        return DeviceFacts(name, "Apple GPU")
    float16 = "" if _cpu_computes_float16() else ", no float16"
    return DeviceFacts(name, f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}{float16}")


class MemoryMeter:
    """The memory of a GPU that says how much it has."""

    def __init__(self, device: torch.device) -> None:
        """Take a CUDA device."""
        self._device = device
        self._before_bytes = 0

    @classmethod
    def of(cls, device: torch.device) -> MemoryMeter | None:
        """Give the meter of a device, or None where torch cannot tell."""
        return cls(device) if device.type == "cuda" else None

    def reset(self) -> None:
        """Begin to watch the peak."""
        self._before_bytes = torch.cuda.memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)

    def peak_bytes(self) -> int:
        """Tell how much more than at the beginning was in use at most."""
        return torch.cuda.max_memory_allocated(self._device) - self._before_bytes

    def free_bytes(self) -> int:
        """Tell what can still be had, what torch keeps for itself included."""
        kept = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return torch.cuda.mem_get_info(self._device)[0] + kept


_SIGNS_OF_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


def exact_float32() -> AbstractContextManager[None]:
    """Compute float32 as float32 within a block, whatever the process has allowed: no TF32, no bfloat16 inside."""
    return _float32_products(tf32=False)


@contextmanager
def _float32_products(*, tf32: bool) -> Iterator[None]:
    matmul_precision = torch.get_float32_matmul_precision()
    cudnn_tf32 = torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(matmul_precision)
        torch.backends.cudnn.allow_tf32 = cudnn_tf32


@contextmanager
def memory_errors_named(
    what: str, *, hint: str = "use --input-size model or a smaller HxW, --tiles auto, or another --device"
) -> Iterator[None]:
    """Turn torch's ways of running out of memory within the block into one.

    Args:
        what: what was being computed, for the message.
        hint: what helps.

    Raises:
        DeviceError: memory ran out.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise DeviceError(f"{what}: not enough memory", hint=hint) from error
    except RuntimeError as error:
        # Neither the CPU's allocator nor that of Apple's GPUs nor NVIDIA's library for products has one of its own.
        if any(sign in str(error) for sign in _SIGNS_OF_NO_MEMORY):
            raise DeviceError(f"{what}: not enough memory", hint=hint) from error
        raise


def _cpu_computes_float16() -> bool:
    # A private name of torch; where it is gone, torch emulates float16 slowly but rightly.
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_fp16_supported", None)
    return True if supported is None else bool(supported())
