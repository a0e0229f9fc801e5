from __future__ import annotations

import enum
import json
import re
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.Image import Resampling
from torch import Tensor
from torch.nn import functional

from glpn_cli.errors import ConfigError, ImageError, MissingWeightsError, OutputError, UsageError
from glpn_cli.image.preprocessing import fitted_size, floored_size, to_meters, to_pixel_values
from glpn_cli.image.processor import CONFIG_NAME, GLPNFeatureExtractor, GLPNImageProcessor
from glpn_cli.image.upsampling import LocalRange

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Encode = Callable[..., bytes]

PUBLISHED = {
    "do_rescale": True,
    "do_resize": True,
    "feature_extractor_type": "GLPNFeatureExtractor",
    "resample": 2,
    "size_divisor": 32,
}


class ChannelDimension(enum.Enum):
    FIRST = "channels_first"
    LAST = "channels_last"


@pytest.fixture(scope="module")
def reference() -> Any:
    """The processor of transformers that uses Pillow."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.models.glpn.image_processing_pil_glpn import GLPNImageProcessorPil

        return GLPNImageProcessorPil()


@pytest.fixture
def processor() -> GLPNImageProcessor:
    return GLPNImageProcessor()


def assert_same_bits(ours: Any, theirs: Any) -> None:
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    assert ours.tobytes() == theirs.tobytes()


# Equality with the reference


def inputs_from(photo: NDArray[np.uint8]) -> dict[str, Any]:
    chw = np.ascontiguousarray(photo.transpose(2, 0, 1))
    return {
        "PIL": Image.fromarray(photo),
        "HWC": photo,
        "CHW": chw,
        "NHWC": np.stack([photo, photo[::-1]]),
        "NCHW": np.stack([chw, chw[:, ::-1]]),
        "tensor": torch.from_numpy(chw),
        "tensor HWC": torch.from_numpy(photo.copy()),
        "batch tensor": torch.from_numpy(np.stack([chw, chw])),
        "list of PIL": [Image.fromarray(photo), Image.fromarray(photo[:, ::-1])],
        "list of arrays": [photo, photo[:, ::-1]],
        "list of tensors": [torch.from_numpy(chw), torch.from_numpy(chw)],
        "list of sizes that floor alike": [photo, photo[:96, :128]],
        "int64": photo.astype(np.int64),
        "int32": photo.astype(np.int32),
        "uint16 up to 255": photo.astype(np.uint16),
        "whole floats": photo.astype(np.float32),
        "nearly whole doubles": np.minimum(photo, 254) + 1e-9,
        "black and white": (photo > 100),
    }


@pytest.mark.parametrize("kind", inputs_from(np.zeros((97, 131, 3), np.uint8)))
@pytest.mark.parametrize("return_tensors", ["pt", "np"])
@pytest.mark.filterwarnings("ignore:values are in")
def test_rgb_input_matches_the_reference_bit_for_bit(
    kind: str, return_tensors: str, photo: NDArray[np.uint8], processor: GLPNImageProcessor, reference: Any
) -> None:
    image = inputs_from(photo)[kind]
    ours = processor(images=image, return_tensors=return_tensors).pixel_values
    theirs = reference(images=image, return_tensors=return_tensors).pixel_values
    assert type(ours) is type(theirs)
    assert_same_bits(ours, theirs)
    assert ours.shape[1:] == (3, 96, 128)


@pytest.mark.parametrize(
    "options",
    [
        {"size_divisor": 16},
        {"size_divisor": 64},
        {"size_divisor": 1},
        {"do_resize": False},
        {"do_rescale": False},
        {"do_resize": False, "do_rescale": False},
        *({"resample": resample} for resample in Resampling),
        {"resample": 3, "size_divisor": 64},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["uint8", "fractions", "double fractions"])
@pytest.mark.filterwarnings("ignore:values are in")
def test_options_match_the_reference_bit_for_bit(
    options: dict[str, Any], kind: str, photo: NDArray[np.uint8], processor: GLPNImageProcessor, reference: Any
) -> None:
    image = {"uint8": photo, "fractions": (photo / 255).astype(np.float32), "double fractions": photo / 256}[kind]
    ours = processor.preprocess(image, return_tensors="np", **options).pixel_values
    theirs = reference(image, return_tensors="np", **options).pixel_values
    assert_same_bits(ours, theirs)
    constructed = GLPNImageProcessor(**options)(image, return_tensors="np").pixel_values
    assert_same_bits(constructed, theirs)


@pytest.mark.parametrize("size", [(32, 32), (33, 63), (64, 31 + 64), (480, 640), (427, 640), (375, 1242)])
def test_sizes_match_the_reference_bit_for_bit(
    size: tuple[int, int], processor: GLPNImageProcessor, reference: Any
) -> None:
    image = np.random.default_rng(sum(size)).integers(0, 256, (*size, 3), dtype=np.uint8)
    ours = processor(image, return_tensors="np").pixel_values
    assert_same_bits(ours, reference(image, return_tensors="np").pixel_values)
    assert ours.shape == (1, 3, size[0] // 32 * 32, size[1] // 32 * 32)


def test_rescaling_multiplies_in_double_precision(processor: GLPNImageProcessor) -> None:
    values = np.arange(256, dtype=np.uint8).repeat(12).reshape(32, 32, 3)
    expected = (values.astype(np.float64) * (1 / 255)).astype(np.float32)
    assert_same_bits(processor(values, data_format="channels_last").pixel_values[0], expected)


def test_post_processing_matches_the_reference_bit_for_bit(processor: GLPNImageProcessor, reference: Any) -> None:
    outputs = SimpleNamespace(predicted_depth=torch.rand(3, 64, 96) * 10)
    for sizes in (None, [(70, 101), None, (64, 96)], [(240, 320)] * 3):
        ours = processor.post_process_depth_estimation(outputs, sizes)
        theirs = reference.post_process_depth_estimation(outputs, sizes)
        assert [list(item) for item in ours] == [["predicted_depth"]] * 3
        for mine, other in zip(ours, theirs, strict=True):
            assert_same_bits(mine["predicted_depth"], other["predicted_depth"])


# Results


def test_default_result_is_a_list_of_float_arrays(photo: NDArray[np.uint8], processor: GLPNImageProcessor) -> None:
    values = processor([photo, photo[:64]]).pixel_values
    assert [value.shape for value in values] == [(3, 96, 128), (3, 64, 128)]
    assert all(isinstance(value, np.ndarray) and value.dtype == np.float32 for value in values)
    assert all(0 <= value.min() < value.max() <= 1 for value in values)


@pytest.mark.parametrize("layout", ["channels_last", ChannelDimension.LAST])
def test_result_with_channels_last(layout: object, photo: NDArray[np.uint8], processor: GLPNImageProcessor) -> None:
    last = processor(photo, data_format=layout, return_tensors="np").pixel_values
    assert last.shape == (1, 96, 128, 3)
    assert np.array_equal(last.transpose(0, 3, 1, 2), processor(photo, return_tensors="np").pixel_values)


@pytest.mark.parametrize("layout", [None, "none", "HWC", 7])
def test_unknown_data_format_is_refused(
    layout: object, photo: NDArray[np.uint8], processor: GLPNImageProcessor
) -> None:
    with pytest.raises(ValueError, match=r"^data_format .*channels_first, channels_last"):
        processor(photo, data_format=layout)


@pytest.mark.parametrize("layout", ["channels_first", ChannelDimension.FIRST])
def test_input_layout_can_be_set(layout: object, photo: NDArray[np.uint8], processor: GLPNImageProcessor) -> None:
    narrow = photo[:, :96].transpose(2, 0, 1)
    explicit = processor(narrow, input_data_format=layout, return_tensors="np").pixel_values
    assert np.array_equal(explicit, processor(narrow, return_tensors="np").pixel_values)


def test_input_layout_must_fit_the_shape(photo: NDArray[np.uint8], processor: GLPNImageProcessor) -> None:
    with pytest.raises(ValueError, match=r"input_data_format='channels_first'.* 97 channels"):
        processor(photo, input_data_format="channels_first")
    with pytest.raises(ValueError, match=r"^input_data_format .*'CHW'"):
        processor(photo, input_data_format="CHW")


def test_result_does_not_share_memory_with_the_input(photo: NDArray[np.uint8], processor: GLPNImageProcessor) -> None:
    given = photo[:96, :128].copy()
    values = processor(given, do_rescale=False, data_format="channels_last").pixel_values[0]
    assert np.array_equal(values, given)
    assert not np.shares_memory(values, given)
    assert values.flags.writeable


def test_images_of_different_sizes_cannot_be_stacked(photo: NDArray[np.uint8], processor: GLPNImageProcessor) -> None:
    with pytest.raises(ValueError, match=r"^pixel_values .*return_tensors=None"):
        processor([photo, photo[:64]], return_tensors="pt")


def test_unknown_keywords_are_ignored(photo: NDArray[np.uint8], processor: GLPNImageProcessor) -> None:
    ours = GLPNImageProcessor(do_normalize=False, foo=1)(photo, do_normalize=False, foo=1).pixel_values[0]
    assert np.array_equal(ours, processor(photo).pixel_values[0])


def test_none_uses_the_fields_of_the_processor(photo: NDArray[np.uint8]) -> None:
    choices: dict[str, Any] = {"do_resize": True, "size_divisor": 64, "resample": 3, "do_rescale": False}
    own = GLPNImageProcessor(**choices)
    nothing = dict.fromkeys(choices)
    assert np.array_equal(own(photo, **nothing).pixel_values[0], own(photo).pixel_values[0])
    assert own(photo).pixel_values[0].dtype == np.uint8
    assert own(photo, size_divisor=16, do_rescale=True).pixel_values[0].shape == (3, 96, 128)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_float_tensors_with_gradient_are_accepted(dtype: torch.dtype, processor: GLPNImageProcessor) -> None:
    tensor = (torch.arange(3 * 32 * 32) % 256).reshape(3, 32, 32).to(dtype)
    expected = processor(tensor.to(torch.uint8)).pixel_values[0]
    assert np.array_equal(processor(tensor.requires_grad_()).pixel_values[0], expected)


# Images that the reference refuses, or that the model would fail on


def process_warned(processor: GLPNImageProcessor, image: Any, warning: str, **options: Any) -> NDArray[np.float32]:
    with pytest.warns(UserWarning, match=warning) as caught:
        values: NDArray[np.float32] = processor(image, return_tensors="np", **options).pixel_values
    assert caught[0].filename == __file__
    return values


@pytest.mark.parametrize("mode", ["L", "P", "1", "I;16"])
def test_gray_and_palette_images_are_converted_with_a_warning(
    mode: str, photo: NDArray[np.uint8], processor: GLPNImageProcessor
) -> None:
    gray = photo[..., 0] // 255 * 255 if mode == "1" else photo[..., 0]
    image = Image.fromarray(gray.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(gray).convert(mode)
    expected = processor(np.stack([gray] * 3, axis=-1), return_tensors="np").pixel_values
    warning = "16-bit gray scaled to 8 bits" if mode == "I;16" else f"mode {mode} converted to RGB"
    assert np.array_equal(process_warned(processor, image, warning), expected)


@pytest.mark.parametrize(("mode", "value"), [("RGBA", (0, 0, 0, 55)), ("LA", (0, 55)), ("PA", (0, 55))])
def test_images_with_alpha_are_composited_with_a_warning(
    mode: str, value: tuple[int, ...], processor: GLPNImageProcessor
) -> None:
    image = Image.new(mode, (64, 32), value)
    if mode == "PA":
        image.putpalette([0, 0, 0])
    assert np.all(process_warned(processor, image, "alpha composited over white") == np.float32(200 / 255))


def test_cmyk_images_are_converted_with_a_warning(processor: GLPNImageProcessor) -> None:
    values = process_warned(processor, Image.new("CMYK", (64, 32), (0, 255, 255, 0)), "CMYK converted to RGB")
    assert values[0, :, 0, 0].tolist() == [1, 0, 0]


@pytest.mark.parametrize("layout", [None, "none"])
def test_gray_array_is_converted_with_a_warning(
    layout: str | None, photo: NDArray[np.uint8], processor: GLPNImageProcessor
) -> None:
    gray = photo[..., 1]
    expected = processor(np.stack([gray] * 3, axis=-1), return_tensors="np").pixel_values
    for image in (gray, [gray], torch.from_numpy(gray.copy())):
        values = process_warned(processor, image, "gray converted to RGB", input_data_format=layout)
        assert np.array_equal(values, expected)


def test_third_axis_is_the_batch_without_channels(photo: NDArray[np.uint8], processor: GLPNImageProcessor) -> None:
    grays = np.ascontiguousarray(photo.transpose(2, 0, 1))
    values = process_warned(processor, grays, "gray converted to RGB", input_data_format="none")
    assert values.shape == (3, 3, 96, 128)
    assert np.array_equal(values[:, 0], processor(photo, return_tensors="np").pixel_values[0])


@pytest.mark.parametrize("shape", [(97, 131, 1), (1, 97, 131)])
def test_single_channel_is_repeated_with_a_warning(
    shape: tuple[int, ...], photo: NDArray[np.uint8], processor: GLPNImageProcessor
) -> None:
    values = process_warned(processor, photo[..., 0].reshape(shape), "gray converted to RGB")
    assert values.shape == (1, 3, 96, 128)


@pytest.mark.parametrize("layout", [None, "channels_last"])
def test_rgba_array_is_composited_with_a_warning(layout: str | None, processor: GLPNImageProcessor) -> None:
    rgba = np.full((32, 64, 4), (0, 0, 0, 55), np.uint8)
    values = process_warned(processor, rgba, "alpha composited over white", input_data_format=layout)
    assert np.all(values == np.float32(200 / 255))


def test_16_bit_array_is_scaled_with_a_warning(processor: GLPNImageProcessor) -> None:
    values = process_warned(processor, np.full((32, 64, 3), 257 * 51, np.uint16), "16-bit values scaled to 8 bits")
    assert np.all(values == np.float32(0.2))


@pytest.mark.parametrize("size", [(31, 131), (97, 1), (5, 7)])
def test_short_sides_are_enlarged_with_a_warning(
    size: tuple[int, int], photo: NDArray[np.uint8], processor: GLPNImageProcessor
) -> None:
    small = photo[: size[0], : size[1]]
    values = process_warned(processor, small, "sides shorter than 32 pixels enlarged to 32")
    height, width = floored_size(*size)
    expected = np.asarray(Image.fromarray(small).resize((width, height), Resampling.BILINEAR))
    assert np.array_equal(values[0].transpose(1, 2, 0), expected / np.float32(255))


def test_each_warning_is_shown_once(photo: NDArray[np.uint8], processor: GLPNImageProcessor) -> None:
    with pytest.warns(UserWarning, match="gray") as caught:
        processor([photo[..., 0]] * 5)
    assert len(caught) == 1


def test_values_in_unit_range_cause_a_warning(photo: NDArray[np.uint8], processor: GLPNImageProcessor) -> None:
    fractions = photo / np.float32(255)
    values = process_warned(processor, fractions, "pass do_rescale=False")
    assert values.max() <= 1 / 255
    assert processor(fractions, do_rescale=False).pixel_values[0].max() > 0.9


def test_exif_orientation_is_not_applied(photo: NDArray[np.uint8], processor: GLPNImageProcessor) -> None:
    image = Image.fromarray(photo)
    image.getexif()[0x0112] = 6
    assert np.array_equal(processor(image).pixel_values[0], processor(photo).pixel_values[0])


# Invalid images and fields


@pytest.mark.parametrize(
    ("images", "named"),
    [
        ([], "no images"),
        (np.zeros((0, 40, 40, 3), np.uint8), "no images"),
        ("a.jpg", "not str: open files"),
        (b"\xff\xd8", "not bytes: open files"),
        (None, "not NoneType"),
        ([["a"]], "not list"),
        ([[Image.new("RGB", (40, 40))]], "not list"),
        (np.zeros((1, 2, 40, 40, 3), np.uint8), r"\(1, 2, 40, 40, 3\)"),
        ([np.zeros((2, 40, 40, 3), np.uint8)], r"\(2, 40, 40, 3\)"),
        (np.zeros(40, np.uint8), r"\(40,\)"),
        (np.zeros((40, 50, 60), np.uint8), r"\(40, 50, 60\)"),
        (np.full((40, 40, 3), 0.5) * 3, "fractions from 1.5 to 1.5"),
        (np.full((40, 40, 3), -1), "from -1 to -1"),
        (np.full((40, 40, 3), 256), "from 256 to 256"),
        (np.full((40, 40, 3), np.nan), "from nan to nan"),
    ],
)
def test_invalid_image_is_a_value_error(images: Any, named: str, processor: GLPNImageProcessor) -> None:
    with pytest.raises(ValueError, match=named):
        processor(images)


@pytest.mark.parametrize(
    ("choice", "value"),
    [
        ("do_resize", "yes"),
        ("do_resize", 1),
        ("do_rescale", "no"),
        ("size_divisor", 0),
        ("size_divisor", -32),
        ("size_divisor", 32.0),
        ("size_divisor", "32"),
        ("size_divisor", True),
        ("resample", 99),
        ("resample", "bilinear"),
        ("resample", 2.0),
    ],
)
def test_invalid_field_is_refused_by_name(
    choice: str, value: Any, photo: NDArray[np.uint8], processor: GLPNImageProcessor, tmp_path: Path
) -> None:
    (tmp_path / CONFIG_NAME).write_text(json.dumps({choice: value}))
    file = re.escape(str(tmp_path / CONFIG_NAME))
    with pytest.raises(ConfigError, match=f"^{choice} .*{value!r}"):
        GLPNImageProcessor(**{choice: value})
    with pytest.raises(ValueError, match=f"^{choice} .*{value!r}"):
        processor(photo, **{choice: value})
    with pytest.raises(ConfigError, match=f"^{file}: {choice} .*{value!r}"):
        GLPNImageProcessor.from_pretrained(tmp_path)


def test_numpy_numbers_and_pillow_filters_are_accepted() -> None:
    processor = GLPNImageProcessor(np.bool_(False), np.int64(64), Resampling.LANCZOS, np.bool_(True))
    assert (processor.do_resize, processor.size_divisor, processor.resample, processor.do_rescale) == (
        False,
        64,
        1,
        True,
    )
    assert json.loads(processor.to_json_string())["resample"] == 1


def test_truncated_image_is_an_image_error(
    photo: NDArray[np.uint8], encode: Encode, tmp_path: Path, processor: GLPNImageProcessor
) -> None:
    (tmp_path / "a.png").write_bytes(encode(photo, "PNG")[:3000])
    with Image.open(tmp_path / "a.png") as image, pytest.raises(ImageError, match="PNG"):
        processor(image)


# Post-processing and the pure functions


def outputs_of(depth: Tensor) -> SimpleNamespace:
    return SimpleNamespace(predicted_depth=depth)


def test_predictions_are_unchanged_without_target_sizes(processor: GLPNImageProcessor) -> None:
    depth = torch.rand(2, 32, 64)
    results = processor.post_process_depth_estimation(outputs_of(depth))
    assert [torch.equal(item["predicted_depth"], depth[index]) for index, item in enumerate(results)] == [True, True]


@pytest.mark.parametrize("sizes", [torch.tensor([[50, 70], [32, 64]]), np.array([[50, 70], [32, 64]])])
def test_target_sizes_can_be_a_tensor(sizes: Any, processor: GLPNImageProcessor) -> None:
    depth = torch.rand(2, 32, 64)
    of_list = processor.post_process_depth_estimation(outputs_of(depth), [(50, 70), (32, 64)])
    results = processor.post_process_depth_estimation(outputs_of(depth), sizes)
    for item, expected in zip(results, of_list, strict=True):
        assert torch.equal(item["predicted_depth"], expected["predicted_depth"])
    assert torch.equal(results[1]["predicted_depth"], depth[1])


def test_post_processing_does_not_scale_or_clamp(processor: GLPNImageProcessor) -> None:
    edge = torch.zeros(1, 8, 8)
    edge[:, :, 4:] = 10
    (result,) = processor.post_process_depth_estimation(outputs_of(edge), [(32, 32)])
    assert result["predicted_depth"].min() < 0
    assert result["predicted_depth"].max() > 10


@pytest.mark.parametrize("sizes", [[(50, 70)], [(50, 70)] * 3, []])
def test_wrong_number_of_target_sizes_is_refused(sizes: list[Any], processor: GLPNImageProcessor) -> None:
    with pytest.raises(ValueError, match=f"{len(sizes)} .* 2 "):
        processor.post_process_depth_estimation(outputs_of(torch.rand(2, 32, 64)), sizes)


@pytest.mark.parametrize("size", [50, (50,), (50, 70, 3), (0, 70), (50.0, 70.0), "ab"])
def test_invalid_target_size_is_refused(size: Any, processor: GLPNImageProcessor) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(size))):
        processor.post_process_depth_estimation(outputs_of(torch.rand(1, 32, 64)), [size])


@pytest.mark.parametrize(
    ("size", "divisor", "expected"),
    [
        ((480, 640), 32, (480, 640)),
        ((427, 655), 32, (416, 640)),
        ((31, 33), 32, (32, 32)),
        ((1, 63), 64, (64, 64)),
        ((97, 131), 1, (97, 131)),
    ],
)
def test_sides_are_floored_to_a_divisor_or_more(size: tuple[int, int], divisor: int, expected: tuple[int, int]) -> None:
    assert floored_size(*size, divisor) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [((480, 640), (480, 640)), ((960, 1280), (480, 640)), ((640, 480), (640, 480)), ((300, 300), (544, 544))],
)
def test_fitted_size_preserves_aspect_ratio_and_pixels(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert fitted_size(*size, (480, 640)) == expected


def test_fitted_size_of_a_strip_is_at_least_one_divisor() -> None:
    height, width = fitted_size(1, 65_535, (480, 640))
    assert height == 32
    assert width % 32 == 0


@pytest.mark.parametrize("resample", Resampling)
def test_pixel_values_equal_the_processor(
    resample: Resampling, photo: NDArray[np.uint8], processor: GLPNImageProcessor
) -> None:
    expected = processor(photo, resample=resample, return_tensors="pt").pixel_values
    values = to_pixel_values(photo, floored_size(97, 131), resample=resample)
    assert torch.equal(values, expected)
    assert values.dtype == torch.float32
    assert values.is_contiguous()


def test_pixel_values_of_any_size_and_memory_layout(photo: NDArray[np.uint8]) -> None:
    mirrored = photo[:, ::-1]
    mirrored.flags.writeable = False
    assert torch.equal(
        to_pixel_values(mirrored, (97, 131))[0], torch.from_numpy(mirrored / np.float32(255)).permute(2, 0, 1)
    )
    large = np.asarray(Image.fromarray(photo).resize((200, 300), Resampling.BILINEAR))
    assert torch.equal(to_pixel_values(photo, (300, 200)), to_pixel_values(large, (300, 200)))


@pytest.mark.parametrize("size", [(33, 70), (32, 64), (16, 20), (200, 100)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_meters_are_interpolated_then_scaled_then_clamped(size: tuple[int, int], dtype: torch.dtype) -> None:
    predicted = (torch.rand(1, 32, 64) * 12 - 1).to(dtype)
    before = predicted.clone()
    resized = functional.interpolate(predicted.float()[None], size=size, mode="bicubic", align_corners=False)
    limited = LocalRange.around(predicted[0].float()).clip(resized[0, 0].numpy())  # see test_upsampling
    expected = torch.from_numpy(limited * 8).clamp(0, 80)
    meters = to_meters(predicted, size, meters_per_unit=8, limit_m=80)
    assert_same_bits(meters, expected)
    assert meters.dtype == np.float32
    assert meters.max() == 80
    assert meters.min() == 0
    assert torch.equal(predicted, before)


def test_meters_from_inference_mode_and_training() -> None:
    with torch.inference_mode():
        predicted = torch.rand(1, 32, 64) + 1
    for given in (predicted, torch.rand(1, 32, 64, requires_grad=True)):
        meters = to_meters(given, (32, 64), meters_per_unit=1, limit_m=10)
        assert np.array_equal(meters, given.detach()[0].numpy())
        meters[...] = 0
        assert given.max() > 0


# Saving and loading


def fields_of(processor: GLPNImageProcessor) -> tuple[Any, ...]:
    return processor.do_resize, processor.size_divisor, processor.resample, processor.do_rescale


CHOICES: dict[str, Any] = {"do_resize": False, "size_divisor": 64, "resample": 3, "do_rescale": False}


def test_defaults_are_those_of_the_published_weights(processor: GLPNImageProcessor) -> None:
    assert fields_of(processor) == (True, 32, Resampling.BILINEAR, True)
    assert processor.to_dict() == {
        "do_rescale": True,
        "do_resize": True,
        "image_processor_type": "GLPNImageProcessor",
        "resample": 2,
        "size_divisor": 32,
    }


def test_saved_processor_is_loaded_from_folder_or_file(tmp_path: Path) -> None:
    saved = GLPNImageProcessor(**CHOICES)
    (file,) = saved.save_pretrained(tmp_path / "new" / "folder")
    for path in (tmp_path / "new" / "folder", file):
        assert fields_of(GLPNImageProcessor.from_pretrained(path)) == fields_of(saved)
    assert GLPNImageProcessor.from_pretrained(file, size_divisor=16).size_divisor == 16
    assert fields_of(GLPNImageProcessor.from_dict(saved.to_dict())) == fields_of(saved)


def test_transformers_loads_a_saved_processor(tmp_path: Path) -> None:
    GLPNImageProcessor(**CHOICES).save_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import AutoImageProcessor

        theirs = AutoImageProcessor.from_pretrained(tmp_path)
    assert type(theirs).__name__.startswith("GLPNImageProcessor")
    assert {name: getattr(theirs, name) for name in CHOICES} == CHOICES


def test_file_saved_by_transformers_is_loaded(tmp_path: Path, reference: Any) -> None:
    type(reference)(**CHOICES).save_pretrained(tmp_path)
    assert fields_of(GLPNImageProcessor.from_pretrained(tmp_path)) == tuple(CHOICES.values())


def test_published_file_is_loaded(tmp_path: Path) -> None:
    (tmp_path / CONFIG_NAME).write_text(json.dumps(PUBLISHED | {"size_divisor": 64}))
    assert GLPNImageProcessor.from_pretrained(tmp_path).size_divisor == 64


def test_defaults_are_used_without_a_file(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.touch()
    for path in (tmp_path, str(weights)):
        assert fields_of(GLPNImageProcessor.from_pretrained(path)) == (True, 32, 2, True)
    assert GLPNImageProcessor.from_pretrained(tmp_path, do_rescale=False).do_rescale is False


def test_file_is_found_beside_the_weights(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.touch()
    GLPNImageProcessor(**CHOICES).save_pretrained(tmp_path)
    assert fields_of(GLPNImageProcessor.from_pretrained(weights)) == tuple(CHOICES.values())


def test_subfolder_is_entered(tmp_path: Path, reference: Any) -> None:
    GLPNImageProcessor(**CHOICES).save_pretrained(tmp_path / "a" / "b")
    for kind in (GLPNImageProcessor, type(reference)):
        assert kind.from_pretrained(tmp_path, subfolder="a/b").size_divisor == 64
    with pytest.raises(MissingWeightsError, match="other"):
        GLPNImageProcessor.from_pretrained(tmp_path, subfolder="other")


def test_unknown_keyword_is_named_or_returned(tmp_path: Path, reference: Any) -> None:
    GLPNImageProcessor(**CHOICES).save_pretrained(tmp_path)
    with pytest.raises(TypeError, match=r"size_divizor.*size_divisor"):
        GLPNImageProcessor.from_pretrained(tmp_path, size_divizor=16)
    keywords = {"size_divisor": 16, "foo": False, "return_unused_kwargs": True}
    processor, unused = GLPNImageProcessor.from_pretrained(tmp_path, **keywords)
    assert (processor.size_divisor, unused) == (16, {"foo": False})
    processor, unused = type(reference).from_pretrained(tmp_path, **keywords)
    assert (processor.size_divisor, unused["foo"]) == (16, False)  # it returns keywords that it used, too


@pytest.mark.parametrize(
    "keywords",
    [
        {"cache_dir": "nowhere", "force_download": False, "local_files_only": True, "token": None, "revision": "main"},
        {"use_fast": False, "trust_remote_code": False, "_from_auto": True, "do_normalize": False},
    ],
)
def test_usual_keywords_have_no_effect_on_files(tmp_path: Path, keywords: dict[str, Any]) -> None:
    GLPNImageProcessor(**CHOICES).save_pretrained(tmp_path)
    assert fields_of(GLPNImageProcessor.from_pretrained(tmp_path, **keywords)) == tuple(CHOICES.values())
    fields, others = GLPNImageProcessor.get_image_processor_dict(tmp_path, **keywords, foo=1)
    assert fields["size_divisor"] == 64
    assert others == {name: value for name, value in keywords.items() if name == "do_normalize"} | {"foo": 1}


def test_json_file_round_trips(tmp_path: Path, reference: Any) -> None:
    GLPNImageProcessor(**CHOICES).to_json_file(tmp_path / "mine.json")
    for kind in (GLPNImageProcessor, type(reference)):
        assert fields_of(kind.from_json_file(tmp_path / "mine.json")) == tuple(CHOICES.values())
    with pytest.raises(OSError, match=r"gone\.json"):
        GLPNImageProcessor.from_json_file(tmp_path / "gone.json")


def test_other_keywords_become_fields(tmp_path: Path) -> None:
    processor = GLPNImageProcessor(size_divisor=16, foo=[1])
    assert processor.foo == [1]
    processor.save_pretrained(tmp_path)
    again = GLPNImageProcessor.from_pretrained(tmp_path)
    assert (again.foo, again.size_divisor) == ([1], 16)
    assert GLPNImageProcessor.from_pretrained(tmp_path, foo=2).foo == 2
    with pytest.raises(ConfigError, match="preprocess"):
        GLPNImageProcessor(preprocess=1)
    with pytest.raises(ConfigError, match="cannot be written"):
        GLPNImageProcessor(foo={1}).save_pretrained(tmp_path / "new")


def test_uploading_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="push_to_hub"):
        GLPNImageProcessor().save_pretrained(tmp_path, push_to_hub=True)


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("wanted", [None, "channels_first", "channels_last"])
def test_one_image_is_resized_and_rescaled(
    photo: NDArray[np.uint8], processor: GLPNImageProcessor, layout: str, wanted: str | None
) -> None:
    image = photo if layout == "channels_last" else photo.transpose(2, 0, 1)
    resized = processor.resize(image, 32, data_format=wanted, input_data_format=layout)
    expected = processor(photo, do_rescale=False, data_format=wanted or layout).pixel_values[0]
    assert_same_bits(resized, expected)
    assert_same_bits(processor.resize(image, size_divisor=32, data_format=wanted), expected)
    rescaled = processor.rescale(resized, 1 / 255, input_data_format=wanted or layout)
    assert_same_bits(rescaled, processor(photo, data_format=wanted or layout).pixel_values[0])
    assert processor.rescale(resized, scale=2).max() == 2 * int(resized.max())


def test_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="nowhere") as caught:
        GLPNImageProcessor.from_pretrained(tmp_path / "nowhere")
    assert isinstance(caught.value, OSError)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{", "JSON"),
        ("[1]", "not list"),
        ("[" * 100_000, "JSON"),
        ('{"image_processor_type": "DPTImageProcessor"}', "image_processor_type .*'DPTImageProcessor'"),
        ('{"feature_extractor_type": ["x"]}', "feature_extractor_type .*'x'"),
        ('{"do_normalize": true}', "do_normalize .*True"),
        ('{"rescale_factor": 1}', "rescale_factor .*1$"),
        ('{"rescale_factor": "x"}', "rescale_factor .*'x'"),
    ],
)
def test_file_of_another_processor_is_refused(content: str, named: str, tmp_path: Path) -> None:
    file = tmp_path / CONFIG_NAME
    file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        GLPNImageProcessor.from_pretrained(tmp_path)
    assert re.search(f"^{re.escape(str(file))}: .*{named}", caught.value.message)


def test_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / CONFIG_NAME).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=CONFIG_NAME):
        GLPNImageProcessor.from_pretrained(tmp_path)


def test_null_and_unknown_fields_are_ignored() -> None:
    values = {"size_divisor": None, "do_normalize": False, "do_pad": None, "rescale_factor": 1 / 255, "size": None}
    assert fields_of(GLPNImageProcessor.from_dict(values)) == (True, 32, 2, True)


def test_unwritable_folder_is_an_output_error(tmp_path: Path, processor: GLPNImageProcessor) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        processor.save_pretrained(tmp_path / "file")


def test_repr_is_the_json(processor: GLPNImageProcessor) -> None:
    assert repr(processor) == f"GLPNImageProcessor {processor.to_json_string()}"
    assert json.loads(processor.to_json_string()) == processor.to_dict()


# The deprecated name


def test_deprecated_name_warns_and_works(photo: NDArray[np.uint8], processor: GLPNImageProcessor) -> None:
    with pytest.warns(FutureWarning, match="GLPNImageProcessor") as caught:
        extractor = GLPNFeatureExtractor(size_divisor=64)
    assert caught[0].filename == __file__
    assert isinstance(extractor, GLPNImageProcessor)
    assert_same_bits(extractor(photo).pixel_values[0], processor(photo, size_divisor=64).pixel_values[0])
    assert extractor.to_dict()["image_processor_type"] == "GLPNImageProcessor"
    assert repr(extractor).startswith("GLPNFeatureExtractor {")
