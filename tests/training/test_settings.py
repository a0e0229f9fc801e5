from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from glpn_cli.errors import UsageError
from glpn_cli.training.settings import NATIVE_CROP, TrainRun, TrainSettings, parse_crop, parse_sizes

VALID = TrainSettings(data=("a",))


@pytest.mark.parametrize(
    ("wrong", "setting"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"accumulate": 0}, "accumulate"),
        ({"seed": -1}, "seed"),
        ({"beta2": 1.0}, "beta2"),
        ({"learning_rate": 1e-5, "learning_rate_end": 1e-4}, "learning_rate_end"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"epochs": float("inf")}, "epochs"),
        ({"epochs": 0}, "epochs"),
        ({"data": ("",)}, "data"),
        ({"validation": ("",)}, "validation"),
        ({"units_per_meter": -5}, "units_per_meter"),
        ({"crop": (0.9, 0.5)}, "crop"),
        ({"crop": (0.5, 1.5)}, "crop"),
        ({"sizes": ((0, 0, 1),)}, "sizes"),
        ({"sizes": ((30, 64, 1.0),)}, "sizes"),
        ({"sizes": ((32, 64, 1), (64, 96, 0))}, "sizes"),
        ({"sizes": ((32, 64, float("nan")),)}, "sizes"),
        ({"precision": "float16"}, "precision"),
    ],
    ids=str,
)
def test_values_out_of_range_name_their_setting(wrong: dict[str, Any], setting: str) -> None:
    with pytest.raises(UsageError) as raised:
        replace(VALID, **wrong)
    assert raised.value.setting == setting


@pytest.mark.parametrize(
    "valid",
    [
        {"crop": NATIVE_CROP},
        {"crop": (0.5, 1.0)},
        {"steps": 3, "epochs": 0},
        {"sizes": ((32, 64, 0.1),)},
        {"ema": 0.999},
    ],
    ids=str,
)
def test_values_in_range_are_accepted(valid: dict[str, Any]) -> None:
    changed = replace(VALID, **valid)
    assert all(getattr(changed, name) == value for name, value in valid.items())


def test_the_lowest_rate_follows_the_peak() -> None:
    assert VALID.lowest_rate == pytest.approx(3e-5)
    assert replace(VALID, learning_rate=1e-6).lowest_rate == pytest.approx(3e-7)
    assert replace(VALID, learning_rate_end=1e-6).lowest_rate == 1e-6


def test_sizes_are_parsed_with_their_fractions() -> None:
    assert parse_sizes(["96x128=0.7", "128X192"]) == ((96, 128, 0.7), (128, 192, 1.0))
    assert parse_sizes([]) == ()


@pytest.mark.parametrize("text", ["96", "96x", "axb", "96x128=much", "0x32"])
def test_invalid_sizes_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_sizes(["32x64", text])
    assert raised.value.setting == "sizes"
    assert text in str(raised.value)


def test_crops_are_parsed() -> None:
    assert parse_crop("native") == NATIVE_CROP
    assert parse_crop("Native") == NATIVE_CROP
    assert parse_crop("0.7-1") == (0.7, 1.0)


@pytest.mark.parametrize("text", ["small", "0.7", "0.1-0.2-0.3", ""])
def test_invalid_crops_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_crop(text)
    assert raised.value.setting == "crop"


@pytest.mark.parametrize("kind", [TrainSettings, TrainRun])
def test_every_field_is_documented(kind: type) -> None:
    lines = str(kind.__doc__).splitlines()
    for item in fields(kind):
        assert any(line.strip().startswith(f"{item.name}: ") for line in lines), item.name
