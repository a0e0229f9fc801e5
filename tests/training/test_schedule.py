from __future__ import annotations

import pytest

from glpn_cli.training.optimizer import Schedule


def test_the_papers_rates_are_met_at_the_beginning_the_middle_and_the_end() -> None:
    schedule = Schedule(50_475, peak=1e-4, end=3e-5)
    assert schedule(0) == pytest.approx(3e-5, rel=1e-3)
    assert max(schedule(step) for step in range(25_200, 25_270)) == pytest.approx(1e-4, rel=1e-3)
    assert schedule(50_474) == pytest.approx(3e-5)
    # Half way up the rise of the power 0.9.
    assert schedule(50_475 // 4) == pytest.approx(3e-5 + 7e-5 * 0.5**0.9, rel=1e-3)


@pytest.mark.parametrize("steps", [1, 2, 7, 60_240, 200_000])
@pytest.mark.parametrize("peak_at", [0.0, 0.1, 0.5, 1.0])
def test_no_rate_leaves_its_bounds_however_long_it_lasts(steps: int, peak_at: float) -> None:
    schedule = Schedule(steps, peak=1e-4, end=3e-5, peak_at=peak_at)
    for step in (0, steps // 2, steps - 1, steps + 10_000):
        assert 3e-5 <= schedule(step) <= 1e-4
