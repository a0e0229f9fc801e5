"""The PNG formats: png (gray), color and png16."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from glpn_cli.depth import Camera, DepthMap, Provenance
from glpn_cli.errors import DepthFileError, UsageError
from glpn_cli.output.color import unknown_color
from glpn_cli.output.png import PNG, PNG16, ColorPNG, Disparity16, beyond_16_bits
from glpn_cli.settings import OutputSettings
from glpn_cli.values import Colormap, Curve, DepthRange, Near, Normalize, Scale

if TYPE_CHECKING:
    from pathlib import Path

MAX = OutputSettings(normalize=Normalize.MAX)
MINMAX = OutputSettings(normalize=Normalize.MINMAX)
RAMP = np.linspace(0.5, 9.5, 200).reshape(10, 20)
FIXED = DepthRange.parse("2:6")


def read_png(data: bytes) -> tuple[np.ndarray, str, dict[str, Any], str]:
    """Return pixels, mode, metadata and description."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image), image.mode, json.loads(image.info["glpn"]), image.info["Description"]


def evaluate(formula: str, **values: float) -> float:
    return float(eval(formula, dict(values)))  # noqa: S307 - a formula of ours


def random_meters() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 9.7, (97, 131)).astype(np.float32)


def eightfold(depth_map: DepthMap) -> DepthMap:
    return replace(depth_map, provenance=replace(depth_map.provenance, meters_per_unit=8.0))


# png: 8-bit gray


def gray(meters: np.ndarray, settings: OutputSettings = MAX) -> np.ndarray:
    pixels, mode, _, _ = read_png(PNG().encode(DepthMap(meters.astype(np.float32)), settings))
    assert mode == "L"
    return pixels


def test_max_is_the_documented_formula() -> None:
    output = random_meters()
    documented = (output * 255 / np.max(output)).astype("uint8")
    np.testing.assert_array_equal(gray(output), documented)


def test_minmax_is_the_formula_of_the_pipeline() -> None:
    depth = random_meters() + np.float32(3)
    pipeline = ((depth - depth.min()) / (depth.max() - depth.min()) * 255).astype("uint8")
    np.testing.assert_array_equal(gray(depth, MINMAX), pipeline)


@pytest.mark.parametrize("settings", [MAX, MINMAX])
def test_zero_depth_is_black(settings: OutputSettings) -> None:
    assert gray(np.zeros((3, 4)), settings).max() == 0


def test_constant_depth_does_not_divide_by_zero() -> None:
    assert gray(np.full((3, 4), 5.0), MAX).min() == 255
    assert gray(np.full((3, 4), 5.0), MINMAX).max() == 0


@pytest.mark.parametrize("settings", [MAX, MINMAX])
def test_png_reads_back_within_one_step(depth_map: DepthMap, settings: OutputSettings) -> None:
    back = PNG().decode(PNG().encode(depth_map, settings), "x.png")
    step_m = (7.5 if settings is MAX else 7.0) / 255
    assert np.abs(back.meters - depth_map.meters).max() <= step_m
    assert back.provenance.approximate
    assert back.provenance.weights_sha256 == "ab" * 32
    assert back.provenance.notes == ("a note",)
    assert back.provenance.network_size == (96, 128)


def test_description_states_the_meaning_of_gray_values(depth_map: DepthMap) -> None:
    _, _, _, description = read_png(PNG().encode(depth_map, MAX))
    assert "gray / 255 * 7.5 m" in description


def test_compression_changes_only_the_file_size() -> None:
    depth = DepthMap(np.tile(np.linspace(1, 9, 400, dtype=np.float32), (300, 1)))
    files = [PNG().encode(depth, OutputSettings(png_compression=level)) for level in (0, 1, 9)]
    assert len(files[0]) > len(files[1]) > len(files[2])
    images = [PNG().decode(data, "x").meters for data in files]
    assert all(np.array_equal(image, images[0]) for image in images)


def test_metadata_of_png_is_in_the_published_scale(depth_map: DepthMap) -> None:
    settings = OutputSettings(scale=Scale.PUBLISHED)
    _, _, metadata, _ = read_png(PNG().encode(eightfold(depth_map), settings))
    assert (metadata["scale"], metadata["high"], metadata["meters_per_unit"]) == ("published", 7.5 / 8, 8.0)


@pytest.mark.parametrize("near", [None, *Near])
@pytest.mark.parametrize("scale", Scale)
def test_gray_values_span_the_range(depth_map: DepthMap, near: Near | None, scale: Scale) -> None:
    data = PNG().encode(eightfold(depth_map), OutputSettings(range=FIXED, near=near, scale=scale))
    pixels = read_png(data)[0].astype(int)
    nearest, farthest = (255, 0) if near is Near.BRIGHT else (0, 255)
    assert (pixels[depth_map.meters <= 2] == nearest).all()
    assert (pixels[depth_map.meters >= 6] == farthest).all()
    assert np.abs(PNG().decode(data, "x").meters - np.clip(depth_map.meters, 2, 6)).max() <= 4 / 255


@pytest.mark.parametrize("near", [None, *Near])
@pytest.mark.parametrize("scale", Scale)
@pytest.mark.parametrize("curve", [Curve.INVERSE, Curve.LOG])
def test_gray_values_follow_the_curve(depth_map: DepthMap, near: Near | None, scale: Scale, curve: Curve) -> None:
    settings = OutputSettings(range=FIXED, near=near, scale=scale, curve=curve)
    data = PNG().encode(eightfold(depth_map), settings)
    pixels, _, metadata, _ = read_png(data)
    c: Any = {Curve.INVERSE: lambda d: 1 / d, Curve.LOG: np.log}[curve]
    place = np.clip((c(depth_map.meters) - c(2)) / (c(6) - c(2)), 0, 1)
    expected = 255 - (place * 255) if near is Near.BRIGHT else place * 255
    assert np.abs(pixels - expected).max() <= 1 + 1e-3
    assert metadata["curve"] == str(curve)
    meters = PNG().decode(data, "x").meters
    assert np.abs((c(meters) - c(np.clip(depth_map.meters, 2, 6))) / (c(6) - c(2))).max() <= 1 / 255


def test_a_curve_alone_spans_the_range_of_color_images(depth_map: DepthMap) -> None:
    _, _, metadata, _ = read_png(PNG().encode(depth_map, OutputSettings(curve=Curve.INVERSE)))
    _, _, of_color, _ = read_png(ColorPNG().encode(depth_map, OutputSettings()))
    assert (metadata["low"], metadata["high"]) == (of_color["low"], of_color["high"])
    assert (metadata["range"], "normalize" in metadata) == ("auto", False)


def test_minmax_spans_known_depth_on_a_curve() -> None:
    meters = np.array([[0, np.nan, 2, 3, 8]], np.float32)
    settings = OutputSettings(normalize=Normalize.MINMAX, curve=Curve.INVERSE, near=Near.BRIGHT)
    assert gray(meters, settings).tolist() == [[0, 0, 255, 255 - 113, 0]]
    assert PNG().encode(DepthMap(np.zeros((2, 2), np.float32)), settings), "nothing is known"


def test_max_starts_at_0_which_has_no_place_on_a_curve() -> None:
    with pytest.raises(UsageError) as caught:
        OutputSettings(normalize=Normalize.MAX, curve=Curve.INVERSE)
    assert caught.value.setting == "curve"
    output = random_meters()
    np.testing.assert_array_equal(
        gray(output, OutputSettings(normalize=Normalize.MAX, curve=Curve.LINEAR)), gray(output)
    )


@pytest.mark.parametrize("near", Near)
@pytest.mark.parametrize(
    "how", [{}, {"normalize": "minmax"}, {"range": "2:6"}, *({"range": "2:6", "curve": curve} for curve in Curve)]
)
def test_the_explanation_is_the_formula(depth_map: DepthMap, near: Near, how: dict[str, Any]) -> None:
    data = PNG().encode(eightfold(depth_map), OutputSettings(near=near, scale=Scale.PUBLISHED, **how))
    pixels, _, metadata, description = read_png(data)
    explanation = PNG().explain(metadata)
    assert explanation in description
    formula = explanation.removeprefix("depth is about ").replace(" m", "")
    grays = np.array([10, 100, 200])
    meters = [evaluate(formula, gray=int(value)) for value in grays]
    step = [meters[0] - evaluate(formula, gray=9), meters[2] - evaluate(formula, gray=199)]
    read = PNG().decode(data, "x").meters
    for value, expected in zip(grays, meters, strict=True):
        assert read[pixels == value] == pytest.approx(expected, abs=1.01 * max(map(abs, step)))


def test_foreign_png_is_refused() -> None:
    buffer = io.BytesIO()
    Image.new("L", (4, 4)).save(buffer, "PNG")
    with pytest.raises(DepthFileError, match=r"x\.png"):
        PNG().decode(buffer.getvalue(), "x.png")


# color


def color(meters: np.ndarray, depth: DepthMap | None = None, **settings: Any) -> np.ndarray:
    depth = depth or DepthMap(meters.astype(np.float32), Provenance(depth_limit_m=10.0, weights="nyu"))
    pixels, mode, _, _ = read_png(ColorPNG().encode(depth, OutputSettings(**settings)))
    assert mode == "RGB"
    return pixels


@pytest.mark.parametrize("name", Colormap)
def test_unknown_depth_has_a_unique_color(name: Colormap) -> None:
    meters = RAMP.copy()
    meters[0, 0], meters[0, 1], meters[0, 2] = 0, np.nan, np.inf
    colors = color(meters, colormap=name)
    assert (colors[0, :3] == unknown_color(name)).all()
    assert (colors != unknown_color(name)).any(axis=2)[1:].all()


def test_near_is_bright_by_default() -> None:
    for near, first in ((None, 255), (Near.BRIGHT, 255), (Near.DARK, 0)):
        pixels = color(RAMP, colormap=Colormap.GRAY, near=near, range=FIXED)
        assert (pixels[RAMP <= 2] == first).all()
        assert (pixels[RAMP >= 6] == 255 - first).all()


def test_colors_are_equal_in_images_with_the_same_range() -> None:
    one = color(RAMP, range=FIXED)
    other = color(RAMP[:, ::-1], range=FIXED)
    np.testing.assert_array_equal(one, other[:, ::-1])
    assert (color(RAMP) != color(RAMP[:5])[: len(RAMP)][:1]).any()


@pytest.mark.parametrize(
    ("text", "ends"),
    [("model", (0.5, 10)), ("1:3", (1, 3)), ("p0:p100", (0.5, 9.5)), ("auto", np.percentile(RAMP, (1, 99)))],
)
def test_metadata_contains_the_range(text: str, ends: tuple[float, float]) -> None:
    depth = DepthMap(RAMP.astype(np.float32), Provenance(depth_limit_m=10.0))
    data = ColorPNG().encode(depth, OutputSettings(range=DepthRange.parse(text)))
    _, _, metadata, description = read_png(data)
    assert (metadata["low"], metadata["high"]) == pytest.approx(tuple(ends), rel=1e-5)
    assert metadata["range"] == text
    assert f"{metadata['low']:.6g} to {metadata['high']:.6g} m in the colors turbo, near is bright" in description


def test_range_of_the_run_applies_to_each_image() -> None:
    np.testing.assert_array_equal(color(RAMP, range_m=(2.0, 6.0)), color(RAMP, range=FIXED))


def test_constant_depth_is_one_color() -> None:
    assert len(np.unique(color(np.full((4, 5), 3.0)).reshape(-1, 3), axis=0)) == 1


def test_photo_is_to_the_left() -> None:
    depth = DepthMap(RAMP.astype(np.float32), rgb=np.random.default_rng(0).integers(0, 255, (10, 20, 3), np.uint8))
    both = color(RAMP, depth, side_by_side=True)
    np.testing.assert_array_equal(both[:, :20], depth.rgb)
    np.testing.assert_array_equal(both[:, 20:], color(RAMP, depth))
    with pytest.raises(UsageError) as caught:
        color(RAMP, replace(depth, rgb=None), side_by_side=True)
    assert caught.value.setting == "side_by_side"


def test_legend_does_not_change_the_image() -> None:
    large = np.kron(RAMP, np.ones((20, 20)))
    plain, described = color(large), color(large, legend=True)
    np.testing.assert_array_equal(described[: len(plain)], plain)
    assert len(described) > len(plain)


def test_colors_do_not_depend_on_the_scale() -> None:
    depth = DepthMap(RAMP.astype(np.float32), Provenance(meters_per_unit=8.0))
    published = color(RAMP, depth, range=FIXED, scale=Scale.PUBLISHED)
    np.testing.assert_array_equal(published, color(RAMP, range=FIXED))


def test_opencv_reads_color(tmp_path: Path, depth_map: DepthMap) -> None:
    cv2 = pytest.importorskip("cv2")
    depth_map.save(tmp_path / "x.depth-color.png")
    image = cv2.imread(str(tmp_path / "x.depth-color.png"), cv2.IMREAD_UNCHANGED)
    assert (image.shape, image.dtype) == ((20, 30, 3), np.uint8)


# disparity16: 16-bit inverse depth


def disparity(meters: list[float], **settings: Any) -> tuple[list[int], dict[str, Any]]:
    depth = DepthMap(np.array([meters], np.float32))
    pixels, mode, metadata, _ = read_png(Disparity16().encode(depth, OutputSettings(**settings)))
    assert mode == "I;16"
    return pixels[0].tolist(), metadata


def test_disparity_is_linear_in_inverse_depth_and_near_is_white() -> None:
    pixels, metadata = disparity([1, 2, 4, 8, 20, 0.5], range="2:8")
    assert pixels == [65535, 65535, 21845, 1, 1, 65535]
    assert (metadata["low"], metadata["high"], metadata["near"], metadata["curve"]) == (2, 8, "bright", "inverse")


def test_unknown_depth_has_no_disparity() -> None:
    assert disparity([0, float("nan"), float("inf"), -1, 2, 8], range="2:8")[0] == [0, 0, 0, 0, 65535, 1]


def test_disparity_reads_back_within_a_step(depth_map: DepthMap) -> None:
    unknown = replace(depth_map, meters=np.where(depth_map.meters > 7, np.float32(0), depth_map.meters))
    data = Disparity16().encode(unknown, OutputSettings(range=DepthRange.parse("p0:p100")))
    back = Disparity16().decode(data, "x")
    assert (back.meters[unknown.meters == 0] == 0).all()
    known = unknown.meters > 0
    step = (1 / 0.5 - 1 / 7) / 65535
    assert np.abs(1 / back.meters[known] - 1 / unknown.meters[known]).max() <= 1.01 * step
    assert back.provenance.approximate


def test_displacement_is_exact_at_both_ends_of_the_range() -> None:
    """A plane at the far end, displaced by strength * (white - mid level), and the formula of exact meters."""
    meters = [2.0, 3.0, 8.0]
    pixels, metadata = disparity(meters, range="2:8")
    white = np.array(pixels) / 65535
    displaced = metadata["mid_level_m"] - metadata["strength_m"] * (white - metadata["mid_level"])
    assert displaced == pytest.approx([2, 8 - 6 * (1 / 3 - 1 / 8) / (1 / 2 - 1 / 8), 8], abs=1e-3)
    formula = Disparity16().explain(metadata).rpartition("depth is ")[2].removesuffix(" m")
    assert [evaluate(formula, white=value) for value in white] == pytest.approx(meters, rel=1e-4)


def test_opencv_reads_disparity16(tmp_path: Path, depth_map: DepthMap) -> None:
    cv2 = pytest.importorskip("cv2")
    depth_map.save(tmp_path / "x.disparity16.png")
    image = cv2.imread(str(tmp_path / "x.disparity16.png"), cv2.IMREAD_UNCHANGED)
    assert (image.shape, image.dtype, image[0, 0], image[-1, -1]) == ((20, 30), np.uint16, 65535, 1)


# png16: 16-bit meters


def values(meters: list[float], limit_m: float | None = 10.0, **settings: Any) -> list[int]:
    depth = DepthMap(np.array([meters], np.float32), Provenance(depth_limit_m=limit_m))
    return [int(value) for value in read_png(PNG16().encode(depth, OutputSettings(**settings)))[0][0]]


@pytest.mark.parametrize("limit_m", [10, 80, None])
def test_millimeters_whatever_the_weights(limit_m: float | None) -> None:
    assert values([2.0, 66.0], limit_m) == [2000, 65535]


@pytest.mark.parametrize("scale", [1000, 256, 5000, 0.5, 1000.5])
def test_scale_can_be_set(scale: float) -> None:
    assert values([2.0, 4.0], png16_scale=scale) == [round(2 * scale), round(4 * scale)]
    depth = DepthMap(np.full((2, 3), 4.0, np.float32))
    data = PNG16().encode(depth, OutputSettings(png16_scale=scale))
    assert read_png(data)[2]["values_per_meter"] == scale
    assert f"value / {scale}; " in read_png(data)[3]
    np.testing.assert_allclose(PNG16().decode(data, "x").meters, 4, atol=0.5 / scale)


@pytest.mark.parametrize("scale", [0, -1, "nan", "inf", "many", 1e300])
def test_invalid_scales_are_refused(scale: Any) -> None:
    with pytest.raises(UsageError) as caught:
        OutputSettings(png16_scale=scale)
    assert caught.value.setting == "png16_scale"


def test_depth_beyond_16_bits_is_counted() -> None:
    depth = DepthMap(np.array([[1, 65.535, 65.536, 80, 0, np.nan, np.inf, 3]], np.float32))
    assert beyond_16_bits(depth, OutputSettings()) == 2 / 8
    assert beyond_16_bits(depth, OutputSettings(png16_scale=256)) == 0


def test_known_depth_is_rounded_and_at_least_1() -> None:
    assert values([1.2344, 1.2346, 0.0001, 0.0]) == [1234, 1235, 1, 0]


def test_far_depth_saturates_and_unknown_depth_is_0() -> None:
    assert values([70.0, float("nan"), float("inf"), -1.0]) == [65535, 0, 0, 0]


def test_unknown_depth_reads_back_as_0() -> None:
    depth = DepthMap(np.array([[np.nan, 2]], np.float32), Provenance(depth_limit_m=10))
    assert PNG16().decode(PNG16().encode(depth, OutputSettings()), "x").meters.tolist() == [[0, 2]]


def test_opencv_reads_png16_in_both_scales(tmp_path: Path, depth_map: DepthMap) -> None:
    cv2 = pytest.importorskip("cv2")
    for factor in (1000, 256):
        depth_map.save(tmp_path / "x.depth16.png", overwrite=True, settings=OutputSettings(png16_scale=factor))
        pixels = cv2.imread(str(tmp_path / "x.depth16.png"), cv2.IMREAD_UNCHANGED)
        assert (pixels.dtype, pixels.shape) == (np.uint16, (20, 30))
        np.testing.assert_allclose(pixels / factor, depth_map.meters, atol=0.51 / factor)


def test_png16_describes_itself(depth_map: DepthMap) -> None:
    _, mode, metadata, description = read_png(PNG16().encode(depth_map, OutputSettings()))
    assert mode == "I;16"
    assert description == (
        f"depth of photo.jpg by the weights tiny (sha256 {'ab' * 32}), approximate: meters = value / 1000; 0 is unknown"
    )
    assert (metadata["values_per_meter"], metadata["unit"], metadata["unknown"]) == (1000, "meter", 0)
    assert metadata["provenance"]["tool"] == "glpn-cli 0"


@pytest.mark.parametrize("factor", [256, 1000])
def test_png16_of_version_0_1_is_read(factor: int) -> None:
    """Version 0.1 chose the factor by the weights and stored the camera's focal length only."""
    meters = np.linspace(0.5, 60, 12, dtype=np.float32).reshape(3, 4)
    text = PngInfo()
    text.add_text(
        "glpn",
        json.dumps(
            {
                "format": "png16",
                "scale": "meters",
                "meters_per_unit": 1.0,
                "values_per_meter": factor,
                "camera": {"focal_px": 525.0, "source": "assumed: 55° horizontal"},
                "provenance": {"weights": "tiny"},
            }
        ),
    )
    buffer = io.BytesIO()
    Image.fromarray(np.rint(meters * factor).astype(np.uint16)).save(buffer, "PNG", pnginfo=text)
    back = PNG16().decode(buffer.getvalue(), "x.png")
    np.testing.assert_allclose(back.meters, meters, atol=0.51 / factor)
    assert back.camera == Camera(525.0, "assumed: 55° horizontal", center_x_px=1.5, center_y_px=1.0)


def with_metadata(data: bytes, metadata: str) -> bytes:
    """Return a PNG with other metadata."""
    text = PngInfo()
    text.add_text("glpn", metadata)
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("codec", "before", "after"),
    [
        (PNG16(), '"values_per_meter": 1000', '"values_per_meter": "many"'),
        (PNG16(), '"values_per_meter"', '"values_per_mile"'),
        (PNG(), '"high": 1.0', '"high": "far"'),
        (PNG(), '"low"', '"lowest"'),
        (PNG(), '"near"', '"curve": "steep", "near"'),
        (PNG(), '"low": 0.0, "high": 1.0', '"low": 0.0, "high": 0.0, "curve": "inverse"'),
        (Disparity16(), '"low": 1.0', '"low": null'),
        (Disparity16(), '"high"', '"highest"'),
    ],
)
def test_edited_metadata_is_an_error(codec: PNG | PNG16 | Disparity16, before: str, after: str) -> None:
    data = codec.encode(DepthMap(np.ones((2, 2), np.float32)), OutputSettings())
    metadata = json.dumps(read_png(data)[2])
    assert before in metadata
    with pytest.raises(DepthFileError, match=r"x\.png"):
        codec.decode(with_metadata(data, metadata.replace(before, after)), "x.png")


def test_png_of_version_0_1_is_read(depth_map: DepthMap) -> None:
    """Version 0.1 wrote metadata with British spelling."""
    for codec in (PNG(), PNG16()):
        data = codec.encode(depth_map, OutputSettings())
        metadata = json.dumps(read_png(data)[2])
        old = metadata.replace('meter"', 'metre"').replace("meters", "metres")
        assert old != metadata
        read, expected = codec.decode(with_metadata(data, old), "x"), codec.decode(data, "x")
        np.testing.assert_array_equal(read.meters, expected.meters)
        assert read.provenance == expected.provenance
