"""Regions, measurements and anchors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from glpn_cli.depth import Camera, DepthMap, Provenance
from glpn_cli.errors import UsageError
from glpn_cli.geometry.measure import Anchor, Measurement, Region, anchor_depth, measure, measure_distance

DEPTH = DepthMap(np.arange(1, 101, dtype=np.float32).reshape(10, 10))


# Regions


def test_pixel_is_column_and_row() -> None:
    assert measure(DEPTH, Region.at("3,7")) == Measurement(74, 74, 74, 1, 1)


def test_box_excludes_its_end() -> None:
    assert measure(DEPTH, Region.within("0,0,10,10")).pixels == 100
    row = measure(DEPTH, Region.within("2,5,5,6"))
    assert (row.pixels, row.median_m) == (3, 54)
    assert measure(DEPTH, Region.within("3,7,4,8")) == measure(DEPTH, Region.at("3,7"))


def test_percentiles_of_the_whole_image() -> None:
    whole = measure(DEPTH, Region("all"))
    assert (whole.p10_m, whole.median_m, whole.p90_m) == pytest.approx((10.9, 50.5, 90.1))
    assert (whole.pixels, whole.known) == (100, 100)


def test_unknown_depth_is_ignored() -> None:
    meters = DEPTH.meters.copy()
    meters[0, :4] = [0, np.nan, np.inf, 4]
    depth = DepthMap(meters)
    assert measure(depth, Region.within("0,0,4,1")) == Measurement(4, 4, 4, 4, 1)
    assert measure(depth, Region.at("0,0")) == Measurement(None, None, None, 1, 0)


@pytest.mark.parametrize("box", ["0,0,11,1", "0,0,1,11", "20,20,30,30"])
def test_regions_outside_the_image_are_refused(box: str) -> None:
    with pytest.raises(UsageError, match="10 wide and 10 high"):
        measure(DEPTH, Region.within(box))
    with pytest.raises(UsageError, match="10 wide and 10 high"):
        measure(DEPTH, Region.at("10,0"))


@pytest.mark.parametrize("box", ["", "1,2", "1,2,3", "3,3,3,4", "4,0,3,1", "0,0,1,1,1", "a,b,c,d", "0,0,-1,1"])
def test_invalid_boxes_are_refused(box: str) -> None:
    with pytest.raises(UsageError) as caught:
        Region.within(box)
    assert caught.value.setting == "box"


@pytest.mark.parametrize("pixel", ["", "1", "1,2,3", "a,b", "-1,2", "1.5,2"])
def test_invalid_pixels_are_refused(pixel: str) -> None:
    with pytest.raises(UsageError) as caught:
        Region.at(pixel)
    assert caught.value.setting == "at"


def test_uncertainty_is_the_median_over_known_depth() -> None:
    meters = np.array([[1, 2, 0]], np.float32)
    depth = DepthMap(meters, uncertainty_m=np.array([[0.1, 0.3, 9]], np.float32))
    assert measure(depth, Region("all")).uncertainty_m == pytest.approx(0.2)


# Anchors


def test_single_anchor_is_matched_exactly(depth_map: DepthMap) -> None:
    anchored = anchor_depth(depth_map, [Anchor(7, 3, 2.4)])
    assert anchored.meters[3, 7] == pytest.approx(2.4)
    np.testing.assert_allclose(anchored.meters / depth_map.meters, 2.4 / depth_map.meters[3, 7], rtol=1e-5)
    assert anchored.meters.dtype == np.float32


def test_provenance_records_factor_and_anchors(depth_map: DepthMap) -> None:
    anchored = anchor_depth(depth_map, [Anchor(7, 3, 2.4)])
    provenance = anchored.provenance
    factor = 2.4 / float(depth_map.meters[3, 7])
    assert provenance.metric == "anchored"
    assert provenance.anchor_factor == pytest.approx(factor)
    assert provenance.depth_limit_m == pytest.approx(80 * factor)
    assert provenance.meters_per_unit == pytest.approx(factor)
    (anchor,) = provenance.anchors
    assert (anchor["x"], anchor["y"], anchor["known_m"]) == (7, 3, 2.4)
    assert anchor["predicted_m"] == pytest.approx(depth_map.meters[3, 7])
    assert anchor["residual_m"] == pytest.approx(0, abs=1e-6)
    assert Provenance.from_dict(provenance.to_dict()) == provenance


def test_two_anchors_share_the_residual(depth_map: DepthMap) -> None:
    at = [float(depth_map.meters[2, 2]), float(depth_map.meters[17, 20])]
    anchored = anchor_depth(depth_map, [Anchor(2, 2, at[0] * 2.0), Anchor(20, 17, at[1] * 2.1)])
    assert anchored.provenance.anchor_factor == pytest.approx((2.0 * 2.1) ** 0.5)
    first, second = anchored.provenance.anchors
    assert first["residual_m"] > 0 > second["residual_m"]


def test_outlier_has_little_effect(depth_map: DepthMap) -> None:
    pixels = [(2, 2), (10, 5), (20, 10), (25, 17)]
    correct = [Anchor(x, y, float(depth_map.meters[y, x]) * 1.5) for x, y in pixels]
    wrong = Anchor(5, 15, float(depth_map.meters[15, 5]) * 15)
    factor = anchor_depth(depth_map, [*correct, wrong]).provenance.anchor_factor
    assert factor == pytest.approx(1.5, rel=0.03)
    assert factor != pytest.approx(1.5, rel=1e-4), "it still has some effect"


def test_factors_of_repeated_anchoring_multiply(depth_map: DepthMap) -> None:
    once = anchor_depth(depth_map, [Anchor(7, 3, 2.4)])
    twice = anchor_depth(once, [Anchor(7, 3, 4.8)])
    assert twice.provenance.anchor_factor == pytest.approx(2 * (once.provenance.anchor_factor or 0))


def test_uncertainty_is_scaled(depth_map: DepthMap) -> None:
    unsure = replace(depth_map, uncertainty_m=depth_map.meters / np.float32(10))
    anchored = anchor_depth(unsure, [Anchor(7, 3, 2.4)])
    assert anchored.uncertainty_m is not None
    np.testing.assert_allclose(anchored.uncertainty_m, anchored.meters / 10, rtol=1e-5)


def test_without_anchors_nothing_changes(depth_map: DepthMap) -> None:
    assert anchor_depth(depth_map, []) is depth_map


def test_anchors_need_known_depth_in_the_image(depth_map: DepthMap) -> None:
    with pytest.raises(UsageError, match=r"`anchor`: 30,3.*30 wide and 20 high"):
        anchor_depth(depth_map, [Anchor(30, 3, 2.4)])
    depth_map.meters[3, 7] = 0
    with pytest.raises(UsageError, match=r"`anchor`: 7,3"):
        anchor_depth(depth_map, [Anchor(7, 3, 2.4)])


def test_anchor_is_parsed() -> None:
    assert Anchor.parse("320,240=2.4") == Anchor(320, 240, 2.4)
    assert Anchor.parse(" 320 , 240 = 2.4 ") == Anchor(320, 240, 2.4)


@pytest.mark.parametrize(
    "text", ["", "3,4", "3,4=", "3=2", "3,4,5=2", "3.5,4=2", "-1,4=2", "3,4=0", "3,4=-2", "3,4=nan"]
)
def test_invalid_anchors_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Anchor.parse(text)
    assert caught.value.setting == "anchor"
    assert text in caught.value.message


# As Python users write them


def test_pixels_and_boxes_may_be_numbers() -> None:
    assert Region.at((3, 7)) == Region.at("3,7")
    assert Region.at(np.array([3, 7])) == Region.at("3,7")  # type: ignore[arg-type]
    assert Region.within((2, 5, 5, 6)) == Region.within("2,5,5,6")
    assert Anchor.of((3, 7, 2.5)) == Anchor.of("3,7=2.5") == Anchor.of(Anchor(3, 7, 2.5))


@pytest.mark.parametrize("pixel", [(1,), (1, 2, 3), (1.5, 2), (None, 1), 7, ("1", "2")])
def test_values_that_are_no_pixel_are_refused(pixel: Any) -> None:
    with pytest.raises(UsageError) as caught:
        Region.at(pixel)
    assert caught.value.setting == "at"


@pytest.mark.parametrize("anchor", [(1, 2), (1, 2, 3, 4), (1.5, 2, 3), (1, 2, -3), (1, 2, "x"), (1, 2, np.nan), 7])
def test_values_that_are_no_anchor_are_refused(anchor: Any) -> None:
    with pytest.raises(UsageError) as caught:
        Anchor.of(anchor)
    assert caught.value.setting == "anchor"


def test_distance_is_that_of_points_in_space() -> None:
    depth = DepthMap(np.full((10, 10), 4, np.float32), camera=Camera(20.0, "test"))
    assert measure_distance(depth, (1, 3), (6, 3)) == pytest.approx(4 * 5 / 20)
    assert measure_distance(depth, "1,3", "4,7") == pytest.approx(4 * 5 / 20)
    assert measure_distance(depth, (1, 3), (1, 3)) == 0
    meters = depth.meters.copy()
    meters[5, 5] = 6
    straight = DepthMap(meters, camera=Camera(1e9, "test"))
    assert measure_distance(straight, (4, 4), (5, 5)) == pytest.approx(2)
    assert measure_distance(DepthMap(meters), (4, 4), (5, 5)) > 2  # with the assumed camera


def test_distance_of_unknown_or_outside_pixels_is_refused() -> None:
    meters = DEPTH.meters.copy()
    meters[0, 0] = np.nan
    for start, end, setting in (((0, 0), (1, 1), "start"), ((1, 1), (0, 0), "end"), ((1, 1), (10, 0), "end")):
        with pytest.raises(UsageError) as caught:
            measure_distance(DepthMap(meters), start, end)
        assert caught.value.setting == setting
