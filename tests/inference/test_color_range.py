from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from glpn_cli.depth import DepthMap
from glpn_cli.errors import ImageError
from glpn_cli.inference.color_range import (
    SAMPLE_SIZE,
    join_ranges,
    measure_run_range,
    shares_range,
    spans_range,
    spread_sample,
)
from glpn_cli.output.formats import FORMATS
from glpn_cli.settings import OutputSettings
from glpn_cli.values import DepthRange

if TYPE_CHECKING:
    from glpn_cli.image.discovery import Source


class StandIn:
    """Predicts a ramp from 1 m to as many meters as the image's name."""

    card = SimpleNamespace(depth_limit_m=80.0)

    def predict(self, path: Path, *, name: str) -> DepthMap:
        assert name == str(path)
        if path.name == "broken":
            raise ImageError("broken")
        far_m = float(path.name)
        return DepthMap(np.linspace(min(1, far_m), far_m, 10_000, dtype=np.float32).reshape(100, 100))


def measured(names: list[str], text: str | None = None) -> tuple[tuple[float, float], int]:
    settings = OutputSettings(range=None if text is None else DepthRange.parse(text))
    predictor: Any = StandIn()
    return measure_run_range(predictor, [Path(name) for name in names], settings)


def test_the_sample_is_spread_over_all_images() -> None:
    many: list[Source] = [Path(str(number)) for number in range(1000)]
    sample = [int(str(path)) for path in spread_sample(many)]
    assert len(sample) == SAMPLE_SIZE
    assert sample == sorted(set(sample))
    assert (sample[0], sample[-1]) == (31, 968)
    assert spread_sample(many[:3]) == many[:3]
    assert spread_sample([]) == []


def test_the_range_of_a_run_spans_usable_images_rounded_outward() -> None:
    # The 1st and the 99th percentile of a ramp from 1 m to the image's name.
    assert measured(["4.5678", "broken", "9.8765"], "run") == ((1.03, 9.79), 2)
    (low, high), count = measured(["4.5678"])
    assert (low, high, count) == (1.03, 4.54, 1)


def test_images_of_unknown_depth_have_no_range() -> None:
    assert measured(["0", "4.5678"], "run") == ((1.03, 4.54), 1)


def rooms(count: int) -> list[tuple[float, float]]:
    """Return the ranges of rooms whose far walls are 3 to 6 m away."""
    return [(1 + 0.05 * index, 3 + 3 * index / max(1, count - 1)) for index in range(count)]


@pytest.mark.parametrize("skies", [1, 2, 3, 4])
def test_a_few_images_with_sky_do_not_stretch_the_range(skies: int) -> None:
    assert join_ranges([*rooms(13), *[(2.0, 80.0)] * skies]) == pytest.approx((1, 6))


def test_a_few_images_of_near_objects_do_not_stretch_the_range() -> None:
    assert join_ranges([*rooms(13), (0.05, 4.0), (0.1, 0.4)]) == pytest.approx((1, 6))


def test_many_images_with_sky_belong_to_the_run() -> None:
    assert join_ranges([*rooms(13), *[(2.0, 80.0)] * 8]) == pytest.approx((1, 80))


def test_small_differences_are_no_outliers() -> None:
    clip = [(1.0, 4.0)] * 20
    assert join_ranges([*clip, (0.6, 7.5)]) == pytest.approx((0.6, 7.5))
    assert join_ranges([*clip, (0.3, 9.0)]) == pytest.approx((1, 4))


def test_the_ranges_of_two_images_are_joined() -> None:
    assert join_ranges([(0.3, 0.6), (5, 80)]) == pytest.approx((0.3, 80))
    assert join_ranges([(2, 3)]) == pytest.approx((2, 3))


def test_ranges_in_meters_or_of_the_model_need_no_sample() -> None:
    assert measured(["broken"], "2:7") == ((2.0, 7.0), 0)
    assert measured(["broken"], "model") == ((0.0, 80.0), 0)


def test_without_usable_images_the_model_sets_the_range() -> None:
    assert measured(["broken"]) == ((0.0, 80.0), 0)


@pytest.mark.parametrize(
    ("names", "settings", "spans", "shares"),
    [
        (["color"], {}, True, False),
        (["color"], {"range": "p2:p98"}, True, False),
        (["color"], {"range": "run"}, True, True),
        (["color"], {"range_m": (1, 3)}, True, True),
        (["disparity16"], {"range": "model"}, True, True),
        (["png"], {}, False, False),
        (["png"], {"curve": "inverse"}, True, False),
        (["png"], {"curve": "inverse", "normalize": "minmax"}, False, False),
        (["png"], {"range": "0:3"}, True, True),
        (["npy", "png16"], {"range": "run"}, False, False),
    ],
)
def test_formats_that_span_or_share_a_range(
    names: list[str], settings: dict[str, Any], *, spans: bool, shares: bool
) -> None:
    rows, output = [FORMATS[name] for name in names], OutputSettings(**settings)
    assert (spans_range(rows, output), shares_range(rows, output)) == (spans, shares)


def test_each_image_of_the_sample_is_counted() -> None:
    counted: list[None] = []
    predictor: Any = StandIn()
    measure_run_range(predictor, [Path("3"), Path("broken")], OutputSettings(), advance=lambda: counted.append(None))
    assert len(counted) == 2
