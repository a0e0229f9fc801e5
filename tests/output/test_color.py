from __future__ import annotations

import io
import json
from dataclasses import replace

import cmap
import numpy as np
import pytest
from PIL import Image

from glpn_cli.depth import DepthMap, Provenance
from glpn_cli.errors import UsageError
from glpn_cli.output.color import color_of_unknown, color_table, encode
from glpn_cli.settings import Colormap, DepthRange, Near, OutputSettings


def image(meters: np.ndarray, depth: DepthMap | None = None, **settings: object) -> np.ndarray:
    depth = depth or DepthMap(meters.astype(np.float32), Provenance(depth_limit_m=10.0, weights="nyu"))
    with Image.open(io.BytesIO(encode(depth, OutputSettings(**settings)))) as image:  # type: ignore[arg-type]
        assert image.mode == "RGB"
        return np.asarray(image)


RAMP = np.linspace(0.5, 9.5, 200).reshape(10, 20)
FIXED = DepthRange.parse("2:6")


@pytest.mark.parametrize("name", Colormap)
def test_the_tables_are_those_of_cmap(name: Colormap) -> None:
    theirs = {"spectral": "colorbrewer:spectral_r", "gray": "matlab:gray", "batlow": "crameri:batlow"}
    lut = cmap.Colormap(theirs.get(name, str(name))).lut(256)[:, :3]
    assert np.abs(color_table(name) - lut * 255).max() <= 0.5 + 1e-9
    assert len(np.unique(color_table(name), axis=0)) > 200


@pytest.mark.parametrize("name", Colormap)
def test_unknown_depth_has_a_color_that_no_depth_has(name: Colormap) -> None:
    distance = np.linalg.norm(color_table(name).astype(float) - color_of_unknown(name), axis=1).min()
    assert distance >= 60
    meters = RAMP.copy()
    meters[0, 0], meters[0, 1], meters[0, 2] = 0, np.nan, np.inf
    colors = image(meters, colormap=name)
    assert (colors[0, :3] == color_of_unknown(name)).all()
    assert (colors != color_of_unknown(name)).any(axis=2)[1:].all()


def test_near_is_bright_unless_it_is_to_be_dark() -> None:
    for near, first in ((None, 255), (Near.BRIGHT, 255), (Near.DARK, 0)):
        gray = image(RAMP, colormap=Colormap.GRAY, near=near, range=FIXED)
        assert (gray[RAMP <= 2] == first).all()
        assert (gray[RAMP >= 6] == 255 - first).all()


def test_a_depth_has_the_same_color_in_every_image_of_one_range() -> None:
    one = image(RAMP, range=FIXED)
    other = image(RAMP[:, ::-1], range=FIXED)
    np.testing.assert_array_equal(one, other[:, ::-1])
    assert (image(RAMP) != image(RAMP[:5])[: len(RAMP)][:1]).any()


@pytest.mark.parametrize(
    ("text", "ends"),
    [("model", (0, 10)), ("1:3", (1, 3)), ("p0:p100", (0.5, 9.5)), ("auto", np.percentile(RAMP, (1, 99)))],
)
def test_the_range_is_what_was_asked_for_and_stands_in_the_text(text: str, ends: tuple[float, float]) -> None:
    depth = DepthMap(RAMP.astype(np.float32), Provenance(depth_limit_m=10.0))
    with Image.open(io.BytesIO(encode(depth, OutputSettings(range=DepthRange.parse(text))))) as image:
        facts = json.loads(image.info["glpn"])
        said = image.info["Description"]
    assert (facts["low"], facts["high"]) == pytest.approx(tuple(ends), rel=1e-5)
    assert facts["range"] == text
    assert f"{facts['low']:.6g} to {facts['high']:.6g} m in the colors turbo, near is bright" in said


def test_the_range_of_a_run_counts_for_each_image() -> None:
    np.testing.assert_array_equal(image(RAMP, range_m=(2.0, 6.0)), image(RAMP, range=FIXED))


def test_the_models_range_is_refused_where_nobody_knows_it() -> None:
    with pytest.raises(UsageError, match="depth limit"):
        image(RAMP, DepthMap(RAMP.astype(np.float32)), range=DepthRange.parse("model"))


def test_a_flat_map_is_one_color() -> None:
    assert len(np.unique(image(np.full((4, 5), 3.0)).reshape(-1, 3), axis=0)) == 1


def test_the_photo_stands_to_the_left() -> None:
    depth = DepthMap(RAMP.astype(np.float32), rgb=np.random.default_rng(0).integers(0, 255, (10, 20, 3), np.uint8))
    both = image(RAMP, depth, side_by_side=True)
    np.testing.assert_array_equal(both[:, :20], depth.rgb)
    np.testing.assert_array_equal(both[:, 20:], image(RAMP, depth))
    with pytest.raises(UsageError, match="no photo"):
        image(RAMP, replace(depth, rgb=None), side_by_side=True)


def test_a_legend_leaves_the_image_as_it_is() -> None:
    large = np.kron(RAMP, np.ones((20, 20)))
    plain, described = image(large), image(large, legend=True)
    np.testing.assert_array_equal(described[: len(plain)], plain)
    assert len(described) > len(plain)


def test_the_published_scale_changes_no_color() -> None:
    depth = DepthMap(RAMP.astype(np.float32), Provenance(meters_per_unit=8.0))
    from glpn_cli.settings import Scale

    np.testing.assert_array_equal(image(RAMP, depth, range=FIXED, scale=Scale.PUBLISHED), image(RAMP, range=FIXED))
