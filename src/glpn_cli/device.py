"""What this machine can compute on: devices, precisions and memory. No other module asks torch about hardware."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from glpn_cli.convert import ALL_DEVICES, DEVICE_NAME, OPENVINO_PREFIX, parse_devices
from glpn_cli.errors import DeviceError, GLPNError, UsageError
from glpn_cli.values import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

_OUT_OF_MEMORY_TEXTS = ("can't allocate memory", "not enough memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
_LESS_MEMORY_HINT = "use `input_size='model'` or a smaller size, `tiles='auto'`, or another `device`"
_DEVICE_HINT = "use auto, cpu, cuda, cuda:N, mps, xpu or openvino:GPU"
_CPU_PRECISION_HINT = "use `precision='bfloat16'` or `precision='float32'`"


@dataclass(frozen=True, slots=True)
class Runtime:
    """The device and the number format that a network runs in.

    Attributes:
        device: a device of this machine.
        precision: a number format that the device supports.
        openvino_device: the device of OpenVINO that runs the network in place of torch, such as "GPU"; else None.
    """

    device: torch.device
    precision: Precision
    openvino_device: str | None = None

    @property
    def name(self) -> str:
        """The device, as `choose_runtime` takes it."""
        return str(self.device) if self.openvino_device is None else OPENVINO_PREFIX + self.openvino_device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the network's weights; tf32 weights are float32."""
        return {
            Precision.FLOAT32: torch.float32,
            Precision.BFLOAT16: torch.bfloat16,
            Precision.FLOAT16: torch.float16,
            Precision.TF32: torch.float32,
        }[self.precision]

    def products(self) -> AbstractContextManager[None]:
        """Return a context manager in which float32 products use TF32 if, and only if, the precision is tf32.

        Global torch settings do not matter inside, and are restored at the end.
        """
        return _FLOAT32_PRODUCTS.use(tf32=self.precision is Precision.TF32)


def choose_runtime(
    device: str = "auto", precision: Precision | str = Precision.FLOAT32, threads: int | None = None
) -> Runtime:
    """Return the runtime for a device and a precision; sets the number of torch's CPU threads.

    Args:
        device: "auto" (the first available of CUDA, XPU, MPS and CPU), "cpu", "cuda", "cuda:N", "xpu", "xpu:N",
            "mps", or "openvino:NAME", which is not checked here.
        precision: see `Precision`.
        threads: CPU threads of torch in this process; None leaves them as they are.

    Raises:
        UsageError: an argument has an invalid value.
        DeviceError: the device is not available, or does not support the precision. There is no silent fallback.
    """
    _check_runtime(device, precision, threads)
    if threads is not None:
        torch.set_num_threads(threads)
    if device.startswith(OPENVINO_PREFIX):
        return Runtime(torch.device("cpu"), Precision(precision), device.removeprefix(OPENVINO_PREFIX))
    available = available_devices()
    name = available[0] if device == "auto" else device
    if name in ("cuda", "xpu"):
        name += ":0"
    if name not in available:
        raise DeviceError(f"device {device!r} is not available", hint=f"available: {', '.join(available)}")
    runtime = Runtime(torch.device(name), Precision(precision))
    if runtime.device.type == "cpu" and runtime.precision is Precision.FLOAT16 and not _cpu_computes_float16():
        raise DeviceError("this CPU does not support float16", hint=_CPU_PRECISION_HINT)
    if runtime.device.type != "cuda" and runtime.precision is Precision.TF32:
        raise DeviceError(f"{name} does not support tf32; only NVIDIA GPUs do", hint=_CPU_PRECISION_HINT)
    return runtime


def _check_runtime(device: str, precision: Precision | str, threads: int | None) -> None:
    """Check the form of the arguments of `choose_runtime`."""
    if device != "auto" and not DEVICE_NAME.fullmatch(device):
        if device == ALL_DEVICES or len(parse_devices(device)) > 1:
            raise UsageError("several devices only share a run over many images", setting="device", hint="name one")
        raise UsageError(f"unknown value {device!r}", setting="device", hint=_DEVICE_HINT)
    if precision not in list(Precision):
        raise UsageError(f"unknown value {precision!r}", setting="precision", hint=f"use one of {', '.join(Precision)}")
    if threads is not None and threads < 1:
        raise UsageError(f"must be at least 1, not {threads}", setting="threads")


def list_devices(device: str) -> list[str]:
    """Return the devices that share a run over many images.

    Args:
        device: as `choose_runtime` takes it, several of these separated by commas, or "all": every accelerator of
            this machine, or its CPU if there is none.

    Raises:
        UsageError: one of several is not a device.
    """
    if device != ALL_DEVICES:
        return parse_devices(device)
    accelerators = [name for name in available_devices() if name != "cpu"]
    return accelerators or ["cpu"]


def available_devices() -> list[str]:
    """Return the names of the devices that torch can use, the fastest kind first; the last one is "cpu"."""
    devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        devices += [f"xpu:{index}" for index in range(torch.xpu.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """A description of a device.

    Attributes:
        name: as `choose_runtime` takes it.
        what: the model of the device, and other facts in words.
        memory_bytes: its dedicated memory, or None.
    """

    name: str
    what: str
    memory_bytes: int | None = None


def describe_devices() -> list[DeviceFacts]:
    """Describe the devices that torch can use, in the order of `available_devices`."""
    return [_describe(name) for name in available_devices()]


class MemoryMeter:
    """Measures the memory use of a CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._start_bytes = 0

    @classmethod
    def of(cls, device: torch.device) -> MemoryMeter | None:
        """Return the meter of a device, or None if torch cannot measure its memory."""
        return cls(device) if device.type == "cuda" else None

    def reset(self) -> None:
        """Start a new measurement of the peak."""
        self._start_bytes = torch.cuda.memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)

    def peak_bytes(self) -> int:
        """Return the highest memory use since `reset`, minus the use at that moment."""
        return torch.cuda.max_memory_allocated(self._device) - self._start_bytes

    def free_bytes(self) -> int:
        """Return the memory that is free, including what torch has reserved but does not use."""
        reserved = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return torch.cuda.mem_get_info(self._device)[0] + reserved


def exact_float32() -> AbstractContextManager[None]:
    """Return a context manager in which float32 products are computed in float32: without TF32 or bfloat16.

    Global torch settings do not matter inside, and are restored at the end.
    """
    return _FLOAT32_PRODUCTS.use(tf32=False)


@contextmanager
def memory_errors_named(what: str, *, hint: str = _LESS_MEMORY_HINT) -> Iterator[None]:
    """Turn every out-of-memory error of the block into a `DeviceError`.

    Args:
        what: what is computed in the block, for the message.
        hint: how to need less memory.

    Raises:
        DeviceError: memory ran out.
    """
    try:
        yield
    except GLPNError:
        raise
    except Exception as error:
        if _ran_out_of_memory(error):
            raise DeviceError(f"{what}: not enough memory", hint=hint) from error
        raise


def _ran_out_of_memory(error: BaseException | None) -> bool:
    """Return whether an error is, or was raised while handling, one about memory.

    torch's CPU allocator, MPS and cuBLAS raise plain RuntimeErrors; only the text tells them apart. zipfile closes its
    archive after a MemoryError and raises a ValueError there.
    """
    while error is not None:
        if isinstance(error, torch.OutOfMemoryError | MemoryError):
            return True
        if isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY_TEXTS):
            return True
        error = error.__cause__ or error.__context__
    return False


class _Float32Products:
    """Torch's settings of float32 products, which are global, shared by the threads that compute.

    Threads that want the same setting compute at the same time; one that wants the other waits for them. The last one
    restores what the process had set. Blocks of different settings cannot be nested.
    """

    def __init__(self) -> None:
        self._is_free = threading.Condition()
        self._users = 0
        self._tf32 = False
        self._before = ("", False)

    @contextmanager
    def use(self, *, tf32: bool) -> Iterator[None]:
        """Compute the float32 products of the block with TF32, or without it."""
        with self._is_free:
            self._is_free.wait_for(lambda: not self._users or self._tf32 == tf32)
            if not self._users:
                self._before = (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)
                self._tf32 = tf32
                self._set("high" if tf32 else "highest", cudnn_tf32=tf32)
            self._users += 1
        try:
            yield
        finally:
            with self._is_free:
                self._users -= 1
                if not self._users:
                    matmul_precision, cudnn_tf32 = self._before
                    self._set(matmul_precision, cudnn_tf32=cudnn_tf32)
                    self._is_free.notify_all()

    @staticmethod
    def _set(matmul_precision: str, *, cudnn_tf32: bool) -> None:
        torch.set_float32_matmul_precision(matmul_precision)
        torch.backends.cudnn.allow_tf32 = cudnn_tf32


_FLOAT32_PRODUCTS = _Float32Products()


def _describe(name: str) -> DeviceFacts:
    kind, _, index = name.partition(":")
    if kind in ("cuda", "xpu"):
        facts = getattr(torch, kind).get_device_properties(int(index))
        version = f", CUDA {torch.version.cuda}" if kind == "cuda" and torch.version.cuda else ""
        return DeviceFacts(name, f"{facts.name}{version}", int(facts.total_memory))
    if kind == "mps":
        return DeviceFacts(name, "Apple GPU")
    float16 = "" if _cpu_computes_float16() else ", no float16"
    threads = torch.get_num_threads()
    return DeviceFacts(
        name, f"{threads} thread{'s' * (threads != 1)}, {torch.backends.cpu.get_cpu_capability()}{float16}"
    )


def _cpu_computes_float16() -> bool:
    # A private function of torch. Without it, torch emulates float16: slow, but correct.
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_fp16_supported", None)
    return True if supported is None else bool(supported())
