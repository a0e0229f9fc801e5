"""The tiff format: float32 meters that any program for images or maps opens."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from PIL.TiffTags import TAGS_V2

from glpn_cli.depth import DepthMap
from glpn_cli.errors import DepthFileError
from glpn_cli.output.facts import depth_from_facts, facts_from_json, facts_to_json, origin, state_facts

if TYPE_CHECKING:
    from glpn_cli.settings import OutputSettings


_TAG = {info.name: number for number, info in TAGS_V2.items()}
_DESCRIPTION, _SOFTWARE = _TAG["ImageDescription"], _TAG["Software"]


def encode(depth: DepthMap, settings: OutputSettings) -> bytes:
    """Turn depth into an uncompressed 32-bit floating-point TIFF, described for people and, below, for programs."""
    facts = state_facts("tiff", depth, settings.scale)
    description = f"{origin(depth)}: meters = value * {facts['meters_per_unit']:g}"
    tags = describe(depth, description, facts)
    buffer = io.BytesIO()
    Image.fromarray(depth.in_scale(settings.scale)).save(buffer, "TIFF", tiffinfo=tags)
    return buffer.getvalue()


def describe(depth: DepthMap, description: str, facts: dict[str, Any]) -> ImageFileDirectory_v2:
    """Give the tags that say what a TIFF is, for people and, below, for programs."""
    tags = ImageFileDirectory_v2()
    # TIFF knows ASCII only.
    tags[_DESCRIPTION] = f"{description}\n{facts_to_json(facts)}".encode("ascii", "replace").decode()
    tags[_SOFTWARE] = depth.provenance.tool or "glpn-cli"
    return tags


def decode(data: bytes, name: str) -> DepthMap:
    """Read depth back; of a floating-point TIFF of others the values, which nobody says are meters.

    Raises:
        DepthFileError: the file is damaged, or holds something else.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["TIFF"]) as image:
            facts, mode, values = _facts(image), image.mode, np.asarray(image)
    except Exception as error:  # Pillow raises whatever its parsers raise
        raise DepthFileError(f"{name}: is a damaged TIFF, or none with depth") from error
    if mode != "F":
        raise DepthFileError(f"{name}: is an image, not depth", hint="depth is one channel of floating point")
    if facts is None:
        return DepthMap(np.ascontiguousarray(values, np.float32))
    return depth_from_facts(values, facts, name)


def read_facts(stream: BinaryIO) -> dict[str, Any] | None:
    """Give what the file says of itself."""
    try:
        with Image.open(stream, formats=["TIFF"]) as image:
            return _facts(image)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it says nothing
        return None


def _facts(image: Image.Image) -> dict[str, Any] | None:
    tags: Any = getattr(image, "tag_v2", {})
    description = tags.get(_DESCRIPTION)
    return facts_from_json(description.splitlines()[-1]) if isinstance(description, str) and description else None
