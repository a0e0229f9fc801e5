"""The TIFF formats, 32-bit floating-point meters: tiff (depth) and uncertainty."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from PIL.TiffTags import TAGS_V2

from glpn_cli.depth import DepthMap
from glpn_cli.errors import DepthFileError, UsageError
from glpn_cli.output.metadata import (
    build_metadata,
    depth_from_metadata,
    describe_origin,
    metadata_to_json,
    parse_metadata,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from glpn_cli.settings import OutputSettings

_TAG = {info.name: number for number, info in TAGS_V2.items()}
_DESCRIPTION, _SOFTWARE = _TAG["ImageDescription"], _TAG["Software"]


class _TIFFFile:
    """The part that both TIFF formats share."""

    def read_metadata(self, stream: BinaryIO) -> dict[str, Any] | None:
        """Return the metadata: the last line of the image description."""
        try:
            with Image.open(stream, formats=["TIFF"]) as image:
                return _parse_description(image)
        except Exception:  # noqa: BLE001 - a damaged file has no metadata
            return None


class TIFF(_TIFFFile):
    """Depth in meters."""

    def encode(self, depth: DepthMap, settings: OutputSettings) -> bytes:
        """Return an uncompressed TIFF of one float32 channel, in meters or in the published scale."""
        metadata = build_metadata("tiff", depth, settings.scale)
        description = f"{describe_origin(depth)}: meters = value * {metadata['meters_per_unit']:g}"
        return _write_tiff(depth.in_scale(settings.scale), depth, description, metadata)

    def decode(self, data: bytes, name: str) -> DepthMap:
        """Return the depth; without metadata, the values of a floating-point TIFF, taken as meters.

        Raises:
            DepthFileError: the file is damaged, or does not contain floating point.
        """
        try:
            with Image.open(io.BytesIO(data), formats=["TIFF"]) as image:
                metadata, mode, values = _parse_description(image), image.mode, np.asarray(image)
        except Exception as error:  # Pillow's parsers raise many types
            raise DepthFileError(f"{name}: damaged TIFF, or a TIFF without depth") from error
        if mode != "F":
            raise DepthFileError(f"{name}: an image, not depth", hint="depth must be one channel of floating point")
        if metadata is None:
            return DepthMap(np.ascontiguousarray(values, np.float32))
        return depth_from_metadata(values, metadata, name)


class UncertaintyTIFF(_TIFFFile):
    """Half the difference between the predictions for the image and for its mirror image, in meters."""

    def encode(self, depth: DepthMap, settings: OutputSettings) -> bytes:  # noqa: ARG002 - always meters
        """Return an uncompressed TIFF of one float32 channel, meters.

        Raises:
            UsageError: the depth map has no uncertainty.
        """
        if depth.uncertainty_m is None:
            raise UsageError("the depth map contains no uncertainty", hint="predict with `tta='flip'`")
        metadata = build_metadata("uncertainty", depth, unit="meter")
        description = f"half the difference between two predictions, meters; {describe_origin(depth)}"
        return _write_tiff(depth.uncertainty_m, depth, description, metadata)


def _write_tiff(values: NDArray[np.float32], depth: DepthMap, description: str, metadata: dict[str, Any]) -> bytes:
    tags = ImageFileDirectory_v2()
    # TIFF text is ASCII. The first line is for people, the last for programs.
    tags[_DESCRIPTION] = f"{description}\n{metadata_to_json(metadata)}".encode("ascii", "replace").decode()
    tags[_SOFTWARE] = depth.provenance.tool or "glpn-cli"
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "TIFF", tiffinfo=tags)
    return buffer.getvalue()


def _parse_description(image: Image.Image) -> dict[str, Any] | None:
    tags: Any = getattr(image, "tag_v2", {})
    description = tags.get(_DESCRIPTION)
    return parse_metadata(description.splitlines()[-1]) if isinstance(description, str) and description else None
