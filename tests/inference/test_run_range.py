from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from glpn_cli.depth import DepthMap
from glpn_cli.errors import ImageError
from glpn_cli.inference.fingerprint import SAMPLE_SIZE, is_range_needed, measure_run_range, spread_sample
from glpn_cli.output.formats import FORMATS
from glpn_cli.settings import DepthRange, OutputSettings

if TYPE_CHECKING:
    from glpn_cli.image.discovery import Source


class Stub:
    """Predicts a ramp that ends where the image's name says."""

    card = SimpleNamespace(depth_limit_m=80.0)

    def predict(self, path: Path, *, name: str) -> DepthMap:
        assert name == str(path)
        if path.name == "broken":
            raise ImageError("broken")
        return DepthMap(np.linspace(1, float(path.name), 10_000, dtype=np.float32).reshape(100, 100))


def measured(names: list[str], text: str | None = None) -> tuple[tuple[float, float], int]:
    settings = OutputSettings(range=None if text is None else DepthRange.parse(text))
    stub: Any = Stub()
    return measure_run_range(stub, [Path(name) for name in names], settings)


def test_the_sample_is_spread_over_all_images() -> None:
    many: list[Source] = [Path(str(number)) for number in range(1000)]
    sample = [int(str(path)) for path in spread_sample(many)]
    assert len(sample) == SAMPLE_SIZE
    assert sample == sorted(set(sample))
    assert (sample[0], sample[-1]) == (31, 968)
    assert spread_sample(many[:3]) == many[:3]
    assert spread_sample([]) == []


def test_percentiles_are_of_all_images_that_can_be_used_rounded_outwards() -> None:
    assert measured(["4.5678", "broken", "9.8765"], "p0:p100") == ((1.0, 9.88), 2)
    (low, high), count = measured(["4.5678"])
    assert (low, high, count) == (1.03, 4.54, 1)


def test_meters_and_the_model_need_no_look() -> None:
    assert measured(["broken"], "2:7") == ((2.0, 7.0), 0)
    assert measured(["broken"], "model") == ((0.0, 80.0), 0)


def test_where_no_image_can_be_used_the_model_decides() -> None:
    assert measured(["broken"]) == ((0.0, 80.0), 0)


@pytest.mark.parametrize(
    ("names", "text", "needed"),
    [(["color"], None, True), (["png"], None, False), (["png"], "0:3", True), (["npy", "png16"], None, False)],
)
def test_a_range_is_needed_by_what_has_colors_or_grays_of_it(
    names: list[str], text: str | None, *, needed: bool
) -> None:
    settings = OutputSettings(range=None if text is None else DepthRange.parse(text))
    assert is_range_needed([FORMATS[name] for name in names], settings) is needed
