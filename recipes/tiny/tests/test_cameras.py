"""Focal lengths and canonical depth."""

from __future__ import annotations

import numpy as np
import pytest

from cameras import estimate_fov_deg, relative_focal, relative_focal_of_fov
from glpn_cli.depth import Camera
from glpn_cli.geometry import camera
from recipe_data import room_depth


@pytest.mark.parametrize("fov_deg", [52, 64, 90])
def test_the_field_of_view_follows_from_exact_depth(fov_deg: float) -> None:
    assert estimate_fov_deg(room_depth(fov_deg)) == pytest.approx(fov_deg, abs=1.5)


def test_the_unit_of_depth_and_holes_do_not_matter() -> None:
    depth = room_depth(70)
    depth[::40, ::40] = 0
    assert estimate_fov_deg(depth * 1000) == pytest.approx(70, abs=1.5)


@pytest.mark.parametrize("depth", [np.full((240, 320), 2.0), np.zeros((240, 320)), np.full((5, 5), 1.0)])
def test_a_view_without_right_angles_is_not_clear(depth: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
    assert estimate_fov_deg(depth) is None


def test_a_relative_focal_length_is_independent_of_the_size() -> None:
    assert relative_focal_of_fov(60, (300, 400)) == pytest.approx(1, abs=1e-3)
    assert relative_focal_of_fov(50, (240, 320)) == pytest.approx(relative_focal_of_fov(50, (480, 640)))


def test_training_and_prediction_use_the_same_factor() -> None:
    assert relative_focal(500.0, (480, 640)) == pytest.approx(camera.relative_focal(Camera(500.0, "user"), (480, 640)))
