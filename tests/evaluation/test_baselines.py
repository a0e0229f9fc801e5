from __future__ import annotations

import numpy as np
import pytest

from glpn_cli.evaluation.baselines import RAMPS, Ramp, RampSearch, median_depth, ramp_depth

HEIGHTS = np.linspace(0, 1, 101)


def test_median_is_constant() -> None:
    assert median_depth(np.array([1.0, 5.0, 2.0])).tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("kind", ["depth", "log depth", "inverse depth"])
def test_ramp_is_linear_in_its_own_kind(kind: str) -> None:
    values = Ramp(kind, 8.0).at(HEIGHTS)
    assert (values[0], values[-1]) == (pytest.approx(8), pytest.approx(1))
    transformed = {"depth": values, "log depth": np.log(values), "inverse depth": 1 / values}[kind]
    assert np.ptp(np.diff(transformed)) == pytest.approx(0, abs=1e-12)


def test_ramp_is_scaled_to_median_of_image() -> None:
    truth = np.linspace(3, 7, 101)
    assert np.median(ramp_depth(RAMPS[30], truth, HEIGHTS)) == pytest.approx(5.0)


def test_search_finds_the_ramp_of_the_images() -> None:
    search = RampSearch()
    wanted = Ramp("inverse depth", 4.0)
    for scale in (0.5, 3.0):
        search.add(scale * wanted.at(HEIGHTS), HEIGHTS)
    assert search.best() == wanted


def test_search_includes_constant_depth() -> None:
    search = RampSearch()
    search.add(np.full(101, 4.0), HEIGHTS)
    assert search.best().far_to_near == 1.0
