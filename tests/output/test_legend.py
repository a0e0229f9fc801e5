"""The legend below colored images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from glpn_cli.output.color import color_table, curve_fraction
from glpn_cli.output.legend import Legend, curve_ticks, draw_legend, tick_values
from glpn_cli.values import Colormap, Curve

LEGEND = Legend(color_table(Colormap.TURBO), 0.5, 9.5, is_nearer=True, is_farther=True, caption="nyu")


@pytest.mark.parametrize(
    ("low", "high", "at_most", "values"),
    [
        (0, 10, 6, [0, 2, 4, 6, 8, 10]),
        (0, 10, 5, [0, 2.5, 5, 7.5, 10]),
        (0.5, 9.5, 10, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (0, 80, 9, [0, 10, 20, 30, 40, 50, 60, 70, 80]),
        (1.37, 3.98, 6, [1.5, 2.0, 2.5, 3.0, 3.5]),
        (0.002, 0.003, 3, [0.002, 0.0025, 0.003]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, at_most: int, values: list[float]) -> None:
    assert tick_values(low, high, at_most=at_most) == pytest.approx(values)


@pytest.mark.parametrize(
    ("low", "high", "curve", "values"),
    [
        (0.3, 0.6, Curve.INVERSE, [0.3, 0.35, 0.4, 0.45, 0.5, 0.6]),
        (1, 3, Curve.INVERSE, [1, 1.2, 1.5, 2, 2.5, 3]),
        (0.5, 80, Curve.INVERSE, [0.5, 0.6, 0.8, 1, 2, 5]),
        (5, 80, Curve.INVERSE, [5, 6, 7, 8, 10, 20, 50]),
        (0.5, 80, Curve.LOG, [0.5, 1, 2, 5, 10, 20, 50]),
        (1.83, 2.41, Curve.LOG, [1.9, 2, 2.1, 2.2, 2.3, 2.4]),
        (3, 3.003, Curve.INVERSE, [3, 3.001, 3.002, 3.003]),
    ],
)
def test_ticks_on_a_curve_are_round_and_well_spaced(low: float, high: float, curve: Curve, values: list[float]) -> None:
    assert curve_ticks(low, high, curve, label_size=0.01) == values


def test_labels_on_a_curve_never_overlap() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        low = 10 ** generator.uniform(-3, 2)
        high = low * (1 + 10 ** generator.uniform(-3, 3))
        label_size = generator.uniform(0.005, 0.1)
        for curve in (Curve.INVERSE, Curve.LOG):
            values = curve_ticks(low, high, curve, label_size=label_size)
            assert values
            assert low * (1 - 1e-4) <= values[0]
            assert values[-1] <= high * (1 + 1e-4)
            places = curve_fraction(np.array(values, np.float32), low, high, curve)
            halves = [label_size * (len(f"{value:.7g}") + 0.5) / 2 for value in values]
            gaps = np.diff(places) - halves[:-1] - halves[1:]
            assert (gaps > 0).all(), values


def test_ticks_of_a_range_of_many_decades_are_found_at_once() -> None:
    assert curve_ticks(1e-9, 1e9, Curve.INVERSE, label_size=0.4)


def test_ticks_are_drawn_where_the_colors_are() -> None:
    """The colors above the ticks of 2 and 3 m are those of the depths; at the ends there is an outline."""
    colors = color_table(Colormap.VIRIDIS)
    legend = Legend(colors, 1.0, 5.0, Curve.INVERSE)
    strip = draw_legend(np.zeros((300, 900, 3), np.uint8), legend)[300:].astype(int)
    bar_rows = [row for row in range(len(strip)) if (strip[row] == colors[128]).all(axis=1).any()]
    ticks = (strip[bar_rows[-1] + 4] < 60).all(axis=1)
    columns = np.flatnonzero(ticks)
    assert len(columns) >= 4
    for meters in (2, 3):
        fraction = float(curve_fraction(np.array([meters], np.float32), 1, 5, Curve.INVERSE)[0])
        above = strip[bar_rows[4], columns]
        assert np.abs(above - colors[round(255 * fraction)]).max(axis=1).min() <= 12


def test_every_range_has_a_tick() -> None:
    generator = np.random.default_rng(0)
    for _ in range(300):
        low = generator.uniform(0, 80)
        high = low + 10 ** generator.uniform(-3, 2)
        values = tick_values(low, high, at_most=7)
        assert 1 <= len(values) <= 7
        assert all(low - 1e-5 * (high - low) <= value <= high + 1e-5 * (high - low) for value in values)


@pytest.mark.parametrize("shape", [(1, 1), (5, 200), (200, 5), (32, 32), (400, 600), (900, 300), (100, 2000)])
def test_legend_fits_images_of_any_size(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    drawn = draw_legend(image, replace(LEGEND, unknown=(128, 128, 128), caption="w" * 500))
    left = (drawn.shape[1] - shape[1]) // 2
    np.testing.assert_array_equal(drawn[: shape[0], left : left + shape[1]], image)
    assert drawn.shape[1] <= max(shape[1], 700), "text makes an image only a little wider"
    strip = drawn[shape[0] :]
    assert len(strip) >= 40
    for edge in (strip[0], strip[-1], strip[:, 0], strip[:, -1]):
        assert (edge == 255).all(), "nothing is cropped"
    assert (strip < 100).all(axis=2).sum() > 100, "there is text"


def test_bar_shows_colors_from_near_to_far() -> None:
    strip = draw_legend(np.zeros((300, 800, 3), np.uint8), replace(LEGEND, is_nearer=False, is_farther=False))[300:]
    rows = [row for row in strip if all((row == color).all(axis=1).any() for color in LEGEND.colors[[5, 128, 250]])]
    assert len(rows) >= 8
    first, last = (int(np.flatnonzero((rows[4] == color).all(axis=1))[0]) for color in LEGEND.colors[[5, 250]])
    assert first < 100
    assert last > 700


def test_every_part_of_the_legend_is_drawn() -> None:
    image = np.zeros((200, 400, 3), np.uint8)
    drawn = [
        draw_legend(image, legend).tobytes()
        for legend in (
            LEGEND,
            replace(LEGEND, caption="kitti"),
            replace(LEGEND, high_m=80.0),
            replace(LEGEND, is_farther=False),
            replace(LEGEND, unknown=(128, 128, 128)),
        )
    ]
    assert len(set(drawn)) == 5


def test_text_grows_with_the_image() -> None:
    small = draw_legend(np.zeros((300, 400, 3), np.uint8), LEGEND)
    large = draw_legend(np.zeros((1500, 2000, 3), np.uint8), LEGEND)
    assert (len(large) - 1500) > 3 * (len(small) - 300)
