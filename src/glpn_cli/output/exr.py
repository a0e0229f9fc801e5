"""The exr format: float32 depth in a channel Z, as renderers write it. It needs the package OpenEXR."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from glpn_cli.depth import DepthMap
from glpn_cli.errors import DepthFileError, MissingPackageError
from glpn_cli.output.metadata import (
    KEYWORD,
    build_metadata,
    depth_from_metadata,
    describe_origin,
    metadata_to_json,
    parse_metadata,
)

if TYPE_CHECKING:
    from types import ModuleType

    from glpn_cli.settings import OutputSettings

_CHANNEL = "Z"


class EXR:
    """OpenEXR with one channel."""

    def encode(self, depth: DepthMap, settings: OutputSettings) -> bytes:
        """Return an OpenEXR file, losslessly compressed: Z is (H, W) float32, in meters or in the published scale.

        Raises:
            MissingPackageError: OpenEXR is not installed.
        """
        openexr = _import_openexr()
        metadata = build_metadata("exr", depth, settings.scale)
        comment = f"{describe_origin(depth)}: meters = Z * {metadata['meters_per_unit']:g}"
        header = {
            "type": openexr.scanlineimage,
            "compression": openexr.ZIP_COMPRESSION,
            "comments": comment.encode("ascii", "replace").decode(),
            KEYWORD: metadata_to_json(metadata),
        }
        channels = {_CHANNEL: np.ascontiguousarray(depth.in_scale(settings.scale))}
        buffer = io.BytesIO()
        openexr.File(header, channels, num_threads=0).write(buffer)
        return buffer.getvalue()

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

    def read_metadata(self, stream: BinaryIO) -> dict[str, Any] | None:
        """Return the metadata; None if OpenEXR is not installed."""
        try:
            with _import_openexr().File(stream, header_only=True, num_threads=0) as file:
                return parse_metadata(file.header().get(KEYWORD))
        except Exception:  # noqa: BLE001 - a damaged file has no metadata
            return None


def _import_openexr() -> ModuleType:
    try:
        import OpenEXR
    except ImportError as error:
        raise MissingPackageError("exr files need the package OpenEXR", hint="pip install OpenEXR") from error
    module: ModuleType = OpenEXR
    return module
