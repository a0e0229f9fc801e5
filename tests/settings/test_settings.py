from __future__ import annotations

import pytest

from glpn_cli.errors import UsageError
from glpn_cli.settings import DepthRange, InputSize


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("native", InputSize("native")),
        ("model", InputSize("model")),
        ("480x640", InputSize("fixed", 480, 640)),
        ("32X64", InputSize("fixed", 32, 64)),
    ],
)
def test_an_input_size_is_read_as_users_write_it(text: str, size: InputSize) -> None:
    assert InputSize.parse(text) == size


@pytest.mark.parametrize(
    "text", ["", "x", "480", "480x", "480x640x3", "-32x64", "large", "0x64", "4 80x640", "\u0663\u0662x32a"]
)
def test_what_is_no_input_size_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        InputSize.parse(text)


@pytest.mark.parametrize(("text", "nearest"), [("100x100", "96x96"), ("1080x1920", "1088x1920")])
def test_sides_that_the_network_cannot_take_are_answered_with_the_nearest(text: str, nearest: str) -> None:
    with pytest.raises(UsageError) as caught:
        InputSize.parse(text)
    assert nearest in str(caught.value.hint)


@pytest.mark.parametrize(
    ("text", "mode", "ends"),
    [
        ("0:10", "fixed", (0, 10)),
        ("0.5:80", "fixed", (0.5, 80)),
        ("p2:p98", "percentiles", (2, 98)),
        ("auto", "percentiles", (1, 99)),
        ("model", "model", (0, 0)),
    ],
)
def test_a_range_is_read_as_users_write_it(text: str, mode: str, ends: tuple[float, float]) -> None:
    parsed = DepthRange.parse(text)
    assert (parsed.mode, (parsed.low, parsed.high), str(parsed)) == (mode, ends, text)


@pytest.mark.parametrize(
    "text", ["", "3", "3:", ":3", "5:2", "2:2", "-1:3", "p5:20", "5:p20", "p2:p101", "nan:3", "0:inf", "1:2:3", "all"]
)
def test_what_is_no_range_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="--range"):
        DepthRange.parse(text)
