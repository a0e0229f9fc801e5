"""The package openvino: optional, and imported so that it does not report its use over the network."""

from __future__ import annotations

import importlib.util
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from glpn_cli.errors import DeviceError, MissingPackageError
from glpn_cli.values import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator

_TELEMETRY = "openvino_telemetry"
"""The package that openvino installs beside itself, and that sends data from `import openvino` on."""

_GUARD = threading.Lock()

_KINDS = {Precision.FLOAT32: "f32", Precision.BFLOAT16: "bf16", Precision.FLOAT16: "f16"}


def is_installed() -> bool:
    """Return whether openvino can be found; it is not imported."""
    return importlib.util.find_spec("openvino") is not None


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Make every import of openvino's telemetry in the block fail; openvino then uses a stub that does nothing.

    Afterwards the package can be imported as before: a program that uses glpn_cli may want it.
    """
    missing = object()
    with _GUARD:
        before: Any = sys.modules.get(_TELEMETRY, missing)
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # how Python marks what must not be imported
        try:
            yield
        finally:
            del sys.modules[_TELEMETRY]
            if before is not missing:
                sys.modules[_TELEMETRY] = before


def import_openvino() -> Any:
    """Return the module openvino, imported without its telemetry.

    Raises:
        MissingPackageError: it is not installed, or cannot be loaded.
    """
    try:
        with without_telemetry():
            import openvino
    except ImportError as error:
        raise MissingPackageError(
            "the engine openvino needs the package openvino", hint="pip install openvino"
        ) from error
    return openvino


def describe() -> str:
    """Return the version of openvino, its devices, and the half precisions that its CPU device computes in.

    Raises:
        MissingPackageError: it is not installed, or cannot be loaded.
    """
    openvino = import_openvino()
    core = openvino.Core()
    halves = {"BF16", "FP16"} & set(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    version = openvino.__version__.split("-")[0]
    return f"openvino {version} ({', '.join([*core.available_devices, *sorted(halves)])})"


def check_device(core: Any, device: str, precision: Precision) -> None:
    """Check that OpenVINO has a device, and that it may run a precision.

    Args:
        core: of openvino.
        device: "CPU", "GPU", "GPU.1", "NPU", ...
        precision: of the network.

    Raises:
        DeviceError: it does not.
    """
    available = core.available_devices
    if device not in available and device.partition(".")[0] not in available:
        raise DeviceError(
            f"OpenVINO has no device {device!r}", hint=f"available: {', '.join(available)}; is its driver installed?"
        )
    if precision not in _KINDS:
        raise DeviceError(f"OpenVINO does not support {precision}", hint="use `precision='float32'`")
    # float32 needs no support of its own, and every device rounds to what it has if a hint asks for less.
    if device == "CPU" and precision is not Precision.FLOAT32:
        capabilities = core.get_property(device, "OPTIMIZATION_CAPABILITIES")
        if {"bf16": "BF16", "f16": "FP16"}[_KINDS[precision]] not in capabilities:
            raise DeviceError(
                f"OpenVINO does not compute in {precision} on this CPU",
                hint="use `engine='torch'` or `precision='float32'`",
            )


def compile_options(precision: Precision, threads: int, streams: int = 1) -> dict[str, Any]:
    """Return the options with which a network is compiled.

    Args:
        precision: of the network.
        threads: CPU threads of all passes together.
        streams: passes at the same time, which share the threads.
    """
    options = {"INFERENCE_PRECISION_HINT": _KINDS[precision], "INFERENCE_NUM_THREADS": threads}
    return options | ({"PERFORMANCE_HINT": "LATENCY"} if streams == 1 else {"NUM_STREAMS": streams})
