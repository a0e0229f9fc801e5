from __future__ import annotations

import numpy as np
import pytest

from glpn_cli.evaluation.figure import DepthProfile


def test_errors_are_collected_where_they_are() -> None:
    profile = DepthProfile(10.0)
    true = np.array([0.1, 1.1, 1.2, 9.9])
    profile.add(true, {"far": true * np.array([1, 1.1, 0.7, 2]), "right": true})
    rows = profile.to_rows()
    assert [row["from_m"] for row in rows] == pytest.approx([0.25, 1.0, 8.0])
    assert [row["to_m"] for row in rows] == pytest.approx([0.25 * 2**0.5, 2**0.5, 10.0])
    assert [row["pixel_share"] for row in rows] == [0.25, 0.5, 0.25]
    assert [row["abs_rel"]["far"] for row in rows] == pytest.approx([0, 0.2, 1.0])
    assert [row["mean_relative_error"]["far"] for row in rows] == pytest.approx([0, -0.1, 1.0])
    assert {row["abs_rel"]["right"] for row in rows} == {0.0}


def test_a_prediction_that_comes_later_counts_no_pixel_twice() -> None:
    once, twice = DepthProfile(10.0), DepthProfile(10.0)
    true = np.array([1.0, 1.1, 8.0])
    once.add(true, {"first": true * 2, "second": true * 3})
    twice.add(true, {"first": true * 2})
    twice.add(true, {"second": true * 3}, again=True)
    assert once.to_rows() == twice.to_rows()


def test_bins_reach_to_the_cap_whatever_it_is() -> None:
    for cap_m in (0.01, 0.3, 1.0, 8.0, 80.0):
        edges = DepthProfile(cap_m).edges_m
        assert edges[-1] == cap_m
        assert (np.diff(edges) > 0).all()
