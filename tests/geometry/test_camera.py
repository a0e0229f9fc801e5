"""The camera: what the user says, else what the image says, else an assumption that is stated."""

from __future__ import annotations

import math

import pytest

from glpn_cli.errors import UsageError
from glpn_cli.geometry.camera import choose_camera, focal_px_of_fov, focal_px_of_mm_35, fov_deg_of
from glpn_cli.settings import CameraSettings


def test_ninety_degrees_see_as_far_to_each_side_as_ahead() -> None:
    assert focal_px_of_fov(90, 640) == pytest.approx(320)
    assert fov_deg_of(320, 640) == pytest.approx(90)


def test_film_of_36_by_24_mm_gives_the_textbook_angles() -> None:
    focal_px = focal_px_of_mm_35(50, (2400, 3600))
    assert focal_px == pytest.approx(5000)
    assert fov_deg_of(focal_px, 3600) == pytest.approx(math.degrees(2 * math.atan(18 / 50)))


def test_a_35_mm_equivalent_keeps_the_angle_of_the_diagonal_whatever_the_shape() -> None:
    for size in ((3000, 4000), (4000, 3000), (1080, 1920), (1000, 1000)):
        focal_px = focal_px_of_mm_35(26, size)
        assert math.hypot(*size) / focal_px == pytest.approx(math.hypot(36, 24) / 26)


@pytest.mark.parametrize(
    ("settings", "focal_px"),
    [
        (CameraSettings(fov_deg=90), 200.0),
        (CameraSettings(focal_px=321.5), 321.5),
        (CameraSettings(focal_mm_35=43.2666153), 500.0),
    ],
)
def test_the_user_counts_before_the_image(settings: CameraSettings, focal_px: float) -> None:
    camera = choose_camera(settings, (300, 400), exif_mm_35=28, exif_focal_px=1000)
    assert camera.focal_px == pytest.approx(focal_px)
    assert camera.source.startswith("--f")
    assert not camera.is_assumed


def test_the_equivalent_focal_length_counts_before_the_lens_and_sensor() -> None:
    both = choose_camera(CameraSettings(), (300, 400), exif_mm_35=43.2666153, exif_focal_px=1000)
    assert both.focal_px == pytest.approx(500)
    lens = choose_camera(CameraSettings(), (300, 400), exif_focal_px=1000)
    assert lens.focal_px == 1000
    assert "EXIF" in both.source
    assert "EXIF" in lens.source


def test_a_image_that_says_nothing_gets_55_degrees_along_its_long_side_and_says_so() -> None:
    landscape = choose_camera(CameraSettings(), (300, 400))
    portrait = choose_camera(CameraSettings(), (400, 300))
    assert landscape.is_assumed
    assert landscape.source == "assumed: 55° horizontal"
    assert fov_deg_of(landscape.focal_px, 400) == pytest.approx(55)
    assert portrait.source == "assumed: 55° vertical, along the long side"
    assert portrait.focal_px == pytest.approx(landscape.focal_px)


@pytest.mark.parametrize("said", [{"fov_deg": 60.0, "focal_px": 500.0}, {"focal_px": 1.0, "focal_mm_35": 28.0}])
def test_a_camera_is_said_once(said: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="say the same in two ways"):
        CameraSettings(**said)


@pytest.mark.parametrize(
    "said",
    [{"fov_deg": 0.0}, {"fov_deg": 180.0}, {"focal_px": -1.0}, {"focal_mm_35": math.nan}, {"focal_px": math.inf}],
)
def test_a_camera_that_cannot_be_is_refused(said: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="no such camera"):
        CameraSettings(**said)
