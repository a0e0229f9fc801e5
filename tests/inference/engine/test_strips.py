from __future__ import annotations

import pytest

from glpn_cli.inference.engine.operations import split_rows


@pytest.mark.parametrize("budget", [1, 10, 25, 30, 99, 1000])
@pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 10), (3, 10), (7, 40)])
def test_strips_cover_the_rows_once_and_keep_to_the_budget(start: int, stop: int, budget: int) -> None:
    strips = list(split_rows(start, stop, 10, budget))
    assert [row for first, end in strips for row in range(first, end)] == list(range(start, stop))
    heights = {end - first for first, end in strips}
    assert max(heights) - min(heights) <= 1
    assert max(heights) == 1 or max(heights) * 10 <= budget


def test_there_are_no_more_strips_than_needed() -> None:
    assert list(split_rows(0, 10, 10, 100)) == [(0, 10)]
    assert list(split_rows(0, 10, 10, 99)) == [(0, 5), (5, 10)]


def test_no_rows_are_no_strips() -> None:
    assert list(split_rows(4, 4, 10, 100)) == []
