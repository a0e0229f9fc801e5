"""From an image to a depth map: the product in one object."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from glpn_cli._version import __version__
from glpn_cli.depth import DepthMap, Provenance
from glpn_cli.device import choose_runtime, memory_errors_named
from glpn_cli.errors import DeviceError, UsageError
from glpn_cli.files import FileDigest
from glpn_cli.geometry.camera import choose_camera
from glpn_cli.image.exif import ExifFocal
from glpn_cli.image.processor import fitted_size, floored_size, to_meters, to_pixel_values
from glpn_cli.image.reading import read_image
from glpn_cli.inference.autotune import Stopwatch
from glpn_cli.inference.engine.engine import Engine
from glpn_cli.inference.tiles import TileGrid, merge_tiles
from glpn_cli.model.glpn import GLPNForDepthEstimation
from glpn_cli.settings import (
    FAR_LARGER_FACTOR,
    MAX_IMAGE_PIXELS,
    SIZE_DIVISOR,
    CameraSettings,
    InputSize,
    Precision,
    PredictorSettings,
    Tiles,
    Tta,
)
from glpn_cli.weights.catalog import WeightsCard
from glpn_cli.weights.checkpoint import read_checkpoint
from glpn_cli.weights.location import obtain_weights
from glpn_cli.weights.store import BEST_NAME, LAST_NAME, QUIET, Watcher, find_weights_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from os import PathLike

    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image
    from torch import Tensor

    from glpn_cli.depth import Camera
    from glpn_cli.device import Runtime


_NO_TILES = Tiles()
_TILES_AT_ONCE = 4
"""On a device that gains from company."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedImage:
    """An image as the network sees it.

    Attributes:
        name: what to call it, or None.
        size: (height, width) of the upright image.
        notes: what had to be done to it.
        pixel_values: (1, 3, h, w) float32 in [0, 1], on the CPU.
        rgb: (H, W, 3) uint8, the upright image; None unless the predictor keeps it or it is cut into tiles.
        grid: how it is cut into tiles; None where the image as a whole is all that the network sees.
        camera: what took it, as far as is known.
    """

    name: str | None
    size: tuple[int, int]
    notes: tuple[str, ...]
    pixel_values: Tensor
    rgb: NDArray[np.uint8] | None = None
    grid: TileGrid | None = None
    camera: Camera | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LoadedWeights:
    """A network with its weights and what is known of them.

    Attributes:
        network: float32, on the CPU, in evaluation mode; the weights may be mapped from their file.
        card: the facts that turn its output into meters.
        sha256: gives that of the weights file, which may still be computed.
        chosen: False when nobody asked for these weights and they are only the best of what is there.
    """

    network: GLPNForDepthEstimation
    card: WeightsCard
    sha256: Callable[[], str]
    chosen: bool = True


class Predictor:
    """Predicts depth with one network on one device.

    Attributes:
        card: the facts that turn the network's output into meters.
        weights_chosen: False when nobody asked for these weights and they are only the best of what is there.
        runtime: device and precision.
        input_size: what size the network sees an image in.
        tiles: whether large images are also seen in tiles.
        keep_rgb: whether depth maps hold the image too.
        max_pixels: images of more are refused.
        tta: what else the network is asked about each image.
        camera: what the user says of the camera; the rest is up to each image.
        engine: the network made ready for the device: (B, 3, h, w) in [0, 1] to (B, h, w) in the published scale.
    """

    def __init__(
        self,
        weights: LoadedWeights,
        runtime: Runtime,
        *,
        input_size: InputSize | None = None,
        tiles: Tiles = _NO_TILES,
        keep_rgb: bool = False,
        max_pixels: int = MAX_IMAGE_PIXELS,
        tta: Tta = Tta.NONE,
        camera: CameraSettings | None = None,
        consume: bool = False,
    ) -> None:
        """Make a network ready for a device.

        Args:
            weights: the network.
            runtime: device and precision.
            input_size: None leaves it to the weights.
            tiles: whether large images are also seen in tiles.
            keep_rgb: leave the image in the depth map.
            max_pixels: images of more are refused before they are decoded.
            tta: what else the network is asked about each image.
            camera: what is known of the camera; None leaves it to each image.
            consume: let go of the network's own tensors, which makes it useless for anything else and saves memory.
        """
        self.card = weights.card
        self._weights_sha256 = weights.sha256
        self.weights_chosen = weights.chosen
        self.runtime = runtime
        self.input_size = input_size or InputSize("model" if weights.card.shrink else "native")
        self.tiles = tiles
        self.keep_rgb = keep_rgb
        self.max_pixels = max_pixels
        self.tta = tta
        self.camera = camera or CameraSettings()
        with memory_errors_named(f"the weights {weights.card.name}"):
            self.engine: Callable[[Tensor], Tensor] = Engine(weights.network, runtime, consume=consume)

    @property
    def weights_sha256(self) -> str:
        """The SHA-256 of the weights file, in hexadecimal."""
        return self._weights_sha256()

    def predict(
        self,
        image: str | PathLike[str] | bytes | Image.Image | np.ndarray,
        *,
        name: str | None = None,
        stopwatch: Stopwatch | None = None,
    ) -> DepthMap:
        """Predict the depth of one image.

        Args:
            image: a path, the bytes of a file, a PIL image, or an (H, W, 3) uint8 array of RGB.
            name: what to call the image in messages and provenance, where it has no file name.
            stopwatch: collects the time of each stage.

        Returns:
            Depth of the upright image at its own size, within [0, depth limit].

        Raises:
            ImageError: the image cannot be used.
            DeviceError: memory ran out, or the precision overflowed.
        """
        stopwatch = stopwatch or Stopwatch()
        prepared = self.prepare(image, name=name, stopwatch=stopwatch)
        with stopwatch.stage("network"):
            (predicted,) = self.run([prepared])
        return self.finish(prepared, predicted, stopwatch=stopwatch)

    def prepare(
        self,
        image: str | PathLike[str] | bytes | Image.Image | np.ndarray,
        *,
        name: str | None = None,
        stopwatch: Stopwatch | None = None,
    ) -> PreparedImage:
        """Read an image and make it into what the network sees; the first third of `predict`, for any thread."""
        stopwatch = stopwatch or Stopwatch()
        with stopwatch.stage("decode"):
            upright = read_image(image, name=name, max_pixels=self.max_pixels)
        height, width = upright.rgb.shape[:2]
        grid = TileGrid.of((height, width), self.tiles, self._model_size(height, width))
        network_size = self._overview_size(height, width) if grid else self.network_size(height, width)
        with stopwatch.stage("preprocess"), memory_errors_named(upright.name or "the image"):
            pixel_values = to_pixel_values(upright.rgb, network_size)
        notes = (*upright.notes, *(() if grid else self._notes_on_size(height, width)))
        rgb = upright.rgb if self.keep_rgb or grid else None
        focal = upright.focal or ExifFocal()
        return PreparedImage(
            upright.name,
            (height, width),
            notes,
            pixel_values,
            rgb=rgb,
            grid=grid,
            camera=choose_camera(self.camera, (height, width), exif_mm_35=focal.mm_35, exif_focal_px=focal.px),
        )

    def run(self, images: Sequence[PreparedImage]) -> list[Tensor]:
        """Run the network on prepared images of one size; the second third of `predict`.

        On a CPU they go one by one, which is faster there and gives every image the same bits in any company.

        Returns:
            For each image (1, h, w) float32 in the published scale, on the CPU; with `tta` (2, h, w), of which the
            second is what the network said of the mirrored image, turned back.
        """
        views = [image.pixel_values for image in images]
        answers = self._run_views(images, views)
        if self.tta is Tta.FLIP:
            mirrored = self._run_views(images, [view.flip(-1) for view in views])
            answers = [torch.cat([answer, other.flip(-1)]) for answer, other in zip(answers, mirrored, strict=True)]
        return answers

    def finish(self, image: PreparedImage, predicted: Tensor, *, stopwatch: Stopwatch | None = None) -> DepthMap:
        """Turn what the network said into meters at the image's size; the last third of `predict`, for any thread."""
        stopwatch = stopwatch or Stopwatch()
        called = image.name or "the image"
        self._refuse_overflow(predicted, called)
        mean = predicted.mean(dim=0, keepdim=True)
        if image.grid is not None and image.rgb is not None:
            with stopwatch.stage("tiles"):
                meters = self._meters_from_tiles(image.rgb, mean, image.grid, called)
        else:
            with stopwatch.stage("upsample"), memory_errors_named(called):
                meters = self._to_meters(mean, image.size)
        uncertainty_m = None
        if self.tta is Tta.FLIP:
            with stopwatch.stage("upsample"), memory_errors_named(called):
                uncertainty_m = self._to_meters((predicted[:1] - predicted[1:]).abs() / 2, image.size)
        return DepthMap(
            meters,
            self._provenance(image),
            rgb=image.rgb if self.keep_rgb else None,
            camera=image.camera,
            uncertainty_m=uncertainty_m,
        )

    def _meters_from_tiles(
        self, rgb: NDArray[np.uint8], whole: Tensor, grid: TileGrid, called: str
    ) -> NDArray[np.float32]:
        """Give (H, W) float32, meters, in [0, depth limit], from the whole image's depth and what tiles add to it."""
        at_once = 1 if self.runtime.device.type == "cpu" else _TILES_AT_ONCE

        def predict(parts: Sequence[NDArray[np.uint8]]) -> list[Tensor]:
            seen = torch.cat([to_pixel_values(part, grid.seen_size) for part in parts])
            with self.runtime.products():
                predicted = self.engine(seen).cpu()
                if self.tta is Tta.FLIP:
                    predicted = (predicted + self.engine(seen.flip(-1)).cpu().flip(-1)) / 2
            self._refuse_overflow(predicted, called)
            return list(torch.split(predicted, 1))

        seen = "x".join(str(side) for side in grid.seen_size)
        with memory_errors_named(f"{called}, in tiles seen as {seen}"):
            meters = merge_tiles(rgb, whole, grid, predict=predict, at_once=at_once)
        meters *= self.card.meters_per_unit  # in place, as images with tiles are large
        return meters.clip(0, self.card.depth_limit_m, out=meters)

    def _refuse_overflow(self, predicted: Tensor, called: str) -> None:
        if not bool(torch.isfinite(predicted).all()):
            raise DeviceError(
                f"{called}: the network's numbers overflowed in {self.runtime.precision}",
                hint="use --precision float32",
            )

    def network_size(self, height: int, width: int) -> tuple[int, int]:
        """Give the (height, width) in which the network sees an image of a size; both are multiples of 32.

        "native" rounds down as the documented processor does. "model" keeps the image's shape and gives it about
        as many pixels as the working size has, because a squeezed image is one that the network never learnt.
        """
        if self.input_size.mode == "fixed":
            return self.input_size.height_px, self.input_size.width_px
        if self.input_size.mode == "native":
            return floored_size(height, width, SIZE_DIVISOR)
        return self._model_size(height, width)

    def _overview_size(self, height: int, width: int) -> tuple[int, int]:
        """Give the size in which the network sees a whole image whose details come from tiles."""
        native = self.input_size.mode == "native"
        return self._model_size(height, width) if native else self.network_size(height, width)

    def _model_size(self, height: int, width: int) -> tuple[int, int]:
        return fitted_size(height, width, self.card.working_size)

    def _run_views(self, images: Sequence[PreparedImage], views: Sequence[Tensor]) -> list[Tensor]:
        """Run the network on one view, (1, 3, h, w), of each image."""
        if self.runtime.device.type == "cpu" or len(images) == 1:
            return [self._run_stacked([image], [view]) for image, view in zip(images, views, strict=True)]
        return list(torch.split(self._run_stacked(images, views), 1))

    def _run_stacked(self, images: Sequence[PreparedImage], views: Sequence[Tensor]) -> Tensor:
        """Run the network once: (B, 3, h, w) float32 in [0, 1] to (B, h, w) float32 on the CPU."""
        seen = "x".join(str(side) for side in views[0].shape[2:])
        called = images[0].name or "the image" if len(images) == 1 else f"{len(images)} images"
        with memory_errors_named(f"{called}, seen as {seen}"), self.runtime.products():
            return self.engine(torch.cat(list(views))).cpu()

    def _to_meters(self, predicted: Tensor, size: tuple[int, int]) -> NDArray[np.float32]:
        return to_meters(predicted, size, meters_per_unit=self.card.meters_per_unit, limit_m=self.card.depth_limit_m)

    def _notes_on_size(self, height: int, width: int) -> Iterator[str]:
        if min(height, width) < SIZE_DIVISOR:
            yield f"sides under {SIZE_DIVISOR} px resized up for the network"
        working_height, working_width = self.card.working_size
        if height * width > FAR_LARGER_FACTOR * working_height * working_width and self.input_size.mode == "native":
            yield (
                f"{height}x{width} is far larger than the {working_height}x{working_width} these weights were made "
                "for; --input-size model is faster and often better"
            )

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
            device=str(self.runtime.device),
            precision=str(self.runtime.precision),
            tool=f"glpn-cli {__version__}",
            notes=image.notes,
            tta=None if self.tta is Tta.NONE else str(self.tta),
        )


def load(
    weights: str | PathLike[str] = "auto",
    device: str = "auto",
    precision: str = "float32",
    *,
    input_size: str | None = None,
    tiles: str = "off",
    threads: int | None = None,
    offline: bool = False,
    keep_rgb: bool = False,
    max_pixels: int = MAX_IMAGE_PIXELS,
    tta: str = "none",
    fov_deg: float | None = None,
    focal_px: float | None = None,
    focal_mm_35: float | None = None,
) -> Predictor:
    """Load a predictor: the short door to depth in meters.

    Args:
        weights: a name ("tiny", "nyu", "kitti", or an imported one), a weights file, a folder as transformers saves
            it, OWNER/REPO of the Hugging Face Hub, or "auto": the environment variable GLPN_WEIGHTS, else "nyu" if
            it is on this machine, else "tiny". What is named and not here is downloaded, once.
        device: "auto", "cpu", "cuda", "cuda:N", "mps" or "xpu".
        precision: what the network computes in: "float32", "bfloat16", "float16", or "tf32" on NVIDIA GPUs.
        input_size: "native" (the image's size, floored to multiples of 32), "model" (about as many pixels as the
            weights were made for), "HxW", or None: "model" for "tiny", else "native".
        tiles: "auto" also sees images that are far larger than the weights were made for in overlapping tiles,
            "HxW" all that are larger than such a tile; "off" none.
        threads: CPU threads of torch in this process; None leaves torch's own choice.
        offline: download nothing.
        keep_rgb: leave the image in the depth maps, for formats that show it.
        max_pixels: images of more are refused before they are decoded.
        tta: "flip" averages with the mirrored image and fills `DepthMap.uncertainty_m`; "none" does not.
        fov_deg: degrees that the camera sees horizontally. Without this and the next two each image's EXIF says it.
        focal_px: or its focal length in pixels of the upright image.
        focal_mm_35: or in 35 mm terms.

    Raises:
        UsageError: an argument is none of the above.
        WeightsError: the weights are absent or broken.
        DeviceError: the device or the precision is not there.
    """
    if precision not in list(Precision):
        # The same words as for the command line, before anything is loaded.
        choose_runtime(device, precision)
    if tta not in list(Tta):
        raise UsageError(f"there is no tta {tta!r}", hint=" or ".join(Tta))
    return build_predictor(
        PredictorSettings(
            weights=str(weights),
            device=device,
            precision=Precision(precision),
            input_size=None if input_size is None else InputSize.parse(input_size),
            tiles=Tiles.parse(tiles),
            threads=threads,
            offline=offline,
            keep_rgb=keep_rgb,
            max_pixels=max_pixels,
            tta=Tta(tta),
            camera=CameraSettings(fov_deg, focal_px, focal_mm_35),
        )
    )


def build_predictor(settings: PredictorSettings, *, watcher: Watcher = QUIET) -> Predictor:
    """Build a predictor from checked settings; see `load`.

    Args:
        settings: what to build.
        watcher: is told of a download.
    """
    runtime = choose_runtime(settings.device, settings.precision, settings.threads)
    weights = load_weights(settings.weights, offline=settings.offline, watcher=watcher)
    return Predictor(
        weights,
        runtime,
        input_size=settings.input_size,
        tiles=settings.tiles,
        keep_rgb=settings.keep_rgb,
        max_pixels=settings.max_pixels,
        tta=settings.tta,
        camera=settings.camera,
        consume=True,
    )


def load_weights(weights: str, *, offline: bool = False, watcher: Watcher = QUIET) -> LoadedWeights:
    """Load a network and what is known of its weights.

    Args:
        weights: as for `load`.
        offline: download nothing.
        watcher: is told of a download.

    Raises:
        WeightsError: the weights are absent or broken.
    """
    located = obtain_weights(weights, offline=offline, watcher=watcher)
    file = find_weights_file(located.path)
    sha256 = FileDigest(file).hexdigest
    checkpoint = read_checkpoint(file)
    if located.entry is not None and "depth_limit_m" not in checkpoint.metadata:
        card = located.entry.card
    else:
        name = located.name
        if located.path.name in (BEST_NAME, LAST_NAME) and "training" in checkpoint.metadata:
            name = checkpoint.metadata.get("name", name)  # all trainings call their folders so
        card = WeightsCard.from_metadata(checkpoint.metadata, name=name, max_depth=float(checkpoint.config.max_depth))
    network = GLPNForDepthEstimation.from_checkpoint(checkpoint)
    return LoadedWeights(network, card, sha256, located.chosen)
