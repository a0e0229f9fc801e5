"""The formats of cameras: camera (JSON, also for Open3D) and camera-info (YAML, for ROS)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

from glpn_cli.files import load_json
from glpn_cli.geometry.camera import pinhole_camera
from glpn_cli.output.metadata import KEYWORD, build_metadata, metadata_to_json, parse_metadata

if TYPE_CHECKING:
    from glpn_cli.depth import DepthMap
    from glpn_cli.settings import OutputSettings

_MAX_BYTES = 2**20
_YAML_METADATA = f"# {KEYWORD} "


class CameraJSON:
    """The intrinsics as JSON, which Open3D reads as PinholeCameraIntrinsic."""

    def encode(self, depth: DepthMap, settings: OutputSettings) -> bytes:  # noqa: ARG002 - always pixels
        """Return a JSON object: fx, fy, cx, cy, width, height, and Open3D's matrix, one column after another.

        Raises:
            OutputError: the image is a panorama.
        """
        camera, metadata = _describe("camera", depth)
        fx, fy, cx, cy = (camera[name] for name in ("fx", "fy", "cx", "cy"))
        document = {
            KEYWORD: metadata_to_json(metadata),
            **{name: camera[name] for name in ("width", "height", "fx", "fy", "cx", "cy", "source")},
            "intrinsic_matrix": [fx, 0.0, 0.0, 0.0, fy, 0.0, cx, cy, 1.0],
        }
        return (json.dumps(document, indent=2) + "\n").encode("ascii")

    def read_metadata(self, stream: BinaryIO) -> dict[str, Any] | None:
        """Return the metadata."""
        try:
            return parse_metadata(load_json(stream.read(_MAX_BYTES))[KEYWORD])
        except (ValueError, KeyError, TypeError):
            return None


class CameraInfoYAML:
    """The intrinsics as ROS's camera_info.yaml, as camera_calibration_parsers reads it."""

    def encode(self, depth: DepthMap, settings: OutputSettings) -> bytes:  # noqa: ARG002 - always pixels
        """Return YAML with the camera matrix, no distortion, and the projection without a second camera.

        Raises:
            OutputError: the image is a panorama.
        """
        camera, metadata = _describe("camera-info", depth)
        fx, fy, cx, cy = (camera[name] for name in ("fx", "fy", "cx", "cy"))
        matrices = {
            "camera_matrix": (3, [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]),
            "distortion_coefficients": (1, [0.0] * 5),
            "rectification_matrix": (3, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]),
            "projection_matrix": (3, [fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]),
        }
        lines = [
            _YAML_METADATA + metadata_to_json(metadata),
            f"image_width: {camera['width']}",
            f"image_height: {camera['height']}",
            "camera_name: camera",
            "distortion_model: plumb_bob",
        ]
        for name, (rows, numbers) in matrices.items():
            data = ", ".join(map(repr, numbers))
            lines += [f"{name}:", f"  rows: {rows}", f"  cols: {len(numbers) // rows}", f"  data: [{data}]"]
        return ("\n".join(lines) + "\n").encode("ascii")

    def read_metadata(self, stream: BinaryIO) -> dict[str, Any] | None:
        """Return the metadata, which is in the first line."""
        line = stream.readline(_MAX_BYTES)
        prefix = _YAML_METADATA.encode("ascii")
        return parse_metadata(line[len(prefix) :]) if line.startswith(prefix) else None


def _describe(name: str, depth: DepthMap) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the camera as it is in metadata, and the metadata."""
    metadata = build_metadata(name, replace(depth, camera=pinhole_camera(depth)))
    return metadata["camera"], metadata
