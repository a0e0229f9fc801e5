"""From images to what the network sees, and from what it gives back to meters for each pixel of the image."""

from __future__ import annotations

import json
import operator
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from PIL import Image
from PIL.Image import Resampling
from torch import Tensor
from torch.nn import functional

from glpn_cli.errors import ConfigError, OutputError
from glpn_cli.image.batch_feature import BatchFeature, plain_value
from glpn_cli.image.conversion import FIRST, LAST, NONE, is_unit_range, to_8_bits, to_rgb_array, to_unit_range
from glpn_cli.settings import SIZE_DIVISOR

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from numpy.typing import NDArray


CONFIG_NAME = "preprocessor_config.json"
"""The file beside the weights that holds a processor's fields."""

_CHANNELS_OF_RGB = 3
_WHITE = 255

# The names under which files of transformers, old and new, know this processor.
_TYPE_NAMES = ("GLPNImageProcessor", "GLPNImageProcessorFast", "GLPNImageProcessorPil", "GLPNFeatureExtractor")
# Fields of other processors that a file may hold as long as they ask for nothing.
_UNSUPPORTED_STEPS = ("do_normalize", "do_center_crop", "do_pad")


def floored_size(height: int, width: int, divisor: int = SIZE_DIVISOR) -> tuple[int, int]:
    """Round both sides down to multiples of the divisor, but to one divisor at least.

    Returns:
        (height, width), pixels.
    """
    return max(height // divisor, 1) * divisor, max(width // divisor, 1) * divisor


def fitted_size(height: int, width: int, working_size: tuple[int, int]) -> tuple[int, int]:
    """Give the size, in multiples of 32, that keeps an image's shape and has about as many pixels as a working size.

    An image squeezed into another shape is one that the network never learnt.
    """
    zoom = (working_size[0] * working_size[1] / (height * width)) ** 0.5
    fitted_height, fitted_width = (max(1, round(side * zoom / SIZE_DIVISOR)) * SIZE_DIVISOR for side in (height, width))
    return fitted_height, fitted_width


def to_pixel_values(rgb: NDArray[np.uint8], size: tuple[int, int], *, resample: int = Resampling.BILINEAR) -> Tensor:
    """Make an image into what the network sees: exactly the processor's numbers.

    Args:
        rgb: (H, W, 3) uint8, in [0, 255].
        size: (height, width) that the network shall see; the processor's is `floored_size(H, W)`.
        resample: one of Pillow's filters.

    Returns:
        (1, 3, height, width) float32, in [0, 1], on the CPU.
    """
    resized = _resize_8_bits(rgb, size, resample)
    pixel_values = np.empty((1, _CHANNELS_OF_RGB, *size), np.float32)
    _divide_by_255(resized.transpose(2, 0, 1), out=pixel_values[0])
    return torch.from_numpy(pixel_values)


def to_meters(
    predicted: Tensor, size: tuple[int, int], *, meters_per_unit: float, limit_m: float
) -> NDArray[np.float32]:
    """Make what the network gave into meters for each pixel of the image; the inverse of `to_pixel_values`.

    The order is the documented one: first bicubic to the size of the image, which may overshoot, then the scale,
    then the limits.

    Args:
        predicted: (1, h, w) of any float dtype, finite, in the scale of the published weights, on any device.
        size: (height, width) of the image.
        meters_per_unit: the factor from that scale to meters.
        limit_m: the largest depth that the weights can give, meters.

    Returns:
        (height, width) float32, meters, in [0, limit_m].
    """
    predicted = predicted.detach().to(torch.float32)
    meters = _interpolate(predicted, size)[0] * meters_per_unit
    return meters.clamp_(0, limit_m).cpu().numpy()


class GLPNImageProcessor:
    """Resize images to multiples of 32 and scale them to [0, 1], as the reference does.

    RGB images give the reference's numbers to the last bit. Other kinds, which it refuses or lets the model stumble
    over, are converted with a UserWarning: gray and palette to RGB, alpha over white, 16 bits to 8, and sides that
    are shorter than the divisor are enlarged to it. The EXIF orientation is not applied, as in the reference;
    `read_image` does that.

    Attributes:
        do_resize: round the sides down to multiples of `size_divisor` by resizing.
        size_divisor: pixels, positive.
        resample: one of Pillow's filters.
        do_rescale: divide by 255.

    Source: transformers v4.37.2, GLPNImageProcessor (its documentation and its behavior).
    """

    model_input_names = ("pixel_values",)

    def __init__(
        self,
        do_resize: bool = True,
        size_divisor: int = SIZE_DIVISOR,
        resample: int = Resampling.BILINEAR,
        do_rescale: bool = True,
        **kwargs: Any,
    ) -> None:
        """Keep the four choices; other keywords are ignored, as in the reference.

        Raises:
            ConfigError: (a ValueError) one of them is of the wrong type or out of range.
        """
        del kwargs
        self.do_resize = _checked_flag("do_resize", do_resize)
        self.size_divisor = _checked_divisor(size_divisor)
        self.resample = _checked_filter(resample)
        self.do_rescale = _checked_flag("do_rescale", do_rescale)

    def __call__(self, images: Any, **kwargs: Any) -> BatchFeature:
        """Preprocess one image or several; see `preprocess`."""
        return self.preprocess(images, **kwargs)

    def preprocess(
        self,
        images: Any,
        do_resize: bool | None = None,
        size_divisor: int | None = None,
        resample: int | None = None,
        do_rescale: bool | None = None,
        return_tensors: object = None,
        data_format: object = FIRST,
        input_data_format: object = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Make images into pixel values.

        Args:
            images: one image or several: PIL images, or NumPy arrays or torch tensors in [0, 255], each (H, W, C),
                (C, H, W) or (H, W); a list of them, or an array with one more dimension in front. If the values are
                in [0, 1] already, pass `do_rescale=False`; resizing then rounds them to 1/255.
            do_resize: instead of the processor's own; None keeps that, here and in the next three.
            size_divisor: likewise.
            resample: likewise.
            do_rescale: likewise.
            return_tensors: None for a list of NumPy arrays, or "np", "pt", "tf" or "jax" for one tensor.
            data_format: "channels_first" or "channels_last", of the result.
            input_data_format: "channels_first", "channels_last" or "none" (no channels: gray); by default it is
                found out from each array's shape. PIL images know it themselves.
            kwargs: ignored, as in the reference.

        Returns:
            `pixel_values`: for each image (3, H, W) or (H, W, 3), float32 in [0, 1]. With `do_rescale=False` uint8,
            or float32 for floats in [0, 1].

        Raises:
            ValueError: no images, or something about them or the choices that cannot be.
            MissingPackageError: the library of `return_tensors` is not installed.
        """
        del kwargs
        do_resize = _checked_flag("do_resize", self.do_resize if do_resize is None else do_resize)
        do_rescale = _checked_flag("do_rescale", self.do_rescale if do_rescale is None else do_rescale)
        divisor = _checked_divisor(self.size_divisor if size_divisor is None else size_divisor)
        resample = _checked_filter(self.resample if resample is None else resample)
        layout = _checked_layout("data_format", data_format, (FIRST, LAST))
        input_layout = (
            None
            if input_data_format is None
            else _checked_layout("input_data_format", input_data_format, (FIRST, LAST, NONE))
        )

        notes: dict[str, None] = {}  # a set that keeps its order
        processed: list[NDArray[Any]] = []
        for image in _to_list(images, input_layout):
            values, image_notes = to_rgb_array(image, input_layout)
            notes |= dict.fromkeys(image_notes)
            if not processed and do_rescale and is_unit_range(values):
                notes["the values are in [0, 1] already and are divided by 255 again; pass do_rescale=False"] = None
            if do_resize:
                height, width = values.shape[:2]
                if min(height, width) < divisor:
                    notes[f"sides shorter than {divisor} pixels enlarged to {divisor}"] = None
                values = _resize(values, floored_size(height, width, divisor), resample)
            if do_rescale:
                values = _rescale(values)
            processed.append(np.array(values.transpose(2, 0, 1) if layout == FIRST else values, order="C"))
        for note in notes:
            warnings.warn(note, UserWarning, stacklevel=3)  # as seen from __call__
        return BatchFeature({"pixel_values": processed}, return_tensors)

    def post_process_depth_estimation(
        self, outputs: Any, target_sizes: Sequence[tuple[int, int] | None] | Tensor | None = None
    ) -> list[dict[str, Tensor]]:
        """Bring predictions to the sizes of their images, bicubically; neither scaled nor limited.

        Args:
            outputs: with an attribute `predicted_depth`, (B, H', W').
            target_sizes: (height, width) for each image, or None to leave it; as a list, or a (B, 2) tensor.

        Returns:
            For each image {"predicted_depth": (height, width)}, of the dtype and device of the prediction.

        Raises:
            ValueError: the number of sizes is not that of the predictions, or a size is none.

        Source: transformers v5, GLPNImageProcessor.
        """
        predicted: Tensor = outputs.predicted_depth
        if target_sizes is None:
            return [{"predicted_depth": depth} for depth in predicted]
        sizes = target_sizes.tolist() if isinstance(target_sizes, Tensor | np.ndarray) else list(target_sizes)
        if len(sizes) != len(predicted):
            raise ValueError(f"{len(sizes)} target sizes for {len(predicted)} predictions")
        return [
            {"predicted_depth": depth if size is None else _interpolate(depth[None], _checked_size(size))[0]}
            for depth, size in zip(predicted, sizes, strict=True)
        ]

    @classmethod
    def from_pretrained(cls, path: str | PathLike[str], **overrides: Any) -> Self:
        """Read a processor's fields from a file; a model without such a file has the defaults.

        Args:
            path: a folder that may hold `preprocessor_config.json`, that file, or a weights file in such a folder.
            overrides: fields that win over the file's.

        Raises:
            ConfigError: there is no such path, or the file is not a GLPN processor's.
        """
        given = Path(path)
        if not given.exists():
            raise ConfigError(f"{given}: no such file or folder")
        file = (
            given / CONFIG_NAME if given.is_dir() else given if given.suffix == ".json" else given.parent / CONFIG_NAME
        )
        if not file.exists():
            return cls.from_dict({}, **overrides)
        try:
            values = json.loads(file.read_text("utf-8"))
        except OSError as error:
            raise ConfigError(f"{file}: cannot be read: {error.strerror or error}") from error
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{file}: not JSON: {error}") from error
        try:
            return cls.from_dict(values, **overrides)
        except ConfigError as error:
            raise ConfigError(f"{file}: {error.message}", hint=error.hint) from error

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], **overrides: Any) -> Self:
        """Build from fields by name; those of other processors are ignored unless they ask for another result.

        Raises:
            ConfigError: the fields are of another processor, ask for steps that GLPN has not, or are of a wrong type.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(f"a processor's fields are a JSON object, not {type(values).__name__}")
        for key in ("image_processor_type", "feature_extractor_type"):
            if values.get(key) is not None and values[key] not in _TYPE_NAMES:
                raise ConfigError(f"{key} is {values[key]!r}, not GLPNImageProcessor")
        for key in _UNSUPPORTED_STEPS:
            if values.get(key):
                raise ConfigError(f"{key} is {values[key]!r}, but GLPN has no such step")
        factor = values.get("rescale_factor")
        if factor is not None and (not isinstance(factor, int | float) or abs(factor * _WHITE - 1) > 1e-6):
            raise ConfigError(f"rescale_factor is {factor!r}, but GLPN's is 1/255")
        fields = ("do_resize", "size_divisor", "resample", "do_rescale")
        given = {name: values[name] for name in fields if values.get(name) is not None}
        return cls(**given | overrides)

    def save_pretrained(self, folder: str | PathLike[str]) -> list[str]:
        """Write the fields where `from_pretrained` and transformers find them.

        Returns:
            The path of the file, in a list as in the reference.

        Raises:
            OutputError: it cannot be written.
        """
        file = Path(folder) / CONFIG_NAME
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self.to_json_string(), "utf-8")
        except OSError as error:
            raise OutputError(f"{file}: cannot be written: {error.strerror or error}") from error
        return [str(file)]

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as they are saved; the type is the one that every version of transformers knows."""
        return {
            "do_rescale": self.do_rescale,
            "do_resize": self.do_resize,
            "image_processor_type": "GLPNImageProcessor",
            "resample": int(self.resample),
            "size_divisor": self.size_divisor,
        }

    def to_json_string(self) -> str:
        """Give the fields as the text of their file."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"


class GLPNFeatureExtractor(GLPNImageProcessor):
    """The old name of `GLPNImageProcessor`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Warn, then be a `GLPNImageProcessor`."""
        warnings.warn("GLPNFeatureExtractor is deprecated; use GLPNImageProcessor", FutureWarning, stacklevel=2)
        super().__init__(*args, **kwargs)


def _interpolate(depth: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (B, h, w) to (B, height, width)."""
    return functional.interpolate(depth[:, None], size=size, mode="bicubic", align_corners=False)[:, 0]


# What was asked for


def _checked_flag(name: str, value: object) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise ConfigError(f"{name} is True or False, not {value!r}")
    return bool(value)


def _checked_divisor(value: Any) -> int:
    divisor = _to_integer(value)
    if divisor is None or divisor < 1:
        raise ConfigError(f"size_divisor is a positive integer, not {value!r}")
    return divisor


def _checked_filter(value: Any) -> Resampling:
    number = _to_integer(plain_value(value))
    if number not in set(Resampling):
        names = ", ".join(f"{item.value} ({item.name})" for item in Resampling)
        raise ConfigError(f"resample is one of Pillow's filters, {names}, not {value!r}")
    return Resampling(number)


def _checked_layout(name: str, value: object, known: tuple[str, ...]) -> str:
    layout = plain_value(value)
    if layout not in known:
        raise ValueError(f"{name} is one of {', '.join(known)}, not {value!r}")
    return str(layout)


def _checked_size(size: Any) -> tuple[int, int]:
    try:
        height, width = (operator.index(side) for side in size)
    except (TypeError, ValueError):
        height = width = 0
    if min(height, width) < 1:
        raise ValueError(f"a target size is (height, width) in pixels, not {size!r}")
    return height, width


def _to_integer(value: Any) -> int | None:
    """Give an integer of any library as int, else None; True and False are none."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


# What was given


def _to_list(images: Any, input_layout: str | None) -> list[Image.Image | NDArray[Any]]:
    """Split what was given into single images; arrays are (H, W), or have three dimensions in any order."""
    if isinstance(images, list | tuple):
        given_images = [_to_image(image) for image in images]
    else:
        given = _to_image(images)
        axes_of_batch = 3 if input_layout == NONE else 4
        given_images = list(given) if isinstance(given, np.ndarray) and given.ndim == axes_of_batch else [given]
    if not given_images:
        raise ValueError("no images were given")
    return given_images


def _to_image(image: Any) -> Image.Image | NDArray[Any]:
    if isinstance(image, Image.Image):
        return image
    if isinstance(image, Tensor):
        tensor = image.detach().cpu()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    if not hasattr(image, "__array__"):
        given = (
            f"{type(image).__name__}: read files first"
            if isinstance(image, str | bytes | Path)
            else type(image).__name__
        )
        raise ValueError(f"an image is a PIL image, an array or a tensor, or a list of them, not {given}")
    return np.asarray(image)


# The arithmetic of the reference, kept to the last bit


def _resize(values: NDArray[Any], size: tuple[int, int], resample: int) -> NDArray[Any]:
    """Resize (H, W, 3) by way of 8 bits; floats in [0, 1] come back as float32 in [0, 1]."""
    eight_bits, is_unit = to_8_bits(values)
    resized = _resize_8_bits(eight_bits, size, resample)
    return to_unit_range(resized) if is_unit else resized


def _resize_8_bits(rgb: NDArray[np.uint8], size: tuple[int, int], resample: int) -> NDArray[np.uint8]:
    if rgb.shape[:2] == size:  # every filter of Pillow leaves such an image as it is
        return rgb
    height, width = size
    image = Image.fromarray(np.ascontiguousarray(rgb))
    return np.asarray(image.resize((width, height), Resampling(resample)))


def _rescale(values: NDArray[Any]) -> NDArray[np.float32]:
    return _divide_by_255(values) if values.dtype == np.uint8 else to_unit_range(values)


def _divide_by_255(values: NDArray[np.uint8], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Do the same for uint8, three times as fast: for all 256 values the rounded quotient is that product."""
    quotient: NDArray[np.float32] = np.divide(values, np.float32(_WHITE), out=out, dtype=np.float32)
    return quotient
