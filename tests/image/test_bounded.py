from __future__ import annotations

import io

import pytest

from glpn_cli.files import read_bounded


class RecordingStream(io.BytesIO):
    """Records the largest number of bytes requested at once."""

    largest_read = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        self.largest_read = max(self.largest_read, size)
        return super().read(size)


@pytest.mark.parametrize("length", [0, 1, 2**20, 3 * 2**20 + 5])
def test_stream_within_the_limit_is_read_in_chunks(length: int) -> None:
    stream = RecordingStream(bytes(length))
    assert read_bounded(stream, 2**40) == bytes(length)
    assert stream.largest_read <= 2**20


def test_reading_stops_one_byte_after_the_limit() -> None:
    assert read_bounded(io.BytesIO(bytes(10)), 10) == bytes(10)
    endless = io.BytesIO(bytes(2**23))
    assert read_bounded(endless, 10) is None
    assert endless.tell() == 11
