from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from glpn_cli.inference.fingerprint import changed_settings, fingerprint, previous_range
from glpn_cli.inference.manifest import DONE, FAILED, OUTDATED, Record
from glpn_cli.output.formats import find_formats
from glpn_cli.settings import InputSize, OutputSettings, Precision, PredictionSettings


def predictor(**settings: Any) -> Any:
    """Return what a fingerprint reads of a predictor."""
    prediction = PredictionSettings(**settings)
    return SimpleNamespace(
        weights_sha256="ab",
        input_size=prediction.input_size or InputSize.parse("native"),
        settings=prediction,
        sharp_edges=bool(prediction.sharp_edges),
        runtime=SimpleNamespace(precision=Precision.FLOAT32),
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


@pytest.mark.parametrize(
    ("formats", "prediction", "output", "added"),
    [
        ("png", {}, {"normalize": "minmax"}, {"normalize": "minmax"}),
        ("png", {}, {"normalize": "max"}, {}),
        ("npy", {}, {"scale": "published"}, {"scale": "published"}),
        ("color", {}, {"colormap": "grey", "legend": True}, {"colormap": "gray", "legend": "True"}),
        ("color", {}, {"range": "p2:p98", "near": "dark"}, {"range": "p2:p98", "near": "dark"}),
        ("npy", {"tta": "flip"}, {}, {"tta": "flip"}),
        ("npy", {"sharp_edges": True}, {}, {"sharp_edges": "True"}),
        ("npy", {"sharp_edges": False}, {}, {}),
        ("npy", {"tiles": "64x96", "input_size": "MODEL"}, {}, {"tiles": "64x96", "input_size": "model"}),
        ("ply", {"fov_deg": 60}, {"valid_range": ":8"}, {"camera": "fov_deg 60", "valid_range": ":8"}),
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
