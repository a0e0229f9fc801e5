"""Camera files: the intrinsics of a calibrated camera, as glpn, Open3D, ROS and OpenCV write them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from glpn_cli.depth import Camera
from glpn_cli.errors import ImageError, InputError
from glpn_cli.files import os_reason, parse_json, read_bounded

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

_MAX_BYTES = 2**16
_HINT = "use fx, fy, cx, cy, width, height as JSON, Open3D's PinholeCameraIntrinsic, or the camera_info.yaml of ROS"


@dataclass(frozen=True, slots=True)
class Calibration:
    """A calibrated camera, before it is known for which image.

    Attributes:
        name: name of the file, without its folder.
        focal_px: focal lengths along x and y, pixels.
        center_px: x and y where the optical axis meets the image; the center of the top left pixel is (0, 0). None is
            the center of the image.
        size: (height, width) of the images that it was calibrated with; None if the file does not state it.
        distortion: coefficients of the lens distortion, which is not corrected.
    """

    name: str
    focal_px: tuple[float, float]
    center_px: tuple[float, float] | None = None
    size: tuple[int, int] | None = None
    distortion: tuple[float, ...] = ()

    def __str__(self) -> str:
        """Return the numbers that determine points, for the fingerprint of a run."""
        numbers = [*self.focal_px, *(self.center_px or ()), *(self.size or ())]
        return "file: " + " ".join(f"{number:.10g}" for number in numbers)

    @property
    def is_distorted(self) -> bool:
        """Whether the lens has distortion, which is not corrected."""
        return any(self.distortion)

    def camera_of(self, size: tuple[int, int], image: str | None = None) -> Camera:
        """Return the camera of an upright image; intrinsics for another size of the same shape are scaled.

        Args:
            size: (height, width) of the image.
            image: the image's name in messages.

        Raises:
            ImageError: the image has another shape than those of the camera.
        """
        source = f"file: {self.name}"
        scale_x = scale_y = 1.0
        if self.size is not None and self.size != size:
            scale_x, scale_y = self._scale_to(size, self.size, image)
            source += f", scaled from {self.size[1]} x {self.size[0]}"
        if self.is_distorted:
            source += ", distortion not corrected"
        x, y = (None, None) if self.center_px is None else self.center_px
        return Camera(
            self.focal_px[0] * scale_x,
            source,
            focal_y_px=self.focal_px[1] * scale_y,
            center_x_px=_scaled(x, scale_x),
            center_y_px=_scaled(y, scale_y),
        )

    @staticmethod
    def _scale_to(size: tuple[int, int], before: tuple[int, int], image: str | None) -> tuple[float, float]:
        """Return the factors along x and y between two sizes.

        A resized image has rounded sides, so one pixel of difference is allowed.

        Raises:
            ImageError: the image has another shape.
        """
        scales = [side / side_before for side, side_before in zip(size, before, strict=True)]
        difference_px = min(
            abs(size[0] - before[0] * scales[1]),  # how far the height is from that of the scaled width
            abs(size[1] - before[1] * scales[0]),
        )
        if difference_px <= 1:
            return scales[1], scales[0]
        of_file, of_image = (f"{width} x {height}" for height, width in (before, size))
        turned = before == size[::-1]
        raise ImageError(
            f"{image or 'the image'}: is {of_image}, but `camera` is for {of_file}",
            hint="turn the image or the camera: intrinsics are those of the upright image"
            if turned
            else "intrinsics cannot be scaled to another shape: crop nothing, or adapt cx and cy to the crop",
        )


def _scaled(center_px: float | None, scale: float) -> float | None:
    """Return a position in an image after scaling, which keeps the corner of the image, at -0.5."""
    return center_px if center_px is None or scale == 1 else (center_px + 0.5) * scale - 0.5


def read_calibration(path: str | PathLike[str]) -> Calibration:
    """Return the camera in a file.

    JSON may be an object with fx, fy, cx, cy, width and height, Open3D's PinholeCameraIntrinsic or
    PinholeCameraParameters, or a record of `glpn predict`. YAML may be ROS's camera_info.yaml, a printed CameraInfo
    message, or what OpenCV's calibration writes. Only the intrinsics of the raw image are used, not those of a
    rectified one.

    Raises:
        InputError: the file cannot be read, or contains no valid intrinsics.
    """
    try:
        with open(path, "rb") as stream:
            data = read_bounded(stream, _MAX_BYTES)
    except (OSError, ValueError) as error:  # ValueError: the name contains a NUL
        reason = os_reason(error) if isinstance(error, OSError) else str(error)
        raise InputError(f"{path}: cannot be read: {reason}", setting="camera") from error
    if data is None:
        raise InputError(f"{path}: is not a camera file", hint=_HINT, setting="camera")
    values = _parse_text(data, str(path))
    for key in ("camera", "intrinsic"):
        if isinstance(values.get(key), dict):
            values = values[key]
    try:
        calibration = _parse_values(values, PurePath(path).name)
        calibration.camera_of(calibration.size or (1, 1))  # the checks of `Camera`
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        detail = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path}: has no valid intrinsics: {detail}", hint=_HINT, setting="camera") from error
    return calibration


def _parse_text(data: bytes, name: str) -> dict[str, Any]:
    """Return the object in JSON or YAML.

    Raises:
        InputError: there is none.
    """
    if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return parse_json(data.removeprefix(b"\xef\xbb\xbf"), name, InputError)
    import yaml

    # OpenCV writes a header that is not YAML, and a type of its own.
    text = data.decode("utf-8", "replace").replace("%YAML:1.0", "").replace("!!opencv-matrix", "")
    try:
        # A message that `ros2 topic echo` printed ends with "---".
        values = next(iter(yaml.safe_load_all(text)), None)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{name}: is neither JSON nor YAML", hint=_HINT, setting="camera") from error
    if not isinstance(values, dict):
        raise InputError(f"{name}: is not a camera file", hint=_HINT, setting="camera")
    return values


def _parse_values(values: Mapping[str, Any], name: str) -> Calibration:
    """Return the camera in an object.

    Raises:
        KeyError, TypeError, ValueError: there is none.
    """
    matrix = _matrix(values)
    if matrix is not None:
        fx, skew, cx, _, fy, cy, *_ = matrix
        if skew:
            raise ValueError("skewed pixels are not supported")
        center: tuple[float, float] | None = (cx, cy)
    else:
        fx = float(values["fx"] if "fx" in values else values["focal_px"])
        fy = float(values.get("fy", fx))
        center = (float(values["cx"]), float(values["cy"])) if "cx" in values or "cy" in values else None
    width, height = (values.get(side, values.get(f"image_{side}")) for side in ("width", "height"))
    size = None if width is None and height is None else (_side(height), _side(width))
    if fx == 0 == fy:
        raise ValueError("the camera is not calibrated: its focal length is 0")
    return Calibration(name, (fx, fy), center, size, _distortion(values))


def _matrix(values: Mapping[str, Any]) -> tuple[float, ...] | None:
    """Return the nine numbers of the camera matrix, row by row; None if there is none.

    Open3D stores columns one after another, ROS and OpenCV rows. The last row is (0, 0, 1), so the order shows.
    """
    for key in ("intrinsic_matrix", "camera_matrix", "K", "k"):
        if key in values:
            numbers = _numbers(values[key])
            if len(numbers) != 9:
                raise ValueError(f"{key} must have 9 numbers, not {len(numbers)}")
            is_by_columns = numbers[6] or numbers[7]  # there are cx and cy then, and 0 otherwise
            return (
                tuple(numbers[row + 3 * column] for row in range(3) for column in range(3))
                if is_by_columns
                else (*numbers,)
            )
    return None


def _distortion(values: Mapping[str, Any]) -> tuple[float, ...]:
    for key in ("distortion_coefficients", "D", "d"):
        if values.get(key) is not None:
            return tuple(_numbers(values[key]))
    return ()


def _numbers(value: Any) -> list[float]:
    """Return the numbers in a list, in a list of lists, or in a matrix with rows, columns and data."""
    if isinstance(value, dict):
        value = value["data"]
    flat = [item for part in value for item in (part if isinstance(part, list) else [part])]
    return [float(number) for number in flat]


def _side(value: Any) -> int:
    number = float(value)
    if not (math.isfinite(number) and number >= 1 and number == int(number)):
        raise ValueError(f"width and height must be whole numbers above 0, not {value!r}")
    return int(number)
