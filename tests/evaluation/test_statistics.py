from __future__ import annotations

import numpy as np
import pytest

from glpn_cli.data.settings import Align
from glpn_cli.evaluation.statistics import Bootstrap, DepthProfile, Interval, scale_factor

TRUTH = np.array([1.0, 2.0, 4.0, 9.0, 3.0])
PREDICTED = np.array([1.0, 1.0, 4.0, 3.0, 2.0])


@pytest.mark.parametrize("align", list(Align))
def test_alignment_recovers_constant_factor(align: Align) -> None:
    assert scale_factor(TRUTH * 0.4, TRUTH, align) == pytest.approx(2.5)


def test_median_alignment_is_ratio_of_medians() -> None:
    assert scale_factor(PREDICTED, TRUTH, Align.MEDIAN) == pytest.approx(3.0 / 2.0)  # the median of ratios is not


def test_least_squares_minimizes_squared_error() -> None:
    factor = scale_factor(PREDICTED, TRUTH, Align.LEAST_SQUARES)

    def error(scale: float) -> float:
        return float(((scale * PREDICTED - TRUTH) ** 2).sum())

    assert error(factor) < min(error(factor * 1.001), error(factor * 0.999))


def test_bootstrap_interval_matches_theory() -> None:
    values = np.sort(np.random.default_rng(1).normal(5.0, 2.0, 400))  # sorted, so that all images must be sampled
    interval = Bootstrap(images=400, resamples=4000, confidence=0.95, seed=0).interval(values)
    half = 1.96 * values.std() / 20
    assert interval.low == pytest.approx(values.mean() - half, abs=0.03)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.03)


def test_bootstrap_depends_on_seed_not_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(10.0)

    def interval(seed: int) -> Interval:
        return Bootstrap(images=10, resamples=100, confidence=0.9, seed=seed).interval(values)

    first = interval(3)
    assert first == interval(3)
    assert first != interval(4)
    monkeypatch.setattr("glpn_cli.evaluation.statistics._BLOCK_VALUES", 70)
    assert interval(3) == first


def test_higher_confidence_widens_interval() -> None:
    values = np.random.default_rng(2).normal(size=50)
    narrow, wide = (
        Bootstrap(images=50, resamples=1000, confidence=confidence, seed=0).interval(values)
        for confidence in (0.5, 0.99)
    )
    assert wide.low < narrow.low < narrow.high < wide.high


def test_paired_differences_have_narrower_intervals() -> None:
    hard = np.random.default_rng(3).uniform(0, 1, 60)
    bootstrap = Bootstrap(images=60, resamples=1000, confidence=0.95, seed=0)
    assert bootstrap.interval(hard + 0.02 - hard).excludes_zero
    ours, theirs = bootstrap.interval(hard + 0.02), bootstrap.interval(hard)
    assert ours.low < theirs.high  # the separate intervals overlap


@pytest.mark.parametrize(
    ("low", "high", "excludes"), [(0.1, 0.2, True), (-0.2, -0.1, True), (-0.1, 0.1, False), (0.0, 0.1, False)]
)
def test_interval_excludes_zero(low: float, high: float, *, excludes: bool) -> None:
    assert Interval(low, high).excludes_zero is excludes


def test_errors_are_binned_by_ground_truth() -> None:
    profile = DepthProfile(10.0)
    truth = np.array([0.1, 1.1, 1.2, 9.9])
    profile.add(truth, {"far": truth * np.array([1, 1.1, 0.7, 2]), "right": truth})
    rows = profile.to_rows()
    assert [row["from_m"] for row in rows] == pytest.approx([0.25, 1.0, 8.0])
    assert [row["to_m"] for row in rows] == pytest.approx([0.25 * 2**0.5, 2**0.5, 10.0])
    assert [row["pixel_fraction"] for row in rows] == [0.25, 0.5, 0.25]
    assert [row["abs_rel"]["far"] for row in rows] == pytest.approx([0, 0.2, 1.0])
    assert [row["mean_relative_error"]["far"] for row in rows] == pytest.approx([0, -0.1, 1.0])
    assert {row["abs_rel"]["right"] for row in rows} == {0.0}


def test_later_predictions_count_no_pixel_twice() -> None:
    once, twice = DepthProfile(10.0), DepthProfile(10.0)
    truth = np.array([1.0, 1.1, 8.0])
    once.add(truth, {"first": truth * 2, "second": truth * 3})
    twice.add(truth, {"first": truth * 2})
    twice.add(truth, {"second": truth * 3}, again=True)
    assert once.to_rows() == twice.to_rows()


@pytest.mark.parametrize("cap_m", [0.01, 0.3, 1.0, 8.0, 80.0])
def test_last_bin_ends_at_cap(cap_m: float) -> None:
    edges = DepthProfile(cap_m).edges_m
    assert edges[-1] == cap_m
    assert (np.diff(edges) > 0).all()
