"""The legend below colored images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from glpn_cli.output.color import color_table
from glpn_cli.output.legend import Legend, draw_legend, tick_values
from glpn_cli.settings import Colormap

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
