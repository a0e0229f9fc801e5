from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from glpn_cli.depth import DepthMap, Provenance
from glpn_cli.errors import DepthFileError
from glpn_cli.output.png16 import decode, encode, values_per_meter
from glpn_cli.settings import OutputSettings


def values(meters: list[float], limit_m: float | None = 10.0) -> list[int]:
    depth = DepthMap(np.array([meters], np.float32), Provenance(depth_limit_m=limit_m))
    with Image.open(io.BytesIO(encode(depth, OutputSettings()))) as image:
        return [int(value) for value in np.asarray(image)[0]]


@pytest.mark.parametrize(("limit_m", "factor"), [(10, 1000), (65, 1000), (65.1, 256), (80, 256)])
def test_the_scale_follows_from_the_depth_limit(limit_m: float, factor: int) -> None:
    assert values([2.0], limit_m) == [2 * factor]


def test_without_a_limit_the_farthest_depth_decides() -> None:
    assert values_per_meter(DepthMap(np.full((1, 1), 64, np.float32))) == 1000
    assert values_per_meter(DepthMap(np.full((1, 1), 66, np.float32))) == 256


def test_values_are_rounded_to_the_nearest_and_positive_depth_is_never_0() -> None:
    assert values([1.2344, 1.2346, 0.0001, 0.0]) == [1234, 1235, 1, 0]


def test_what_is_too_far_saturates_and_what_is_unknown_is_0() -> None:
    assert values([70.0, float("nan"), float("inf"), -1.0]) == [65535, 0, 0, 0]


def test_unknown_depth_reads_back_as_0() -> None:
    depth = DepthMap(np.array([[np.nan, 2]], np.float32), Provenance(depth_limit_m=10))
    assert decode(encode(depth, OutputSettings()), "x").meters.tolist() == [[0, 2]]


def test_edited_text_is_an_error() -> None:
    data = encode(DepthMap(np.ones((2, 2), np.float32)), OutputSettings(png_compression=0))
    with Image.open(io.BytesIO(data)) as image:
        from PIL.PngImagePlugin import PngInfo

        text = PngInfo()
        text.add_text("glpn", image.info["glpn"].replace('"values_per_meter": 1000', '"values_per_meter": "many"'))
        buffer = io.BytesIO()
        image.save(buffer, "PNG", pnginfo=text)
    with pytest.raises(DepthFileError, match="makes no sense"):
        decode(buffer.getvalue(), "x")
