from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from glpn_cli.cli.remarks import Remarks

from glpn_cli.cli.console import Console
from glpn_cli.depth import Camera, DepthMap, Provenance
from glpn_cli.output.formats import FORMATS
from glpn_cli.weights.catalog import find_farther_sighted

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

ASSUMED = Camera(500.0, "assumed: 55° horizontal")


def said(depths: Sequence[DepthMap], capsys: pytest.CaptureFixture[str], *, formats: Sequence[str] = ("ply",)) -> str:
    remarks = Remarks([FORMATS[name] for name in formats])
    for depth in depths:
        remarks.take(depth)
    remarks.say(Console())
    return " ".join(capsys.readouterr().err.split())


def photo(name: str = "a.jpg", *, far: float = 0.0, weights: str = "nyu", limit_m: float = 10.0) -> DepthMap:
    """Give a depth map of which a share lies at the limit."""
    meters = np.full((10, 10), 2.0, np.float32)
    meters.ravel()[: round(far * 100)] = limit_m
    return DepthMap(meters, Provenance(source=name, weights=weights, depth_limit_m=limit_m), camera=ASSUMED)


def test_an_assumed_camera_is_said_for_formats_in_space_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert "a.jpg says nothing of the lens; 55° horizontal is assumed" in said([photo()], capsys)
    assert not said([photo()], capsys, formats=["png", "npy"])


def test_a_known_camera_is_no_news(capsys: pytest.CaptureFixture[str]) -> None:
    known = DepthMap(photo().meters, camera=Camera(500.0, "--focal-px 500"))
    assert not said([known], capsys)


def test_many_images_get_one_line_of_each_kind(capsys: pytest.CaptureFixture[str]) -> None:
    text = said([photo("a.jpg", far=0.5), photo("b.jpg"), photo("c.jpg", far=0.3)], capsys)
    assert text.count("note:") == 2
    assert "3 of 3 images say nothing of the lens" in text
    assert "much of 2 of 3 images lies at the limit of nyu, 10 m" in text


def test_much_depth_at_the_limit_names_the_weights_that_see_farther(capsys: pytest.CaptureFixture[str]) -> None:
    text = said([photo(far=0.43)], capsys, formats=["png"])
    assert "43% of a.jpg lies at the limit of nyu, 10 m" in text
    assert "--weights kitti sees 80 m far" in text
    assert not said([photo(far=0.1)], capsys, formats=["png"])


def test_where_no_weights_see_farther_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    text = said([photo(far=0.9, weights="kitti", limit_m=80.0)], capsys, formats=["png"])
    assert "no weights of the catalog see farther" in text
    assert "--weights" not in text


def test_farther_sighted_weights_are_metric_and_see_no_farther_than_needed() -> None:
    better = find_farther_sighted(10)
    assert better is not None
    assert better.card.name == "kitti"
    assert find_farther_sighted(80) is None
