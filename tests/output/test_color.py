"""Color tables and depth ranges."""

from __future__ import annotations

import cmap
import numpy as np
import pytest

from glpn_cli.depth import DepthMap
from glpn_cli.errors import UsageError
from glpn_cli.output.color import color_table, measure_range, resolve_range, subsample_depth, unknown_color
from glpn_cli.settings import Colormap, DepthRange, OutputSettings


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
        resolve_range(depth(1, 2), OutputSettings(range=DepthRange.parse("model")))
    assert caught.value.setting == "range"


def test_percentiles_ignore_unknown_depth() -> None:
    requested = DepthRange.parse("p0:p100")
    assert measure_range([depth(0, np.nan, 2, 5, np.inf)], requested) == (2, 5)
    assert measure_range([depth(0, 0)], requested) == (0, 1)


def test_images_have_the_same_weight_whatever_their_size() -> None:
    large, small = DepthMap(np.full((900, 900), 2, np.float32)), DepthMap(np.full((300, 300), 8, np.float32))
    low, high = measure_range([large, small], DepthRange.parse("p40:p60"))
    assert (low, high) == (2, 8)


def test_constant_depth_has_a_range() -> None:
    low, high = measure_range([depth(5, 5)], DepthRange.parse("auto"))
    assert low == 5 < high < 5.1


@pytest.mark.parametrize("shape", [(1, 1), (1, 1_000_000), (70, 3), (1000, 1500)])
def test_subsampled_depth_is_neither_empty_nor_large(shape: tuple[int, int]) -> None:
    sampled = subsample_depth(DepthMap(np.ones(shape, np.float32)))
    assert 1 <= sampled.meters.size <= 1_000_000
    assert sampled.meters.size <= 200_000 or 1 in shape
