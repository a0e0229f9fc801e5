"""Which engine computes the network: torch or OpenVINO, for each size of its input.

OpenVINO is faster on a CPU, but it has to compile the network for each size, which a short run does not pay for. A run
decides once, from all of its images (`choose_engine`), so that every worker and a resumed run use the same engine for
the same image.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from glpn_cli.errors import DeviceError
from glpn_cli.values import EngineChoice, EngineName

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from glpn_cli.device import Runtime
    from glpn_cli.inference.network import LoadedWeights

    Engine = Callable[[Tensor], Tensor]


def settle_engine(choice: EngineChoice, runtime: Runtime) -> EngineChoice:
    """Return the engine for a device; AUTO that no run has decided is torch.

    Raises:
        DeviceError: the engine does not run on the device.
    """
    if runtime.openvino_device is not None:
        if choice.name is EngineName.TORCH:
            raise DeviceError(f"the engine torch does not run on {runtime.name}", hint="use another `device`")
        return EngineChoice(EngineName.OPENVINO)
    if choice.name is EngineName.OPENVINO and runtime.device.type != "cpu":
        raise DeviceError(
            f"the engine openvino does not run on {runtime.name}", hint="use `device='cpu'` or `engine='torch'`"
        )
    return EngineChoice(EngineName.TORCH) if choice.name is EngineName.AUTO else choice


def build_engine(
    weights: LoadedWeights,
    runtime: Runtime,
    choice: EngineChoice,
    *,
    build_torch: Callable[..., Engine],
    consume: bool,
    detail: Callable[[str], None],
) -> Engine:
    """Return the callable that computes the network.

    Args:
        weights: the network.
        runtime: device and precision.
        choice: settled.
        build_torch: builds the engine of torch.
        consume: free the network's own tensors as soon as they are not needed.
        detail: is called with messages about what takes time.

    Raises:
        MissingPackageError: openvino is not installed.
        DeviceError: OpenVINO does not have the device, or not the precision on it.
    """
    if choice.name is EngineName.TORCH:
        return build_torch(weights.network, runtime, consume=consume)
    from glpn_cli.inference.openvino.engine import OpenvinoEngine

    openvino = OpenvinoEngine(
        weights.network,
        runtime,
        weights_digest=lambda: f"{weights.sha256()} {weights.config_sha256}",
        device=runtime.openvino_device or "CPU",
        note=detail,
    )
    if not choice.sizes:
        return openvino
    return _EngineOfEachSize(choice, openvino, lambda: build_torch(weights.network, runtime, consume=False))


class _EngineOfEachSize:
    """OpenVINO for some sizes, and torch for the others, which is built when it is first used."""

    def __init__(self, choice: EngineChoice, openvino: Engine, build_torch: Callable[[], Engine]) -> None:
        self._choice, self._openvino, self._build_torch = choice, openvino, build_torch
        self._torch: Engine | None = None
        self._lock = threading.Lock()

    def __call__(self, pixel_values: Tensor) -> Tensor:
        """Predict depth; see `Engine`."""
        size = (pixel_values.shape[2], pixel_values.shape[3])
        if self._choice.for_size(size) is EngineName.OPENVINO:
            return self._openvino(pixel_values)
        with self._lock:
            if self._torch is None:
                self._torch = self._build_torch()
        return self._torch(pixel_values)
