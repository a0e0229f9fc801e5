from __future__ import annotations

import pytest

from glpn_cli.errors import UsageError
from glpn_cli.settings import InputSize


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
