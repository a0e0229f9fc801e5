"""Known distances set the scale, and one wrong one among several does little."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from glpn_cli.depth import Provenance
from glpn_cli.errors import UsageError
from glpn_cli.geometry.measure import Anchor, anchor_depth

if TYPE_CHECKING:
    from glpn_cli.depth import DepthMap


def test_one_anchor_is_met_exactly(depth_map: DepthMap) -> None:
    anchored = anchor_depth(depth_map, [Anchor(7, 3, 2.4)])
    assert anchored.meters[3, 7] == pytest.approx(2.4)
    np.testing.assert_allclose(anchored.meters / depth_map.meters, 2.4 / depth_map.meters[3, 7], rtol=1e-5)
    assert anchored.meters.dtype == np.float32


def test_the_provenance_says_what_was_done(depth_map: DepthMap) -> None:
    anchored = anchor_depth(depth_map, [Anchor(7, 3, 2.4)])
    facts = anchored.provenance
    factor = 2.4 / float(depth_map.meters[3, 7])
    assert facts.metric == "anchored"
    assert facts.anchor_factor == pytest.approx(factor)
    assert facts.depth_limit_m == pytest.approx(80 * factor)
    assert facts.meters_per_unit == pytest.approx(factor)
    (anchor,) = facts.anchors
    assert (anchor["x"], anchor["y"], anchor["known_m"]) == (7, 3, 2.4)
    assert anchor["predicted_m"] == pytest.approx(depth_map.meters[3, 7])
    assert anchor["residual_m"] == pytest.approx(0, abs=1e-6)
    assert Provenance.from_dict(facts.to_dict()) == facts


def test_two_anchors_share_what_is_left_between_them(depth_map: DepthMap) -> None:
    at = [float(depth_map.meters[2, 2]), float(depth_map.meters[17, 20])]
    anchored = anchor_depth(depth_map, [Anchor(2, 2, at[0] * 2.0), Anchor(20, 17, at[1] * 2.1)])
    assert anchored.provenance.anchor_factor == pytest.approx((2.0 * 2.1) ** 0.5)
    first, second = anchored.provenance.anchors
    assert first["residual_m"] > 0 > second["residual_m"]


def test_one_wrong_distance_among_several_does_little(depth_map: DepthMap) -> None:
    places = [(2, 2), (10, 5), (20, 10), (25, 17)]
    right = [Anchor(x, y, float(depth_map.meters[y, x]) * 1.5) for x, y in places]
    wrong = Anchor(5, 15, float(depth_map.meters[15, 5]) * 15)
    factor = anchor_depth(depth_map, [*right, wrong]).provenance.anchor_factor
    assert factor == pytest.approx(1.5, rel=0.03)
    assert factor != pytest.approx(1.5, rel=1e-4), "it still pulls a little"


def test_anchoring_again_keeps_count_of_the_whole_factor(depth_map: DepthMap) -> None:
    once = anchor_depth(depth_map, [Anchor(7, 3, 2.4)])
    twice = anchor_depth(once, [Anchor(7, 3, 4.8)])
    assert twice.provenance.anchor_factor == pytest.approx(2 * (once.provenance.anchor_factor or 0))


def test_the_uncertainty_is_scaled_too_and_nothing_happens_without_anchors(depth_map: DepthMap) -> None:
    unsure = replace(depth_map, uncertainty_m=depth_map.meters / np.float32(10))
    anchored = anchor_depth(unsure, [Anchor(7, 3, 2.4)])
    assert anchored.uncertainty_m is not None
    np.testing.assert_allclose(anchored.uncertainty_m, anchored.meters / 10, rtol=1e-5)
    assert anchor_depth(depth_map, []) is depth_map


def test_an_anchor_needs_depth_to_hold_on_to(depth_map: DepthMap) -> None:
    with pytest.raises(UsageError, match="30 wide and 20 high"):
        anchor_depth(depth_map, [Anchor(30, 3, 2.4)])
    depth_map.meters[3, 7] = 0
    with pytest.raises(UsageError, match="no depth at this pixel"):
        anchor_depth(depth_map, [Anchor(7, 3, 2.4)])


def test_an_anchor_is_written_as_a_place_and_meters() -> None:
    assert Anchor.parse("320,240=2.4") == Anchor(320, 240, 2.4)
    assert Anchor.parse(" 320 , 240 = 2.4 ") == Anchor(320, 240, 2.4)


@pytest.mark.parametrize(
    "text", ["", "3,4", "3,4=", "3=2", "3,4,5=2", "3.5,4=2", "-1,4=2", "3,4=0", "3,4=-2", "3,4=nan"]
)
def test_other_anchors_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--anchor"):
        Anchor.parse(text)
