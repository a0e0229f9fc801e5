"""Depth maps, provenance and cameras."""

from __future__ import annotations

from dataclasses import replace
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
    back = Camera.from_dict({**camera.to_dict((4, 7)), "new": 1})
    assert back == replace(camera, center_x_px=3.0, center_y_px=1.5)


def test_camera_has_square_pixels_and_its_center_by_default() -> None:
    camera = Camera(525.0, "user")
    assert camera.focal_y_px == 525
    assert camera.center_px((480, 640)) == (319.5, 239.5)
    completed = DepthMap(np.ones((480, 640), np.float32), camera=camera).camera
    assert completed == replace(camera, center_x_px=319.5, center_y_px=239.5)
    assert completed.completed((10, 10)) is completed


def test_camera_as_json_has_the_names_of_other_programs() -> None:
    camera = Camera(525.0, "file: c.yaml", focal_y_px=520.0, center_x_px=310.0)
    values = camera.to_dict((480, 640))
    names = ("fx", "fy", "cx", "cy", "width", "height", "focal_px", "source")
    assert [values[name] for name in names] == [525, 520, 310, 239.5, 640, 480, 525, "file: c.yaml"]
    assert "projection" not in values
    assert Camera.from_dict(values) == replace(camera, center_y_px=239.5)


def test_camera_of_version_0_1_is_read() -> None:
    assert Camera.from_dict({"focal_px": 525.0, "source": "x"}) == Camera(525.0, "x")


def test_projection_of_a_panorama_is_stored() -> None:
    camera = Camera(100.0, "GPano", projection="equirectangular", center_x_px=1.0, center_y_px=2.0)
    assert Camera.from_dict(camera.to_dict((4, 8))) == camera


@pytest.mark.parametrize(
    "values", [(0.0,), (-1.0,), (np.nan,), (1.0, np.inf), (1.0, 1.0, np.nan), (1.0, 1.0, 0, -np.inf)]
)
def test_impossible_cameras_are_refused(values: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Camera(values[0], "x", *values[1:])
