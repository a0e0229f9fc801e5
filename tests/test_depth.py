"""Depth maps, provenance and cameras."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from glpn_cli.depth import Camera, DepthMap, Provenance, is_known
from glpn_cli.errors import OutputExistsError
from glpn_cli.settings import Scale

if TYPE_CHECKING:
    from pathlib import Path


def test_depth_map_must_be_two_dimensional_float32() -> None:
    for wrong in (np.zeros((2, 3)), np.zeros((1, 2, 3), np.float32), np.zeros((0, 3), np.float32)):
        with pytest.raises(ValueError, match="float32"):
            DepthMap(wrong)


def test_image_and_uncertainty_must_have_the_shape_of_depth() -> None:
    meters = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match="rgb"):
        DepthMap(meters, rgb=np.zeros((3, 2, 3), np.uint8))
    with pytest.raises(ValueError, match="uncertainty_m"):
        DepthMap(meters, uncertainty_m=np.zeros((2, 3)))


def test_the_old_name_of_meters_still_works(depth_map: DepthMap) -> None:
    assert depth_map.metres is depth_map.meters


def test_known_depth_is_finite_and_positive() -> None:
    assert is_known(np.float32([0, -1, np.nan, np.inf, 0.1])).tolist() == [False, False, False, False, True]


def test_saturated_fraction_counts_pixels_near_the_depth_limit() -> None:
    meters = np.array([[9.4, 9.6, 10, 1]], np.float32)
    assert DepthMap(meters, Provenance(depth_limit_m=10.0)).saturated_fraction == 0.5
    assert DepthMap(meters).saturated_fraction == 0


def test_published_scale_divides_by_the_factor_of_the_weights() -> None:
    meters = np.full((1, 2), 4, np.float32)
    depth = DepthMap(meters, Provenance(meters_per_unit=8.0))
    assert depth.in_scale(Scale.PUBLISHED).tolist() == [[0.5, 0.5]]
    assert depth.in_scale(Scale.METERS) is meters
    assert DepthMap(meters).in_scale(Scale.PUBLISHED) is meters


def test_save_replaces_a_file_only_with_overwrite(tmp_path: Path, depth_map: DepthMap) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(b"precious")
    with pytest.raises(OutputExistsError, match=r"x\.npy"):
        depth_map.save(path)
    assert path.read_bytes() == b"precious"
    depth_map.save(path, overwrite=True)
    np.testing.assert_array_equal(np.load(path), depth_map.meters)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.npy"]


def test_dictionaries_of_newer_versions_are_read() -> None:
    provenance = Provenance(weights="tiny", metric=False, network_size=(96, 128), notes=("a note",))
    assert Provenance.from_dict({**provenance.to_dict(), "network_size": [96, 128], "new": 1}) == provenance
    camera = Camera(525.0, "EXIF: focal length and sensor resolution")
    assert Camera.from_dict({**camera.to_dict(), "new": 1}) == camera
