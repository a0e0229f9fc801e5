"""The EXR formats: exr (depth) and normals-exr. They need the package OpenEXR."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from glpn_cli.depth import DepthMap
from glpn_cli.errors import DepthFileError, MissingPackageError
from glpn_cli.geometry.normals import iter_normals
from glpn_cli.output.metadata import (
    KEYWORD,
    build_metadata,
    depth_from_metadata,
    describe_origin,
    metadata_to_json,
    parse_metadata,
)
from glpn_cli.values import NormalMap

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

    from glpn_cli.settings import OutputSettings

_CHANNEL, _GRAY_CHANNEL = "Z", "Y"


class _EXRFile:
    """The part that both EXR formats share."""

    def read_metadata(self, stream: BinaryIO) -> dict[str, Any] | None:
        """Return the metadata; None if OpenEXR is not installed."""
        try:
            with _import_openexr().File(stream, header_only=True, num_threads=0) as file:
                return parse_metadata(file.header().get(KEYWORD))
        except Exception:  # noqa: BLE001 - a damaged file has no metadata
            return None


class EXR(_EXRFile):
    """Depth in the channel Z, as renderers write it, and once more in Y.

    Y is the channel of a gray image. Programs that read images, such as Blender and OpenCV, ignore a channel Z and
    show zeros or random memory if there is nothing else.
    """

    def encode(self, depth: DepthMap, settings: OutputSettings) -> bytes:
        """Return an OpenEXR file, losslessly compressed: Y and Z are (H, W) float32, in meters or the published scale.

        Raises:
            MissingPackageError: OpenEXR is not installed.
        """
        metadata = build_metadata("exr", depth, settings.scale)
        comment = f"{describe_origin(depth)}: meters = Z * {metadata['meters_per_unit']:g}"
        values = np.ascontiguousarray(depth.in_scale(settings.scale))
        return _write_exr({_CHANNEL: values, _GRAY_CHANNEL: values}, comment, metadata)

    def decode(self, data: bytes, name: str) -> DepthMap:
        """Return the depth; without metadata, the values of the channel Z, taken as meters.

        Raises:
            DepthFileError: the file is damaged, or has no floating-point channel Z.
            MissingPackageError: OpenEXR is not installed.
        """
        openexr = _import_openexr()
        try:
            with openexr.File(io.BytesIO(data), separate_channels=True, num_threads=0) as file:
                metadata = parse_metadata(file.header().get(KEYWORD))
                channel = file.channels().get(_CHANNEL)
                values = None if channel is None else np.array(channel.pixels)
        except Exception as error:  # OpenEXR's parsers raise many types
            raise DepthFileError(f"{name}: damaged EXR file") from error
        if values is None or values.dtype.kind != "f":
            raise DepthFileError(f"{name}: no floating-point channel {_CHANNEL}, which contains depth")
        if metadata is None:
            return DepthMap(np.ascontiguousarray(values, np.float32))
        return depth_from_metadata(values, metadata, name)


class NormalsEXR(_EXRFile):
    """Surface normals as floating-point colors."""

    def encode(self, depth: DepthMap, settings: OutputSettings) -> bytes:
        """Return an OpenEXR file: R, G and B are x, y and z of the normals, (H, W) float32, in [-1, 1].

        Raises:
            OutputError: the image is a panorama.
            MissingPackageError: OpenEXR is not installed.
        """
        normals = np.concatenate(list(iter_normals(depth, settings)))
        if settings.normal_map is NormalMap.DIRECTX:
            normals[..., 1] *= -1
        metadata = build_metadata("normals-exr", depth, normal_map=str(settings.normal_map))
        channels = {name: np.ascontiguousarray(normals[..., axis]) for axis, name in enumerate("RGB")}
        return _write_exr(channels, f"surface normals, {describe_origin(depth)}", metadata)


def _write_exr(channels: dict[str, NDArray[np.float32]], comment: str, metadata: dict[str, Any]) -> bytes:
    openexr = _import_openexr()
    header = {
        "type": openexr.scanlineimage,
        "compression": openexr.ZIP_COMPRESSION,
        "comments": comment.encode("ascii", "replace").decode(),
        KEYWORD: metadata_to_json(metadata),
    }
    buffer = io.BytesIO()
    openexr.File(header, channels, num_threads=0).write(buffer)
    return buffer.getvalue()


def _import_openexr() -> ModuleType:
    try:
        import OpenEXR
    except ImportError as error:
        raise MissingPackageError("exr files need the package OpenEXR", hint="pip install OpenEXR") from error
    module: ModuleType = OpenEXR
    return module
