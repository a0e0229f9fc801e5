"""Metadata: what is written, what is read, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from glpn_cli.depth import Camera, DepthMap, Provenance
from glpn_cli.errors import DepthFileError
from glpn_cli.output.metadata import (
    build_metadata,
    depth_from_metadata,
    describe_origin,
    metadata_to_json,
    parse_metadata,
    read_camera,
    read_provenance,
)
from glpn_cli.values import Scale


def test_metadata_survives_json(depth_map: DepthMap) -> None:
    depth = replace(depth_map, camera=Camera(525.0, "user: focal length 525 pixels"))
    metadata = parse_metadata(metadata_to_json(build_metadata("npz", depth, low=1.0)))
    assert metadata is not None
    assert (metadata["format"], metadata["scale"], metadata["meters_per_unit"]) == ("npz", "meters", 1.0)
    assert metadata["low"] == 1.0
    assert read_provenance(metadata) == depth.provenance
    assert read_camera(metadata) == depth.camera
    assert read_camera(build_metadata("npz", depth_map)) is None


@pytest.mark.parametrize(("factor", "expected"), [(8.0, 8.0), (None, 1.0)])
def test_published_scale_has_its_factor(depth_map: DepthMap, factor: float | None, expected: float) -> None:
    depth = replace(depth_map, provenance=replace(depth_map.provenance, meters_per_unit=factor))
    assert build_metadata("npz", depth, Scale.PUBLISHED)["meters_per_unit"] == expected


@pytest.mark.parametrize(
    "text",
    [
        *(None, 1, "", "no JSON", "[]", "{}", '{"provenance": 1}', b"\xff", "[" * 100_000),
        '{"provenance": {}, "x": ' + "[" * 400 + "]" * 400 + "}",
    ],
    ids=lambda text: repr(text)[:20],
)
def test_other_texts_are_not_metadata(text: object) -> None:
    assert parse_metadata(text) is None


def test_names_of_version_0_1_are_read() -> None:
    old = (
        '{"format": "color", "scale": "metres", "metres_per_unit": 1.0, "unit": "metre", "colormap": "grey",'
        ' "values_per_metre": 256, "camera": {"focal_px": 525.0, "source": "--focal-px 525"},'
        ' "provenance": {"weights": "tiny", "metres_per_unit": 8.0}}'
    )
    metadata = parse_metadata(old)
    assert metadata is not None
    assert (metadata["scale"], metadata["unit"], metadata["colormap"]) == ("meters", "meter", "gray")
    assert (metadata["meters_per_unit"], metadata["values_per_meter"]) == (1.0, 256)
    assert read_provenance(metadata) == Provenance(weights="tiny", meters_per_unit=8.0)
    assert read_camera(metadata) == Camera(525.0, "--focal-px 525")


@pytest.mark.parametrize(
    "change",
    [
        {"meters_per_unit": "one"},
        {"meters_per_unit": None},
        {"camera": {"focal_px": 1.0}},
        {"camera": {"focal_px": "long", "source": "x"}},
        {"camera": 3},
        {"camera": {"focal_px": 0, "source": "x"}},
        {"camera": {"focal_px": 10**400, "source": "x"}},
        {"camera": {"fx": 5.0, "fy": None, "source": "x"}},
        {"camera": {"fx": 5.0, "cx": "left", "source": "x"}},
        {"camera": {"focal_px": float("nan"), "source": "x"}},
        {"meters_per_unit": 10**400},
        {"meters_per_unit": float("nan")},
        {"meters_per_unit": float("inf")},
        {"meters_per_unit": 1e300},
        {"meters_per_unit": 0},
        {"meters_per_unit": -1},
        {"meters_per_unit": True},
        {"meters_per_unit": [1]},
        {"provenance": {"source": ["a"]}},
        {"provenance": {"weights": 5}},
        {"provenance": {"metric": [1]}},
        {"provenance": {"depth_limit_m": 10**400}},
        {"provenance": {"depth_limit_m": float("nan")}},
        {"provenance": {"network_size": "abc"}},
        {"provenance": {"network_size": [1, 2, 3]}},
        {"provenance": {"notes": 5}},
        {"provenance": {"anchors": {"a": 1}}},
        {"provenance": {"anchors": [{"x": "left"}]}},
        {"provenance": {"approximate": 2}},
    ],
    ids=str,
)
def test_invalid_metadata_is_an_error(depth_map: DepthMap, change: dict[str, object]) -> None:
    metadata = build_metadata("tiff", depth_map) | change
    with pytest.raises(DepthFileError, match=r"x\.tiff"):
        depth_from_metadata(depth_map.meters, metadata, "x.tiff")


def test_values_must_be_floating_point(depth_map: DepthMap) -> None:
    metadata = build_metadata("npz", depth_map)
    for values, uncertainty in ((np.ones((2, 3), int), None), (np.ones((2, 3)), np.ones((2, 3), int))):
        with pytest.raises(DepthFileError, match=r"x\.npz"):
            depth_from_metadata(values, metadata, "x.npz", uncertainty=uncertainty)
    with pytest.raises(DepthFileError, match=r"x\.npz"):
        depth_from_metadata(np.ones((2, 3)), metadata, "x.npz", uncertainty=np.ones((3, 2)))


def test_origin_is_one_line(depth_map: DepthMap) -> None:
    assert describe_origin(DepthMap(depth_map.meters)) == "depth"
    odd = replace(depth_map, provenance=Provenance(source="a\n\udcff.jpg"))
    line = describe_origin(odd)
    assert "\n" not in line
    line.encode("utf-8")
