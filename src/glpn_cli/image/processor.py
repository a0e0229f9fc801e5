"""`GLPNImageProcessor`, the class of transformers that prepares images of any kind for the network."""

from __future__ import annotations

import copy
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

from glpn_cli.convert import SIZE_DIVISOR, closest_hint
from glpn_cli.errors import ConfigError, MissingWeightsError, UsageError
from glpn_cli.files import make_folder, read_json, write_whole
from glpn_cli.image.batch_feature import BatchFeature, plain_value
from glpn_cli.image.conversion import FIRST, LAST, NONE, is_unit_range, to_8_bits, to_rgb_array, to_unit_range
from glpn_cli.image.preprocessing import divide_by_255, floored_size, resize_8_bits
from glpn_cli.image.upsampling import resize_bicubic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from numpy.typing import NDArray

CONFIG_NAME = "preprocessor_config.json"
"""The file beside the weights that stores the fields of a processor."""

_WHITE = 255
_LAYOUTS = (FIRST, LAST, NONE)

# How versions of transformers call this processor in their files.
_TYPE_NAMES = ("GLPNImageProcessor", "GLPNImageProcessorFast", "GLPNImageProcessorPil", "GLPNFeatureExtractor")
# Steps of other processors; a file may contain these fields if they are false.
_UNSUPPORTED_STEPS = ("do_normalize", "do_center_crop", "do_pad")
_FIELDS = ("do_resize", "size_divisor", "resample", "do_rescale")
_TYPE_FIELDS = ("image_processor_type", "feature_extractor_type")
_FACTOR_FIELD = "rescale_factor"


class GLPNImageProcessor:
    """Resizes images to multiples of 32 and scales them to [0, 1], as the processor of transformers does.

    For RGB images the result is the reference's bit for bit. Images that the reference refuses, or passes on in a
    form that the model fails on, are converted with a UserWarning: gray and palette images to RGB, alpha composited
    over white, 16 bits to 8, sides shorter than the divisor enlarged to it. As in the reference, the EXIF orientation
    is not applied; `read_image` does that.

    Attributes:
        do_resize: resize so that both sides are rounded down to multiples of `size_divisor`.
        size_divisor: pixels, positive.
        resample: a Pillow filter.
        do_rescale: scale from [0, 255] to [0, 1].

    Source: transformers v4.37.2, GLPNImageProcessor (documentation and behavior).
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
        """Store the fields; other keywords become attributes and are saved too, as in the reference.

        Raises:
            ConfigError: (a ValueError) a field has the wrong type or is out of range.
        """
        for name, value in kwargs.items():
            if hasattr(type(self), name):
                raise ConfigError(f"{name} is not a field of a processor")
            setattr(self, name, value)
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
        """Convert images to pixel values.

        Args:
            images: one image or several: PIL images, or NumPy arrays or torch tensors in [0, 255], each (H, W, C),
                (C, H, W) or (H, W); a list of them, or an array with a leading batch axis. If the values are in
                [0, 1], pass `do_rescale=False`; resizing then rounds them to multiples of 1/255.
            do_resize: overrides the field of the processor; None uses the field.
            size_divisor: overrides the field of the processor; None uses the field.
            resample: overrides the field of the processor; None uses the field.
            do_rescale: overrides the field of the processor; None uses the field.
            return_tensors: None for a list of NumPy arrays, or "np", "pt", "tf" or "jax" for one tensor.
            data_format: "channels_first" or "channels_last", of the result.
            input_data_format: "channels_first", "channels_last" or "none" (gray without a channel axis), of arrays;
                None infers it from the shape of each array.
            kwargs: ignored, as in the reference.

        Returns:
            `pixel_values`: for each image (3, H, W) or (H, W, 3), float32 in [0, 1]. With `do_rescale=False` uint8,
            or float32 if the input was floats in [0, 1].

        Raises:
            ValueError: no images, an invalid image, or an invalid argument.
            MissingPackageError: the library of `return_tensors` is not installed.
        """
        del kwargs
        do_resize = _checked_flag("do_resize", self.do_resize if do_resize is None else do_resize)
        do_rescale = _checked_flag("do_rescale", self.do_rescale if do_rescale is None else do_rescale)
        divisor = _checked_divisor(self.size_divisor if size_divisor is None else size_divisor)
        resample = _checked_filter(self.resample if resample is None else resample)
        layout = _checked_layout("data_format", data_format, (FIRST, LAST))
        input_layout = (
            None if input_data_format is None else _checked_layout("input_data_format", input_data_format, _LAYOUTS)
        )

        notes: dict[str, None] = {}  # an ordered set
        processed: list[NDArray[Any]] = []
        for image in _to_list(images, input_layout):
            values, image_notes = to_rgb_array(image, input_layout)
            notes |= dict.fromkeys(image_notes)
            if not processed and do_rescale and is_unit_range(values):
                notes["values are in [0, 1] and are divided by 255 anyway; pass do_rescale=False"] = None
            if do_resize:
                height, width = values.shape[:2]
                if min(height, width) < divisor:
                    notes[f"sides shorter than {divisor} pixels enlarged to {divisor}"] = None
                values = _resize(values, floored_size(height, width, divisor), resample)
            if do_rescale:
                values = _rescale(values)
            processed.append(np.array(values.transpose(2, 0, 1) if layout == FIRST else values, order="C"))
        for note in notes:
            warnings.warn(note, UserWarning, stacklevel=3)  # the caller of __call__
        return BatchFeature({"pixel_values": processed}, return_tensors)

    def post_process_depth_estimation(
        self, outputs: Any, target_sizes: Sequence[tuple[int, int] | None] | Tensor | None = None
    ) -> list[dict[str, Tensor]]:
        """Resize predictions to the sizes of their images with bicubic interpolation; values are not scaled or clamped.

        Args:
            outputs: has an attribute or a key `predicted_depth`, (B, h, w) of any float dtype.
            target_sizes: (height, width) per image in pixels, or None to leave that image unchanged; a list, or a
                (B, 2) tensor.

        Returns:
            For each image {"predicted_depth": (height, width) tensor}, with the dtype and device of the prediction.

        Raises:
            ValueError: the number of sizes differs from the number of predictions, or a size is invalid.

        Source: transformers v5, GLPNImageProcessor.
        """
        predicted: Tensor = outputs["predicted_depth"] if isinstance(outputs, Mapping) else outputs.predicted_depth
        if target_sizes is None:
            return [{"predicted_depth": depth} for depth in predicted]
        sizes = target_sizes.tolist() if isinstance(target_sizes, Tensor | np.ndarray) else list(target_sizes)
        if len(sizes) != len(predicted):
            raise ValueError(f"{len(sizes)} target sizes for {len(predicted)} predictions")
        return [
            {"predicted_depth": depth if size is None else resize_bicubic(depth[None], _checked_size(size))[0]}
            for depth, size in zip(predicted, sizes, strict=True)
        ]

    def resize(
        self,
        image: Any,
        size_divisor: int,
        resample: int = Resampling.BILINEAR,
        data_format: object = None,
        input_data_format: object = None,
        **kwargs: Any,
    ) -> NDArray[Any]:
        """Resize one image so that both sides are multiples of a divisor, rounded down.

        Args:
            image: as for `preprocess`.
            size_divisor: pixels, positive.
            resample: a Pillow filter.
            data_format: "channels_first" or "channels_last", of the result; None is that of the image.
            input_data_format: see `preprocess`.
            **kwargs: ignored.

        Returns:
            (H, W, 3) or (3, H, W), uint8 in [0, 255]; float32 in [0, 1] if the values of the image are.

        Raises:
            ValueError: an invalid image, or an invalid argument.
        """
        del kwargs
        divisor, filter_ = _checked_divisor(size_divisor), _checked_filter(resample)
        values, layout = _to_rgb(image, data_format, input_data_format)
        resized = _resize(values, floored_size(values.shape[0], values.shape[1], divisor), filter_)
        return np.array(resized.transpose(2, 0, 1) if layout == FIRST else resized, order="C")

    def rescale(
        self, image: Any, scale: float, data_format: object = None, input_data_format: object = None, **kwargs: Any
    ) -> NDArray[np.float32]:
        """Multiply the values of one image by a number.

        Args:
            image: as for `preprocess`.
            scale: the factor, such as 1/255.
            data_format: see `resize`.
            input_data_format: see `preprocess`.
            **kwargs: ignored.

        Returns:
            (H, W, 3) or (3, H, W) float32.

        Raises:
            ValueError: an invalid image, or an invalid argument.
        """
        del kwargs
        values, layout = _to_rgb(image, data_format, input_data_format)
        scaled = (values.astype(np.float64) * scale).astype(np.float32)
        return np.array(scaled.transpose(2, 0, 1) if layout == FIRST else scaled, order="C")

    @classmethod
    def get_image_processor_dict(
        cls, pretrained_model_name_or_path: str | PathLike[str], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the fields that `from_pretrained` reads, and the keywords that do not say where to find them.

        Raises:
            WeightsError, ConfigError: as for `from_pretrained`.
        """
        from glpn_cli.weights.pretrained import HubKeywords, read_processor_fields  # upward, as for from_pretrained

        hub, others = HubKeywords.split(kwargs)
        return read_processor_fields(pretrained_model_name_or_path, hub)[0], others

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | PathLike[str], **kwargs: Any) -> Self:
        """Read the fields of a processor from a file; without a file they are the defaults.

        Args:
            pretrained_model_name_or_path: a folder that may contain `preprocessor_config.json`, that file, a weights
                file in such a folder; or weights by name, as for `GLPNForDepthEstimation.from_pretrained`.
            **kwargs: fields to use instead of those in the file, and the keywords of `HubKeywords`. With
                `return_unused_kwargs=True` the result is a tuple, whose second value has the keywords that are neither.

        Raises:
            MissingWeightsError: (an OSError) the path does not exist, or the weights cannot be downloaded.
            ConfigError: the file is not the configuration of a GLPN processor.
            TypeError: a keyword is unknown.
        """
        from glpn_cli.weights.pretrained import HubKeywords, read_processor_fields  # upward, allowed here

        hub, others = HubKeywords.split(kwargs)
        values, label = read_processor_fields(pretrained_model_name_or_path, hub)
        try:
            return cls.from_dict(values, **others)
        except ConfigError as error:
            raise ConfigError(f"{label}: {error.message}", hint=error.hint) from error

    @classmethod
    def from_dict(
        cls, image_processor_dict: Mapping[str, Any], *, return_unused_kwargs: bool = False, **kwargs: Any
    ) -> Self:
        """Return a processor with fields from a mapping; fields of other steps must not change the result.

        Args:
            image_processor_dict: the fields; null is the default.
            return_unused_kwargs: return a tuple of the processor and the keywords that are not fields, instead of
                refusing those.
            **kwargs: fields to use instead of those of the mapping.

        Raises:
            ConfigError: the fields belong to another processor, request steps that GLPN does not have, or have the
                wrong type.
            TypeError: a keyword is not a field.
        """
        if not isinstance(image_processor_dict, Mapping):
            raise ConfigError(f"processor fields must be a mapping, not {type(image_processor_dict).__name__}")
        known = {*_FIELDS, *_TYPE_FIELDS, *_UNSUPPORTED_STEPS, _FACTOR_FIELD, *image_processor_dict}
        values = dict(image_processor_dict) | {name: value for name, value in kwargs.items() if name in known}
        for key in _TYPE_FIELDS:
            if values.get(key) is not None and values[key] not in _TYPE_NAMES:
                raise ConfigError(f"{key} must be GLPNImageProcessor, not {values[key]!r}")
        for key in _UNSUPPORTED_STEPS:
            if values.get(key):
                raise ConfigError(f"{key} is {values[key]!r}, but GLPN does not have this step")
        factor = values.get(_FACTOR_FIELD)
        if factor is not None and (not isinstance(factor, int | float) or abs(factor * _WHITE - 1) > 1e-6):
            raise ConfigError(f"rescale_factor must be 1/255, not {factor!r}")
        own = {name: value for name, value in values.items() if value is not None and name not in _TYPE_FIELDS}
        unused = {name: value for name, value in kwargs.items() if name not in known}
        if return_unused_kwargs:
            return cls(**own), unused  # type: ignore[return-value] # as in the reference
        for name in unused:
            hint = closest_hint(name, known)
            raise TypeError(f"unknown keyword or processor field {name!r}{f'; {hint}' if hint else ''}")
        return cls(**own)

    @classmethod
    def from_json_file(cls, json_file: str | PathLike[str]) -> Self:
        """Read a file as `to_json_file` writes it.

        Raises:
            MissingWeightsError: (an OSError) there is no such file.
            ConfigError: as for `from_dict`.
        """
        return cls.from_dict(read_json(json_file, ConfigError, missing=MissingWeightsError))

    def save_pretrained(
        self, save_directory: str | PathLike[str], push_to_hub: bool = False, **kwargs: Any
    ) -> list[str]:
        """Write the fields to the file that `from_pretrained` and transformers read; the folder is created if missing.

        Args:
            save_directory: the folder.
            push_to_hub: must be false; the Hub's own client uploads folders.
            **kwargs: have no effect; those of transformers are for the upload.

        Returns:
            The path of the file, in a list as in the reference.

        Raises:
            OutputError: the file system refuses.
        """
        del kwargs
        if push_to_hub:
            hint = "save to a folder, then upload it with huggingface_hub.upload_folder"
            raise UsageError("is not supported", setting="push_to_hub", hint=hint)
        file = Path(save_directory) / CONFIG_NAME
        make_folder(file.parent)
        self.to_json_file(file)
        return [str(file)]

    def to_json_file(self, json_file_path: str | PathLike[str]) -> None:
        """Write the fields to a file; an existing one is replaced.

        Raises:
            ConfigError: JSON cannot represent a field.
            OutputError: the file system refuses.
        """
        write_whole(Path(json_file_path), self.to_json_string().encode(), overwrite=True)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as they are saved, with the type name that every version of transformers accepts."""
        return copy.deepcopy(vars(self)) | {
            "image_processor_type": "GLPNImageProcessor",
            "resample": int(self.resample),
        }

    def to_json_string(self) -> str:
        """Return the contents of `preprocessor_config.json`.

        Raises:
            ConfigError: JSON cannot represent a field.
        """
        try:
            return json.dumps(self.to_dict(), indent=2, sort_keys=True, allow_nan=False) + "\n"
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"a field cannot be written to {CONFIG_NAME}: {error}") from error

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"


class GLPNFeatureExtractor(GLPNImageProcessor):
    """The deprecated name of `GLPNImageProcessor`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Warn about the name; the arguments are those of `GLPNImageProcessor`."""
        warnings.warn("GLPNFeatureExtractor is deprecated; use GLPNImageProcessor", FutureWarning, stacklevel=2)
        super().__init__(*args, **kwargs)


# Checks of arguments and fields


def _checked_flag(name: str, value: object) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise ConfigError(f"{name} must be True or False, not {value!r}")
    return bool(value)


def _checked_divisor(value: Any) -> int:
    divisor = _to_integer(value)
    if divisor is None or divisor < 1:
        raise ConfigError(f"size_divisor must be a positive integer, not {value!r}")
    return divisor


def _checked_filter(value: Any) -> Resampling:
    number = _to_integer(plain_value(value))
    if number not in set(Resampling):
        names = ", ".join(f"{item.value} ({item.name})" for item in Resampling)
        raise ConfigError(f"resample must be a Pillow filter, {names}, not {value!r}")
    return Resampling(number)


def _checked_layout(name: str, value: object, known: tuple[str, ...]) -> str:
    layout = plain_value(value)
    if layout not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")
    return str(layout)


def _checked_size(size: Any) -> tuple[int, int]:
    try:
        height, width = (operator.index(side) for side in size)
    except (TypeError, ValueError):
        height = width = 0
    if min(height, width) < 1:
        raise ValueError(f"a target size must be (height, width) in pixels, not {size!r}")
    return height, width


def _to_integer(value: Any) -> int | None:
    """Return an integer of any library as int, or None for anything else, booleans included."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return None


# Input images


def _to_list(images: Any, input_layout: str | None) -> list[Image.Image | NDArray[Any]]:
    """Split a list or batch into single images; arrays are (H, W), or have three axes in any order."""
    if isinstance(images, list | tuple):
        single_images = [_to_image(image) for image in images]
    else:
        image = _to_image(images)
        batch_ndim = 3 if input_layout == NONE else 4
        single_images = list(image) if isinstance(image, np.ndarray) and image.ndim == batch_ndim else [image]
    if not single_images:
        raise ValueError("no images")
    return single_images


def _to_rgb(image: Any, data_format: object, input_data_format: object) -> tuple[NDArray[Any], str]:
    """Return one image as (H, W, 3), and the layout of the result that is wanted, which may be that of the image."""
    layout = None if input_data_format is None else _checked_layout("input_data_format", input_data_format, _LAYOUTS)
    given = _to_image(image)
    values, _ = to_rgb_array(given, layout)
    if data_format is not None:
        return values, _checked_layout("data_format", data_format, (FIRST, LAST))
    is_first = not isinstance(given, Image.Image) and given.ndim == 3 and given.shape[1:] == values.shape[:2]
    return values, FIRST if layout == FIRST or (layout is None and is_first) else LAST


def _to_image(image: Any) -> Image.Image | NDArray[Any]:
    if isinstance(image, Image.Image):
        return image
    if isinstance(image, Tensor):
        tensor = image.detach().cpu()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    if not hasattr(image, "__array__"):
        advice = ": open files with PIL.Image first" if isinstance(image, str | bytes | Path) else ""
        raise ValueError(
            f"expected PIL images, arrays or tensors, or a list of them, not {type(image).__name__}{advice}"
        )
    return np.asarray(image)


# Arithmetic, bit for bit as in the reference


def _resize(values: NDArray[Any], size: tuple[int, int], resample: int) -> NDArray[Any]:
    """Resize (H, W, 3) as uint8; the result is float32 in [0, 1] if the values are fractions, else uint8."""
    eight_bits, is_unit = to_8_bits(values)
    resized = resize_8_bits(eight_bits, size, resample)
    return to_unit_range(resized) if is_unit else resized


def _rescale(values: NDArray[Any]) -> NDArray[np.float32]:
    return divide_by_255(values) if values.dtype == np.uint8 else to_unit_range(values)
