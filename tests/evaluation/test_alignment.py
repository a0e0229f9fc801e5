from __future__ import annotations

import numpy as np
import pytest

from glpn_cli.evaluation.statistics import scale_factor
from glpn_cli.settings import Align

TRUE = np.array([1.0, 2.0, 4.0, 9.0, 3.0])


@pytest.mark.parametrize("align", list(Align))
def test_a_wrong_factor_alone_is_undone_by_either_way(align: Align) -> None:
    assert scale_factor(TRUE * 0.4, TRUE, align) == pytest.approx(2.5)


def test_the_median_is_the_ratio_of_the_medians_and_not_the_median_of_ratios() -> None:
    predicted = np.array([1.0, 1.0, 4.0, 3.0, 2.0])
    assert scale_factor(predicted, TRUE, Align.MEDIAN) == pytest.approx(3.0 / 2.0)


def test_least_squares_finds_the_smallest_squared_error() -> None:
    predicted = np.array([1.0, 1.0, 4.0, 3.0, 2.0])
    factor = scale_factor(predicted, TRUE, Align.LEAST_SQUARES)

    def error(scale: float) -> float:
        return float(((scale * predicted - TRUE) ** 2).sum())

    assert error(factor) < min(error(factor * 1.001), error(factor * 0.999))
