from __future__ import annotations

import numpy as np
import pytest

from glpn_cli.depth import DepthMap
from glpn_cli.output.color import measure_range, thin_out
from glpn_cli.settings import DepthRange


def depth(*meters: float, shape: tuple[int, int] = (1, -1)) -> DepthMap:
    return DepthMap(np.array(meters, np.float32).reshape(shape))


def test_percentiles_leave_unknown_depth_out() -> None:
    asked = DepthRange.parse("p0:p100")
    assert measure_range([depth(0, np.nan, 2, 5, np.inf)], asked) == (2, 5)
    assert measure_range([depth(0, 0)], asked) == (0, 1)


def test_every_image_counts_the_same_whatever_its_size() -> None:
    large, small = DepthMap(np.full((900, 900), 2, np.float32)), DepthMap(np.full((300, 300), 8, np.float32))
    low, high = measure_range([large, small], DepthRange.parse("p40:p60"))
    assert (low, high) == (2, 8)


def test_a_flat_range_still_has_two_ends() -> None:
    low, high = measure_range([depth(5, 5)], DepthRange.parse("auto"))
    assert low == 5 < high < 5.1


@pytest.mark.parametrize("shape", [(1, 1), (1, 1_000_000), (70, 3), (1000, 1500)])
def test_thinning_out_keeps_something_of_every_shape(shape: tuple[int, int]) -> None:
    thinned = thin_out(DepthMap(np.ones(shape, np.float32)))
    assert 1 <= thinned.meters.size <= 1_000_000
    assert thinned.meters.size <= 200_000 or 1 in shape
