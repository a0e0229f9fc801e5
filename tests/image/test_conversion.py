from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from glpn_cli.errors import ImageError
from glpn_cli.image.conversion import (
    FIRST,
    LAST,
    NONE,
    array_to_rgb,
    to_8_bits,
    to_rgb,
    to_rgb_array,
    to_unit_range,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Encode = Callable[..., bytes]

ALPHA_OVER_WHITE = ("alpha composited over white",)


def pixels(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(to_rgb(image)[0])


def one_pixel(mode: str, value: Any) -> Image.Image:
    return Image.new(mode, (1, 1), value)


def over_white(color: int, alpha: int) -> int:
    """Return the composited value; a tie cannot occur, because 255 is odd."""
    return int((color * alpha + 255 * (255 - alpha)) / 255 + 0.5)


# Color modes


def test_rgb_image_is_returned_unchanged(photo: NDArray[np.uint8]) -> None:
    image = Image.fromarray(photo)
    rgb, notes = to_rgb(image)
    assert rgb is image
    assert notes == ()


def test_gray_is_repeated_three_times() -> None:
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    rgb, notes = to_rgb(Image.fromarray(gray))
    assert np.array_equal(np.asarray(rgb), np.stack([gray] * 3, axis=-1))
    assert notes == ()


def test_one_bit_becomes_black_and_white() -> None:
    bits = np.array([[True, False, True], [False, False, True]])
    assert np.array_equal(pixels(Image.fromarray(bits))[..., 1], bits * 255)


def test_palette_is_applied() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putdata([2, 0, 1])
    assert pixels(image).tolist() == [[[70, 80, 90], [10, 20, 30], [40, 50, 60]]]


@pytest.mark.parametrize(
    ("mode", "value", "expected", "tolerance"),
    [
        ("CMYK", (0, 0, 0, 0), (255, 255, 255), 0),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0), 0),
        ("CMYK", (0, 0, 0, 255), (0, 0, 0), 0),
        ("YCbCr", (255, 128, 128), (255, 255, 255), 0),
        ("YCbCr", (76, 85, 255), (255, 0, 0), 2),
        ("HSV", (0, 255, 255), (255, 0, 0), 0),
        ("LAB", (255, 128, 128), (255, 255, 255), 2),
    ],
)
def test_other_color_spaces_are_converted_with_a_note(
    mode: str, value: tuple[int, ...], expected: tuple[int, ...], tolerance: int
) -> None:
    rgb, notes = to_rgb(one_pixel(mode, value))
    assert np.abs(np.asarray(rgb)[0, 0].astype(int) - expected).max() <= tolerance
    assert notes == (f"{mode} converted to RGB without a color profile",)


def test_lab_is_converted_back_to_the_original_rgb(photo: NDArray[np.uint8]) -> None:
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = ImageCms.applyTransform(Image.fromarray(photo), to_lab)
    assert lab is not None
    difference = pixels(lab).astype(int) - photo
    assert np.abs(difference).mean() < 2
    assert lab.mode == "LAB"


def test_embedded_profile_is_ignored(photo: NDArray[np.uint8], encode: Encode) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    image = Image.open(io.BytesIO(encode(photo, "PNG", icc_profile=profile)))
    assert image.info["icc_profile"] == profile
    assert np.array_equal(pixels(image), photo)


def test_every_pillow_mode_is_converted() -> None:
    for mode in (*Image.MODES, "La"):
        rgb, _ = to_rgb(Image.new(mode, (3, 2)))
        assert (rgb.mode, rgb.size) == ("RGB", (3, 2)), mode


# Alpha


def test_alpha_compositing_is_exact_for_all_values() -> None:
    alpha, color = np.meshgrid(np.arange(256), np.arange(256))
    gray_alpha = np.stack([color, alpha], axis=-1).astype(np.uint8)
    rgba = np.stack([color, 255 - color, np.full_like(color, 77), alpha], axis=-1).astype(np.uint8)
    expected = [over_white(int(c), int(a)) for c, a in zip(color.ravel(), alpha.ravel(), strict=True)]

    rgb, notes = to_rgb(Image.fromarray(rgba))
    assert notes == ALPHA_OVER_WHITE
    assert np.asarray(rgb)[..., 0].ravel().tolist() == expected
    assert np.asarray(rgb)[10, 100].tolist() == [over_white(10, 100), over_white(245, 100), over_white(77, 100)]

    rgb, notes = to_rgb(Image.fromarray(gray_alpha))
    assert notes == ALPHA_OVER_WHITE
    assert np.asarray(rgb)[..., 2].ravel().tolist() == expected


def test_opaque_alpha_is_not_noted(photo: NDArray[np.uint8]) -> None:
    image = Image.fromarray(photo)
    image.putalpha(255)
    rgb, notes = to_rgb(image)
    assert np.array_equal(np.asarray(rgb), photo)
    assert notes == ()


@pytest.mark.parametrize(("mode", "value"), [("RGBa", (50, 0, 100, 100)), ("La", (50, 100))])
def test_premultiplied_alpha_is_composited_over_white(mode: str, value: tuple[int, ...]) -> None:
    rgb, notes = to_rgb(one_pixel(mode, value))
    assert abs(int(np.asarray(rgb)[0, 0, 0]) - (50 + 155)) <= 1
    assert notes == ALPHA_OVER_WHITE


def test_transparent_palette_color_becomes_white() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putdata([2, 0, 1])
    image.info["transparency"] = 0
    assert pixels(image).tolist() == [[[70, 80, 90], [255, 255, 255], [40, 50, 60]]]


def test_palette_with_alpha_per_color_is_composited(encode: Encode) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putdata([2, 0, 1])
    read = Image.open(io.BytesIO(encode(image, "PNG", transparency=bytes([0, 100, 255]))))
    assert read.mode == "P"
    expected = [[70, 80, 90], [255] * 3, [over_white(value, 100) for value in (40, 50, 60)]]
    assert pixels(read).tolist() == [expected]


def test_palette_with_alpha_per_pixel_is_composited() -> None:
    image = Image.new("PA", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((0, 0), (1, 255))
    image.putpixel((1, 0), (0, 100))
    assert pixels(image).tolist() == [[[40, 50, 60], [over_white(value, 100) for value in (10, 20, 30)]]]


@pytest.mark.parametrize(("mode", "hidden", "other"), [("L", 40, 41), ("RGB", (1, 2, 3), (1, 2, 4))])
def test_transparent_color_becomes_white(mode: str, hidden: Any, other: Any, encode: Encode) -> None:
    image = Image.new(mode, (2, 1), other)
    image.putpixel((0, 0), hidden)
    read = Image.open(io.BytesIO(encode(image, "PNG", transparency=hidden)))
    rgb, notes = to_rgb(read)
    assert np.asarray(rgb)[0, 0].tolist() == [255, 255, 255]
    assert np.asarray(rgb)[0, 1].tolist() == (list(other) if mode == "RGB" else [other] * 3)
    assert notes == ALPHA_OVER_WHITE


def test_alpha_of_zero_everywhere_is_ignored(photo: NDArray[np.uint8]) -> None:
    image = Image.fromarray(photo)
    image.putalpha(0)
    rgb, notes = to_rgb(image)
    assert np.array_equal(np.asarray(rgb), photo)
    assert len(notes) == 1
    assert "alpha" in notes[0]


# More than 8 bits


@pytest.mark.parametrize(
    ("values", "says_little"),
    [
        (np.linspace(0, 65535, 600), False),
        (np.linspace(0, 32767, 600), False),
        (np.linspace(0, 16383, 600), True),  # 14 bits in 16
        (np.linspace(0, 4095, 600), True),
        (np.linspace(51000, 52275, 600), True),  # counts of a thermal camera
        (np.full(600, 4000), False),  # nothing to stretch
    ],
)
def test_a_small_part_of_the_value_range_gets_a_note(values: NDArray[np.float64], says_little: bool) -> None:
    image = Image.fromarray(values.reshape(20, 30).astype(np.uint16))
    _, notes = to_rgb(image)
    assert ("`stretch`" in " ".join(notes)) == says_little
    stretched, notes = to_rgb(image, stretch=True)
    assert "`stretch`" not in " ".join(notes)
    if says_little:
        assert (np.asarray(stretched).min(), np.asarray(stretched).max()) == (0, 255)


def test_outliers_do_not_limit_the_stretch() -> None:
    values = np.linspace(1000, 1500, 10_000)
    values[0] = 65535
    rgb, _ = to_rgb(Image.fromarray(values.reshape(100, 100).astype(np.uint16)), stretch=True)
    assert 120 < np.median(np.asarray(rgb)) < 135


def test_any_floats_can_be_stretched() -> None:
    celsius = np.linspace(-20, 40, 600, dtype=np.float32).reshape(20, 30)
    with pytest.raises(ImageError) as caught:
        to_rgb(Image.fromarray(celsius))
    assert "`stretch`" in str(caught.value.hint)
    celsius[0, 0], celsius[0, 1] = np.nan, np.inf
    gray = np.asarray(to_rgb(Image.fromarray(celsius), stretch=True)[0])[..., 0]
    assert gray[0, :2].tolist() == [0, 255]
    assert np.all(np.diff(gray.ravel()[2:].astype(int)) >= 0)
    assert gray.max() == 255
    with pytest.raises(ImageError):
        to_rgb(Image.fromarray(np.full((2, 2), np.nan, np.float32)), stretch=True)
    assert np.ptp(np.asarray(to_rgb(Image.fromarray(np.full((2, 2), 7, np.float32)), stretch=True)[0])) == 0


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N"])
def test_16_bit_values_are_scaled_from_their_full_range(mode: str) -> None:
    values = np.arange(65536).reshape(256, 256)
    data = values.astype(">u2" if mode == "I;16B" else "<u2" if mode != "I;16N" else "=u2").tobytes()
    rgb, notes = to_rgb(Image.frombytes(mode, (256, 256), data))
    assert np.array_equal(np.asarray(rgb)[..., 1], np.rint(values / 257))
    assert notes == ("16-bit gray scaled to 8 bits",)


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "PPM", "JPEG2000"])
def test_16_bit_file_is_scaled_not_clipped(format_name: str, encode: Encode) -> None:
    values = np.array([[0, 128, 129, 257], [32767, 32768, 65534, 65535]], np.uint16)
    image = Image.open(io.BytesIO(encode(values, format_name)))
    assert pixels(image)[..., 0].tolist() == [[0, 0, 1, 1], [127, 128, 255, 255]]


def test_dark_16_bit_file_stays_dark() -> None:
    data = b"P5 2 1 65535\n" + struct.pack(">2H", 100, 200)
    assert pixels(Image.open(io.BytesIO(data)))[..., 0].tolist() == [[0, 1]]


def test_transparent_16_bit_value_becomes_white() -> None:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 1, 16, 0, 0, 0, 0))
    row = png_chunk(b"IDAT", zlib.compress(b"\0" + struct.pack(">3H", 300, 301, 65535)))
    data = b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"tRNS", struct.pack(">H", 300)) + row + png_chunk(b"IEND", b"")
    rgb, notes = to_rgb(Image.open(io.BytesIO(data)))
    assert np.asarray(rgb)[0, :, 0].tolist() == [255, 1, 255]
    assert notes == ("16-bit gray scaled to 8 bits", "alpha composited over white")


@pytest.mark.parametrize(
    ("values", "expected", "note"),
    [
        ([0, 100, 255], [0, 100, 255], "32-bit gray taken as 0 to 255"),
        ([0, 256, 65535], [0, 1, 255], "16-bit gray scaled to 8 bits"),
    ],
)
def test_range_of_32_bit_integers_follows_the_maximum(values: list[int], expected: list[int], note: str) -> None:
    rgb, notes = to_rgb(Image.fromarray(np.array([values], np.int32)))
    assert np.asarray(rgb)[0, :, 0].tolist() == expected
    assert notes == (note,)


@pytest.mark.parametrize(
    ("values", "expected", "full"),
    [
        ([0, 0.5, 1], [0, 128, 255], 1),
        ([0, 0.1, 0.2], [0, 26, 51], 1),
        ([0, 1.5, 255], [0, 2, 255], 255),
        ([0, 257, 65535], [0, 1, 255], 65535),
    ],
)
def test_range_of_floats_follows_the_maximum(values: list[float], expected: list[int], full: int) -> None:
    rgb, notes = to_rgb(Image.fromarray(np.array([values], np.float32)))
    assert np.asarray(rgb)[0, :, 0].tolist() == expected
    assert notes[0] == f"float gray taken as 0 to {full}"
    assert len(notes) == (2 if max(expected) < 64 else 1)  # with little contrast, one more


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
@pytest.mark.parametrize("value", [-1, 65536])
def test_out_of_range_values_are_refused(dtype: type[np.generic], value: int) -> None:
    with pytest.raises(ImageError, match=str(value)) as caught:
        to_rgb(Image.fromarray(np.array([[5, value]], dtype)))
    assert caught.value.hint is not None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinite_floats_are_refused(value: float) -> None:
    with pytest.raises(ImageError, match="NaN or infinite"):
        to_rgb(Image.fromarray(np.array([[0.5, value]], np.float32)))


def test_undecodable_image_is_an_image_error(photo: NDArray[np.uint8], encode: Encode) -> None:
    image = Image.open(io.BytesIO(encode(photo[..., 0], "PNG")[:1000]))
    with pytest.raises(ImageError, match="L to RGB: image file is truncated"):
        to_rgb(image)


# Arrays


@pytest.mark.parametrize("layout", [None, LAST])
def test_rgb_array_is_returned_unchanged(photo: NDArray[np.uint8], layout: str | None) -> None:
    values, notes = to_rgb_array(photo, layout)
    assert values is photo
    assert notes == ()


@pytest.mark.parametrize("layout", [None, FIRST])
def test_channels_are_moved_last(photo: NDArray[np.uint8], layout: str | None) -> None:
    values, _ = to_rgb_array(photo.transpose(2, 0, 1), layout)
    assert np.array_equal(values, photo)


def test_ambiguous_shape_is_channels_first_as_in_the_reference() -> None:
    array = np.arange(3 * 8 * 3, dtype=np.uint8).reshape(3, 8, 3)
    assert to_rgb_array(array)[0].shape == (8, 3, 3)
    assert to_rgb_array(array, LAST)[0].shape == (3, 8, 3)


@pytest.mark.parametrize(
    ("shape", "layout"), [((9, 8), None), ((9, 8), NONE), ((9, 8, 1), None), ((1, 9, 8), None), ((1, 9, 8), FIRST)]
)
def test_gray_array_is_repeated_three_times(shape: tuple[int, ...], layout: str | None) -> None:
    gray = np.arange(72, dtype=np.float32)
    values, notes = to_rgb_array(gray.reshape(shape), layout)
    assert np.array_equal(values, np.stack([gray.reshape(9, 8)] * 3, axis=-1))
    assert values.dtype == np.float32
    assert notes == ("gray converted to RGB",)


@pytest.mark.parametrize("layout", [FIRST, LAST])
def test_rgba_arrays_are_composited_over_white(layout: str) -> None:
    rgba = np.zeros((9, 8, 4), np.uint8)
    rgba[...] = (10, 20, 30, 100)
    for given in (None, layout):
        values, notes = to_rgb_array(rgba if layout == LAST else rgba.transpose(2, 0, 1), given)
        assert values.shape == (9, 8, 3)
        assert values[5, 5].tolist() == [over_white(value, 100) for value in (10, 20, 30)]
        assert notes == ALPHA_OVER_WHITE


def test_gray_alpha_array_is_composited_over_white() -> None:
    values, _ = to_rgb_array(np.full((9, 8, 2), (40, 100), np.int64))
    assert values[0, 0].tolist() == [over_white(40, 100)] * 3


def test_alpha_in_unit_range_is_composited_over_1() -> None:
    values, _ = to_rgb_array(np.full((9, 8, 4), (0.2, 0.4, 0.6, 0.5)))
    assert values[0, 0] == pytest.approx([0.6, 0.7, 0.8], abs=0.005)


def test_ambiguous_rgba_shape_requires_a_layout() -> None:
    with pytest.raises(ValueError, match=r"\(4, 9, 4\).*input_data_format"):
        to_rgb_array(np.zeros((4, 9, 4), np.uint8))


def test_uint16_arrays_are_scaled_only_above_255() -> None:
    wide = np.full((9, 8, 3), 65535, np.uint16)
    assert to_rgb_array(wide)[0].max() == 255
    assert to_rgb_array(wide)[1] == ("16-bit values scaled to 8 bits",)
    narrow = np.full((9, 8, 3), 255, np.uint16)
    assert to_rgb_array(narrow)[0] is narrow


@pytest.mark.parametrize(
    ("array", "layout", "named"),
    [
        (np.zeros((9, 8, 5), np.uint8), None, r"\(9, 8, 5\)"),
        (np.zeros((9, 8, 3), np.uint8), FIRST, "'channels_first' means 9 channels"),
        (np.zeros((9, 8, 3), np.uint8), NONE, r"\(9, 8, 3\).*\(H, W\)$"),
        (np.zeros((9, 8), np.uint8), LAST, r"\(9, 8\)"),
        (np.zeros(9, np.uint8), None, r"\(9,\)"),
        (np.zeros((0, 8, 3), np.uint8), None, r"\(0, 8, 3\)"),
        (np.zeros((9, 8, 3), complex), None, "complex128"),
        (np.full((9, 8, 3), "x"), None, "<U1"),
    ],
)
def test_invalid_arrays_are_refused(array: NDArray[Any], layout: str | None, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        to_rgb_array(array, layout)


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "RGBA"])
def test_other_image_modes_get_three_channels_and_a_note(mode: str) -> None:
    values, notes = to_rgb_array(Image.new(mode, (8, 9)))
    assert values.shape == (9, 8, 3)
    assert notes


def test_transparent_color_of_rgb_is_ignored_as_in_the_reference() -> None:
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.info["transparency"] = (1, 2, 3)
    assert to_rgb_array(image)[0].tolist() == [[[1, 2, 3], [1, 2, 3]]]


def test_truncated_image_is_an_image_error(photo: NDArray[np.uint8], encode: Encode) -> None:
    image = Image.open(io.BytesIO(encode(photo, "PNG")[:3000]))
    with pytest.raises(ImageError, match="PNG"):
        to_rgb_array(image)


# Ranges


def test_to_8_bits_truncates_fractions() -> None:
    assert to_8_bits(np.array([0.0, 7.0, 255.0]))[0].tolist() == [0, 7, 255]
    values, was_unit_range = to_8_bits(np.array([0.0, 0.999, 1.0]))
    assert values.tolist() == [0, 254, 255]
    assert was_unit_range


@pytest.mark.parametrize("values", [[-1, 2], [0, 256], [0.5, 1.5], [0, np.nan], [0, np.inf]])
def test_to_8_bits_refuses_other_ranges(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        to_8_bits(np.array(values))


def test_to_unit_range_multiplies_in_double_precision() -> None:
    values = to_unit_range(np.arange(256))
    assert values.dtype == np.float32
    assert values.tolist() == [float(np.float32(value * (1 / 255))) for value in range(256)]


# Arrays of Python users


def test_8_bit_rgb_of_python_users_is_not_copied(photo: NDArray[np.uint8]) -> None:
    rgb, notes = array_to_rgb(photo)
    assert rgb is photo
    assert notes == ()
    mirrored, _ = array_to_rgb(photo[:, ::-1])
    assert mirrored.flags.c_contiguous


@pytest.mark.parametrize(
    ("values", "notes"),
    [
        (lambda photo: photo.astype(np.uint16) * 257, ("16-bit values scaled to 8 bits",)),
        (lambda photo: photo.astype(np.int64), ()),
        (lambda photo: photo / np.float32(255), ("float values taken as 0 to 1",)),
        (lambda photo: photo / 255, ("float values taken as 0 to 1",)),
        (lambda photo: photo / 255 * 1.0006 - 0.0003, ("float values taken as 0 to 1",)),
        (np.asfortranarray, ()),
    ],
)
def test_dtype_decides_the_range(
    values: Callable[[NDArray[np.uint8]], NDArray[Any]], notes: tuple[str, ...], photo: NDArray[np.uint8]
) -> None:
    rgb, said = array_to_rgb(values(photo))
    assert np.array_equal(rgb, photo)
    assert said == notes
    assert rgb.flags.c_contiguous
    assert rgb.dtype == np.uint8


def test_half_floats_are_fractions(photo: NDArray[np.uint8]) -> None:
    rgb, _ = array_to_rgb((photo / 255).astype(np.float16))
    assert np.abs(rgb.astype(int) - photo).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, bool])
def test_gray_arrays_may_have_a_channel_or_none(dtype: type) -> None:
    gray = np.array([[0, 1], [1, 0], [1, 1]], dtype)
    white = 255 if dtype is bool or dtype is np.float32 else 1
    if dtype is np.uint16:
        gray *= 257
    for values in (gray, gray[..., None]):
        rgb, _ = array_to_rgb(values)
        assert np.array_equal(rgb, np.stack([(gray > 0) * white] * 3, axis=-1))


def test_alpha_of_arrays_is_composited_over_white() -> None:
    rgba = np.array([[[10, 20, 30, 128], [10, 20, 30, 255]]], np.uint8)
    expected = [over_white(value, 128) for value in (10, 20, 30)]
    for values in (rgba, rgba.astype(np.uint16) * 257, rgba / 255):
        rgb, notes = array_to_rgb(values)
        assert rgb[0].tolist() == [expected, [10, 20, 30]]
        assert notes[-1:] == ALPHA_OVER_WHITE
    gray_alpha, notes = array_to_rgb(rgba[..., [0, 3]])
    assert gray_alpha[0].tolist() == [[over_white(10, 128)] * 3, [10] * 3]
    assert notes == ALPHA_OVER_WHITE
    _, notes = array_to_rgb(rgba[:, 1:])
    assert notes == ()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (np.full((2, 2, 3), 255.0), "255"),
        (np.full((2, 2, 3), 1.5, np.float32), "1.5"),
        (np.full((2, 2), -0.5), "-0.5"),
        (np.full((2, 2), np.nan), "NaN"),
        (np.full((2, 2), np.inf, np.float16), "NaN"),
        (np.full((2, 2), 200, np.uint16), "uint16"),
        (np.full((2, 2), 4095, np.int32), "uint16"),
        (np.full((2, 2), -1, np.int8), "-1"),
        (np.zeros((2, 2), complex), "complex"),
        (np.array([["a"]]), "<U1"),
        (np.array([None]), "list"),
        (np.zeros((0, 8, 3), np.uint8), "(0, 8, 3)"),
        (np.zeros((), np.uint8), "()"),
        (np.zeros(7, np.uint8), "(7,)"),
        (np.zeros((9, 8, 5), np.uint8), "(9, 8, 5)"),
        (np.zeros((3, 9, 8), np.uint8), "transpose(1, 2, 0)"),
        (np.zeros((1, 9, 8, 3), np.uint8), "array[0]"),
        (np.zeros((2, 9, 8, 3), np.uint8), "list(array)"),
    ],
)
def test_ambiguous_arrays_are_refused_with_a_remedy(values: NDArray[Any], named: str) -> None:
    with pytest.raises(ImageError) as caught:
        array_to_rgb(values)
    assert named in f"{caught.value.message} {caught.value.hint}"


def test_black_16_bit_images_are_not_ambiguous() -> None:
    rgb, _ = array_to_rgb(np.zeros((2, 2), np.uint16))
    assert not rgb.any()
