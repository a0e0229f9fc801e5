"""The camera of an image: from what the user says, else from what the image says, else an assumption."""

from __future__ import annotations

import math

from glpn_cli.depth import Camera
from glpn_cli.settings.prediction import ASSUMED_FOV_DEG, CameraSettings

__all__ = ["choose_camera", "focal_px_of_fov", "focal_px_of_mm_35", "fov_deg_of"]

_FILM_DIAGONAL_MM = math.hypot(36.0, 24.0)


def choose_camera(
    settings: CameraSettings,
    size: tuple[int, int],
    *,
    exif_mm_35: float | None = None,
    exif_focal_px: float | None = None,
) -> Camera:
    """Decide what camera an image was taken with.

    Args:
        settings: what the user says; it counts before everything else.
        size: (height, width) of the upright image.
        exif_mm_35: the image's 35 mm equivalent focal length, or None.
        exif_focal_px: its focal length in pixels by the lens and the sensor's resolution, or None.
    """
    height, width = size
    if settings.fov_deg is not None:
        return Camera(focal_px_of_fov(settings.fov_deg, width), f"--fov-deg {settings.fov_deg:g}")
    if settings.focal_px is not None:
        return Camera(settings.focal_px, f"--focal-px {settings.focal_px:g}")
    if settings.focal_mm_35 is not None:
        focal_px = focal_px_of_mm_35(settings.focal_mm_35, size)
        return Camera(focal_px, f"--focal-mm-35 {settings.focal_mm_35:g}")
    if exif_mm_35 is not None:
        return Camera(focal_px_of_mm_35(exif_mm_35, size), f"EXIF: {exif_mm_35:g} mm in 35 mm terms")
    if exif_focal_px is not None:
        return Camera(exif_focal_px, "EXIF: focal length and resolution of the sensor")
    # A camera on its side sees as much along its long side as before, so there it is what can be guessed.
    side = "horizontal" if width >= height else "vertical, along the long side"
    focal_px = focal_px_of_fov(ASSUMED_FOV_DEG, max(height, width))
    return Camera(focal_px, f"assumed: {ASSUMED_FOV_DEG:g}° {side}")


def focal_px_of_fov(fov_deg: float, side_px: int) -> float:
    """Give the focal length in pixels of a camera that sees so many degrees along a side of so many pixels."""
    return side_px / 2 / math.tan(math.radians(fov_deg) / 2)


def focal_px_of_mm_35(focal_mm_35: float, size: tuple[int, int]) -> float:
    """Give the focal length in pixels of a 35 mm equivalent one.

    Equivalent means: the same angle along the diagonal as on film of 36 by 24 mm. Cameras state it so whatever the
    shape of their sensor, and a diagonal does not change when the image is turned upright.

    Source: CIPA DCG-001, on the 35 mm film equivalent focal length.
    """
    return focal_mm_35 / _FILM_DIAGONAL_MM * math.hypot(*size)


def fov_deg_of(focal_px: float, side_px: int) -> float:
    """Give the degrees that a camera sees along a side of so many pixels."""
    return math.degrees(2 * math.atan(side_px / 2 / focal_px))
