from __future__ import annotations

import inspect
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from glpn_cli import settings as module
from glpn_cli.benchmark.settings import BenchSettings
from glpn_cli.convert import Settings, closest_hint, convert, field_types
from glpn_cli.data.settings import DataSettings, EvaluationSettings
from glpn_cli.errors import UsageError
from glpn_cli.settings import (
    CameraSettings,
    ExportSettings,
    LoggingSettings,
    OutputSettings,
    PredictionSettings,
    RunSettings,
    SearchSettings,
)
from glpn_cli.values import (
    AUTO_RANGE,
    Colormap,
    DepthRange,
    InputSize,
    Normalize,
    Precision,
    RangeMode,
    Scale,
    SizeMode,
    TileMode,
    Tiles,
    Tta,
    ValidRange,
)

CLASSES = [
    kind
    for kind in vars(module).values()
    if inspect.isclass(kind) and issubclass(kind, Settings) and kind is not Settings
]
REQUIRED: dict[type, dict[str, str]] = {DataSettings: {"data": "nyu"}}


def make(kind: type, **values: Any) -> Any:
    return kind(**(REQUIRED.get(kind, {}) | values))


def refused(kind: type, **values: Any) -> UsageError:
    with pytest.raises(UsageError) as caught:
        make(kind, **values)
    return caught.value


# Conversion


@pytest.mark.parametrize(
    ("kind", "name", "text", "value"),
    [
        (OutputSettings, "colormap", "MAGMA", Colormap.MAGMA),
        (OutputSettings, "normalize", "minmax", Normalize.MINMAX),
        (OutputSettings, "range", "0:10", DepthRange(RangeMode.FIXED, 0, 10, "0:10")),
        (OutputSettings, "valid_range", ":8", ValidRange(None, 8)),
        (OutputSettings, "edge_filter", "0.25", 0.25),
        (OutputSettings, "png_compression", "9", 9),
        (OutputSettings, "range_m", ["0", 5], (0.0, 5.0)),
        (PredictionSettings, "input_size", "64x96", InputSize(SizeMode.FIXED, 64, 96)),
        (PredictionSettings, "tiles", "Auto", Tiles(TileMode.AUTO)),
        (PredictionSettings, "tta", "flip", Tta.FLIP),
        (PredictionSettings, "precision", "Float16", Precision.FLOAT16),
        (PredictionSettings, "fov_deg", "70", 70.0),
        (PredictionSettings, "weights", Path("a/b"), str(Path("a/b"))),
        (SearchSettings, "include", "*.jpg", ("*.jpg",)),
        (SearchSettings, "include", ["*.jpg", "*.png"], ("*.jpg", "*.png")),
        (RunSettings, "workers", "3", 3),
        (BenchSettings, "precisions", ["float32", "tf32"], (Precision.FLOAT32, Precision.TF32)),
        (BenchSettings, "sizes", "64x96", ("64x96",)),
    ],
)
def test_text_is_converted(kind: type, name: str, text: Any, value: Any) -> None:
    assert getattr(make(kind, **{name: text}), name) == value


@pytest.mark.parametrize(
    "value", [3, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3), "3"], ids=lambda value: type(value).__name__
)
def test_numbers_of_numpy_and_torch_are_whole_numbers(value: Any) -> None:
    workers = RunSettings(workers=value).workers
    assert (workers, type(workers)) == (3, int)


@pytest.mark.parametrize(
    "value", [2, 2.0, np.float32(2), np.float64(2), np.int16(2), torch.tensor(2.0), Fraction(2), "2"]
)
def test_numbers_of_numpy_and_torch_are_floats(value: Any) -> None:
    fov_deg = PredictionSettings(fov_deg=value).fov_deg
    assert (fov_deg, type(fov_deg)) == (2.0, float)


@pytest.mark.parametrize("value", [True, np.True_, 3.0, np.float32(3.5), np.float64(3), "3.0", "x", "", b"3", [3]])
def test_other_values_are_not_whole_numbers(value: Any) -> None:
    assert refused(RunSettings, workers=value).setting == "workers"


@pytest.mark.parametrize("value", [True, np.False_, float("nan"), "inf", "x", "", [3.0], 10**400, None])
def test_other_values_are_not_finite_numbers(value: Any) -> None:
    assert refused(OutputSettings, edge_filter=value).setting == "edge_filter"


@pytest.mark.parametrize("value", [0, 1, "true", "", None, 1.0])
def test_only_booleans_are_booleans(value: Any) -> None:
    assert refused(OutputSettings, legend=value).setting == "legend"


def test_booleans_of_numpy_are_booleans() -> None:
    assert OutputSettings(legend=np.True_).legend is True


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (OutputSettings, "colormap", 3),
        (OutputSettings, "scale", None),
        (OutputSettings, "range", (0, 3)),
        (OutputSettings, "range_m", (0, 3, 5)),
        (OutputSettings, "range_m", 3),
        (OutputSettings, "range_m", (0, "x")),
        (PredictionSettings, "weights", 3),
        (PredictionSettings, "weights", None),
        (PredictionSettings, "weights", ""),
        (PredictionSettings, "weights", b"tiny"),
        (PredictionSettings, "device", 0),
        (PredictionSettings, "tiles", "huge"),
        (SearchSettings, "include", [3]),
        (DataSettings, "data", ""),
        (BenchSettings, "sizes", "0x3"),
        (BenchSettings, "sizes", "70000x32"),
        (BenchSettings, "sizes", "40000x40000"),
        (BenchSettings, "precisions", ["int8"]),
        (LoggingSettings, "color", "sometimes"),
    ],
)
def test_values_of_the_wrong_kind_name_the_setting(kind: type, name: str, value: Any) -> None:
    assert refused(kind, **{name: value}).setting == name


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_field_is_checked_and_defaults_are_valid(kind: type) -> None:
    defaults = vars(make(kind))
    assert make(kind, **defaults) == make(kind)
    assert defaults.keys() == field_types(kind).keys()
    for name in defaults:
        assert refused(kind, **{name: object()}).setting == name


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [(kind, name, end) for kind in CLASSES for name, ends in kind.LIMITS.items() for end in ends if end < 10**9],
)
def test_limits_are_allowed_and_no_more(kind: type, name: str, value: float) -> None:
    assert getattr(make(kind, **{name: value}), name) == value
    below, above = kind.LIMITS[name]  # type: ignore[attr-defined]
    outside = value - (1 if value == below else -1)
    error = refused(kind, **{name: outside})
    assert error.setting == name
    assert f"{below:g}" in str(error)
    assert str(outside) in str(error)
    assert above >= below


def test_the_closest_name_is_in_the_hint() -> None:
    error = refused(OutputSettings, colormap="trubo")
    assert error.setting == "colormap"
    assert "'turbo'" in str(error.hint)
    assert "batlow" in str(error)
    assert refused(OutputSettings, colormap="zzz").hint is None
    assert closest_hint("PNG61", ["png16", "npy"]) == "did you mean 'png16'?"


def test_convert_checks_values_without_building_settings() -> None:
    assert convert(OutputSettings, {"colormap": "gray", "legend": True}) == {
        "colormap": Colormap.GRAY,
        "legend": True,
    }
    with pytest.raises(UsageError, match="png_compression"):
        convert(OutputSettings, {"png_compression": 10})


def test_british_values_of_version_0_1_are_accepted() -> None:
    settings = OutputSettings(colormap="grey", scale="metres")  # type: ignore[arg-type]
    assert (settings.colormap, settings.scale) == (Colormap.GRAY, Scale.METERS)
    with pytest.raises(ValueError, match="feet"):
        Scale("feet")


# Settings that exclude each other


@pytest.mark.parametrize(
    ("kind", "values", "named"),
    [
        (OutputSettings, {"range": "0:3", "normalize": "max"}, ("`range`", "`normalize`")),
        (OutputSettings, {"curve": "log", "normalize": "max"}, ("`normalize='max'`", "log")),
        (PredictionSettings, {"fov_deg": 60, "focal_px": 500}, ("`fov_deg`", "`focal_px`")),
        (CameraSettings, {"focal_mm_35": 28, "focal_px": 500}, ("`focal_mm_35`", "`focal_px`")),
        (ExportSettings, {"precision": "tf32"}, ("`precision`", "tf32")),
        (ExportSettings, {"precision": "bfloat16"}, ("`precision`", "bfloat16")),
    ],
)
def test_conflicts_name_the_settings(kind: type, values: dict[str, Any], named: tuple[str, ...]) -> None:
    assert all(name in str(refused(kind, **values)) for name in named)


@pytest.mark.parametrize(
    ("name", "value"), [("fov_deg", 0), ("fov_deg", 180), ("focal_px", 0), ("focal_px", -1), ("focal_mm_35", 0)]
)
def test_cameras_that_cannot_be_are_refused(name: str, value: float) -> None:
    assert refused(PredictionSettings, **{name: value}).setting == name


def test_camera_settings_as_text() -> None:
    assert str(PredictionSettings().camera_settings) == "of each image"
    assert str(PredictionSettings(fov_deg=60).camera_settings) == "fov_deg 60"


def test_changed_settings_are_those_that_affect_files() -> None:
    assert OutputSettings().changed() == {}
    settings = OutputSettings(png_compression=9, range_m=(0, 3), legend=True, range="p2:p98")  # type: ignore[arg-type]
    assert settings.changed() == {"legend": "True", "range": "p2:p98"}
    assert OutputSettings(curve="Log", colormap="turbo").changed() == {"curve": "log", "colormap": "turbo"}  # type: ignore[arg-type]


def test_worker_count_has_a_default() -> None:
    assert 1 <= RunSettings().worker_count <= 4
    assert RunSettings(workers=9).worker_count == 9


def test_evaluation_settings_are_converted() -> None:
    settings = EvaluationSettings(crop="Garg", cap_m="80", align="least-squares")  # type: ignore[arg-type]
    assert (str(settings.crop), settings.cap_m, str(settings.align)) == ("garg", 80.0, "least-squares")


# Sizes and ranges


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("native", InputSize(SizeMode.NATIVE)),
        ("model", InputSize(SizeMode.MODEL)),
        ("480x640", InputSize(SizeMode.FIXED, 480, 640)),
        ("32X64", InputSize(SizeMode.FIXED, 32, 64)),
    ],
)
def test_input_sizes(text: str, size: InputSize) -> None:
    assert InputSize.parse(text) == size
    assert str(size) == text.lower()


@pytest.mark.parametrize(("text", "tiles"), [("off", Tiles()), ("64x96", Tiles(TileMode.FIXED, 64, 96))])
def test_tiles(text: str, tiles: Tiles) -> None:
    assert Tiles.parse(text) == tiles
    assert str(tiles) == text
    assert tiles.is_on is (text != "off")


@pytest.mark.parametrize(
    "text", ["", "x", "480", "480x", "480x640x3", "-32x64", "large", "0x64", "4 80x640", "\u0663\u0662x32a"]
)
@pytest.mark.parametrize(("parse", "name"), [(InputSize.parse, "input_size"), (Tiles.parse, "tiles")])
def test_invalid_sizes_are_usage_errors(text: str, parse: Any, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert caught.value.setting == name


@pytest.mark.parametrize(("text", "nearest"), [("100x100", "96x96"), ("1080x1920", "1088x1920"), ("1x5", "32x32")])
def test_sides_must_be_multiples_of_32(text: str, nearest: str) -> None:
    with pytest.raises(UsageError) as caught:
        InputSize.parse(text)
    assert nearest in str(caught.value.hint)


def test_export_sizes() -> None:
    assert ExportSettings().size_for((100, 20)) == (96, 32)
    assert ExportSettings(size="dynamic").size_for((96, 128)) is None
    assert ExportSettings(size="64x96").size_for((96, 128)) == (64, 96)
    assert "96x96" in str(refused(ExportSettings, size="100x100").hint)
    assert refused(ExportSettings, size="large").setting == "size"


@pytest.mark.parametrize(
    ("text", "mode", "ends"),
    [
        ("0:10", "fixed", (0, 10)),
        ("0.5:80", "fixed", (0.5, 80)),
        ("p2:p98", "percentiles", (2, 98)),
        ("auto", "percentiles", (1, 99)),
        ("model", "model", (0, 0)),
        ("run", "run", (0, 0)),
    ],
)
def test_ranges(text: str, mode: str, ends: tuple[float, float]) -> None:
    parsed = DepthRange.parse(text)
    assert (parsed.mode, (parsed.low, parsed.high), str(parsed)) == (mode, ends, text)
    assert DepthRange.parse(text.upper()) == parsed


def test_a_range_without_text_is_written_as_one() -> None:
    for text in ("0:10", "p2:p98", "model", "run"):
        parsed = DepthRange.parse(text)
        assert str(DepthRange(parsed.mode, parsed.low, parsed.high)) == text
    assert DepthRange.parse(AUTO_RANGE).low == DepthRange.parse("auto").low


@pytest.mark.parametrize(
    "text", ["", "3", "3:", ":3", "5:2", "2:2", "-1:3", "p5:20", "5:p20", "p2:p101", "nan:3", "0:inf", "1:2:3", "all"]
)
def test_invalid_ranges_are_usage_errors(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        OutputSettings(range=text)  # type: ignore[arg-type]
    assert caught.value.setting == "range"


@pytest.mark.parametrize(
    ("text", "ends", "again"),
    [
        ("0.5:8", (0.5, 8.0), "0.5:8"),
        (":8", (None, 8.0), ":8"),
        ("0.5:", (0.5, None), "0.5:"),
        (" 1 : ", (1.0, None), "1:"),
    ],
)
def test_valid_ranges(text: str, ends: tuple[float | None, float | None], again: str) -> None:
    parsed = ValidRange.parse(text)
    assert ((parsed.near_m, parsed.far_m), str(parsed)) == (ends, again)


@pytest.mark.parametrize("text", ["", ":", "3", "5:2", "2:2", "-1:3", "nan:3", "0:inf", "x:3", "1:2:3"])
def test_invalid_valid_ranges_are_usage_errors(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        OutputSettings(valid_range=text)  # type: ignore[arg-type]
    assert caught.value.setting == "valid_range"
