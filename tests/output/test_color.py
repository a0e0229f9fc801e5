"""Color tables and depth ranges."""

from __future__ import annotations

import cmap
import numpy as np
import pytest

from glpn_cli.depth import DepthMap
from glpn_cli.errors import UsageError
from glpn_cli.output.color import (
    color_table,
    colorize,
    curve_fraction,
    curve_meters,
    fit_range,
    measure_range,
    resolve_range,
    unknown_color,
)
from glpn_cli.settings import OutputSettings
from glpn_cli.values import Colormap, Curve, DepthRange


def depth(*meters: float, shape: tuple[int, int] = (1, -1)) -> DepthMap:
    return DepthMap(np.array(meters, np.float32).reshape(shape))


@pytest.mark.parametrize("name", Colormap)
def test_tables_are_those_of_cmap(name: Colormap) -> None:
    names = {"spectral": "colorbrewer:spectral_r", "gray": "matlab:gray", "batlow": "crameri:batlow"}
    lut = cmap.Colormap(names.get(name, str(name))).lut(256)[:, :3]
    assert np.abs(color_table(name) - lut * 255).max() <= 0.5 + 1e-9
    assert len(np.unique(color_table(name), axis=0)) > 200


@pytest.mark.parametrize("name", Colormap)
def test_color_of_unknown_depth_is_far_from_the_table(name: Colormap) -> None:
    distance = np.linalg.norm(color_table(name).astype(float) - unknown_color(name), axis=1).min()
    assert distance >= 60


def test_range_of_unknown_depth_limit_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        resolve_range(depth(1, 2), OutputSettings(range=DepthRange.parse("model")), Curve.INVERSE)
    assert caught.value.setting == "range"


def test_percentiles_ignore_unknown_depth() -> None:
    requested = DepthRange.parse("p0:p100")
    assert measure_range(depth(0, np.nan, 2, 5, np.inf), requested) == (2, 5)
    assert measure_range(depth(0, 0), requested) == (0, 1)


def test_constant_depth_has_a_range() -> None:
    low, high = measure_range(depth(5, 5), DepthRange.parse("auto"))
    assert low == 5 < high < 5.1


def test_range_of_a_run_is_auto_for_one_image() -> None:
    image = DepthMap(np.linspace(1, 9, 1000, dtype=np.float32).reshape(20, 50))
    assert measure_range(image, DepthRange.parse("run")) == measure_range(image, DepthRange.parse("auto"))


# Curves

CURVES = {Curve.INVERSE: lambda d: 1 / d, Curve.LOG: np.log, Curve.LINEAR: lambda d: d}


@pytest.mark.parametrize("curve", Curve)
@pytest.mark.parametrize(("low", "high"), [(0.3, 0.6), (1, 3), (0.5, 80), (5, 80), (3, 3.003), (1e-6, 1e6)])
def test_place_on_a_curve_is_that_of_the_formula(curve: Curve, low: float, high: float) -> None:
    meters = np.geomspace(low, high, 101).astype(np.float32)
    c = CURVES[curve]
    exact = (c(meters.astype(np.float64)) - c(low)) / (c(high) - c(low))
    place = curve_fraction(meters, low, high, curve)
    assert place.dtype == np.float32
    # Near 3 m, meters themselves have steps of 2.4e-7.
    np.testing.assert_allclose(place, exact, atol=2e-6 + 3e-7 * high / (high - low))
    assert (place[0], place[-1]) == (0, pytest.approx(1, abs=1e-6))
    assert (np.diff(place) >= -1e-6).all()


@pytest.mark.parametrize("curve", Curve)
def test_depth_outside_the_range_is_at_its_ends(curve: Curve) -> None:
    assert curve_fraction(np.array([1e-9, 0.0, 1.9, 7, np.inf], np.float32), 2, 6, curve).tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("curve", Curve)
@pytest.mark.parametrize(("low", "high"), [(0.3, 0.6), (0.5, 80), (3, 3.003)])
def test_meters_are_found_again_from_their_place(curve: Curve, low: float, high: float) -> None:
    meters = np.geomspace(low, high, 101).astype(np.float32)
    again = curve_meters(curve_fraction(meters, low, high, curve), low, high, curve)
    np.testing.assert_allclose(again, meters, rtol=3e-5)
    assert curve_meters(np.array([0, 1], np.float32), low, high, curve) == pytest.approx([low, high], rel=1e-5)


def test_a_range_from_0_starts_where_the_curve_has_a_place() -> None:
    assert fit_range(0, 10, Curve.LINEAR) == (0, 10)
    for curve in (Curve.INVERSE, Curve.LOG):
        assert fit_range(0, 10, curve) == (0.5, 10)
        assert fit_range(0.01, 10, curve) == (0.01, 10)
        place = curve_fraction(np.array([0.1, 0.5, 5, 10], np.float32), 0, 10, curve)
        assert place[0] == place[1] == 0 < place[2] < place[3] == pytest.approx(1)


def test_colors_are_even_in_inverse_depth_by_default() -> None:
    meters = 1 / np.linspace(1 / 2, 1 / 40, 256).astype(np.float32)
    for curve in (None, Curve.INVERSE):
        settings = OutputSettings(colormap=Colormap.GRAY, curve=curve)
        grays = colorize(depth(*meters), settings, 2, 40)[0, :, 0]
        np.testing.assert_allclose(grays, np.arange(255, -1, -1), atol=1)
    linear = OutputSettings(colormap=Colormap.GRAY, curve=Curve.LINEAR)
    assert colorize(depth(2, 21, 40), linear, 2, 40)[0, :, 0].tolist() == [255, 127, 0]


def test_sky_at_the_limit_leaves_the_colors_to_the_scene() -> None:
    """A street of 5 to 20 m below a sky at 80 m gets most of the colors, on the default curve."""
    street = np.repeat(np.linspace(5, 20, 60, dtype=np.float32)[:, None], 80, axis=1)
    image = DepthMap(np.concatenate([np.full((40, 80), 80, np.float32), street]))
    settings = OutputSettings(colormap=Colormap.GRAY)
    colors = colorize(image, settings, *resolve_range(image, settings, Curve.INVERSE))[40:, :, 0]
    assert np.ptp(colors) > 180
