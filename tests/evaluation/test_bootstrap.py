from __future__ import annotations

import numpy as np
import pytest

from glpn_cli.evaluation.statistics import Bootstrap, Interval


def test_the_interval_of_a_mean_is_that_of_theory() -> None:
    values = np.sort(np.random.default_rng(1).normal(5.0, 2.0, 400))  # so that every image has to be drawn
    interval = Bootstrap(images=400, resamples=4000, confidence=0.95, seed=0).interval(values)
    half = 1.96 * values.std() / 20
    assert interval.low == pytest.approx(values.mean() - half, abs=0.03)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.03)


def test_it_is_the_same_for_the_same_seed_and_in_any_number_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(10.0)

    def interval(seed: int) -> Interval:
        return Bootstrap(images=10, resamples=100, confidence=0.9, seed=seed).interval(values)

    first = interval(3)
    assert first == interval(3)
    assert first != interval(4)
    monkeypatch.setattr("glpn_cli.evaluation.statistics._AT_ONCE", 70)
    assert interval(3) == first


def test_higher_confidence_is_a_wider_interval() -> None:
    values = np.random.default_rng(2).normal(size=50)
    narrow, wide = (
        Bootstrap(images=50, resamples=1000, confidence=share, seed=0).interval(values) for share in (0.5, 0.99)
    )
    assert wide.low < narrow.low < narrow.high < wide.high


def test_differences_of_the_same_images_are_surer_than_the_images() -> None:
    hard = np.random.default_rng(3).uniform(0, 1, 60)
    bootstrap = Bootstrap(images=60, resamples=1000, confidence=0.95, seed=0)
    assert bootstrap.interval(hard + 0.02 - hard).excludes_zero
    ours, theirs = bootstrap.interval(hard + 0.02), bootstrap.interval(hard)
    assert ours.low < theirs.high  # which the intervals of each alone would not have shown


def test_zero_is_excluded_on_either_side_only() -> None:
    assert [Interval(*ends).excludes_zero for ends in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1), (0.0, 0.1))] == [
        True,
        True,
        False,
        False,
    ]
