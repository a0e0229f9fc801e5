from __future__ import annotations

import io

import pytest

from glpn_cli.files import read_bounded


class Watched(io.BytesIO):
    """Notes how much it is asked for at once."""

    asked = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        self.asked = max(self.asked, size)
        return super().read(size)


@pytest.mark.parametrize("length", [0, 1, 2**20, 3 * 2**20 + 5])
def test_all_is_read_if_it_is_not_too_much(length: int) -> None:
    stream = Watched(bytes(length))
    assert read_bounded(stream, 2**40) == bytes(length)
    assert stream.asked <= 2**20


def test_what_is_too_long_is_given_up_as_soon_as_that_is_known() -> None:
    assert read_bounded(io.BytesIO(bytes(10)), 10) == bytes(10)
    endless = io.BytesIO(bytes(2**23))
    assert read_bounded(endless, 10) is None
    assert endless.tell() == 11
