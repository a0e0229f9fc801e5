"""Pixels and boxes, and the depth in them."""

from __future__ import annotations

import numpy as np
import pytest

from glpn_cli.depth import DepthMap
from glpn_cli.errors import UsageError
from glpn_cli.geometry.measure import Measurement, Region, measure

DEPTH = DepthMap(np.arange(1, 101, dtype=np.float32).reshape(10, 10))


def test_a_pixel_is_the_column_first_and_the_row_then() -> None:
    assert measure(DEPTH, Region.at("3,7")) == Measurement(74, 74, 74, 1, 1)


def test_a_box_ends_before_its_last_column_and_row() -> None:
    assert measure(DEPTH, Region.within("0,0,10,10")).pixels == 100
    row = measure(DEPTH, Region.within("2,5,5,6"))
    assert (row.pixels, row.median_m) == (3, 54)
    assert measure(DEPTH, Region.within("3,7,4,8")) == measure(DEPTH, Region.at("3,7"))


def test_the_whole_image_has_its_quantiles() -> None:
    whole = measure(DEPTH, Region("all"))
    assert (whole.p10_m, whole.median_m, whole.p90_m) == pytest.approx((10.9, 50.5, 90.1))
    assert (whole.pixels, whole.known) == (100, 100)


def test_unknown_depth_does_not_count() -> None:
    meters = DEPTH.meters.copy()
    meters[0, :4] = [0, np.nan, np.inf, 4]
    depth = DepthMap(meters)
    assert measure(depth, Region.within("0,0,4,1")) == Measurement(4, 4, 4, 4, 1)
    assert measure(depth, Region.at("0,0")) == Measurement(None, None, None, 1, 0)


@pytest.mark.parametrize("box", ["0,0,11,1", "0,0,1,11", "20,20,30,30"])
def test_a_box_beyond_the_image_is_refused(box: str) -> None:
    with pytest.raises(UsageError, match="10 wide and 10 high"):
        measure(DEPTH, Region.within(box))
    with pytest.raises(UsageError, match="10 wide and 10 high"):
        measure(DEPTH, Region.at("10,0"))


@pytest.mark.parametrize("box", ["", "1,2", "1,2,3", "3,3,3,4", "4,0,3,1", "0,0,1,1,1", "a,b,c,d", "0,0,-1,1"])
def test_a_box_without_pixels_is_refused(box: str) -> None:
    with pytest.raises(UsageError, match="--box"):
        Region.within(box)
