from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from glpn_cli.data.sample import read_depth_png
from glpn_cli.errors import DepthFileError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("units_per_meter", "expected"), [(1000, 2.345), (256, 2345 / 256)])
def test_units_become_meters_and_unknown_stays_zero(tmp_path: Path, units_per_meter: float, expected: float) -> None:
    Image.fromarray(np.array([[0, 2345, 65535]], np.uint16)).save(tmp_path / "a.png")
    meters = read_depth_png(tmp_path / "a.png", units_per_meter=units_per_meter)
    assert meters.dtype == np.float32
    assert meters.tolist() == [[0, np.float32(expected), np.float32(65535 / units_per_meter)]]


def test_what_is_no_depth_is_refused_with_its_name(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "view.png")
    (tmp_path / "words.png").write_text("no image")
    Image.fromarray(np.zeros((40, 40), np.uint16)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    for name, message in (
        ("view.png", "not 16-bit"),
        ("words.png", "damaged PNG, or none"),
        ("cut.png", "damaged PNG, or none"),
        ("gone.png", "no such file"),
    ):
        with pytest.raises(DepthFileError, match=message) as caught:
            read_depth_png(tmp_path / name, units_per_meter=1000)
        assert name in caught.value.message
