"""From an image to a depth map: preprocess → network → meters at the image's size."""

from __future__ import annotations

import os
import threading
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import torch

from glpn_cli._version import __version__
from glpn_cli.convert import SIZE_DIVISOR
from glpn_cli.depth import PINHOLE, DepthMap, Provenance
from glpn_cli.device import choose_runtime, memory_errors_named
from glpn_cli.errors import DeviceError, WeightsError
from glpn_cli.geometry.calibration import read_calibration
from glpn_cli.geometry.camera import choose_camera, relative_focal
from glpn_cli.image.exif import ExifFocal
from glpn_cli.image.memory import is_image_input
from glpn_cli.image.preprocessing import fitted_size, to_meters, to_pixel_values, usable_size, wanted_size
from glpn_cli.image.reading import read_image
from glpn_cli.inference.autotune import Stopwatch
from glpn_cli.inference.engine.engine import Engine
from glpn_cli.inference.engines import ChosenEngine, build_engine, settle_engine
from glpn_cli.inference.network import LoadedWeights, load_network
from glpn_cli.inference.tiles import TileGrid, merge_tiles
from glpn_cli.model.glpn import find_usable_sides
from glpn_cli.settings import FAR_LARGER_FACTOR, PredictionSettings
from glpn_cli.values import EngineName, InputSize, Precision, SizeMode, Tta

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from glpn_cli.depth import Camera
    from glpn_cli.device import Runtime
    from glpn_cli.errors import GLPNError
    from glpn_cli.image.decoding import LoadedImage
    from glpn_cli.image.reading import ImageInput
    from glpn_cli.values import EngineChoice
    from glpn_cli.weights.location import LocatedWeights

_DEFAULTS = PredictionSettings()
_GPU_TURN = threading.Lock()
"""Held while a GPU computes: nothing else may use it while torch records a graph, and a graph has a single output."""

_TILES_AT_ONCE = 4
_OTHER_SHAPE = 1.3  # two sizes whose aspect ratios differ by a larger factor have different shapes
"""On a GPU; a CPU takes one."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedImage:
    """The network's input for one image.

    Attributes:
        name: the image's name in messages, or None.
        size: (height, width) of the upright image.
        notes: what was done to the image.
        pixel_values: (1, 3, h, w) float32, in [0, 1], on the CPU.
        rgb: (H, W, 3) uint8, the upright image; None unless `keep_rgb`, tiles or sharp edges need it.
        grid: the tiles of the image; None if only the whole image is predicted.
        camera: what is known of the camera.
    """

    name: str | None
    size: tuple[int, int]
    notes: tuple[str, ...]
    pixel_values: Tensor
    rgb: NDArray[np.uint8] | None = None
    grid: TileGrid | None = None
    camera: Camera | None = None


class Predictor:
    """Predicts depth with one network on one device. `glpn_cli.load` makes one.

    Threads may share a predictor: depth has the same bits, on a CPU they compute at the same time, and on a GPU one
    after the other. Other processes may get one, for example those of a `ProcessPoolExecutor`: a pickled predictor is
    the path of its weights and its settings. It is loaded again where it arrives, once in a process.

    Attributes:
        card: the facts that turn the network's output into meters.
        config_sha256: of the configuration, if it is another one than in the weights file; else None.
        weights_chosen: False if "auto" fell back to these weights.
        runtime: device and precision.
        settings: how images become depth.
        calibration: the intrinsics in the file that the settings name, or None.
        usable_sides: the smallest side of the network's input, and the step to the next, pixels.
        parameters: number of the network's parameters.
        input_size: size of the network's input, with the default of the weights filled in.
        sharp_edges: whether to align the edges of depth with those of the image, with the default of the weights.
        engine: the network prepared for the device: (B, 3, h, w) in [0, 1] to (B, h, w) in network units.
        engine_choice: what computes which size of the network's input.
    """

    def __init__(
        self,
        weights: LoadedWeights,
        runtime: Runtime,
        settings: PredictionSettings = _DEFAULTS,
        *,
        consume: bool = False,
        detail: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Prepare a network for a device.

        Args:
            weights: the network.
            runtime: device and precision; those of the settings are not used here.
            settings: how images become depth.
            consume: free the network's own tensors. It is useless afterwards, and memory is saved.
            detail: is called with messages about what takes time.

        Raises:
            DeviceError: the engine does not run on the device.
            MissingPackageError: the engine is not installed.
        """
        self.card = weights.card
        self._located = weights.located
        self._weights_sha256 = weights.sha256
        self.config_sha256 = weights.config_sha256
        self.weights_chosen = weights.chosen
        self.usable_sides = find_usable_sides(weights.network.config)
        self.parameters = sum(parameter.numel() for parameter in weights.network.parameters())
        self.runtime = runtime
        self.settings = settings
        self.calibration = None if settings.camera is None else read_calibration(settings.camera)
        default = SizeMode.MODEL if weights.card.shrink else SizeMode.NATIVE
        self.input_size = settings.input_size or InputSize(default)
        self.sharp_edges = weights.card.sharp_edges if settings.sharp_edges is None else settings.sharp_edges
        self.engine_choice = settle_engine(settings.engine, runtime)
        with memory_errors_named(f"the weights {weights.card.name}"):
            self.engine: Callable[[Tensor], Tensor] = build_engine(
                weights, runtime, settings.engine, build_torch=Engine, consume=consume, detail=detail
            )

    @property
    def weights_sha256(self) -> str:
        """The SHA-256 of the weights file, hexadecimal."""
        return self._weights_sha256()

    @property
    def devices(self) -> list[str]:
        """The device, as a list: a run may also have several."""
        return [self.runtime.name]

    @property
    def cpu_passes(self) -> int:
        """How many images a CPU computes at once: OpenVINO has one for each thread, torch all threads for one."""
        is_openvino = self.engine_choice.name is EngineName.OPENVINO and self.runtime.openvino_device in {None, "CPU"}
        return torch.get_num_threads() if is_openvino else 1

    def use_engine(self, choice: EngineChoice) -> None:
        """Compute with the engine that a run has chosen, if the settings leave it to the run."""
        if isinstance(self.engine, ChosenEngine):
            self.engine.choice = self.engine_choice = choice

    def __repr__(self) -> str:
        """Return weights, device, precision, and the settings that differ from their defaults."""
        runtime = self.runtime
        shown: dict[str, Any] = {"weights": self.card.name}
        shown |= {"device": runtime.name, "precision": str(runtime.precision)}
        for item in fields(self.settings):
            value = getattr(self.settings, item.name)
            if item.name not in shown and value != item.default:
                shown[item.name] = value if isinstance(value, int | float) else str(value)
        return f"Predictor({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to load the predictor again, in this process or another one.

        Raises:
            TypeError: the network is not from a file.
        """
        if self._located is None:
            raise TypeError("cannot pickle a Predictor whose network is not from a weights file")
        runtime = (self.runtime.name, str(self.runtime.precision))
        return _load_again, (self._located, self.weights_sha256, self.config_sha256, self.settings, *runtime)

    @overload  # a file object is one image, although it can be iterated over
    def predict(  # type: ignore[overload-overlap]
        self, image: ImageInput, *, name: str | None = None, stopwatch: Stopwatch | None = None
    ) -> DepthMap: ...

    @overload
    def predict(
        self, image: list[Any] | tuple[Any, ...], *, return_exceptions: Literal[False] = False
    ) -> list[DepthMap]: ...

    @overload
    def predict(
        self, image: list[Any] | tuple[Any, ...], *, return_exceptions: Literal[True]
    ) -> list[DepthMap | GLPNError]: ...

    @overload
    def predict(
        self, image: Iterable[ImageInput], *, return_exceptions: Literal[False] = False
    ) -> Iterator[DepthMap]: ...

    @overload
    def predict(
        self, image: Iterable[ImageInput], *, return_exceptions: Literal[True]
    ) -> Iterator[DepthMap | GLPNError]: ...

    def predict(
        self,
        image: ImageInput | Iterable[ImageInput],
        *,
        name: str | None = None,
        stopwatch: Stopwatch | None = None,
        return_exceptions: bool = False,
    ) -> DepthMap | list[Any] | Iterator[Any]:
        """Predict the depth of an image, or of several.

        Args:
            image: a path; the bytes of a file; a binary file object, seekable or not; a PIL image of any mode; a torch
                tensor, (C, H, W) or (H, W); or an array, (H, W) or (H, W, C) with 1 to 4 channels: gray, gray and
                alpha, RGB, RGBA. Arrays are uint8, uint16 (0 to 65535), floats (0 to 1) or bool. Alpha is composited
                over white.
                Several images are a list or a tuple, which gives a list of depth maps, or any other iterable, such as
                a generator, which gives an iterator of depth maps in the same order. Images are then read ahead while
                others are computed; of an iterator about as many as there are cores, at most four.
            name: the image's name in messages and metadata, if it has no file name. For one image.
            stopwatch: collects the time of each stage. For one image.
            return_exceptions: return the `GLPNError` of an image that cannot be used, in place of its depth. Without
                it, the error is raised when its turn comes, and the images after it are not predicted. For several.

        Returns:
            Depth of the upright image at its own size, meters, in [0, depth limit].

        Raises:
            ImageError: the image cannot be used.
            DeviceError: out of memory, or the precision overflowed.
            TypeError: an argument is for one image and there are several, or the other way around.
        """
        if not is_image_input(image) and _is_several(image):
            if name is not None or stopwatch is not None:
                raise TypeError("`name` and `stopwatch` are for one image")
            from glpn_cli.inference.several import predict_several

            is_list = isinstance(image, list | tuple)
            images = cast("Iterable[ImageInput]", image)
            depths = predict_several(self, images, return_exceptions=return_exceptions, hold=not is_list)
            return list(depths) if is_list else depths
        if return_exceptions:
            raise TypeError("`return_exceptions` is for several images")
        stopwatch = stopwatch or Stopwatch()
        prepared = self.prepare(image, name=name, stopwatch=stopwatch)  # type: ignore[arg-type]  # one image, or refused
        with stopwatch.stage("network"):
            (predicted,) = self.run([prepared])
        return self.finish(prepared, predicted, stopwatch=stopwatch)

    # The three steps of `predict`

    def prepare(
        self, image: ImageInput, *, name: str | None = None, stopwatch: Stopwatch | None = None
    ) -> PreparedImage:
        """Read an image and make the network's input; may run in any thread."""
        stopwatch = stopwatch or Stopwatch()
        with stopwatch.stage("decode"):
            loaded = read_image(image, name=name, max_pixels=self.settings.max_pixels, stretch=self.settings.stretch)
        height, width = loaded.rgb.shape[:2]
        camera = self._camera_of(loaded, (height, width))
        grid = TileGrid.choose((height, width), self.settings.tiles, self._model_size(height, width))
        if grid is not None:
            grid = replace(grid, network_size=self._usable_size(grid.network_size))
        network_size = self._overview_size(height, width) if grid else self.network_size(height, width)
        with stopwatch.stage("preprocess"), memory_errors_named(loaded.name or "the image"):
            pixel_values = to_pixel_values(loaded.rgb, network_size)
        return PreparedImage(
            loaded.name,
            (height, width),
            (*loaded.notes, *(() if grid else self._notes_on_size(height, width))),
            pixel_values,
            rgb=loaded.rgb if self.settings.keep_rgb or self.sharp_edges or grid else None,
            grid=grid,
            camera=camera,
        )

    def _camera_of(self, image: LoadedImage, size: tuple[int, int]) -> Camera:
        """Return the camera of an image of a (height, width).

        Raises:
            ImageError: the camera file is for images of another shape.
        """
        if self.calibration is not None:
            return self.calibration.camera_of(size, image.name)
        focal = image.focal or ExifFocal()
        return choose_camera(
            self.settings.camera_settings,
            size,
            exif_mm_35=focal.mm_35,
            exif_focal_px=focal.px,
            panorama=image.panorama,
        )

    def run(self, images: Sequence[PreparedImage]) -> list[Tensor]:
        """Run the network on prepared images of one size.

        On a CPU each image is a pass of its own, which is faster there, and gets the same bits in every group.

        Returns:
            For each image (1, h, w) float32, network units, on the CPU. With `tta` (2, h, w): the second is the
            prediction of the mirrored image, mirrored back.
        """
        views = [image.pixel_values for image in images]
        predictions = self._run_views(images, views)
        if self.settings.tta is Tta.FLIP:
            mirrored = self._run_views(images, [view.flip(-1) for view in views])
            predictions = [torch.cat([one, two.flip(-1)]) for one, two in zip(predictions, mirrored, strict=True)]
        return predictions

    def finish(self, image: PreparedImage, predicted: Tensor, *, stopwatch: Stopwatch | None = None) -> DepthMap:
        """Return meters at the image's size; runs the network again if the image has tiles."""
        stopwatch = stopwatch or Stopwatch()
        label = image.name or "the image"
        self._refuse_overflow(predicted, label)
        mean = predicted.mean(dim=0, keepdim=True)
        if image.grid is not None and image.rgb is not None:
            with stopwatch.stage("tiles"):
                meters = self._meters_from_tiles(image, image.rgb, mean, image.grid)
        else:
            with stopwatch.stage("upsample"), memory_errors_named(label):
                meters = self._to_meters(mean, image, guide=image.rgb if self.sharp_edges else None)
        uncertainty_m = None
        if self.settings.tta is Tta.FLIP:
            with stopwatch.stage("upsample"), memory_errors_named(label):
                uncertainty_m = self._to_meters((predicted[:1] - predicted[1:]).abs() / 2, image)
        return DepthMap(
            meters,
            self._provenance(image),
            rgb=image.rgb if self.settings.keep_rgb else None,
            camera=image.camera,
            uncertainty_m=uncertainty_m,
        )

    # Sizes

    def network_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the (height, width) of the network's input for an image of a size; both are multiples of 32.

        NATIVE rounds down, as the documented processor does. MODEL keeps the image's shape, because the network was
        not trained on squeezed images. A network of an unusual architecture may need larger sides than these.
        """
        return self._usable_size(self._wanted_size(height, width))

    def _wanted_size(self, height: int, width: int) -> tuple[int, int]:
        return wanted_size((height, width), self.input_size, self.card.working_size)

    def _usable_size(self, size: tuple[int, int]) -> tuple[int, int]:
        return usable_size(size, self.usable_sides)

    def _overview_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of the network's input for a whole image whose details come from tiles."""
        native = self.input_size.mode is SizeMode.NATIVE
        return self._usable_size(self._model_size(height, width)) if native else self.network_size(height, width)

    def _model_size(self, height: int, width: int) -> tuple[int, int]:
        return fitted_size(height, width, self.card.working_size)

    def _notes_on_size(self, height: int, width: int) -> Iterator[str]:
        if min(height, width) < SIZE_DIVISOR:
            yield f"sides below {SIZE_DIVISOR} px were enlarged for the network"
        wanted, used = self._wanted_size(height, width), self.network_size(height, width)
        if wanted != used:
            yield f"the network sees {used[0]}x{used[1]}, as its architecture cannot take {wanted[0]}x{wanted[1]}"
        if self.input_size.mode is SizeMode.FIXED and _is_swapped(wanted, (height, width)):
            yield (
                f"`input_size='{wanted[0]}x{wanted[1]}'` is height x width and squeezes an image of {height}x{width}; "
                f"`input_size='{wanted[1]}x{wanted[0]}'` fits it"
            )
        working_height, working_width = self.card.working_size
        far_larger = height * width > FAR_LARGER_FACTOR * working_height * working_width
        if far_larger and self.input_size.mode is SizeMode.NATIVE:
            yield (
                f"{height}x{width} is far larger than the working size of these weights, "
                f"{working_height}x{working_width}; `input_size='model'` is faster and often better"
            )

    # Network

    def _run_views(self, images: Sequence[PreparedImage], views: Sequence[Tensor]) -> list[Tensor]:
        """Run the network on one view, (1, 3, h, w), of each image."""
        by_torch = self.engine_choice.for_size((views[0].shape[2], views[0].shape[3])) is EngineName.TORCH
        if len(images) == 1 or (self.runtime.device.type == "cpu" and (by_torch or self.cpu_passes == 1)):
            return [self._run_stacked([image], [view]) for image, view in zip(images, views, strict=True)]
        return list(torch.split(self._run_stacked(images, views), 1))

    def _run_stacked(self, images: Sequence[PreparedImage], views: Sequence[Tensor]) -> Tensor:
        """Run the network once: (B, 3, h, w) float32 in [0, 1] to (B, h, w) float32 on the CPU."""
        size = "x".join(str(side) for side in views[0].shape[2:])
        label = images[0].name or "the image" if len(images) == 1 else f"{len(images)} images"
        with memory_errors_named(f"{label} at {size}"):
            return self._compute(torch.cat(list(views)))

    def _compute(self, pixel_values: Tensor) -> Tensor:
        """Run the engine; its result, on the CPU."""
        is_cpu = self.runtime.device.type == "cpu"
        with nullcontext() if is_cpu else _GPU_TURN, self.runtime.products():
            return self.engine(pixel_values).cpu()

    def _meters_from_tiles(
        self, image: PreparedImage, rgb: NDArray[np.uint8], whole: Tensor, grid: TileGrid
    ) -> NDArray[np.float32]:
        """Return (H, W) float32, meters, in [0, depth limit], from the whole image's depth and that of its tiles."""
        label = image.name or "the image"
        at_once = 1 if self.runtime.device.type == "cpu" else _TILES_AT_ONCE

        def predict(parts: Sequence[NDArray[np.uint8]]) -> list[Tensor]:
            pixel_values = torch.cat([to_pixel_values(part, grid.network_size) for part in parts])
            predicted = self._compute(pixel_values)
            if self.settings.tta is Tta.FLIP:
                predicted = (predicted + self._compute(pixel_values.flip(-1)).flip(-1)) / 2
            self._refuse_overflow(predicted, label)
            return list(torch.split(predicted, 1))

        size = "x".join(str(side) for side in grid.network_size)
        with memory_errors_named(f"{label}, in tiles at {size}"):
            meters = merge_tiles(rgb, whole, grid, predict=predict, batch_size=at_once, sharp_edges=self.sharp_edges)
        meters *= self._meters_per_unit(image)  # in place, as images with tiles are large
        return meters.clip(0, self.card.depth_limit_m, out=meters)

    def _refuse_overflow(self, predicted: Tensor, label: str) -> None:
        if not bool(torch.isfinite(predicted).all()):
            is_widest = self.runtime.precision == Precision.FLOAT32
            raise DeviceError(
                f"{label}: the network overflowed in {self.runtime.precision}",
                hint="the weights are too large: use other weights" if is_widest else "use `precision='float32'`",
            )

    def _to_meters(
        self, predicted: Tensor, image: PreparedImage, guide: NDArray[np.uint8] | None = None
    ) -> NDArray[np.float32]:
        scale, limit_m = self._meters_per_unit(image), self.card.depth_limit_m
        return to_meters(predicted, image.size, meters_per_unit=scale, limit_m=limit_m, guide=guide)

    def _meters_per_unit(self, image: PreparedImage) -> float:
        """Return the factor from the network's output to meters, which may depend on the camera.

        An assumed camera does not count: without a known one, canonical depth is that of the usual camera.
        """
        camera = image.camera
        if not self.card.canonical_depth or camera is None or camera.is_assumed or camera.projection != PINHOLE:
            return self.card.meters_per_unit
        return self.card.meters_per_unit * relative_focal(camera, image.size)

    def _provenance(self, image: PreparedImage) -> Provenance:
        _, _, height, width = image.pixel_values.shape
        return Provenance(
            source=None if image.name is None else os.path.basename(image.name),
            weights=self.card.name,
            weights_sha256=self.weights_sha256,
            metric=self.card.metric,
            depth_limit_m=self.card.depth_limit_m,
            meters_per_unit=self.card.meters_per_unit,
            network_size=(height, width),
            tile_size=None if image.grid is None else image.grid.tile_size,
            device=self.runtime.name,
            precision=str(self.runtime.precision),
            engine=str(self.engine_choice.for_size((height, width))),
            tool=f"glpn-cli {__version__}",
            notes=image.notes,
            tta=None if self.settings.tta is Tta.NONE else str(self.settings.tta),
            sharp_edges=self.sharp_edges,
        )


@lru_cache(maxsize=1)  # a pool pickles its function for every task
def _load_again(
    located: LocatedWeights,
    sha256: str,
    config_sha256: str | None,
    settings: PredictionSettings,
    device: str,
    precision: str,
) -> Predictor:
    """Return the predictor that was pickled.

    Raises:
        WeightsError: the weights are no longer there, or are others.
        DeviceError: this process does not have the device.
    """
    weights = load_network(located)
    if (weights.sha256(), weights.config_sha256) != (sha256, config_sha256):
        raise WeightsError(
            f"{located.path}: has changed since the predictor was pickled", hint="load the weights again"
        )
    runtime = choose_runtime(device, Precision(precision), settings.threads)
    return Predictor(weights, runtime, settings, consume=True)


def _is_swapped(wanted: tuple[int, int], size: tuple[int, int]) -> bool:
    """Return whether a (height, width) has another shape than an image, and would fit it if the two were swapped."""
    shape, image_shape = wanted[1] / wanted[0], size[1] / size[0]
    squeezed, swapped = (max(one / image_shape, image_shape / one) for one in (shape, 1 / shape))
    return squeezed > _OTHER_SHAPE >= swapped


def _is_several(image: object) -> bool:
    """Return whether something that is not an image may contain images."""
    return hasattr(image, "__iter__") and not hasattr(image, "keys")
