from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from glpn_cli.depth import DepthMap
from glpn_cli.errors import ImageError
from glpn_cli.inference.color_range import SAMPLE_SIZE, measure_run_range, needs_range, spread_sample
from glpn_cli.output.formats import FORMATS
from glpn_cli.settings import DepthRange, OutputSettings

if TYPE_CHECKING:
    from glpn_cli.image.discovery import Source


class StandIn:
    """Predicts a ramp from 1 m to as many meters as the image's name."""

    card = SimpleNamespace(depth_limit_m=80.0)

    def predict(self, path: Path, *, name: str) -> DepthMap:
        assert name == str(path)
        if path.name == "broken":
            raise ImageError("broken")
        return DepthMap(np.linspace(1, float(path.name), 10_000, dtype=np.float32).reshape(100, 100))


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


def test_percentiles_span_usable_images_rounded_outward() -> None:
    assert measured(["4.5678", "broken", "9.8765"], "p0:p100") == ((1.0, 9.88), 2)
    (low, high), count = measured(["4.5678"])
    assert (low, high, count) == (1.03, 4.54, 1)


def test_ranges_in_meters_or_of_the_model_need_no_sample() -> None:
    assert measured(["broken"], "2:7") == ((2.0, 7.0), 0)
    assert measured(["broken"], "model") == ((0.0, 80.0), 0)


def test_without_usable_images_the_model_sets_the_range() -> None:
    assert measured(["broken"]) == ((0.0, 80.0), 0)


@pytest.mark.parametrize(
    ("names", "text", "needed"),
    [(["color"], None, True), (["png"], None, False), (["png"], "0:3", True), (["npy", "png16"], None, False)],
)
def test_formats_that_need_a_range(names: list[str], text: str | None, *, needed: bool) -> None:
    settings = OutputSettings(range=None if text is None else DepthRange.parse(text))
    assert needs_range([FORMATS[name] for name in names], settings) is needed


def test_each_image_of_the_sample_is_counted() -> None:
    counted: list[None] = []
    predictor: Any = StandIn()
    measure_run_range(predictor, [Path("3"), Path("broken")], OutputSettings(), advance=lambda: counted.append(None))
    assert len(counted) == 2
