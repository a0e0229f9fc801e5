"""Maps in strips of whole rows, so that temporaries stay small."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["split_rows"]


def split_rows(start: int, stop: int, row_bytes: int, budget_bytes: int) -> Iterator[tuple[int, int]]:
    """Split rows `start` to `stop` into strips as equal as can be, none larger than the budget or else one row.

    Args:
        start: the first row.
        stop: the row after the last.
        row_bytes: what one row takes.
        budget_bytes: what a strip may take.

    Yields:
        (first row, row after the last) of each strip, from the top.
    """
    rows = stop - start
    if rows <= 0:
        return
    strips = -(-rows // max(1, budget_bytes // row_bytes))
    for index in range(strips):
        yield start + rows * index // strips, start + rows * (index + 1) // strips
