"""The engine for OpenVINO: the same callable as `inference.engine.engine.Engine`, computed by OpenVINO.

A network is compiled for each input size when it is first used; OpenVINO computes open sizes at half the speed. What
was converted and compiled is stored, see `cache`.

On a CPU, one image takes all threads, and several images take one thread each: threads that do not wait for each other
at every operation are faster, above all on a busy machine.
"""

from __future__ import annotations

import tempfile
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from glpn_cli.device import memory_errors_named
from glpn_cli.inference.openvino.cache import MAX_COMPILED, MAX_NETWORKS, NetworkCache
from glpn_cli.inference.openvino.graph import convert, with_head
from glpn_cli.inference.openvino.runtime import check_device, compile_options, import_openvino
from glpn_cli.model.glpn import check_pixel_values

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from glpn_cli.device import Runtime
    from glpn_cli.model.glpn import GLPNForDepthEstimation

_FORM = 2
"""The form of the graph and of what is stored: count up when either changes."""

_LENGTH_BYTES = 8


class OpenvinoEngine:
    """A callable that predicts what a network predicts, up to rounding; threads may share it.

    Attributes:
        config: the network's configuration, as it was converted.
    """

    def __init__(
        self,
        network: GLPNForDepthEstimation,
        runtime: Runtime,
        *,
        weights_digest: Callable[[], str] | None = None,
        device: str = "CPU",
        note: Callable[[str], None] = lambda _: None,
        folder: Path | None = None,
    ) -> None:
        """Prepare OpenVINO; networks are compiled when they are first used.

        Args:
            network: float32, on the CPU; it must stay as it is.
            runtime: the precision; torch's number of CPU threads is used.
            weights_digest: returns what identifies the weights; None stores nothing.
            device: of OpenVINO.
            note: is called with a message about what takes time.
            folder: of stored networks; None uses the usual one.

        Raises:
            MissingPackageError: openvino is not installed.
            DeviceError: OpenVINO does not have the device, or not the precision on it.
        """
        self.config = network.config
        self._openvino = import_openvino()
        self._core = self._openvino.Core()
        check_device(self._core, device, runtime.precision)
        self._network, self._device, self._note = network, device, note
        self._precision = runtime.precision
        self._weights_digest = weights_digest
        self._threads = torch.get_num_threads()
        self._supported = set(self._core.get_property(device, "SUPPORTED_PROPERTIES"))
        self._networks = NetworkCache("network", MAX_NETWORKS, folder) if weights_digest else None
        self._compiled_cache = NetworkCache("compiled", MAX_COMPILED, folder) if weights_digest else None
        self._compiled: OrderedDict[tuple[int, int], _Compiled] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, pixel_values: Tensor) -> Tensor:
        """Predict depth.

        Args:
            pixel_values: (B, 3, H, W) floating point, RGB, 0 to 1, on the CPU; sides as the network accepts them.

        Returns:
            (B, H', W') float32 on the CPU, 0 to `max_depth` in the published scale; see `Engine`.

        Raises:
            ValueError: the network does not accept images of this shape or dtype.
        """
        check_pixel_values(pixel_values, self.config, halves=True)
        images = pixel_values.detach().float().cpu().contiguous().numpy()
        compiled = self._compiled_for((pixel_values.shape[2], pixel_values.shape[3]), len(images))
        # A request has one image, so that it gets the same bits whatever else is in the batch.
        return torch.from_numpy(np.concatenate(compiled([images[i : i + 1] for i in range(len(images))])))

    def _compiled_for(self, size: tuple[int, int], images: int) -> _Compiled:
        """Return the network compiled for a (height, width) and a number of images."""
        with self._lock:
            compiled = self._compiled.get(size)
            streams = self._threads if images > 1 and self._device == "CPU" else 1
            # The last image of a folder also takes a stream: compiling takes longer.
            if compiled is None or compiled.streams < streams:
                self._compiled.pop(size, None)
                while len(self._compiled) >= MAX_COMPILED:
                    self._compiled.popitem(last=False)
                compiled = self._compiled[size] = _Compiled(self._load_or_compile(size, streams), streams)
            self._compiled.move_to_end(size)
            return compiled

    def _load_or_compile(self, size: tuple[int, int], streams: int) -> Any:
        cache = self._compiled_cache
        wanted = compile_options(self._precision, self._threads, streams)
        # A GPU has no number of threads, for example.
        options = {name: value for name, value in wanted.items() if name in self._supported}
        if cache is None:
            return self._compile(convert(self._network), size, options)
        depends_on = (
            self._identity()
            | {
                "size": size,
                "device": self._core.get_property(self._device, "FULL_DEVICE_NAME"),
                "capabilities": sorted(self._core.get_property(self._device, "OPTIMIZATION_CAPABILITIES")),
            }
            | options
        )
        with cache.locked():
            stored = cache.load(**depends_on)
            if stored is not None:
                try:
                    return self._core.import_model(stored, self._device, options)
                except RuntimeError:  # of another build of openvino; compiled again below
                    del stored
            self._note(f"compiling the network for {size[0]}x{size[1]}; it is stored for later runs")
            compiled = self._compile(self._converted(), size, options)
            reason = cache.store(compiled.export_model().getvalue(), **depends_on)
            if reason is not None:
                self._note(f"the compiled network is not stored: {reason}")
            return compiled

    def _identity(self) -> dict[str, object]:
        """Return what a converted network depends on."""
        assert self._weights_digest is not None  # noqa: S101 - there is a cache
        return {"weights": self._weights_digest(), "form": _FORM, "openvino": self._openvino.__version__}

    def _converted(self) -> Any:
        """Return the converted network, from its file if there is one."""
        assert self._networks is not None  # noqa: S101 - there is a cache
        identity = self._identity()
        stored = self._networks.load(**identity)
        if stored is not None:
            length = int.from_bytes(stored[:_LENGTH_BYTES])
            graph, constants = stored[_LENGTH_BYTES : _LENGTH_BYTES + length], stored[_LENGTH_BYTES + length :]
            return self._core.read_model(graph, constants)
        model = convert(self._network)
        self._networks.store(self._serialize(model), **identity)
        return model

    def _serialize(self, model: Any) -> bytes:
        """Return a network as bytes: the length of the graph, the graph, and its constants."""
        with tempfile.TemporaryDirectory() as folder:
            graph, constants = Path(folder) / "network.xml", Path(folder) / "network.bin"
            self._openvino.serialize(model, graph, constants)
            text = graph.read_bytes()
            return len(text).to_bytes(_LENGTH_BYTES) + text + constants.read_bytes()

    def _compile(self, model: Any, size: tuple[int, int], options: dict[str, Any]) -> Any:
        model = with_head(model, self._network, size)
        with memory_errors_named(f"a network for {size[0]}x{size[1]}"):
            return self._core.compile_model(model, self._device, options)


class _Compiled:
    """A network compiled for one size; threads that run it take requests of their own."""

    def __init__(self, compiled: Any, streams: int) -> None:
        self.streams = streams
        self._compiled = compiled
        self._idle: list[Any] = []

    def __call__(self, images: Sequence[Any]) -> list[Any]:
        """Map images, each (1, channels, H, W) float32, to depth, each (1, H', W') float32; `streams` at once."""
        depths = []
        for together in (images[start : start + self.streams] for start in range(0, len(images), self.streams)):
            requests = [self._request() for _ in together]
            for request, image in zip(requests, together, strict=True):
                request.start_async([image], share_inputs=True)
            for request in requests:
                request.wait()
                depths.append(request.get_output_tensor(0).data.copy())  # the request's own memory is used again
                self._idle.append(request)
        return depths

    def _request(self) -> Any:
        try:
            return self._idle.pop()
        except IndexError:
            return self._compiled.create_infer_request()
