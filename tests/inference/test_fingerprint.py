from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from glpn_cli.geometry.calibration import Calibration
from glpn_cli.inference.fingerprint import RANGE_M, changed_settings, fingerprint, previous_range
from glpn_cli.inference.record import DONE, FAILED, OUTDATED, Record
from glpn_cli.output.formats import find_formats
from glpn_cli.settings import OutputSettings, PredictionSettings
from glpn_cli.values import InputSize, Precision


def predictor(**settings: Any) -> Any:
    """Return what a fingerprint reads of a predictor."""
    prediction = PredictionSettings(**settings)
    return SimpleNamespace(
        weights_sha256="ab",
        config_sha256=None,
        input_size=prediction.input_size or InputSize.parse("native"),
        settings=prediction,
        sharp_edges=bool(prediction.sharp_edges),
        runtime=SimpleNamespace(precision=Precision.FLOAT32),
        calibration=Calibration("c.yaml", (400.0, 410.0)) if prediction.camera else None,
        card=SimpleNamespace(depth_limit_m=10.0, canonical_depth=False),
    )


def values(formats: str = "npy", prediction: dict[str, Any] | None = None, **output: Any) -> dict[str, Any]:
    return fingerprint(find_formats(formats), OutputSettings(**output), predictor(**(prediction or {})))


DEFAULT = {
    "format": ["npy"],
    "normalize": "max",
    "scale": "meters",
    "weights_sha256": "ab",
    "input_size": "native",
    "tiles": "off",
    "precision": "float32",
}


def test_defaults() -> None:
    assert values() == DEFAULT
    assert values("npy,ply") == DEFAULT | {"format": ["npy", "ply"], "camera": "of each image"}


def test_the_camera_counts_for_canonical_depth() -> None:
    canonical = predictor(fov_deg=50)
    canonical.card.canonical_depth = True
    ours = fingerprint(find_formats("npy"), OutputSettings(), canonical)
    assert "50" in ours["camera"]
    assert "camera" not in values(prediction={"fov_deg": 50})


def test_another_configuration_than_that_of_the_file_counts() -> None:
    other = predictor()
    other.config_sha256 = "cd"
    assert fingerprint(find_formats("npy"), OutputSettings(), other) == DEFAULT | {"config_sha256": "cd"}


@pytest.mark.parametrize(
    ("formats", "prediction", "output", "added"),
    [
        ("png", {}, {"normalize": "minmax"}, {"normalize": "minmax"}),
        ("png", {}, {"normalize": "max"}, {}),
        ("npy", {}, {"scale": "published"}, {"scale": "published"}),
        ("color", {}, {}, {"curve": "inverse"}),
        ("color", {}, {"curve": "inverse", "colormap": "turbo"}, {"curve": "inverse"}),
        ("color", {}, {"colormap": "grey", "legend": True}, {"colormap": "gray", "legend": "True", "curve": "inverse"}),
        ("color", {}, {"range": "p2:p98", "near": "dark"}, {"range": "p2:p98", "near": "dark", "curve": "inverse"}),
        ("png", {}, {"range": "0:3"}, {"range": "0:3", "curve": "linear"}),
        ("png", {}, {"curve": "log"}, {"curve": "log"}),
        ("npy", {"tta": "flip"}, {}, {"tta": "flip"}),
        ("npy", {"sharp_edges": True}, {}, {"sharp_edges": "True"}),
        ("npy", {"sharp_edges": False}, {}, {}),
        ("npy", {"tiles": "64x96", "input_size": "MODEL"}, {}, {"tiles": "64x96", "input_size": "model"}),
        ("ply", {"fov_deg": 60}, {"valid_range": ":8"}, {"camera": "fov_deg 60", "valid_range": ":8"}),
        ("glb", {"camera": "c.yaml"}, {"max_points": 5}, {"camera": "file: 400 410", "max_points": "5"}),
        ("ply", {}, {"axes": "opencv"}, {"camera": "of each image", "axes": "opencv"}),
        ("png16", {}, {}, {}),
        ("png16", {}, {"png16_scale": 256}, {"png16_scale": "256"}),
    ],
)
def test_settings_that_affect_the_content(
    formats: str, prediction: dict[str, Any], output: dict[str, Any], added: dict[str, str]
) -> None:
    assert values(formats, prediction, **output) == DEFAULT | {"format": [formats]} | added


@pytest.mark.parametrize(
    ("prediction", "output"),
    [
        ({"threads": 3, "max_pixels": 9, "keep_rgb": True, "offline": True}, {}),
        ({"fov_deg": 60}, {}),  # no format uses the camera
        ({}, {"png_compression": 9, "range_m": (0, 3)}),
    ],
)
def test_settings_that_do_not_affect_the_content(prediction: dict[str, Any], output: dict[str, Any]) -> None:
    assert values("npy", prediction, **output) == DEFAULT


@pytest.mark.parametrize(("limit_m", "scale_of_then"), [(10.0, 1000), (65.0, 1000), (80.0, 256), (None, 256)])
def test_png16_of_version_0_1_resumes_only_with_its_scale(limit_m: float | None, scale_of_then: int) -> None:
    """Version 0.1 chose the scale by the depth limit and did not record it."""
    before = Record("a", DONE, settings=DEFAULT | {"format": ["png16"]})
    for scale in (1000, 256):
        network = predictor()
        network.card.depth_limit_m = limit_m
        now = fingerprint(find_formats("png16"), OutputSettings(png16_scale=scale), network)
        assert bool(changed_settings([before], now)) == (scale != scale_of_then)


def test_changes_are_named() -> None:
    record = Record("a", DONE, settings=DEFAULT | {"range_m": [0.0, 3.0], "legend": "True"})
    assert changed_settings([record], DEFAULT | {"legend": "True", "range_m": [1.0, 2.0]}) == ""
    text = changed_settings([record], DEFAULT | {"tiles": "auto"})
    assert all(part in text for part in ("`tiles`", "off", "auto", "`legend`", "True"))
    assert "range_m" not in text


@pytest.mark.parametrize("status", [FAILED, OUTDATED])
def test_only_done_images_have_settings_to_compare(status: str) -> None:
    record = Record("a", status, settings={"tiles": "auto", "range_m": [0.0, 3.0]})
    assert changed_settings([record], DEFAULT) == ""
    assert previous_range([record]) is None


def test_previous_range_is_that_of_done_images() -> None:
    records = [Record("a", DONE, settings={"range_m": None}), Record("b", DONE, settings={"range_m": [0.5, 3]})]
    assert previous_range(records) == (0.5, 3.0)
    assert previous_range(records[:1]) is None


COLOR = DEFAULT | {"format": ["color"]}


@pytest.mark.parametrize(
    ("recorded", "now", "changed"),
    [
        ({"range_m": [0.0, 9.0]}, {}, ("curve", "range")),
        ({"range_m": [0.0, 9.0]}, {"curve": "linear", "range": "run"}, ()),
        ({"range_m": [0.0, 9.0], "range": "p2:p98"}, {"curve": "linear", "range": "run"}, ()),
        ({"range_m": [0.0, 9.0], "range": "p2:p98"}, {"range": "p2:p98"}, ("curve", "range")),
        ({"range_m": [0.0, 9.0], "range": "0:9"}, {"curve": "linear", "range": "0:9"}, ()),
        ({"range_m": [0.0, 9.0], "range": "0:9"}, {"range": "0:9"}, ("curve",)),
        ({"range_m": [0.0, 80.0], "range": "model"}, {"curve": "linear", "range": "model"}, ()),
        ({"range_m": [0.0, 9.0], "curve": "inverse"}, {"range_m": (1, 3)}, ()),
    ],
)
def test_settings_from_before_the_curve_are_compared_by_their_meaning(
    recorded: dict[str, Any], now: dict[str, Any], changed: tuple[str, ...]
) -> None:
    """Earlier versions had linear colors and one range for all images, also in percentiles."""
    text = changed_settings([Record("a", DONE, settings=COLOR | recorded)], values("color", **now))
    assert {name for name in ("curve", "range", "range_m") if f"`{name}`" in text} == set(changed)
    assert bool(text) == bool(changed)


@pytest.mark.parametrize(
    "ends", [["a", 2], [1, None], [10**400, 1], [float("nan"), 2], [2, 1], [-1, 2], [1, float("inf")]]
)
def test_a_range_of_an_altered_manifest_is_ignored(ends: list[Any]) -> None:
    assert previous_range([Record("a", DONE, settings={RANGE_M: ends})]) is None
